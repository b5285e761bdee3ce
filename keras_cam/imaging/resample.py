"""Maps laid over their picture: each cell at its place, between cells interpolated; one small matrix per axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.normalize import checked_maps
from keras_cam.validation import checked_size, one_of

MOST_WEIGHTS = 2**22  # of one axis in one table, 16 MiB; beyond it the table is never made
MOST_CACHED = 2**15  # 128 KiB
SMALL_PRODUCT = 2**20


def place(
    maps: Any,
    size: Sequence[int],
    *,
    cells: Sequence[tuple[float, float]] | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Lay maps over a picture, a signal or a volume: each cell's value at the cell's centre, between them interpolated.

    Beyond the outermost centres the outermost values go on.

    Args:
        maps: (..., h, w), any finite values, any leading axes; (..., t) over a signal, (..., d, h, w) over a volume.
        size: (height, width) of the picture; (length,) of a signal, (depth, height, width) of a volume.
        cells: where the cells lie, (offset, stride) for each axis of `size`: the centre of cell i is at pixel
            `offset + stride * i`, the centre of pixel 0 being 0. Default: the cells share the picture evenly.
        interpolation: "bilinear" (default) between cell centres, averaging where the picture is smaller than the
            map; "bicubic", smoother, may overshoot; "nearest" shows the cells.

    Returns:
        float32 (..., *size), values in the maps' own units.

    Raises:
        InvalidImageError: maps that are not finite or have not as many spatial axes as `size`.
        InvalidOptionError: an impossible size or cells, or an unknown interpolation.

    >>> place([[0.0, 1.0]], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    >>> place([[0.0, 1.0]], (1, 4), cells=[(0, 1), (0, 2)]).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    >>> place([0.0, 1.0], (4,)).tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    size = checked_size(size, rank=None)
    maps = checked_maps(maps, len(size))
    one_of("interpolation", interpolation, INTERPOLATIONS)
    shape, leading = maps.shape[-len(size) :], maps.shape[: -len(size)]
    cells = _even_cells(size, shape) if cells is None else _checked_cells(cells, len(size))
    # One axis after the other: a product with a small matrix each, since all interpolations are separable.
    resampled = maps.reshape(-1, *shape)
    for axis, (length, (offset, stride)) in enumerate(zip(size, cells, strict=True), start=1):
        resampled = _resample_axis(resampled, axis, length, offset, stride, interpolation)
    return resampled.reshape(*leading, *size)


def linear_weights(places: np.ndarray, length: int, offset: float = 0.0, stride: float = 1.0) -> np.ndarray:
    """Say how much of each cell of a line a linear reading at given places takes, the edges repeated.

    Args:
        places: (n,), where to read, in pixels.
        length: how many cells there are.
        offset: centre of the first cell, in pixels.
        stride: from one centre to the next.

    Returns:
        float32 (length, n): every column sums up to 1.

    >>> linear_weights(np.array([-9.0, 2.0, 3.5]), 3, offset=1.0, stride=2.0).T.tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.75, 0.25]]
    """
    positions = np.clip((places - offset) / stride, 0, length - 1)
    return np.ascontiguousarray(_weights_at(positions, length, "bilinear").T)


def _even_cells(size: Sequence[int], shape: Sequence[int]) -> list[tuple[float, float]]:
    """(offset, stride) of cells that share a picture evenly."""
    return [((length / count - 1) / 2, length / count) for length, count in zip(size, shape, strict=True)]


def _checked_cells(cells: Sequence[tuple[float, float]], rank: int) -> Sequence[tuple[float, float]]:
    """The user's cells, or an error where they are not (offset, stride) for each axis."""
    if len(cells) != rank or not all(np.isfinite(cell).all() and cell[1] > 0 for cell in cells):
        raise InvalidOptionError(
            f"cells must be (offset, stride) {'twice' if rank == 2 else f'for each of {rank} axes'}, finite, strides "
            f"positive. Received: {cells!r}."
        )
    return cells


def _resample_axis(
    maps: np.ndarray, axis: int, length: int, offset: float, stride: float, interpolation: str
) -> np.ndarray:
    """Maps (n, ...) with one of their axes laid over `length` pixels."""
    before, count, after = maps.shape[:axis], maps.shape[axis], maps.shape[axis + 1 :]
    lines = maps.reshape(math.prod(before), count, math.prod(after))
    if length * count > MOST_WEIGHTS and stride >= 1:
        resampled = _add_taps(lines, length, offset, stride, interpolation)
    else:
        weights_of = _cached_pixel_weights if length * count <= MOST_CACHED else _pixel_weights
        weights = weights_of(length, count, offset, stride, interpolation)
        # One product for all maps on the last axis: as many small ones, one a map, take three to eight times as long.
        flat = lines.reshape(-1, count)
        resampled = weights @ lines if after else _multiply_transposed(flat, weights)[..., np.newaxis]
    return resampled.reshape(*before, length, *after)


def _multiply_transposed(lines: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(rows, count) times the transposed (length, count).

    A small one by OpenCV, on the caller's own thread: NumPy's threads wait for each other for milliseconds where a
    training keeps the cores busy.
    """
    if len(lines) * len(weights) > SMALL_PRODUCT or not len(lines):
        return np.asarray(lines @ weights.T)
    nothing: Any = None
    return np.asarray(cv2.gemm(lines, weights, 1, nothing, 0, flags=cv2.GEMM_2_T))


def _add_taps(lines: np.ndarray, length: int, offset: float, stride: float, interpolation: str) -> np.ndarray:
    """As the product with `_pixel_weights`, without that table, which for a long signal is larger than memory."""
    # One pass over all pixels for each tap: two where linear, four where cubic.
    resampled = np.zeros((lines.shape[0], length, lines.shape[2]), np.float32)
    for tap, share in INTERPOLATIONS[interpolation]((np.arange(length) - offset) / stride):
        cell = np.clip(tap, 0, lines.shape[1] - 1).astype(int)
        resampled += lines[:, cell] * share.astype(np.float32)[:, np.newaxis]
    return resampled


def _pixel_weights(length: int, count: int, offset: float, stride: float, interpolation: str) -> np.ndarray:
    """(length, count): how much of each cell each pixel is made of; every row sums up to 1."""
    positions = (np.arange(length) - offset) / stride
    if interpolation != "nearest" and stride < 1:  # several cells a pixel
        return _area_weights(positions, count, 1 / stride)
    return _weights_at(positions, count, interpolation)


_cached_pixel_weights = lru_cache(16)(_pixel_weights)  # pictures of one size follow each other


def _weights_at(positions: np.ndarray, count: int, interpolation: str) -> np.ndarray:
    """(n, count): how much of each cell a reading at positions (0, 1, ... the cells) takes; the edges go on."""
    # Taps beyond an edge fall on the edge, where they add up.
    weights = np.zeros((len(positions), count), np.float32)
    for tap, share in INTERPOLATIONS[interpolation](positions):
        weights[np.arange(len(positions)), np.clip(tap, 0, count - 1).astype(int)] += share
    return weights


def _area_weights(positions: np.ndarray, count: int, width: float) -> np.ndarray:
    """(n, count): which share of a window `width` cells wide, round each position, each cell covers."""
    starts, ends = positions[:, None] - width / 2, positions[:, None] + width / 2
    # Cells reach half a step to both sides; the outermost go on.
    edges = np.arange(count)[None] - 0.5
    left = np.where(np.arange(count) == 0, -np.inf, edges)
    right = np.where(np.arange(count) == count - 1, np.inf, edges + 1)
    return (np.maximum(np.minimum(ends, right) - np.maximum(starts, left), 0) / width).astype(np.float32)


def _bilinear(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    below = np.floor(positions)
    yield below, 1 - (positions - below)
    yield below + 1, positions - below


def _bicubic(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cubic convolution with a = -1/2 (Keys 1981)."""
    below = np.floor(positions)
    for tap in range(-1, 3):
        away = np.abs(positions - below - tap)
        near = (1.5 * away - 2.5) * away**2 + 1
        far = ((-0.5 * away + 2.5) * away - 4) * away + 2
        yield below + tap, np.where(away <= 1, near, far)


def _nearest(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield np.floor(positions + 0.5), np.ones_like(positions)


# Each gives the cells that a reading touches, one tap after the other, and the share of each.
INTERPOLATIONS = {"bilinear": _bilinear, "bicubic": _bicubic, "nearest": _nearest}
