"""Which model of the zoo stands for which kind: the first of each runs in every test, the others where it is cheap.

A test that is dear (it compiles, trains or saves each model anew) takes the representatives in the default run and all
the others in `tox -e sweep`: `@by_kind` says so.
"""

import pytest
from support.zoo import ZOO

KINDS = {  # kind: its models, the representative first
    # where the layers lie
    "flat graph": ("functional", "Sequential", "Sequential built by a call", "train_step of its own"),
    "nested backbone": (
        "nested two deep",
        "nested",
        "nested four deep",
        "nested Sequentials",
        "nested in Sequential",
        "KerasHub wiring",
        "backbone used elsewhere",
        "equally named backbones",
    ),
    "pooling or head in a model of its own": (
        "pooling inside, in Sequential",
        "pooling inside",
        "pooling three deep",
        "head is a model",
        "pooling and head are a model",
        "whole classifier nested",
        "classifier nested, softmax outside",
    ),
    "surgery": ("surgery on a nested layer", "surgery on an inner layer", "surgery on layers[-2]"),
    "branches": ("squeeze and excite", "residual", "Inception", "layer called twice"),
    "other convolutions": ("separable and depthwise", "SpectralNormalization", "custom subclass of Conv2D"),
    "layers in front": ("augmentation in front", "Lambda in front", "custom layer of raw TensorFlow in front"),
    "several scales": ("two scales, batch norm", "two scales", "three scales added"),
    # inputs and outputs
    "image and table": (
        "image and table, as a dict",
        "image and table",
        "image and table through layers",
        "image and table, then ReLU",
        "gate made from a table",
        "image and text",
    ),
    "two images": (
        "siamese, right",
        "siamese, left",
        "siamese, right by index",
        "siamese side by side",
        "siamese product",
        "siamese squared difference",
        "siamese subclassed backbone",
        "the same image twice",
    ),
    "flat pixels": ("flat pixels",),
    "several outputs": (
        "outputs in tuples",
        "output by index",
        "output by name",
        "output of a dict",
        "output inside",
        "output beyond it",
        "one output in a list",
    ),
    # callers' own
    "custom layers": (
        "everything is a custom layer",
        "backbone is a custom layer",
        "custom layer pools",
        "head is a custom layer",
        "head is a custom layer with a ReLU",
        "head computes with its weights",
        "custom layer in the head",
    ),
    "subclassed model": (
        "subclassed",
        "subclassed around a backbone",
        "subclassed in Sequential",
        "subclassed in and out by dict",
        "subclassed, reloaded",
        "subclassed, computes with its weights",
        "raw TensorFlow in call",
    ),
    # layouts and precisions
    "channels first": ("channels first, flat", "channels first", "channels first, mean"),
    "any size": ("any size, nested", "any size"),
    "float16": ("mixed_float16, ReLU", "mixed_float16", "mixed_float16, nested", "softmax in float32 after half"),
    "bfloat16": ("mixed_bfloat16", "mixed_bfloat16, all of it"),
    "float64": ("float64",),
    # what has been done to it
    "saved and copied": ("reloaded", "reloaded from HDF5", "cloned", "pickled", "from JSON"),
    "trained in part": ("frozen backbone", "fitted", "LoRA"),
    "quantized": ("int8", "int4"),
    # other ranks
    "signal": ("Conv1D", "Conv1D, flat"),
    "volume": ("Conv3D", "Conv3D, maximum", "TimeDistributed frames"),
    "tokens": (
        "ViT, prefix token in the mean",
        "ViT, mean",
        "ViT, norm and mean",
        "ViT, mean and norm",
        "ViT, mean of the patches",
    ),
    "class token": ("ViT, class token",),
    "scores that have no place": ("prefix token that reads nothing",),
    # the last activation
    "softmax": ("softmax layer", "softmax as Activation", "softmax operation", "log-softmax"),
    "logits": ("logits by the loss", "logits"),
    "one sigmoid unit": (
        "one sigmoid unit",
        "one sigmoid unit, as a layer",
        "one sigmoid unit, as an operation",
        "one sigmoid unit, flat",
        "one unit, sigmoid by the loss",
    ),
    "multi-label": ("multi-label",),
    "regression": ("regression, softplus", "regression", "one value", "regression, ReLU", "regression, tanh"),
    # affine heads
    "one matrix": ("two Dense", "no bias", "EinsumDense", "SpectralNormalization in the head"),
    "batch norm in the head": ("batch norm last", "batch norm", "batch norm before the pooling"),
    "temperature": ("temperature", "temperature as a Rescaling"),
    "convolution as head": (
        "1x1 convolution as head",
        "1x1 convolution and Reshape",
        "class maps, then pooling",
        "class maps, then mean",
        "Dense on every cell, then pooling",
    ),
    "mean by an operation": (
        "mean with keepdims",
        "mean operation",
        "mean, axis by axis",
        "sum over places",
        "Lambda mean",
        "AveragePooling over everything",
        "Reshape, then mean",
        "reshape operation, then mean",
    ),
    "affine where features are not negative": ("ReLU of the averages", "absolute averages"),
    # heads that know where
    "flattened": ("Flatten and MLP", "Flatten and Dense", "Flatten, no bias", "convolution over everything"),
    "pooled in part": ("partial pooling", "MaxPooling, Flatten and MLP", "AdaptiveAveragePooling", "mean of the rows"),
    "maximum": ("average beside maximum", "maximum", "maximum by an operation"),
    "power mean": ("GeM as a layer", "GeM of operations"),
    "attention": ("attention pooling", "attention between places, then mean"),
    # affine for each image
    "hidden rectifier": (
        "hidden ReLU",
        "hidden ReLU layer",
        "hidden ReLU operation",
        "hidden LeakyReLU and PReLU",
        "hard_silu, as in MobileNetV3",
    ),
    "hidden smooth activation": ("hidden GELU", "hidden sigmoid", "hidden tanh, SELU and swish"),
    "normalization": (
        "LayerNormalization, as in ConvNeXt",
        "LayerNormalization without scale",
        "RMSNormalization",
        "cosine",
        "cosine by operations",
        "cosine by ops.normalize",
    ),
    "gate or choice": ("gate on the averages", "maxout", "larger of two"),
    # not to be taken apart
    "recurrent": ("LSTM over the rows", "GRU over the cells", "Conv1D, LSTM"),
    "not affine": ("own non-linearity", "softmax in the middle", "GroupNormalization of the averages"),
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
# The first of a kind that there is: some models need TensorFlow.
REPRESENTATIVES = {kind: next((name for name in names if name in ZOO), None) for kind, names in KINDS.items()}


def representatives_of(names):
    """Of some models of the zoo, one for each kind: its representative, or the first of them."""
    first = {}
    for name in sorted(names, key=lambda name: name != REPRESENTATIVES[KIND_OF[name]]):
        first.setdefault(KIND_OF[name], name)
    return set(first.values())


def by_kind(names=ZOO):
    """Parametrize a test by models of the zoo: by one of each kind, and in the sweep by the others."""
    chosen = representatives_of(names)
    return pytest.mark.parametrize(
        "name", [name if name in chosen else pytest.param(name, marks=pytest.mark.sweep) for name in names]
    )
