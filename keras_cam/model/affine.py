"""Affine heads by algebra: pooled features to logits as one matrix and one bias, read from the live layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_cam.graph.operations import activation_of, is_layer, passes_through
from keras_cam.graph.program import Step
from keras_cam.model.cut import Cut

Tensor = Any
FULL_CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D"}  # of one cell they are a Dense layer


def can_fold(cut: Cut) -> bool:
    """Whether the head is a pooled map and then a plain chain of layers that `fold` knows."""
    return len(cut.features) == 1 and cut.features[0].pooled and unfoldable_step(cut) is None


def unfoldable_step(cut: Cut) -> Step | None:
    """The first step of the head that `fold` does not know; None where there is none."""
    previous = cut.features[0].head_input
    for step in cut.steps:
        if step.inputs != (previous,) or not _is_foldable(step, cut):
            return step
        previous = step.outputs[0]
    return None


def fold(cut: Cut, select: Callable[[Tensor], Tensor] = lambda matrix: matrix) -> tuple[Tensor, Tensor]:
    """The head as one affine map, read from the live variables: `logits = pooled @ weights + bias`.

    Args:
        cut: a cut that `can_fold`.
        select: takes the classes to keep out of the last axis of a matrix or a vector; default: all.

    Returns:
        `(weights, bias)`: float32 (K, C) and (C,), the last axis as `select` leaves it.
    """
    weights = bias = None
    for step in reversed(cut.steps):
        stage = _stage(step.operation)
        if stage is None:
            continue
        matrix, offset = stage
        if weights is None:
            matrix = ops.diag(matrix) if len(matrix.shape) == 1 else matrix
            weights, bias = select(matrix), select(offset)
            continue
        bias = bias + ops.einsum("k,k...->...", offset, weights)
        scales = len(matrix.shape) == 1
        weights = ops.einsum("k,k...->k...", matrix, weights) if scales else ops.tensordot(matrix, weights, axes=1)
    if weights is None:  # the channels are the classes
        channels = cut.program.shape(cut.logits)[-1]
        weights, bias = select(ops.eye(channels)), select(ops.zeros(channels))
    return weights, bias


def _stage(layer: Any) -> tuple[Tensor, Tensor] | None:
    """Matrix (K, C) or scale (K,) of an affine layer and its offset; None for a layer that passes through."""
    if is_layer(layer, FULL_CONVOLUTIONS | {"Dense"}):
        kernel = ops.cast(layer.kernel, "float32")
        kernel = ops.reshape(kernel, kernel.shape[-2:])
        return kernel, ops.zeros(kernel.shape[-1]) if layer.bias is None else ops.cast(layer.bias, "float32")
    if is_layer(layer, {"BatchNormalization"}):
        scale = ops.rsqrt(ops.cast(layer.moving_variance, "float32") + layer.epsilon)
        if layer.scale:
            scale = scale * ops.cast(layer.gamma, "float32")
        offset = -ops.cast(layer.moving_mean, "float32") * scale
        return scale, offset + ops.cast(layer.beta, "float32") if layer.center else offset
    return None


def _is_foldable(step: Step, cut: Cut) -> bool:
    layer = step.operation
    if getattr(layer, "quantization_mode", None) is not None:
        return False
    if is_layer(layer, FULL_CONVOLUTIONS):
        shape = cut.program.shape(step.inputs[0])
        on_one_cell = layer.data_format == "channels_last" and all(length == 1 for length in shape[1:-1])
        return on_one_cell and set(layer.kernel_size) == {1} and layer.groups == 1 and activation_of(layer) == "linear"
    if is_layer(layer, {"Dense"}):
        return activation_of(layer) == "linear"
    return is_layer(layer, {"BatchNormalization"}) or passes_through(layer)
