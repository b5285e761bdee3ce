"""The zoo: a table of tiny models, one for every way that people build them, and what must be found in each."""

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers, ops
from support.zoo_parts import (
    CHANNELS,
    HEIGHT,
    WIDTH,
    BackboneLayer,
    Convolution,
    CosineHead,
    GeneralizedMean,
    HeadLayer,
    OwnTrainStep,
    PrefixToken,
    RawLayer,
    Scale,
    Subclassed,
    SubclassedAroundBackbone,
    SubclassedRaw,
    SubclassedTemperature,
    SubclassedTwoOutputs,
    Warp,
    after_maps,
    after_pooling,
    backbone,
    built,
    chain,
    changed,
    compiled,
    convolutions,
    dense,
    fitted,
    from_json,
    gap,
    image_input,
    pickled,
    reloaded,
    sequential,
    served,
    under,
)

from keras_cam.model.head import AFFINE, AFFINE_NONNEGATIVE, AFFINE_PER_SAMPLE, INTEGRATED, POSITION_DEPENDENT


@dataclass(frozen=True)
class Entry:
    """A model and what must be found in it.

    Attributes:
        build: makes the model.
        kind: the kind of its head, a key of `keras_cam.model.head.WORDS`.
        tolerance: how far mean(map) + bias may be from the logit, as a share of the largest logit.
        options: `output`, `layer`, `image_input`.
        shapes: of the inputs, batch axis left out, where the model leaves them open; in the model's structure.
        trains: whether the model can be trained.
        placeless: whether the scores have nothing to do with places, so that the map is zero and says so.
    """

    build: Callable[[], keras.Model]
    kind: str = AFFINE
    tolerance: float = 1e-5
    options: dict = field(default_factory=dict)
    shapes: object = None
    trains: bool = True
    placeless: bool = False


IMAGE = (HEIGHT, WIDTH, 3)
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, *IMAGE)).astype("float32")
POSITION, PER_SAMPLE = POSITION_DEPENDENT, AFFINE_PER_SAMPLE


# graphs that are no chain


def _nested(depth, pooled=False, as_sequential=False):
    """A backbone `depth` models deep."""
    inner = backbone("level_1", pooled=pooled)
    for level in range(2, depth + 1):
        if as_sequential:
            inner = keras.Sequential([image_input(), layers.Rescaling(0.5), inner], name=f"level_{level}")
        else:
            inputs = image_input()
            inner = keras.Model(inputs, inner(layers.Rescaling(0.5)(inputs)), name=f"level_{level}")
    return chain(inner, *(() if pooled else (gap(),)), dense())


def _head_is_a_model(*steps, in_maps=False):
    inputs = x = keras.Input((HEIGHT // 2, WIDTH // 2, CHANNELS) if in_maps else (CHANNELS,))
    for step in steps:
        x = step(x)
    head = keras.Model(inputs, x, name="head")
    return after_maps(head) if in_maps else after_pooling(head)


def _surgery(model, layer):
    """A new head on an inner layer of a classifier, as in every tutorial."""
    return keras.Model(model.input, dense(4, name="new_scores")(gap()(model.get_layer(layer).output)))


def _kerashub():
    """How KerasHub's ImageClassifier is wired: the backbone called on its own input."""
    inner = backbone()
    x = inner(inner.input)
    return keras.Model(inner.input, dense()(layers.Dropout(0.5)(gap()(x))))


def _backbone_used_elsewhere():
    """The backbone's first call belongs to another model."""
    inner = backbone()
    chain(inner, layers.Flatten(), dense())
    return chain(layers.Rescaling(0.5), inner, gap(), dense())


def _layer_twice():
    again = layers.Conv2D(CHANNELS, 3, padding="same", activation="relu")
    return after_maps(again, again, gap(), dense())


def _equally_named():
    return chain(backbone("first"), backbone("second", shape=(HEIGHT // 2, WIDTH // 2, CHANNELS)), gap(), dense())


def _residual(x):
    return ops.relu(x + layers.SeparableConv2D(CHANNELS, 3, padding="same")(x))


def _squeeze_excite(x):
    gate = layers.Dense(2, activation="relu")(gap(keepdims=True)(x))
    return x * layers.Dense(CHANNELS, activation="sigmoid")(gate)


def _inception(x):
    return layers.Concatenate()([layers.Conv2D(3, size, padding="same", activation="relu")(x) for size in (1, 3)])


def _two_scales(head=None):
    inputs = image_input()
    fine = convolutions(inputs)
    coarse = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(fine)
    x = layers.Concatenate()([gap()(fine), gap()(coarse)])
    return keras.Model(inputs, dense()(x if head is None else head(x)))


def _three_scales():
    inputs = image_input()
    fine = convolutions(inputs)
    middle = layers.Conv2D(CHANNELS, 3, strides=2, padding="same", activation="relu")(fine)
    coarse = layers.Conv2D(CHANNELS, 2, activation="relu")(middle)  # 1 x 2
    return keras.Model(inputs, dense()(layers.Add()([gap()(x) for x in (fine, middle, coarse)])))


def _max_and_average():
    return after_maps(lambda x: ops.concatenate([gap()(x), layers.GlobalMaxPooling2D()(x)], axis=-1), dense())


def _with_table(combine, as_dict=False):
    """An image and a table of four columns."""
    inputs = {"image": image_input(name="image"), "table": keras.Input((4,), name="table")}
    x = combine(gap()(convolutions(inputs["image"])), inputs["table"])
    return keras.Model(inputs if as_dict else list(inputs.values()), dense()(x))


def _with_text():
    """A caption's tokens beside the image, and before it in the list of inputs."""
    image, text = image_input(name="image"), keras.Input((7,), dtype="int32", name="text")
    words = layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(text))
    x = layers.Concatenate()([words, gap()(convolutions(image))])
    return keras.Model([text, image], dense()(x))


def _siamese(combine, inner=None, **options):
    left, right = image_input(name="left"), image_input(name="right")
    inner = inner or backbone(pooled=True)
    return keras.Model([left, right], dense(**options)(combine(inner(left), inner(right))))


def _difference(one, other):
    return ops.abs(one - other)


def _same_image_twice():
    """Two calls of one backbone on one image and its mirror image; their product is a gate."""
    inputs, inner = image_input(), backbone(pooled=True)
    return keras.Model(inputs, dense()(inner(inputs) * inner(ops.flip(inputs, axis=2))))


def _two_outputs(structure):
    inputs = image_input()
    x = convolutions(inputs)
    kind = dense(name="kind")(gap()(x))
    size = dense(1, activation="softplus", name="size")(layers.Flatten()(x))
    return keras.Model(inputs, structure(kind, size))


def _output_inside():
    """An output on the way to the other, which is pooled where the first one is not."""
    inputs = image_input()
    x = convolutions(inputs)
    auxiliary = dense(name="auxiliary")(gap()(x))
    main = dense(name="main")(gap()(layers.Conv2D(6, 3, activation="relu")(x)))
    return keras.Model(inputs, {"main": main, "auxiliary": auxiliary})


def _channels_first(*steps):
    inputs = x = keras.Input((3, HEIGHT, WIDTH))
    for step in (lambda x: convolutions(x, "channels_first"), *steps):
        x = step(x)
    return keras.Model(inputs, x)


def _any_size(nested):
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, dense()(gap()((backbone(shape=(None, None, 3)) if nested else convolutions)(inputs))))


def _signal(*steps, volume=False):
    convolution = layers.Conv3D if volume else layers.Conv1D
    shape = (6, 5, 4, 2) if volume else (16, 2)
    return keras.Sequential([keras.Input(shape), convolution(4, 3, padding="same", activation="relu"), *steps])


# tokens


def _patches(x):
    return layers.Reshape((-1, 6))(layers.Conv2D(6, 2, strides=2)(x))


def _block(x):
    normal = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 3)(normal, normal)
    return x + layers.Dense(6)(layers.Dense(8, activation="gelu")(layers.LayerNormalization()(x)))


def _vit(*steps, prefix=False):
    return chain(_patches, *([PrefixToken()] if prefix else []), _block, _block, *steps)


# heads


def _attention_pooling(x):
    """Where to look is learned: a softmax over the places weighs them."""
    rows = layers.Reshape((-1, CHANNELS))(x)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(rows))
    return ops.sum(rows * weights, axis=1)


def _gated(x):
    return x * layers.Dense(CHANNELS, activation="sigmoid")(x)


def _unit_length(x):
    return x / ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True))


def _lora(model):
    model.get_layer("scores").enable_lora(2)
    for variable in model.get_layer("scores").trainable_variables:
        variable.assign(np.random.default_rng(1).normal(0, 0.5, variable.shape))


def _quantized(mode):
    return changed(after_pooling(dense(activation=None)), lambda model: model.get_layer("scores").quantize(mode))


def _rows(x):
    return ops.reshape(x, (-1, HEIGHT // 2 * (WIDTH // 2), CHANNELS))


def SMALL():
    return layers.Conv2D(CHANNELS, 3, activation="relu"), gap(), dense()


MLP = (layers.Flatten, lambda: layers.Dense(9, activation="relu"), lambda: layers.Dense(7, activation="relu"))

ZOO = {
    # where the layers lie
    "functional": Entry(lambda: after_pooling(dense())),
    "Sequential": Entry(lambda: sequential(layers.Conv2D(CHANNELS, 3, activation="relu"), gap(), dense())),
    "Sequential built by a call": Entry(
        lambda: built(keras.Sequential([layers.Conv2D(CHANNELS, 3, activation="relu"), gap(), dense()]))
    ),
    "nested": Entry(lambda: _nested(1)),
    "nested two deep": Entry(lambda: _nested(2)),
    "nested four deep": Entry(lambda: _nested(4)),
    "nested Sequentials": Entry(lambda: _nested(3, as_sequential=True)),
    "nested in Sequential": Entry(lambda: sequential(backbone(), gap(), dense())),
    "pooling inside": Entry(lambda: _nested(1, pooled=True)),
    "pooling three deep": Entry(lambda: _nested(3, pooled=True)),
    "pooling inside, in Sequential": Entry(lambda: sequential(backbone(pooled=True), layers.Dropout(0.5), dense())),
    "head is a model": Entry(lambda: _head_is_a_model(layers.Dropout(0.5), dense())),
    "pooling and head are a model": Entry(lambda: _head_is_a_model(gap(), dense(), in_maps=True)),
    "whole classifier nested": Entry(lambda: chain(layers.Rescaling(2.0), after_pooling(dense()))),
    "classifier nested, softmax outside": Entry(lambda: chain(after_pooling(dense(activation=None)), layers.Softmax())),
    "KerasHub wiring": Entry(_kerashub),
    "surgery on an inner layer": Entry(lambda: _surgery(after_pooling(dense()), "act_1")),
    "surgery on layers[-2]": Entry(
        lambda: (lambda old: keras.Model(old.input, dense(4)(old.layers[-2].output)))(after_pooling(dense()))
    ),
    "surgery on a nested layer": Entry(lambda: _surgery(_nested(1).get_layer("level_1"), "conv_2")),
    "backbone used elsewhere": Entry(_backbone_used_elsewhere),
    "equally named backbones": Entry(_equally_named),
    "layer called twice": Entry(_layer_twice),
    "residual": Entry(lambda: after_maps(_residual, gap(), dense())),
    "Inception": Entry(lambda: after_maps(_inception, gap(), dense())),
    "squeeze and excite": Entry(lambda: after_maps(_squeeze_excite, gap(), dense())),
    "separable and depthwise": Entry(
        lambda: chain(
            layers.SeparableConv2D(6, 3), layers.ReLU(6.0), layers.DepthwiseConv2D(3, activation="relu"), gap(), dense()
        )
    ),
    "augmentation in front": Entry(
        lambda: sequential(
            layers.RandomFlip(), layers.RandomRotation(0.2), layers.GaussianNoise(0.5), backbone(), gap(), dense()
        )
    ),
    "two scales": Entry(_two_scales),
    "two scales, batch norm": Entry(lambda: _two_scales(layers.BatchNormalization())),
    "three scales added": Entry(_three_scales),
    # several inputs and outputs
    "image and table": Entry(lambda: _with_table(lambda x, table: layers.Concatenate()([x, table]))),
    "image and table, as a dict": Entry(
        lambda: _with_table(lambda x, table: ops.concatenate([table, x], axis=-1), as_dict=True)
    ),
    "image and table through layers": Entry(
        lambda: _with_table(lambda x, table: x + layers.Dense(CHANNELS, activation="relu")(table))
    ),
    "gate made from a table": Entry(
        lambda: _with_table(lambda x, table: x * layers.Dense(CHANNELS, activation="sigmoid")(table))
    ),
    "image and text": Entry(_with_text),
    "flat pixels": Entry(lambda: keras.Sequential([keras.Input((96,)), layers.Reshape((8, 12, 1)), *SMALL()])),
    "image and table, then ReLU": Entry(
        lambda: _with_table(lambda x, table: dense(7, activation="relu", name="mix")(ops.concatenate([x, table], -1))),
        PER_SAMPLE,
    ),
    "siamese, left": Entry(lambda: _siamese(_difference), PER_SAMPLE),
    "siamese, right": Entry(lambda: _siamese(_difference), PER_SAMPLE, options={"image_input": "right"}),
    "siamese, right by index": Entry(
        lambda: _siamese(_difference, units=1, activation="sigmoid"), PER_SAMPLE, options={"image_input": 1}
    ),
    "siamese side by side": Entry(lambda: _siamese(lambda *pair: ops.concatenate(pair, axis=-1))),
    "siamese product": Entry(lambda: _siamese(lambda *pair: layers.Multiply()(pair))),
    "siamese squared difference": Entry(lambda: _siamese(lambda one, other: ops.square(one - other)), PER_SAMPLE),
    "siamese subclassed backbone": Entry(lambda: _siamese(_difference, BackboneLayer("pooled")), PER_SAMPLE),
    "the same image twice": Entry(_same_image_twice, PER_SAMPLE),
    "output by index": Entry(lambda: _two_outputs(lambda *both: list(both)), options={"output": 0}),
    "output by name": Entry(lambda: _two_outputs(lambda *both: list(both)), POSITION, options={"output": "size"}),
    "output of a dict": Entry(lambda: _two_outputs(lambda kind, size: {"z": kind, "a": size}), options={"output": "z"}),
    "outputs in tuples": Entry(lambda: _two_outputs(lambda kind, size: (size, (kind,))), options={"output": -1}),
    "output inside": Entry(_output_inside, options={"output": "auxiliary"}),
    "output beyond it": Entry(_output_inside, options={"output": "main"}),
    "one output in a list": Entry(lambda: _two_outputs(lambda kind, size: [kind])),
    # callers' own layers and models
    "backbone is a custom layer": Entry(lambda: chain(BackboneLayer(), gap(), dense())),
    "custom layer pools": Entry(lambda: chain(BackboneLayer("pooled"), dense())),
    "everything is a custom layer": Entry(lambda: sequential(BackboneLayer("scores"))),
    "head is a custom layer": Entry(lambda: after_maps(HeadLayer())),
    "head is a custom layer with a ReLU": Entry(lambda: after_maps(HeadLayer(hidden="relu")), PER_SAMPLE),
    "custom layer in the head": Entry(lambda: after_pooling(Scale(), dense())),
    "custom subclass of Conv2D": Entry(lambda: chain(Convolution(CHANNELS, 3, activation="relu"), gap(), dense())),
    "custom layer of raw TensorFlow in front": Entry(lambda: chain(RawLayer(), convolutions, gap(), dense())),
    "Lambda in front": Entry(lambda: chain(layers.Lambda(lambda x: x / 127.5 - 1), convolutions, gap(), dense())),
    "subclassed": Entry(lambda: built(Subclassed())),
    "subclassed around a backbone": Entry(lambda: built(SubclassedAroundBackbone())),
    "subclassed in Sequential": Entry(lambda: sequential(layers.Rescaling(0.5), built(Subclassed()))),
    "subclassed in and out by dict": Entry(
        lambda: built(SubclassedTwoOutputs(), {"image": np.zeros((1, *IMAGE), "float32")}), options={"output": "kind"}
    ),
    "subclassed, reloaded": Entry(lambda: reloaded(built(Subclassed()))),
    "subclassed, computes with its weights": Entry(lambda: built(SubclassedTemperature())),
    "head computes with its weights": Entry(lambda: after_maps(CosineHead(), layers.Softmax())),
    "raw TensorFlow in call": Entry(lambda: built(SubclassedRaw()), AFFINE_NONNEGATIVE),
    "train_step of its own": Entry(lambda: (lambda old: OwnTrainStep(old.input, old.output))(after_pooling(dense()))),
    # layouts and dtypes
    "channels first": Entry(
        lambda: _channels_first(layers.GlobalAveragePooling2D(data_format="channels_first"), dense())
    ),
    "channels first, mean": Entry(lambda: _channels_first(lambda x: ops.mean(x, axis=(2, 3)), dense())),
    "channels first, flat": Entry(
        lambda: _channels_first(layers.Flatten(data_format="channels_first"), dense()), POSITION
    ),
    "any size": Entry(lambda: _any_size(False), shapes=IMAGE),
    "any size, nested": Entry(lambda: _any_size(True), shapes=(10, 9, 3)),
    "mixed_float16": Entry(under("mixed_float16", lambda: after_pooling(dense(dtype="float32"))), tolerance=2e-3),
    "mixed_float16, nested": Entry(under("mixed_float16", lambda: _nested(2)), tolerance=2e-3),
    "mixed_bfloat16": Entry(under("mixed_bfloat16", lambda: after_pooling(dense(dtype="float32"))), tolerance=2**-7),
    "mixed_bfloat16, all of it": Entry(under("mixed_bfloat16", lambda: after_pooling(dense())), tolerance=2**-7),
    "mixed_float16, ReLU": Entry(
        under("mixed_float16", lambda: after_pooling(layers.Dense(7, activation="relu"), dense())),
        PER_SAMPLE,
        tolerance=2e-3,
    ),
    "float64": Entry(under("float64", lambda: after_pooling(dense()))),
    # what has been done to it
    "reloaded": Entry(lambda: reloaded(_nested(2))),
    "reloaded from HDF5": Entry(lambda: reloaded(_nested(1), ".h5")),
    "cloned": Entry(lambda: keras.models.clone_model(_nested(2))),
    "pickled": Entry(lambda: pickled(_nested(1))),
    "from JSON": Entry(lambda: from_json(_nested(1))),
    "fitted": Entry(lambda: fitted(_nested(1))),
    "LoRA": Entry(lambda: changed(after_pooling(dense()), _lora)),
    "int8": Entry(lambda: _quantized("int8"), tolerance=2e-2, trains=False),
    "int4": Entry(lambda: _quantized("int4"), tolerance=2e-2, trains=False),
    "frozen backbone": Entry(
        lambda: changed(_nested(1), lambda model: setattr(model.get_layer("level_1"), "trainable", False))
    ),
    # signals, volumes, tokens
    "Conv1D": Entry(lambda: _signal(layers.GlobalAveragePooling1D(), dense())),
    "Conv1D, flat": Entry(lambda: _signal(layers.Flatten(), dense()), POSITION),
    "Conv1D, LSTM": Entry(lambda: _signal(layers.LSTM(4), dense()), INTEGRATED),
    "Conv3D": Entry(lambda: _signal(layers.GlobalAveragePooling3D(), dense(), volume=True)),
    "Conv3D, maximum": Entry(lambda: _signal(layers.GlobalMaxPooling3D(), dense(), volume=True), POSITION),
    "ViT, mean": Entry(lambda: _vit(layers.GlobalAveragePooling1D(), dense())),
    "ViT, norm and mean": Entry(lambda: _vit(layers.LayerNormalization(), layers.GlobalAveragePooling1D(), dense())),
    "ViT, mean and norm": Entry(
        lambda: _vit(layers.GlobalAveragePooling1D(), layers.LayerNormalization(), dense()), PER_SAMPLE
    ),
    "ViT, prefix token in the mean": Entry(lambda: _vit(layers.GlobalAveragePooling1D(), dense(), prefix=True)),
    "ViT, mean of the patches": Entry(lambda: _vit(lambda x: ops.mean(x[:, 1:], axis=1), dense(), prefix=True)),
    "ViT, class token": Entry(lambda: _vit(lambda x: x[:, 0], dense(), prefix=True), POSITION),
    "prefix token that reads nothing": Entry(
        lambda: chain(_patches, PrefixToken(), lambda x: x[:, 0], dense()), placeless=True
    ),
    # the last activation
    "softmax layer": Entry(lambda: after_pooling(dense(activation=None), layers.Softmax())),
    "softmax as Activation": Entry(lambda: after_pooling(dense(activation=None), layers.Activation("softmax"))),
    "softmax operation": Entry(lambda: after_pooling(dense(activation=None), ops.softmax)),
    "softmax in float32 after half": Entry(
        under(
            "mixed_float16",
            lambda: after_pooling(dense(activation=None), layers.Activation("softmax", dtype="float32")),
        ),
        tolerance=2e-3,
    ),
    "log-softmax": Entry(lambda: after_pooling(dense(activation="log_softmax"))),
    "logits": Entry(lambda: after_pooling(dense(activation=None))),
    "logits by the loss": Entry(
        lambda: compiled(
            after_pooling(dense(activation=None)), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ),
        trains=False,
    ),
    "multi-label": Entry(lambda: after_pooling(dense(activation="sigmoid"))),
    "one sigmoid unit": Entry(lambda: after_pooling(dense(1, activation="sigmoid"))),
    "one sigmoid unit, as a layer": Entry(
        lambda: after_pooling(dense(1, activation=None), layers.Activation("sigmoid"))
    ),
    "one sigmoid unit, as an operation": Entry(lambda: after_pooling(dense(1, activation=None), ops.sigmoid)),
    "one sigmoid unit, flat": Entry(lambda: after_maps(layers.Flatten(), dense(1, activation="sigmoid")), POSITION),
    "one unit, sigmoid by the loss": Entry(
        lambda: compiled(after_pooling(dense(1, activation=None)), keras.losses.BinaryCrossentropy(from_logits=True)),
        trains=False,
    ),
    "regression": Entry(lambda: after_pooling(dense(2, activation=None))),
    "one value": Entry(lambda: after_pooling(dense(1, activation=None))),
    "regression, ReLU": Entry(lambda: after_pooling(dense(2, activation="relu"))),
    "regression, tanh": Entry(lambda: after_pooling(dense(2, activation="tanh"))),
    "regression, softplus": Entry(lambda: after_pooling(dense(1, activation="softplus"))),
    # affine heads
    "no bias": Entry(lambda: after_pooling(dense(use_bias=False))),
    "batch norm": Entry(lambda: after_pooling(layers.BatchNormalization(), layers.Dropout(0.5), dense())),
    "batch norm last": Entry(
        lambda: after_pooling(dense(activation=None), layers.BatchNormalization(), layers.Softmax())
    ),
    "batch norm before the pooling": Entry(lambda: after_maps(layers.BatchNormalization(), gap(), dense())),
    "two Dense": Entry(lambda: after_pooling(layers.Dense(7), layers.BatchNormalization(), dense())),
    "temperature": Entry(lambda: after_pooling(dense(activation=None), lambda x: x / 2.5, layers.Softmax())),
    "temperature as a Rescaling": Entry(
        lambda: after_pooling(dense(activation=None), layers.Rescaling(0.4), layers.Softmax())
    ),
    "EinsumDense": Entry(lambda: after_pooling(layers.EinsumDense("nk,kc->nc", CLASSES_SHAPE, bias_axes="c"))),
    "1x1 convolution as head": Entry(
        lambda: after_maps(gap(keepdims=True), layers.Conv2D(3, 1), layers.Flatten(), layers.Softmax())
    ),
    "1x1 convolution and Reshape": Entry(
        lambda: after_maps(gap(keepdims=True), layers.Dropout(0.5), layers.Conv2D(3, 1), layers.Reshape((3,)))
    ),
    "class maps, then pooling": Entry(lambda: after_maps(layers.Conv2D(3, 1), gap(), layers.Softmax())),
    "class maps, then mean": Entry(lambda: after_maps(layers.Conv2D(3, 1), lambda x: ops.mean(x, axis=(1, 2)))),
    "Dense on every cell, then pooling": Entry(lambda: after_maps(layers.Dense(3), gap())),
    "mean operation": Entry(lambda: after_maps(lambda x: ops.mean(x, axis=(1, 2)), dense())),
    "mean, axis by axis": Entry(lambda: after_maps(lambda x: ops.mean(ops.mean(x, axis=1), axis=1), dense())),
    "mean with keepdims": Entry(
        lambda: after_maps(lambda x: ops.mean(x, axis=[-3, -2], keepdims=True), layers.Flatten(), dense())
    ),
    "sum over places": Entry(lambda: after_maps(lambda x: ops.sum(x, axis=(1, 2)) / 24.0, dense())),
    "Lambda mean": Entry(lambda: after_maps(layers.Lambda(lambda x: ops.mean(x, axis=(1, 2))), dense())),
    "AveragePooling over everything": Entry(
        lambda: after_maps(layers.AveragePooling2D((4, 6)), layers.Flatten(), dense())
    ),
    "Reshape, then mean": Entry(lambda: after_maps(layers.Reshape((-1, CHANNELS)), gap_1d(), dense())),
    "reshape operation, then mean": Entry(lambda: after_maps(_rows, lambda x: ops.mean(x, axis=1), dense())),
    "SpectralNormalization": Entry(
        lambda: chain(layers.SpectralNormalization(layers.Conv2D(CHANNELS, 3, activation="relu")), gap(), dense())
    ),
    "SpectralNormalization in the head": Entry(
        lambda: after_pooling(layers.SpectralNormalization(layers.Dense(3)), layers.Softmax())
    ),
    "TimeDistributed frames": Entry(
        lambda: keras.Sequential(
            [
                keras.Input((4, HEIGHT, WIDTH, 3)),
                layers.TimeDistributed(layers.Conv2D(CHANNELS, 3, activation="relu")),
                layers.GlobalAveragePooling3D(),
                dense(),
            ]
        )
    ),
    # affine where the features are not negative
    "ReLU of the averages": Entry(lambda: after_pooling(layers.ReLU(), dense()), AFFINE_NONNEGATIVE),
    "absolute averages": Entry(lambda: after_pooling(ops.abs, dense()), AFFINE_NONNEGATIVE),
    # position-dependent
    "Flatten and Dense": Entry(lambda: after_maps(layers.Flatten(), dense()), POSITION),
    "Flatten, no bias": Entry(lambda: after_maps(layers.Flatten(), dense(use_bias=False)), POSITION),
    "Flatten and MLP": Entry(lambda: after_maps(*(layer() for layer in MLP), dense()), POSITION),
    "MaxPooling, Flatten and MLP": Entry(
        lambda: after_maps(layers.MaxPooling2D(), *(layer() for layer in MLP), dense()), POSITION
    ),
    "partial pooling": Entry(lambda: after_maps(layers.AveragePooling2D(2), layers.Flatten(), dense()), POSITION),
    "AdaptiveAveragePooling": Entry(
        lambda: after_maps(layers.AdaptiveAveragePooling2D((2, 3)), layers.Flatten(), dense()), POSITION
    ),
    "mean of the rows": Entry(lambda: after_maps(lambda x: ops.mean(x, axis=1), layers.Flatten(), dense()), POSITION),
    "convolution over everything": Entry(
        lambda: after_maps(layers.Conv2D(3, (4, 6)), layers.Flatten(), layers.Softmax()), POSITION
    ),
    "maximum": Entry(lambda: after_maps(layers.GlobalMaxPooling2D(), dense()), POSITION),
    "maximum by an operation": Entry(lambda: after_maps(lambda x: ops.max(x, axis=(1, 2)), dense()), POSITION),
    "average beside maximum": Entry(_max_and_average, POSITION),
    "attention pooling": Entry(lambda: after_maps(_attention_pooling, dense())),
    "GeM of operations": Entry(
        lambda: after_maps(lambda x: ops.mean(x**3.0, axis=(1, 2)) ** (1 / 3), dense()), POSITION
    ),
    "GeM as a layer": Entry(lambda: after_maps(GeneralizedMean(), dense()), POSITION),
    # affine for each image
    "hidden ReLU": Entry(lambda: after_pooling(layers.Dense(7, activation="relu"), dense()), PER_SAMPLE),
    "hidden ReLU layer": Entry(lambda: after_pooling(layers.Dense(7), layers.ReLU(), dense()), PER_SAMPLE),
    "hidden ReLU operation": Entry(lambda: after_pooling(layers.Dense(7), ops.relu, dense()), PER_SAMPLE),
    "hidden LeakyReLU and PReLU": Entry(
        lambda: after_pooling(layers.Dense(7), layers.LeakyReLU(), layers.Dense(7), layers.PReLU(), dense()), PER_SAMPLE
    ),
    "hidden GELU": Entry(lambda: after_pooling(layers.Dense(7, activation="gelu"), dense()), PER_SAMPLE),
    "hidden sigmoid": Entry(lambda: after_pooling(layers.Dense(7, activation="sigmoid"), dense()), PER_SAMPLE),
    "hidden tanh, SELU and swish": Entry(
        lambda: after_pooling(*(layers.Dense(7, activation=name) for name in ("tanh", "selu", "swish")), dense()),
        PER_SAMPLE,
    ),
    "hard_silu, as in MobileNetV3": Entry(
        lambda: after_maps(
            gap(keepdims=True),
            layers.Conv2D(7, 1),
            layers.Activation("hard_silu"),
            layers.Dropout(0.2),
            layers.Conv2D(3, 1),
            layers.Flatten(),
            layers.Activation("softmax"),
        ),
        PER_SAMPLE,
    ),
    "LayerNormalization, as in ConvNeXt": Entry(
        lambda: after_pooling(layers.LayerNormalization(epsilon=1e-6), dense()), PER_SAMPLE
    ),
    "LayerNormalization without scale": Entry(
        lambda: after_pooling(layers.LayerNormalization(center=False, scale=False), dense()), PER_SAMPLE
    ),
    "RMSNormalization": Entry(lambda: after_pooling(layers.RMSNormalization(), dense()), PER_SAMPLE),
    "cosine": Entry(lambda: after_pooling(layers.UnitNormalization(), dense(use_bias=False)), PER_SAMPLE),
    "cosine by operations": Entry(lambda: after_pooling(_unit_length, dense()), PER_SAMPLE),
    "cosine by ops.normalize": Entry(lambda: after_pooling(lambda x: ops.normalize(x, axis=-1), dense()), PER_SAMPLE),
    "gate on the averages": Entry(lambda: after_pooling(_gated, dense()), PER_SAMPLE),
    "maxout": Entry(
        lambda: after_pooling(layers.Dense(8), layers.Reshape((4, 2)), lambda x: ops.max(x, axis=-1), dense()),
        PER_SAMPLE,
    ),
    "larger of two": Entry(
        lambda: after_pooling(lambda x: layers.Maximum()([layers.Dense(4)(x), layers.Dense(4)(x)]), dense()), PER_SAMPLE
    ),
    "attention between places, then mean": Entry(
        lambda: after_maps(
            layers.Reshape((-1, CHANNELS)), lambda x: layers.MultiHeadAttention(1, 4)(x, x), gap_1d(), dense()
        )
    ),
    # not to be taken apart
    "GroupNormalization of the averages": Entry(
        lambda: after_pooling(layers.GroupNormalization(1), dense()), INTEGRATED
    ),
    "own non-linearity": Entry(lambda: after_pooling(Warp(), dense()), INTEGRATED),
    "LSTM over the rows": Entry(
        lambda: after_maps(layers.Reshape((HEIGHT // 2, -1)), layers.LSTM(5), dense()), INTEGRATED
    ),
    "GRU over the cells": Entry(lambda: after_maps(layers.Reshape((-1, CHANNELS)), layers.GRU(5), dense()), INTEGRATED),
    "softmax in the middle": Entry(lambda: after_pooling(layers.Dense(7, activation="softmax"), dense()), INTEGRATED),
}

CLASSES_SHAPE = (3,)


def gap_1d():
    return layers.GlobalAveragePooling1D()


def _no_convolutions():
    return sequential(layers.Flatten(), layers.Dense(4, activation="relu"), dense())


ERRORS = {  # name -> (builder, options, kind of error, words of the error)
    "several outputs and none chosen": (
        lambda: _two_outputs(lambda *both: list(both)),
        {},
        "UnsupportedModelError",
        r"has 2 outputs \(0: 'kind', 1: 'size'\).*output=",
    ),
    "no such output": (
        lambda: _two_outputs(lambda *both: list(both)),
        {"output": "sise"},
        "InvalidOptionError",
        r"no output 'sise'. Its outputs are 0: 'kind', 1: 'size'",
    ),
    "no such output index": (
        lambda: after_pooling(dense()),
        {"output": 1},
        "InvalidOptionError",
        r"no output 1\. Its outputs are 0: 'scores'",
    ),
    "no such layer": (
        lambda: _nested(1),
        {"layer": "conv_9"},
        "InvalidOptionError",
        r"no layer 'conv_9'.*'level_1/conv_2'",
    ),
    "layer without a place": (
        lambda: _nested(1, pooled=True),
        {"layer": "level_1/gap"},
        "InvalidOptionError",
        r"'level_1/gap' has shape \(None, 5\) and no place",
    ),
    "layer of another output": (
        _output_inside,
        {"output": "auxiliary", "layer": "main"},
        "InvalidOptionError",
        r"no layer 'main' on the way",
    ),
    "input that is no image": (
        lambda: _with_table(lambda x, table: ops.concatenate([x, table], -1)),
        {"image_input": "table"},
        "InvalidOptionError",
        r"made from input 'table'. Choose one of 0: 'image'",
    ),
    "no such input": (
        lambda: _siamese(_difference),
        {"image_input": "middle"},
        "InvalidOptionError",
        r"from input 'middle'. Choose one of 0: 'left', 1: 'right'",
    ),
    "no convolutions": (_no_convolutions, {}, "UnsupportedModelError", "no convolutional feature maps"),
    "never called": (
        lambda: keras.Sequential([layers.Conv2D(4, 3), gap(), dense()]),
        {},
        "UnsupportedModelError",
        "is not built.*call it once",
    ),
    "subclassed, never called": (Subclassed, {}, "UnsupportedModelError", "is not built.*call it once"),
    "TFSMLayer": (lambda: served(after_pooling(dense())), {}, "UnsupportedModelError", "TFSMLayer.*original model"),
    "Zhou's CAM of a flat head": (
        lambda: after_maps(layers.Flatten(), dense()),
        {"method": "cam"},
        "UnsupportedModelError",
        "no exact CAM.*Flatten.*position-dependent",
    ),
}

NEED_TENSORFLOW = {"custom layer of raw TensorFlow in front", "raw TensorFlow in call", "TFSMLayer"}
if keras.backend.backend() != "tensorflow":
    for table in (ZOO, ERRORS):
        for missing in table.keys() & NEED_TENSORFLOW:
            del table[missing]
if keras.backend.backend() == "jax":
    del ZOO["float64"]  # which JAX has only where the whole process is set to it
if not hasattr(layers, "AdaptiveAveragePooling2D"):
    del ZOO["AdaptiveAveragePooling"]  # new in Keras 3.13


@functools.cache
def model(name):
    """The model of that name, with random weights; one for the whole process."""
    return fresh(name)


def fresh(name):
    """The model of that name, with random weights, made anew."""
    keras.utils.set_random_seed(len(name))
    made = ZOO[name].build()
    if ZOO[name].trains:
        randomize(made)
    return made


def randomize(made):
    """Random weights everywhere, biases and BatchNormalization statistics included; scores stay small."""
    generator = np.random.default_rng(7)
    for variable in made.variables:
        if "float" not in keras.backend.standardize_dtype(variable.dtype) or "seed" in variable.path:
            continue
        positive = variable.name in ("moving_variance", "gamma", "vector_u", "scale")
        spread = 1 / np.sqrt(max(1, np.prod(variable.shape[:-1])))
        bias = len(variable.shape) < 2
        values = generator.uniform(0.5, 2, variable.shape) if positive else generator.normal(0, spread, variable.shape)
        variable.assign(values * 0.3 if bias and not positive else values)


def exact(result):
    """Whether the maps and the bias are all of the scores."""
    return result.completeness.min() > 1 - 1e-5


PARTS = ("activation", "function")  # of a layer, that somebody might replace


def state_of(model):
    """All that a caller could see change: configuration, layers, names, modes, activations, outputs, weights."""
    try:
        config = model.get_config()
    except NotImplementedError:
        config = None
    seen = [
        (layer.name, layer.trainable, layer.built, *map(id, (layer, *(getattr(layer, part, None) for part in PARTS))))
        for layer in model._flatten_layers()
    ]
    tensors = [id(tensor) for tensor in (*(getattr(model, "inputs", ()) or ()), *(getattr(model, "outputs", ()) or ()))]
    weights = [
        (variable.path, variable.trainable, keras.ops.convert_to_numpy(variable.value).tolist())
        for variable in model.variables
    ]
    written = json.dumps([config, seen, tensors, weights, str(model.losses)], default=str)
    return re.sub(
        r'"code": "[^"]*"', "", written
    )  # of a Lambda: how it is written depends on who else holds its numbers


def called(model, inputs):
    """What a model gives, as arrays: what `predict` gives, without compiling it for a few images."""
    outputs = model(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs), training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def inputs(name, count=3):
    """Random inputs in the structure that the model takes, values in [0, 1]."""
    generator = np.random.default_rng(count)
    made, shapes = model(name), ZOO[name].shapes
    if shapes is None:
        if isinstance(made, keras.Sequential):
            shapes = tuple(made.inputs[0].shape[1:])
        elif getattr(made, "inputs", None):
            shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape[1:]), made.input)
        else:
            config = made.get_build_config()["input_shape"]
            shapes = keras.tree.map_shape_structure(lambda shape: tuple(shape[1:]), config)
    if isinstance(shapes, list) and len(shapes) == 1:  # keras.Model(old.inputs, ...)
        shapes = shapes[0]
    return keras.tree.map_shape_structure(
        lambda shape: generator.uniform(0, 1, (count, *shape)).astype("float32"), shapes
    )
