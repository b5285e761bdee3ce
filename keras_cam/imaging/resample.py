"""Maps laid over their picture: each cell at its place, between cells interpolated."""

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
    rank, shape = len(size), maps.shape[-len(size) :]
    if cells is None:
        cells = [((length / count - 1) / 2, length / count) for length, count in zip(size, shape, strict=True)]
    elif len(cells) != rank or not all(np.isfinite(cell).all() and cell[1] > 0 for cell in cells):
        raise InvalidOptionError(
            f"cells must be (offset, stride) {'twice' if rank == 2 else f'for each of {rank} axes'}, finite, strides "
            f"positive. Received: {cells!r}."
        )
    placed = maps.reshape(-1, *shape)
    for axis, (length, cell) in enumerate(zip(size, cells, strict=True), start=1):
        placed = _along(placed, axis, length, *cell, interpolation)
    return placed.reshape(*maps.shape[:-rank], *size)


def _along(maps: np.ndarray, axis: int, length: int, offset: float, stride: float, interpolation: str) -> np.ndarray:
    """Maps (n, ...) with one of their axes laid over `length` pixels."""
    before, count, after = maps.shape[:axis], maps.shape[axis], maps.shape[axis + 1 :]
    lines = maps.reshape(math.prod(before), count, math.prod(after))
    if length * count > MOST_WEIGHTS and stride >= 1:
        placed = _picked(lines, length, offset, stride, interpolation)
    else:
        kept = length * count <= MOST_KEPT
        weights = (_kept_weights if kept else _weights)(length, count, offset, stride, interpolation)
        # One product for all maps on the last axis: as many small ones, one a map, take three to eight times as long.
        placed = weights @ lines if after else _product(lines.reshape(-1, count), weights)[..., np.newaxis]
    return placed.reshape(*before, length, *after)


def _product(lines: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(rows, count) times the transposed (length, count).

    A small one by OpenCV, on the caller's own thread: NumPy's threads wait for each other for milliseconds where a
    training keeps the cores busy.
    """
    if len(lines) * len(weights) > SMALL_PRODUCT or not len(lines):
        return np.asarray(lines @ weights.T)
    nothing: Any = None
    return np.asarray(cv2.gemm(lines, weights, 1, nothing, 0, flags=cv2.GEMM_2_T))


def _picked(lines: np.ndarray, length: int, offset: float, stride: float, interpolation: str) -> np.ndarray:
    """As the product with `_weights` of axis 1, without that table, which for a long signal is larger than memory."""
    placed = np.zeros((lines.shape[0], length, lines.shape[2]), np.float32)
    for tap, share in INTERPOLATIONS[interpolation]((np.arange(length) - offset) / stride):
        cell = np.clip(tap, 0, lines.shape[1] - 1).astype(int)
        placed += lines[:, cell] * share.astype(np.float32)[:, np.newaxis]
    return placed


def _weights(length: int, count: int, offset: float, stride: float, interpolation: str) -> np.ndarray:
    """(length, count): how much of each cell each pixel is made of; every row sums up to 1."""
    position = (np.arange(length) - offset) / stride
    reach = max(1.0, 1 / stride) if interpolation != "nearest" else 1.0
    if reach > 1:  # several cells a pixel: their average, by the share of the pixel that each takes
        return _averages(position, count, reach)
    weights = np.zeros((length, count), np.float32)
    for tap, share in INTERPOLATIONS[interpolation](position):
        weights[np.arange(length), np.clip(tap, 0, count - 1).astype(int)] += share
    return weights


_kept_weights = lru_cache(16)(_weights)  # pictures of one size follow each other


def _averages(position: np.ndarray, count: int, reach: float) -> np.ndarray:
    low, high = position[:, None] - reach / 2, position[:, None] + reach / 2
    edges = np.arange(count)[None] - 0.5
    left = np.where(np.arange(count) == 0, -np.inf, edges)  # the outermost cells go on
    right = np.where(np.arange(count) == count - 1, np.inf, edges + 1)
    return (np.maximum(np.minimum(high, right) - np.maximum(low, left), 0) / reach).astype(np.float32)


def _bilinear(position: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    below = np.floor(position)
    yield below, 1 - (position - below)
    yield below + 1, position - below


def _bicubic(position: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cubic convolution with a = -1/2 (Keys 1981)."""
    below = np.floor(position)
    for tap in range(-1, 3):
        away = np.abs(position - below - tap)
        near = (1.5 * away - 2.5) * away**2 + 1
        far = ((-0.5 * away + 2.5) * away - 4) * away + 2
        yield below + tap, np.where(away <= 1, near, far)


def _nearest(position: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield np.floor(position + 0.5), np.ones_like(position)


SMALL_PRODUCT = 2**20
MOST_WEIGHTS, MOST_KEPT = 2**22, 2**15  # of one axis in one table: 16 MiB, 128 KiB
INTERPOLATIONS = {"bilinear": _bilinear, "bicubic": _bicubic, "nearest": _nearest}
