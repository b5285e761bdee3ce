"""Maps moved from one grid of cells to another, or to where they were before the image was moved: by positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.imaging.resample import linear_weights
from keras_cam.model.grid import Grid

Move = tuple[float, float]  # (scale, shift): a pixel p of the image lies at scale * p + shift in the moved image


def regrid(
    maps: np.ndarray, source: Grid, target: Grid, moves: Sequence[Move] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read maps at the centres of another grid's cells: linearly, edges repeated.

    Args:
        maps: (..., *grid) on the source grid.
        source: where the cells of the maps lie, in the moved image if there are moves.
        target: where to read them, in the image.
        moves: per axis, where the pixels of the image have gone; default: they have not moved.

    Returns:
        `(maps, covered)`: (..., *grid) on the target grid, and which of its cells (*grid) lie inside the moved image.
    """
    covered = np.ones((), bool)
    first = maps.ndim - len(source.axes)
    for index, (before, after) in enumerate(zip(source.axes, target.axes, strict=True)):
        scale, shift = (1.0, 0.0) if moves is None else moves[index]
        places = scale * (after.offset + after.stride * np.arange(after.length)) + shift
        weights = linear_weights(places, before.length, before.offset, before.stride)
        maps = np.moveaxis(np.tensordot(maps, weights, axes=(first + index, 0)), -1, first + index)
        inside = (places > -1) & (places < source.image[index]) if moves is not None else np.ones(len(places), bool)
        covered = covered[..., None] & inside
    return maps.astype("float32"), covered


def moved_images(images: np.ndarray, moves: Sequence[Move]) -> np.ndarray:
    """Images (N, *spatial, K) moved: linearly, edges repeated."""
    for index, (scale, shift) in enumerate(moves):
        if (scale, shift) == (1.0, 0.0):
            continue
        length = images.shape[1 + index]
        places = (np.arange(length) - shift) / scale
        weights = linear_weights(places, length)
        images = np.moveaxis(np.tensordot(images, weights, axes=(1 + index, 0)), -1, 1 + index)
    return images
