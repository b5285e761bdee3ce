"""Maps of several feature maps added up on the finest of their grids, each cell where it lies in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_cam.attribution.resample import area_weights, resample_axis
from keras_cam.model.cut import Cut
from keras_cam.model.grid import Grid, grids_of
from keras_cam.model.receptive_field import Axis

Tensor = Any


def add_on_finest_grid(maps: Sequence[Tensor], cut: Cut | None = None) -> Tensor:
    """Add maps (N, C, h, w) of several grids on the finest of them, keeping every mean.

    A cell of the sum takes from another map what it covers of its cells.

    Args:
        maps: one for each feature map.
        cut: the model, whose geometry says where cells lie; without it, and where that is not known, all maps are
            laid over the same length.

    Returns:
        The sum.
    """
    if len(maps) == 1:
        return maps[0]
    # Which grid is the finest, and where the cells of each lie, as far as that is known.
    finest = max(range(len(maps)), key=lambda index: _num_cells(maps[index].shape[2:]))
    grids = [None] * len(maps) if cut is None else grids_of(cut)
    total = maps[finest]
    for index, (coarse, grid) in enumerate(zip(maps, grids, strict=True)):
        if index != finest:
            total = total + _resampled(coarse, grid, maps[finest], grids[finest])
    return total


def _resampled(coarse: Tensor, coarse_grid: Grid | None, fine: Tensor, fine_grid: Grid | None) -> Tensor:
    """Maps on the grid of finer ones: by where the cells lie where that is known of both, else over the same length."""
    for axis in range(2, len(fine.shape)):
        if coarse_grid is None or fine_grid is None:  # sizes that may only be known when it runs
            weights = area_weights(ops.shape(coarse)[axis], ops.shape(fine)[axis])
        else:
            weights = ops.convert_to_tensor(_placed_weights(coarse_grid.axes[axis - 2], fine_grid.axes[axis - 2]))
        coarse = resample_axis(coarse, weights, axis)
    return coarse


def _placed_weights(coarse: Axis, fine: Axis) -> np.ndarray:
    """(coarse, fine): which share of each fine cell lies in each coarse cell, by their places; the outermost go on.

    Every row has the same sum, so that means are kept; a coarse cell that covers no fine one goes to the nearest.
    """
    coarse_centres, lows, highs = _extents(coarse)
    fine_centres, starts, ends = _extents(fine)
    lows[0], highs[-1] = -np.inf, np.inf
    # The length that a coarse and a fine cell share.
    weights = np.maximum(np.minimum(highs[:, None], ends) - np.maximum(lows[:, None], starts), 0)
    # A cell without a share would be lost from the mean.
    missed = np.flatnonzero(~weights.any(axis=1))
    weights[missed, np.abs(coarse_centres[missed, None] - fine_centres).argmin(axis=1)] = 1
    # Of each coarse cell as much in all as of every other.
    return (weights / weights.sum(axis=1, keepdims=True) * (fine.length / coarse.length)).astype("float32")


def _extents(axis: Axis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, beginnings and ends of the cells of an axis."""
    centres = axis.offset + axis.stride * np.arange(axis.length)
    return centres, centres - axis.stride / 2, centres + axis.stride / 2


def _num_cells(grid: Sequence[int | None]) -> int:
    """How many cells a grid has, an axis of open length counted as one."""
    return int(np.prod([length or 1 for length in grid]))
