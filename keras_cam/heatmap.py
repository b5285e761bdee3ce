"""Maps before they are drawn: laid over the picture, and scaled to [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.validation import checked_range, checked_size, one_of

__all__ = ["INTERPOLATIONS", "NORMALIZATIONS", "common_mode", "limits_of", "normalize", "place"]


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


def normalize(maps: Any, mode: str | tuple[float, float] | None = "image", *, signed: bool = False) -> np.ndarray:
    """Scale maps to [0, 1], or signed ones to [-1, 1], for drawing, without ever making heat out of nothing.

    Args:
        maps: (..., h, w), any finite values.
        mode: what becomes 0 and what becomes 1.
            "image" (default): zero, and each map's own maximum; what is negative is drawn as zero.
            "batch": zero, and the maximum of all maps, so that maps can be compared.
            "minmax": each map's own minimum and maximum.
            (low, high): these two numbers; what lies outside is clipped.
            None: nothing is changed.
        signed: True keeps zero at 0 and the sign of everything: the largest magnitude, of a map ("image") or of all
            ("batch") or of `(low, high)`, becomes 1 or -1.

    Returns:
        float32, the shape of `maps`. A map without positive values (for "minmax" a constant one, for `signed` a zero
        one) is all zeros.

    Raises:
        InvalidImageError: maps that are not finite or have no two spatial axes.
        InvalidOptionError: an unknown mode, or "minmax" for signed maps, where it would move zero.

    >>> normalize([[-1.0, 2.0, 4.0]]).tolist()
    [[0.0, 0.5, 1.0]]
    >>> normalize([[-1.0, 2.0, 4.0]], signed=True).tolist()
    [[-0.25, 0.5, 1.0]]
    """
    maps = checked_maps(maps)
    return np.array(maps) if mode is None else scaled(maps, mode, signed=signed)


def scaled(
    maps: np.ndarray, mode: str | tuple[float, float], *, signed: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """As `normalize`, of float32 maps that are finite; `out`, which may be the maps, is used where that can be."""
    low, high = _limits_of(maps, mode, signed)
    if signed or not low.any():
        low, high = low.astype(np.float32), high.astype(np.float32)
        shares = np.clip(maps, low, high, out=out)
        return np.divide(shares, np.where(high > 0, high, 1), out=shares)  # where there is nothing to draw: zeros
    wide = np.subtract(maps, low, dtype=np.float64)  # the span of a float32 map may not fit in float32
    shares = np.divide(wide, high - low, out=np.zeros_like(wide), where=high > low)
    return np.clip(shares, 0, 1).astype(np.float32)


def limits_of(
    maps: Any, mode: str | tuple[float, float] = "image", *, signed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Say what `normalize` draws as 0 (signed: -1) and as 1, in the units of the maps: the ends of their colour bars.

    Args:
        maps: (..., h, w), any finite values.
        mode: as for `normalize`, but for None.
        signed: as for `normalize`.

    Returns:
        The lower and the upper limits, float64 (..., 1, 1); equal ones where there is nothing to draw.

    Raises:
        InvalidImageError: maps that are not finite or have no two spatial axes.
        InvalidOptionError: an unknown mode, or "minmax" for signed maps.

    >>> low, high = limits_of([[-1.0, 2.0, 4.0]], signed=True)
    >>> low.item(), high.item()
    (-4.0, 4.0)
    """
    return _limits_of(checked_maps(maps), mode, signed)


def _limits_of(maps: np.ndarray, mode: str | tuple[float, float], signed: bool) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(mode, str):
        low, high = (np.full((*maps.shape[:-2], 1, 1), end) for end in checked_range(mode, "A range to normalize by"))
        largest = np.maximum(np.abs(low), np.abs(high))
        return (-largest, largest) if signed else (low, high)
    one_of("normalize", mode, NORMALIZATIONS, ", a range (low, high) or None")
    if signed and mode == "minmax":
        raise InvalidOptionError(
            "normalize='minmax' would move zero, which signed maps keep. Received: signed=True with it. "
            "Use normalize='image', 'batch' or a range."
        )
    low, high = NORMALIZATIONS[mode](np.abs(maps) if signed else maps)
    return (-high, high) if signed else (low, high)


def common_mode(
    maps: Iterable[np.ndarray], mode: str | tuple[float, float], *, signed: bool = False
) -> str | tuple[float, float]:
    """Turn "batch" over maps of several sizes into the one range that it stands for; other modes stay as they are.

    >>> common_mode([np.ones((2, 2)), np.full((1, 3), 4.0)], "batch")
    (0.0, 4.0)
    """
    if mode != "batch":
        return mode
    highest = max(float(limits_of(each, "batch", signed=signed)[1].max(initial=0)) for each in maps)
    return (0.0, highest) if highest > 0 else "image"


def checked_maps(maps: Any, rank: int = 2) -> np.ndarray:
    """Give maps of `rank` spatial axes back as float32 (..., h, w), or say why they cannot be drawn."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported below
        array = np.asarray(maps, dtype=np.float32)
    if array.ndim < rank or 0 in array.shape[-rank:]:
        wanted = {1: "length", 2: "height, width", 3: "depth, height, width"}.get(rank, f"{rank} axes")
        raise InvalidImageError(
            f"Maps have shape (..., {wanted}) with at least one cell. Received: shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise InvalidImageError(
            f"Maps must be finite. Received: shape {array.shape} with {int(np.isnan(array).sum())} NaN and "
            f"{int(np.isinf(array).sum())} infinite values. The model's weights have probably diverged: "
            "check the loss, lower the learning rate, or look at the image that was fed."
        )
    return array


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


def _own_maximum(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    highest = maps.max(axis=(-2, -1), keepdims=True).astype(np.float64)
    return np.zeros_like(highest), np.maximum(highest, 0)


def _batch_maximum(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    highest = np.full((*maps.shape[:-2], 1, 1), maps.max(initial=0), np.float64)
    return np.zeros_like(highest), highest


def _own_ends(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = (end(axis=(-2, -1), keepdims=True).astype(np.float64) for end in (maps.min, maps.max))
    return low, high


SMALL_PRODUCT = 2**20
MOST_WEIGHTS, MOST_KEPT = 2**22, 2**15  # of one axis in one table: 16 MiB, 128 KiB
INTERPOLATIONS = {"bilinear": _bilinear, "bicubic": _bicubic, "nearest": _nearest}
NORMALIZATIONS = {"image": _own_maximum, "batch": _batch_maximum, "minmax": _own_ends}
