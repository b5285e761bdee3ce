"""Maps brought to another size in a compiled graph, at any rank: one small matrix of weights per axis.

The same in NumPy, for pictures, is `keras_cam.imaging.resample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

Tensor = Any


def stretch(maps: Tensor, sizes: Sequence[Any], first_axis: int) -> Tensor:
    """Stretch maps linearly over their last or middle axes: half-pixel centres, edges repeated.

    Args:
        maps: float32 tensor.
        sizes: the new lengths (numbers or scalar tensors), one per axis.
        first_axis: the first axis to stretch; the others follow it.

    Returns:
        The stretched maps.
    """
    for axis, size in enumerate(sizes, start=first_axis):
        maps = resample_axis(maps, linear_weights(ops.shape(maps)[axis], size), axis)
    return maps


def resample_axis(maps: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Maps with one axis resampled by weights (before, after)."""
    return ops.moveaxis(ops.tensordot(maps, weights, axes=[[axis], [0]]), -1, axis)


def linear_weights(before: Any, after: Any) -> Tensor:
    """(before, after): how much of each old sample is in each new one, both laid over the same length."""
    step = ops.cast(before, "float32") / ops.cast(after, "float32")
    # Where the new samples lie among the old ones; a sample has its place in the middle of its cell.
    positions = (ops.arange(after, dtype="float32") + 0.5) * step - 0.5
    positions = ops.clip(positions, 0.0, ops.cast(before, "float32") - 1)  # beyond the outermost centres they go on
    distances = ops.abs(positions[None] - ops.arange(before, dtype="float32")[:, None])
    return ops.maximum(1 - distances, 0.0)


def area_weights(coarse: Any, fine: Any) -> Tensor:
    """(coarse, fine): which share of each fine cell lies in each coarse cell, both laid over the same length."""
    coarse_cells, fine_cells = ops.cast(coarse, "float32"), ops.cast(fine, "float32")
    coarse_starts = ops.arange(coarse, dtype="float32")[:, None] / coarse_cells
    fine_starts = ops.arange(fine, dtype="float32")[None] / fine_cells
    # The length that both share, as a part of the fine cell.
    ends = ops.minimum(fine_starts + 1 / fine_cells, coarse_starts + 1 / coarse_cells)
    return ops.maximum(ends - ops.maximum(fine_starts, coarse_starts), 0.0) * fine_cells
