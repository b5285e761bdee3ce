"""Tiny models of one operation each: a case or more for every rule of the table of places.

The first word of a case's name is the class of the layer or operation that it is about.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from support.measured_places import check_centres, check_largest, check_windows

from keras_cam.graph.place import Place


@dataclass(frozen=True)
class Case:
    """A model of one operation.

    Attributes:
        build: makes what comes out of the symbolic image, and of further inputs.
        shape: of the image, channels last.
        others: shapes of further inputs.
        keeps: the axes of the image that what comes out has a place along; default: all of them.
        check: how the place is compared with what is measured.
    """

    build: Callable[..., Any]
    shape: tuple[int, ...] = (8, 6, 4)
    others: tuple[tuple[int, ...], ...] = ()
    keeps: tuple[int, ...] | None = None
    check: Callable[..., None] = check_windows

    def model(self):
        inputs = [keras.Input(shape) for shape in (self.shape, *self.others)]
        return keras.Model(inputs if self.others else inputs[0], self.build(*inputs))

    @property
    def expected(self):
        return set(range(len(self.shape) - 1)) if self.keeps is None else set(self.keeps)


def on(make_layer, shape=(8, 6, 4), **options):
    """A case of one layer, made anew for each model."""
    return Case(lambda x: make_layer()(x), shape, **options)


def names(row):
    """The words of a row."""
    return row.split()


def tokens(x):
    """An image as a row of tokens, row by row."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


def weights(*shape):
    return np.random.default_rng(0).uniform(0.5, 1, size=shape).astype("float32")


class Token(layers.Layer):
    """Puts a learned token in front, as many times as there are images."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="ones")

    def call(self, x):
        return ops.concatenate([ops.repeat(self.token, ops.shape(x)[0], axis=0), x], axis=1)


SIGNAL, FILM, VOLUME, SMALL = (12, 4), (3, 6, 5, 2), (6, 5, 4, 2), (4, 6, 4)
POSITIVE = keras.initializers.RandomUniform(0.5, 1.0, seed=0)  # lets nothing cancel out
ONE = {"kernel_initializer": POSITIVE}
DEEP = {"depthwise_initializer": POSITIVE}
BOTH = {**DEEP, "pointwise_initializer": POSITIVE}
FIRST = {"data_format": "channels_first"}


def of_all_channels(changed, place):
    """The windows of patches, of which each channel has one pixel."""
    joined = changed.reshape(*changed.shape[:-1], -1, place.axes[-1].length).max(axis=-1)
    check_windows(joined, Place(place.axes[:-1]))


PATCHES = {"check": of_all_channels}
near = partial(check_centres, tolerance=0.5 + 1e-6)  # nearest neighbours lie half a pixel beside their place

WINDOWS = {
    "Conv1D": on(lambda: layers.Conv1D(3, 4, 2, "same", **ONE), SIGNAL),
    "Conv1D causal": on(lambda: layers.Conv1D(3, 3, padding="causal", **ONE), SIGNAL),
    "Conv1D of one cell over tokens": Case(lambda x: layers.Conv1D(3, 1, **ONE)(tokens(x))),
    "Conv1D over tokens": Case(lambda x: layers.Conv1D(3, 3, **ONE)(tokens(x)), keeps=()),
    "Conv2D": on(lambda: layers.Conv2D(3, 3, **ONE)),
    "Conv2D same": on(lambda: layers.Conv2D(3, (3, 4), 2, "same", **ONE)),
    "Conv2D stride 3": on(lambda: layers.Conv2D(3, 5, 3, "same", **ONE), (11, 7, 2)),
    "Conv2D dilated": on(lambda: layers.Conv2D(3, 3, padding="same", dilation_rate=2, **ONE), check=check_centres),
    "Conv2D groups": on(lambda: layers.Conv2D(4, 3, padding="same", groups=2, **ONE)),
    "Conv2D channels first": on(lambda: layers.Conv2D(3, 3, 2, **ONE, **FIRST), (8, 6, 4)),
    "Conv3D": on(lambda: layers.Conv3D(2, (2, 3, 1), **ONE), VOLUME),
    "DepthwiseConv1D": on(lambda: layers.DepthwiseConv1D(3, 2, **DEEP), SIGNAL),
    "DepthwiseConv2D": on(lambda: layers.DepthwiseConv2D(3, 2, "same", 2, **DEEP)),
    "SeparableConv1D": on(lambda: layers.SeparableConv1D(3, 3, 2, "same", **BOTH), SIGNAL),
    "SeparableConv2D": on(lambda: layers.SeparableConv2D(3, 3, **BOTH)),
    "SpectralNormalization": on(lambda: layers.SpectralNormalization(layers.Conv2D(3, 3, 2, **ONE))),
    "Conv1DTranspose": on(lambda: layers.Conv1DTranspose(3, 4, 2, "same", **ONE), (6, 4), check=near),
    "Conv2DTranspose": on(lambda: layers.Conv2DTranspose(3, 2, 2, **ONE), SMALL, check=near),
    "Conv2DTranspose same": on(lambda: layers.Conv2DTranspose(3, 3, 1, "same", **ONE), SMALL),
    "Conv2DTranspose every third": on(lambda: layers.Conv2DTranspose(3, 3, 3, "same", **ONE), SMALL, check=near),
    "Conv2DTranspose padded": on(lambda: layers.Conv2DTranspose(3, 3, 2, output_padding=1), SMALL, keeps=()),
    "Conv3DTranspose": on(lambda: layers.Conv3DTranspose(2, 2, 2, **ONE), (3, 3, 3, 2), check=near),
    "ops.Conv": Case(lambda x: ops.conv(x, weights(3, 3, 4, 5), 2, "same")),
    "ops.Conv of the image": Case(
        lambda x, kernel: ops.conv(kernel, x[0, :3, :3, :, None], 1), others=((8, 6, 4),), keeps=()
    ),
    "ops.DepthwiseConv": Case(lambda x: ops.depthwise_conv(x, weights(3, 3, 4, 2), 2, "same")),
    "ops.SeparableConv": Case(lambda x: ops.separable_conv(x, weights(3, 2, 4, 1), weights(1, 1, 4, 5), 1, "valid")),
    "ConvLSTM1D": on(lambda: layers.ConvLSTM1D(2, 3, padding="same", return_sequences=True, **ONE), (1, 6, 2)),
    "ConvLSTM2D": on(lambda: layers.ConvLSTM2D(2, 3, 2, "same", return_sequences=True, **ONE), (1, 6, 5, 2)),
    "ConvLSTM2D of frames": on(
        lambda: layers.ConvLSTM2D(2, 1, return_sequences=True, **ONE), FILM, check=check_largest
    ),
    "ConvLSTM2D of the last frame": on(lambda: layers.ConvLSTM2D(2, 1, 2, **ONE), FILM, keeps=(1, 2)),
    "ConvLSTM3D": on(lambda: layers.ConvLSTM3D(2, 2, return_sequences=True, **ONE), (1, 3, 2, 2, 1)),
    "MaxPooling1D": on(lambda: layers.MaxPooling1D(3), SIGNAL),
    "MaxPooling2D": on(lambda: layers.MaxPooling2D(3, 2, "same")),
    "MaxPooling3D": on(lambda: layers.MaxPooling3D(2), VOLUME),
    "AveragePooling1D": on(lambda: layers.AveragePooling1D(3, 1, "same"), SIGNAL),
    "AveragePooling2D": on(lambda: layers.AveragePooling2D((2, 3))),
    "AveragePooling3D": on(lambda: layers.AveragePooling3D(2, 1), VOLUME),
    "ops.MaxPool": Case(lambda x: ops.max_pool(x, 3, 2, "same")),
    "ops.AveragePool": Case(lambda x: ops.average_pool(x, 2)),
    "AdaptiveMaxPooling1D": on(lambda: layers.AdaptiveMaxPooling1D(4), SIGNAL),
    "AdaptiveMaxPooling2D": on(lambda: layers.AdaptiveMaxPooling2D((4, 3))),
    "AdaptiveMaxPooling3D": on(lambda: layers.AdaptiveMaxPooling3D((3, 5, 2)), VOLUME),
    "AdaptiveAveragePooling1D": on(lambda: layers.AdaptiveAveragePooling1D(6), SIGNAL),
    "AdaptiveAveragePooling2D": on(lambda: layers.AdaptiveAveragePooling2D(2)),
    "AdaptiveAveragePooling2D uneven": on(lambda: layers.AdaptiveAveragePooling2D(5), keeps=()),
    "AdaptiveAveragePooling3D": on(lambda: layers.AdaptiveAveragePooling3D((2, 1, 2)), VOLUME),
    "ops.AdaptiveMaxPool": Case(lambda x: ops.adaptive_max_pool(x, (2, 2), "channels_first"), (4, 8, 6)),
    "ops.AdaptiveAveragePool": Case(lambda x: ops.adaptive_average_pool(x, (4, 2), "channels_first"), (4, 8, 6)),
    "GlobalAveragePooling1D": on(lambda: layers.GlobalAveragePooling1D(keepdims=True), SIGNAL),
    "GlobalAveragePooling1D of tokens": Case(lambda x: layers.GlobalAveragePooling1D()(tokens(x)), keeps=()),
    "GlobalAveragePooling2D": on(lambda: layers.GlobalAveragePooling2D(keepdims=True)),
    "GlobalAveragePooling2D to a row": on(layers.GlobalAveragePooling2D, keeps=()),
    "GlobalAveragePooling3D": on(lambda: layers.GlobalAveragePooling3D(keepdims=True), VOLUME),
    "GlobalMaxPooling1D": on(lambda: layers.GlobalMaxPooling1D(keepdims=True), SIGNAL),
    "GlobalMaxPooling2D": on(lambda: layers.GlobalMaxPooling2D(keepdims=True)),
    "GlobalMaxPooling3D": on(lambda: layers.GlobalMaxPooling3D(keepdims=True), VOLUME),
    "ZeroPadding1D": on(lambda: layers.ZeroPadding1D((2, 1)), SIGNAL),
    "ZeroPadding2D": on(lambda: layers.ZeroPadding2D(((1, 2), (3, 0)))),
    "ZeroPadding3D": on(lambda: layers.ZeroPadding3D(((1, 2), (0, 1), (2, 0))), VOLUME),
    "Cropping1D": on(lambda: layers.Cropping1D((2, 1)), SIGNAL),
    "Cropping2D": on(lambda: layers.Cropping2D(((1, 2), (3, 0)))),
    "Cropping3D": on(lambda: layers.Cropping3D(((1, 2), (0, 1), (2, 0))), VOLUME),
    "CenterCrop": on(lambda: layers.CenterCrop(5, 3)),
    "CenterCrop of a small image": on(lambda: layers.CenterCrop(9, 5), keeps=()),
    "ops.Pad": Case(lambda x: ops.pad(x, ((0, 0), (1, 2), (3, 0), (0, 1))), **PATCHES),
    "ops.Pad round tokens": Case(lambda x: ops.pad(tokens(x), ((0, 0), (1, 2), (0, 0)))),
    "UpSampling1D": on(lambda: layers.UpSampling1D(3), SIGNAL, check=near),
    "UpSampling2D": on(lambda: layers.UpSampling2D((2, 3)), check=near),
    "UpSampling2D bilinear": on(lambda: layers.UpSampling2D(2, interpolation="bilinear"), check=near),
    "UpSampling3D": on(lambda: layers.UpSampling3D(2), VOLUME, check=near),
    "Resizing": on(lambda: layers.Resizing(5, 9), check=near),
    "Resizing cropped": on(lambda: layers.Resizing(3, 4, crop_to_aspect_ratio=True), (13, 8, 2), check=near),
    "Resizing padded": on(lambda: layers.Resizing(10, 7, pad_to_aspect_ratio=True), (10, 4, 2), check=near),
    "ops.Resize": Case(lambda x: ops.image.resize(x, (4, 3), "nearest"), check=near),
    "ops.Resize bicubic": Case(lambda x: ops.image.resize(x, (12, 9), "bicubic"), (12, 10, 2), check=near),
    "ops.Resize antialiased": Case(lambda x: ops.image.resize(x, (6, 5), antialias=True), (12, 10, 2), check=near),
    "ops.ExtractPatches": Case(lambda x: ops.image.extract_patches(x, 2), **PATCHES),
    "ops.ExtractPatches that overlap": Case(
        lambda x: ops.image.extract_patches(x, (3, 2), (2, 1), padding="same"), **PATCHES
    ),
    "ops.ExtractPatches of a volume": Case(lambda x: ops.image.extract_patches(x, (2, 1, 2)), VOLUME, **PATCHES),
    "ops.DepthToSpace": Case(lambda x: ops.nn.depth_to_space(x, 2), check=near),
    "ops.SpaceToDepth": Case(lambda x: ops.nn.space_to_depth(x, 2), **PATCHES),
}
SHAPES = {
    "Permute": on(lambda: layers.Permute((3, 2, 1))),
    "ops.Transpose": Case(lambda x: ops.transpose(x, (0, 2, 3, 1))),
    "ops.Transpose of all axes": Case(lambda x: ops.transpose(ops.transpose(x))),
    "ops.Moveaxis": Case(lambda x: ops.moveaxis(x, -1, 1)),
    "ops.Moveaxis of two": Case(lambda x: ops.moveaxis(x, (1, 3), (3, 2))),
    "ops.Swapaxes": Case(lambda x: ops.swapaxes(x, 1, -1)),
    "Reshape": on(lambda: layers.Reshape((48, 4))),
    "ops.Reshape of all but the images": Case(lambda x: ops.reshape(x, (-1, 48, 4))),
    "ops.Reshape into the batch": Case(lambda x: ops.reshape(x, (-1, 6, 4))),
    "ops.Reshape with an open length": Case(lambda x: ops.reshape(x, (-1, 4, 2, 24))),
    "ops.Reshape that tears rows": Case(lambda x: ops.reshape(x, (-1, 3, 16, 4)), keeps=()),
    "Flatten": on(layers.Flatten),
    "ops.Ravel": Case(lambda x: ops.ravel(x)),
    "ops.Squeeze": Case(lambda x: ops.squeeze(x[:, None, :, :, :1])),
    "ops.Squeeze one": Case(lambda x: ops.squeeze(x[:, None, :, :, :1], 1)),
    "ops.ExpandDims": Case(lambda x: ops.expand_dims(x, (1, -1))),
    "RepeatVector": Case(lambda x: layers.RepeatVector(3)(ops.mean(x, (1, 2))), keeps=()),
    "ops.BroadcastTo": Case(lambda x: ops.broadcast_to(x[:, :, None], (49, 8, 2, 6, 4))),
    "ops.Repeat": Case(lambda x: ops.repeat(x, 3, axis=-1)),
    "ops.Repeat of rows": Case(lambda x: layers.MaxPooling2D(3, 1)(ops.repeat(x, 2, axis=1)), check=near),
    "ops.Repeat of all": Case(lambda x: ops.repeat(x[..., :2], 2), keeps=()),
    "ops.Tile": Case(lambda x: ops.tile(x, (1, 1, 1, 2))),
    "ops.Tile of rows": Case(lambda x: ops.tile(x, (1, 2, 1, 1)), keeps=()),
    "Concatenate": Case(lambda x: layers.Concatenate()([x, ops.exp(x)])),
    "ops.Concatenate of tokens": Case(
        lambda x, more: ops.concatenate([more, tokens(x), more], axis=1), others=((3, 4),)
    ),
    "ops.Concatenate of an array": Case(lambda x: ops.concatenate([np.ones((49, 8, 6, 2)), x], axis=-1), **PATCHES),
    "ops.Concatenate of two images": Case(lambda x: ops.concatenate([x, x], axis=1), keeps=(1,)),
    "ops.Stack": Case(lambda x: ops.stack([x, ops.exp(x)], axis=1)),
    "ops.Flip": Case(lambda x: ops.flip(x, axis=2)),
    "ops.Flip of all": Case(lambda x: ops.flip(x, axis=(1, 2, 3))),
    "ops.Flip of tokens": Case(lambda x: ops.flip(Token()(tokens(x)), axis=1)),
    "ops.Rot90": Case(lambda x: ops.rot90(x, 1, axes=(1, 2))),
    "ops.Rot90 twice": Case(lambda x: ops.rot90(x, 2, axes=(1, 2)), (6, 6, 4)),
    "ops.Rot90 back": Case(lambda x: ops.rot90(x, -1, axes=(2, 1))),
    "ops.Roll": Case(lambda x: ops.roll(x, (3, -2), axis=(1, 2))),
    "ops.Roll of channels": Case(lambda x: ops.roll(x, 1, axis=-1)),
    "ops.Roll of all": Case(lambda x: ops.roll(x, 1), keeps=()),
    "ops.Roll and windows": Case(lambda x: layers.Conv2D(2, 3)(ops.roll(x, 1, axis=1)), keeps=()),
    "ops.ForEachImage": Case(lambda x: Token()(tokens(x))),
    "ops.GetItem": Case(lambda x: x[:, 1:7:2, ::-1, None, 0]),
    "ops.GetItem of tokens": Case(lambda x: Token()(tokens(x))[:, 1:]),
    "ops.GetItem of the class token": Case(lambda x: Token()(tokens(x))[:, 0], keeps=()),
    "ops.GetItem of one pixel of each block": Case(lambda x: ops.reshape(x, (-1, 4, 2, 6, 4))[:, :, 1], keeps=(1,)),
    "ops.GetItem of a row": Case(lambda x: x[:, 2], keeps=(1,)),
    "ops.GetItem of some tokens": Case(lambda x: tokens(x)[:, :10], keeps=()),
    "ops.Slice": Case(lambda x: ops.slice(x, (0, 2, 1, 0), (-1, -1, 3, 2))),
    "ops.Take": Case(lambda x: ops.take(x, [0, 2, 2], axis=-1)),
    "ops.Take of rows": Case(lambda x: ops.take(x, weights(2, 2).astype("int32"), axis=1), keeps=(1,)),
    "ops.Split": Case(lambda x: ops.split(x, 2, axis=2)),
    "ops.Split at numbers": Case(lambda x: ops.split(x, [1, 3], axis=-1)),
    "ops.Unstack": Case(lambda x: ops.unstack(x, axis=-1)),
    "ops.Unstack of rows": Case(lambda x: ops.unstack(x, axis=1), keeps=(1,)),
}
LARGEST = {"check": check_largest}
HEADS = {"num_heads": 2, "key_dim": 3}
PRODUCTS = {
    "Dense": on(lambda: layers.Dense(5, **ONE)),
    "Dense of patches": Case(
        lambda x: layers.Dense(5, **ONE)(
            ops.reshape(ops.transpose(ops.reshape(x, (-1, 4, 2, 2, 3, 4)), (0, 1, 3, 2, 4, 5)), (-1, 8, 24))
        )
    ),
    "Dense over columns": Case(lambda x: layers.Dense(5, **ONE)(ops.swapaxes(x, 2, 3)), keeps=(0,)),
    "EinsumDense": on(lambda: layers.EinsumDense("bhwc,cd->bdwh", (5, 6, 8), **ONE)),
    "EinsumDense of heads": Case(lambda x: layers.EinsumDense("...c,chd->...hd", (2, 3), **ONE)(tokens(x))),
    "ops.Matmul": Case(lambda x: ops.matmul(x, weights(4, 5))),
    "ops.Matmul of a row": Case(lambda x: ops.matmul(x, weights(4))),
    "ops.Matmul from the left": Case(lambda x: ops.matmul(weights(5, 8), ops.transpose(x, (0, 3, 1, 2))), keeps=(1,)),
    "ops.Matmul of two": Case(lambda x, more: ops.matmul(tokens(x), more), others=((4, 7),)),
    "ops.Matmul to a Gram matrix": Case(lambda x: ops.matmul(ops.transpose(tokens(x), (0, 2, 1)), tokens(x)), keeps=()),
    "ops.Einsum": Case(lambda x: ops.einsum("bhwc,cd->bdhw", x, weights(4, 5))),
    "ops.Einsum without an arrow": Case(lambda x: ops.einsum("bhwc,cd", x, weights(4, 5)), keeps=()),
    "ops.Einsum behind dots": Case(lambda x: ops.einsum("...c,dc->...d", x, weights(5, 4))),
    "ops.Einsum to a Gram matrix": Case(lambda x: ops.einsum("bhwc,bhwd->bcd", x, x), keeps=()),
    "ops.Dot": Case(lambda x: ops.dot(x, weights(4, 5))),
    "ops.Dot of a row": Case(lambda x: ops.dot(x, weights(4))),
    "ops.Dot with an array in front": Case(lambda x: ops.swapaxes(ops.dot(weights(3, 6), x), 0, 1), keeps=(0,)),
    "ops.Tensordot": Case(lambda x: ops.tensordot(x, weights(4, 5), axes=1)),
    "ops.Tensordot over columns": Case(lambda x: ops.tensordot(x, weights(6, 4, 5), axes=2), keeps=(0,)),
    "Dot": Case(lambda x, more: layers.Dot(axes=2)([tokens(x), more]), others=((5, 4),)),
    "Dot over tokens": Case(lambda x, more: layers.Dot(axes=(1, 2))([tokens(x), more]), others=((5, 48),), keeps=()),
    "MultiHeadAttention": Case(
        lambda x, more: layers.MultiHeadAttention(**HEADS)(tokens(x), more), **LARGEST, others=((5, 4),)
    ),
    "MultiHeadAttention of rows": Case(
        lambda x, more: layers.MultiHeadAttention(**HEADS, attention_axes=(2,))(x, more),
        check=check_largest,
        others=((8, 6, 4),),
    ),
    "MultiHeadAttention and scores": Case(
        lambda x, more: layers.MultiHeadAttention(**HEADS, output_shape=5)(
            tokens(x), more, return_attention_scores=True
        )[0],
        check=check_largest,
        others=((5, 4),),
    ),
    "MultiHeadAttention of latents": Case(
        lambda x, more: layers.MultiHeadAttention(**HEADS)(more, tokens(x)),
        check=check_largest,
        others=((5, 4),),
        keeps=(),
    ),
    "GroupedQueryAttention": Case(
        lambda x, more: layers.GroupQueryAttention(3, 2, 1)(tokens(x), more), **LARGEST, others=((5, 4),)
    ),
    "Attention": Case(lambda x, more: layers.Attention()([tokens(x), more]), **LARGEST, others=((5, 4),)),
    "AdditiveAttention": Case(
        lambda x, more: layers.AdditiveAttention()([tokens(x), more]), **LARGEST, others=((5, 4),)
    ),
    "ops.DotProductAttention": Case(
        lambda x, more: ops.dot_product_attention(ops.reshape(x, (-1, 48, 2, 2)), more, more),
        check=check_largest,
        others=((5, 2, 2),),
    ),
}
REDUCTIONS = {
    f"ops.{name}": Case(lambda x, name=name: getattr(ops, name.lower())(x, axis=(1,), keepdims=True))
    for name in names("""
    Mean Sum Max Amax Min Amin Prod Std Var Logsumexp Nanmean Nansum Nanmax Nanmin Ptp
""")
} | {
    "ops.Norm": Case(lambda x: ops.norm(x, axis=-1)),
    "ops.Average": Case(lambda x: ops.average(x, axis=1), keeps=(1,)),
    "ops.Any": Case(lambda x: ops.cast(ops.any(x < 0, axis=-1), "float32")),
    "ops.All": Case(lambda x: ops.cast(ops.all(x > 0, axis=-1), "float32")),
    "ops.CountNonzero": Case(lambda x: ops.count_nonzero(x > 0, axis=-1)),
    "ops.Median": Case(lambda x: ops.median(x, axis=-1)),
    "ops.Mean of rows": Case(lambda x: ops.mean(x, axis=1), keeps=(1,)),
    "ops.Mean of all": Case(lambda x: ops.mean(x), keeps=()),
    "ops.Mean of weights of attention": Case(
        lambda x: ops.mean(ops.matmul(tokens(x), ops.transpose(tokens(x), (0, 2, 1))), axis=1, keepdims=True),
        check=check_largest,
    ),
}


def name_in_ops(kind):
    """The name of the function of `keras.ops` behind a class of operations: LogSoftmax, log_softmax."""
    spelled = {"Celu": "celu", "NanToNum": "nan_to_num", "TrueDivide": "true_divide", "FloorDivide": "floor_divide"}
    return spelled.get(kind, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower())


def of_two(name):
    """A case of an operation on the image and an array that is longer along one axis."""
    return Case(lambda x: getattr(ops, name_in_ops(name))(x[..., :1], weights(6, 5)))


ON_TWO = """Add Subtract Multiply Power Maximum Minimum Mod FloorDivide Arctan2 Logaddexp Divide TrueDivide
    DivideNoNan Fmax Fmin Fmod Hypot Heaviside Logaddexp2 Greater GreaterEqual Less LessEqual"""
MEETING = {
    **{
        name: Case(lambda x, name=name: getattr(layers, name)()([x, ops.exp(x)]))
        for name in names("Add Subtract Average Multiply Maximum Minimum")
    },
    **{
        f"{name} of a row": Case(lambda x, row, name=name: getattr(layers, name)()([row, x]), others=((4,),))
        for name in ["Add", "Multiply", "Maximum"]
    },
    **{f"ops.{name}": of_two(name) for name in names(ON_TWO)},
    "ops.Equal": Case(lambda x: ops.equal(ops.sign(x), 1)),
    "ops.NotEqual": Case(lambda x: ops.not_equal(ops.sign(x), 1)),
    "ops.LogicalAnd": Case(lambda x: ops.logical_and(x > 0, ops.ones((6, 4), "bool"))),
    "ops.LogicalOr": Case(lambda x: ops.logical_or(x > 0, ops.zeros((6, 4), "bool"))),
    "ops.LogicalXor": Case(lambda x: ops.logical_xor(x > 0, ops.ones((6, 4), "bool"))),
    "Add of fewer axes": Case(
        lambda x, more: layers.Add()([ops.mean(x, axis=2), more]), others=((5, 8, 4),), keeps=(0,)
    ),
    "ops.Where": Case(lambda x: ops.where(x > 0, x, weights(8, 1, 4))),
    "ops.Add of a row of tokens": Case(lambda x: ops.add(weights(1, 48, 4), tokens(x))),
    "ops.Add of two that are mirrored": Case(lambda x: ops.add(x, ops.flip(x, 1)), keeps=(1,)),
}
KEPT_OPERATIONS = names("""
    Negative Copy StopGradient Log Log2 Log10 Rsqrt Reciprocal Erf Sign Floor Ceil Round Softmax
    LogSoftmax Sigmoid NanToNum Tan Sinh Cosh Exp2 Square Relu Relu6 LeakyRelu Elu Selu Celu Gelu
    Silu HardSilu HardSigmoid LogSigmoid Tanh HardTanh Softplus Softsign Squareplus Absolute
    Sqrt Exp Expm1 Log1p Sin Cos Arctan Normalize Erfc Trunc Fabs Cbrt Sparsemax SparseSigmoid HardShrink
    SoftShrink TanhShrink SparsePlus Arcsinh Arccosh
""")
KEPT = {
    **{f"ops.{name}": Case(lambda x, name=name: getattr(ops, name_in_ops(name))(x)) for name in KEPT_OPERATIONS},
    "ops.Cast": Case(lambda x: ops.cast(x, "float16")),
    **{
        f"ops.{name}": Case(lambda x, name=name: getattr(ops, name.lower())(x / 4))
        for name in ["Arcsin", "Arccos", "Arctanh"]
    },
    "ops.SaturateCast": Case(lambda x: ops.saturate_cast(x * 100, "int8")),
    "ops.Threshold": Case(lambda x: ops.threshold(x, 0.5, 0.0)),
    "ops.LogicalNot": Case(lambda x: ops.logical_not(x > 0)),
    "ops.Isnan": Case(lambda x: ops.isnan(ops.sqrt(x))),
    "ops.Isinf": Case(lambda x: ops.isinf(ops.exp(-100 * x))),
    "ops.Isfinite": Case(lambda x: ops.isfinite(ops.sqrt(x))),
    "ops.Clip": Case(lambda x: ops.clip(x, -2, 2)),
    "ops.BatchNorm": Case(lambda x: ops.batch_normalization(x, weights(4), weights(4), -1)),
    "ops.LayerNorm": Case(lambda x: ops.layer_normalization(x)),
    "ops.RMSNorm": Case(lambda x: ops.rms_normalization(x)),
    "ops.Softmax over tokens": Case(lambda x: ops.softmax(x, axis=1), check=check_largest),
    **{
        name: on(lambda name=name: getattr(layers, name)(*ARGUMENTS.get(name, ())))
        for name in names("""
    Dropout SpatialDropout2D AlphaDropout GaussianDropout GaussianNoise ActivityRegularization
    Identity Activation Softmax BatchNormalization Rescaling Normalization Masking
    LayerNormalization RMSNormalization UnitNormalization ReLU LeakyReLU PReLU ELU
""")
    },
    "SpatialDropout1D": on(lambda: layers.SpatialDropout1D(0.5), SIGNAL),
    "SpatialDropout3D": on(lambda: layers.SpatialDropout3D(0.5), VOLUME),
    "GroupNormalization": on(lambda: layers.GroupNormalization(2), check=check_largest),
}
ARGUMENTS = {
    **dict.fromkeys(["Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"], (0.5,)),
    "Activation": ("gelu",),
    "Rescaling": (2.0,),
    "Normalization": (-1, np.ones(4, "float32"), np.ones(4, "float32")),
}
# What does something in training only, or to colors alone.
AUGMENTATIONS = {
    "RandomBrightness": (0.5,),
    "RandomContrast": (0.5,),
    "RandomColorJitter": ((0, 2),),
    "RandomColorDegeneration": (0.5, (0, 2)),
    "RandomHue": (0.5, (0, 2)),
    "RandomSaturation": (0.5, (0, 2)),
    "RandomFlip": (),
    "RandomRotation": (0.5,),
    "RandomTranslation": (0.5, 0.5),
    "RandomZoom": (0.5,),
    "RandomShear": (0.5, 0.5),
    "RandomGaussianBlur": (0.5,),
    "RandomInvert": (0.5, (0, 2)),
    "RandomErasing": (0.5,),
    "RandomGrayscale": (0.5,),
    "RandomPosterization": (4, (0, 2)),
    "RandomSharpness": (0.5, (0, 2)),
    "RandomPerspective": (0.5,),
    "RandomElasticTransform": (0.5,),
    "AugMix": ((0, 2),),
    "RandAugment": ((0, 2),),
    "Solarization": (0.0, 0.0, (0, 2)),
}
AUGMENTED = {
    name: on(lambda name=name, arguments=arguments: getattr(layers, name)(*arguments), (8, 6, 3))
    for name, arguments in AUGMENTATIONS.items()
}
CASES = {**WINDOWS, **SHAPES, **PRODUCTS, **REDUCTIONS, **MEETING, **KEPT, **AUGMENTED}
