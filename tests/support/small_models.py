"""One small model for every common way to end in global average pooling; the input is not square, on purpose."""

import functools
from contextlib import contextmanager

import keras
import numpy as np
from keras import layers

HEIGHT, WIDTH = 12, 20
NUM_CLASSES = 3


def model(name, *, fresh=False):
    """The model of that name, with random weights; one for the whole process, unless a fresh one is asked for."""
    return _random(BUILDERS[name]()) if fresh else _shared(name)


def images(count=3, seed=0):
    """Float images (count, HEIGHT, WIDTH, 3) in [0, 1], with a bright patch that wanders."""
    pictures = np.random.default_rng(seed).uniform(0, 0.5, (count, HEIGHT, WIDTH, 3)).astype(np.float32)
    for index, picture in enumerate(pictures):
        picture[2 * index : 2 * index + 4, 3 * index : 3 * index + 6, index % 3] += 0.5
    return pictures


def arrays(tensors):
    """A structure of tensors as arrays, on any backend; on torch what a model gives hangs on its weights' gradients."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


def tolerance(name):
    """Share of the largest logit that may be missing; a logit of 8 bits is itself rounded by up to 2**-8 of it."""
    return {"mixed_float16": 2e-3, "mixed_bfloat16": 2**-7}.get(name, 1e-5)


@functools.cache
def _shared(name):
    return _random(BUILDERS[name]())


def _random(built):
    """Random weights everywhere, biases and BatchNormalization statistics included."""
    generator = np.random.default_rng(len(built.weights))
    for variable in built.weights:
        if "int" in keras.backend.standardize_dtype(variable.dtype):
            continue
        positive = variable.name in ("moving_variance", "gamma")
        values = generator.uniform(0.5, 2, variable.shape) if positive else generator.normal(0, 0.5, variable.shape)
        variable.assign(values)
    return built


@contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _input():
    return keras.Input((HEIGHT, WIDTH, 3))


def _features(inputs):
    """(N, 6, 10, 5) feature maps, convolution and batch norm with names that another backbone has too."""
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv_1")(inputs)
    x = layers.BatchNormalization(name="norm_1")(x)
    x = layers.ReLU(name="relu_1")(x)
    return layers.Conv2D(5, 3, padding="same", activation="relu", name="conv_2")(x)


def backbone(name="backbone", pooling=None):
    inputs = _input()
    x = _features(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x) if pooling == "avg" else x, name=name)


def _ends_in(*head, name=None):
    """Functional model: features, pooling, then these layers or functions."""
    inputs = _input()
    x = layers.GlobalAveragePooling2D()(_features(inputs))
    for layer in head:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def classifier(units=NUM_CLASSES, **options):
    return layers.Dense(units, **{"activation": "softmax", "name": "scores", **options})


def _functional():
    return _ends_in(classifier(), name="functional")


def _layers():
    return [
        layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="conv"),
        layers.GlobalAveragePooling2D(),
        classifier(),
    ]


def _sequential():
    return keras.Sequential([_input(), *_layers()])


def _sequential_built_by_call():
    built = keras.Sequential(_layers())
    built(images(1))
    return built


def _nested():
    inputs = _input()
    x = layers.GlobalAveragePooling2D()(backbone()(inputs))
    return keras.Model(inputs, classifier()(x))


def _nested_in_sequential():
    return keras.Sequential([_input(), backbone(), layers.GlobalAveragePooling2D(), classifier()])


def _sequential_in_sequential():
    stem = keras.Sequential([_input(), layers.Conv2D(4, 3, activation="relu")], name="stem")
    return keras.Sequential([_input(), stem, layers.GlobalAveragePooling2D(), classifier()])


def _two_deep():
    inputs = _input()
    outer = keras.Model(inputs, layers.Conv2D(4, 3, activation="relu")(backbone("inner")(inputs)), name="outer")
    again = _input()
    return keras.Model(again, classifier()(layers.GlobalAveragePooling2D()(outer(again))))


def _pooling_inside():
    inputs = _input()
    return keras.Model(inputs, classifier()(layers.Dropout(0.5)(backbone(pooling="avg")(inputs))))


def _head_is_a_model():
    pooled = keras.Input((5,))
    head = keras.Model(pooled, classifier()(layers.Dropout(0.5)(pooled)), name="head")
    inputs = _input()
    return keras.Model(inputs, head(layers.GlobalAveragePooling2D()(backbone()(inputs))))


def _whole_classifier_nested():
    inputs = _input()
    return keras.Model(inputs, _functional()(layers.Rescaling(2.0, offset=-1.0)(inputs)))


def _equally_named_backbones():
    """Both hold layers conv_1, norm_1, relu_1, conv_2; the second reads the maps of the first."""
    inputs = _input()
    first = backbone("first")(inputs)
    smaller = keras.Input((6, 10, 5))
    second = keras.Model(smaller, _features(smaller), name="second")(first)
    return keras.Model(inputs, classifier()(layers.GlobalAveragePooling2D()(second)))


def _shared_layer():
    inputs = _input()
    again = layers.Conv2D(3, 3, padding="same", activation="relu")
    return keras.Model(inputs, classifier()(layers.GlobalAveragePooling2D()(again(again(inputs)))))


def _residual():
    """The feature maps are made by an addition, which is an operation and no layer."""
    inputs = _input()
    x = _features(inputs)
    x = x + layers.SeparableConv2D(5, 3, padding="same")(x)
    return keras.Model(inputs, classifier()(layers.GlobalAveragePooling2D()(x)))


def _augmented():
    return keras.Sequential(
        [
            _input(),
            layers.RandomFlip("horizontal_and_vertical"),
            layers.RandomRotation(0.3),
            layers.Rescaling(2.0, offset=-1.0),
            layers.GaussianNoise(0.5),
            *_layers(),
        ]
    )


def _mean_operation():
    inputs = _input()
    return keras.Model(inputs, classifier()(keras.ops.mean(_features(inputs), axis=(1, 2))))


def _mean_operation_keepdims():
    inputs = _input()
    pooled = keras.ops.mean(_features(inputs), axis=[-3, -2], keepdims=True)
    return keras.Model(inputs, classifier()(layers.Flatten()(pooled)))


def _convolution_as_head():
    inputs = _input()
    x = layers.GlobalAveragePooling2D(keepdims=True)(_features(inputs))
    x = layers.Flatten()(layers.Conv2D(NUM_CLASSES, 1)(x))
    return keras.Model(inputs, layers.Softmax()(x))


def _class_maps_then_pooling():
    inputs = _input()
    x = layers.Conv2D(NUM_CLASSES, 1)(_features(inputs))
    return keras.Model(inputs, layers.Activation("softmax")(layers.GlobalAveragePooling2D()(x)))


def _any_size():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, classifier()(layers.GlobalAveragePooling2D()(_features(inputs))), name="any_size")


def _mixed(policy):
    def build():
        with _policy(policy):
            softmax = layers.Activation("softmax", dtype="float32")
            return _ends_in(layers.Dropout(0.2), classifier(activation=None), softmax)

    return build


BUILDERS = {
    "functional": _functional,
    "Sequential": _sequential,
    "Sequential built by a call": _sequential_built_by_call,
    "nested": _nested,
    "nested in Sequential": _nested_in_sequential,
    "Sequential in Sequential": _sequential_in_sequential,
    "nested two deep": _two_deep,
    "pooling inside the backbone": _pooling_inside,
    "head is a model": _head_is_a_model,
    "whole classifier nested": _whole_classifier_nested,
    "equally named backbones": _equally_named_backbones,
    "layer called twice": _shared_layer,
    "residual": _residual,
    "augmentation in front": _augmented,
    "softmax layer": lambda: _ends_in(classifier(activation=None), layers.Softmax()),
    "softmax operation": lambda: _ends_in(classifier(activation=None), keras.ops.softmax),
    "logits": lambda: _ends_in(classifier(activation=None)),
    "multi-label": lambda: _ends_in(classifier(activation="sigmoid")),
    "one unit": lambda: _ends_in(classifier(1, activation="sigmoid")),
    "one unit, sigmoid operation": lambda: _ends_in(classifier(1, activation=None), keras.ops.sigmoid),
    "no bias": lambda: _ends_in(classifier(use_bias=False)),
    "batch norm in the head": lambda: _ends_in(layers.Dropout(0.5), layers.BatchNormalization(), classifier()),
    "bare batch norm in the head": lambda: _ends_in(layers.BatchNormalization(center=False, scale=False), classifier()),
    "batch norm last": lambda: _ends_in(classifier(activation=None), layers.BatchNormalization(), layers.Softmax()),
    "two Dense": lambda: _ends_in(layers.Dense(7), layers.BatchNormalization(), layers.Dropout(0.5), classifier()),
    "mean operation": _mean_operation,
    "mean operation, keepdims": _mean_operation_keepdims,
    "convolution as head": _convolution_as_head,
    "class maps, then pooling": _class_maps_then_pooling,
    "any size": _any_size,
    "mixed_float16": _mixed("mixed_float16"),
    "mixed_bfloat16": _mixed("mixed_bfloat16"),
}
ONE_UNIT = ("one unit", "one unit, sigmoid operation")
