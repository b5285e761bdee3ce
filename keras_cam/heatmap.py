"""Maps before they are drawn: laid over the picture, and scaled to [0, 1]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.images import checked_range, checked_size

__all__ = ["INTERPOLATIONS", "NORMALIZATIONS", "common_mode", "limits_of", "normalize", "place"]


def place(
    maps: Any,
    size: tuple[int, int],
    *,
    cells: Sequence[tuple[float, float]] | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Lay maps over a picture: each cell's value at the cell's centre, between them interpolated.

    Beyond the outermost centres the outermost values go on.

    Args:
        maps: (..., h, w), any finite values, any leading axes.
        size: (height, width) of the picture.
        cells: where the cells lie, (offset, stride) for rows and for columns: the centre of cell i is at pixel
            `offset + stride * i`, the centre of pixel 0 being 0. Default: the cells share the picture evenly.
        interpolation: "bilinear" (default) between cell centres, averaging where the picture is smaller than the
            map; "bicubic", smoother, may overshoot; "nearest" shows the cells.

    Returns:
        float32 (..., height, width), values in the maps' own units.

    Raises:
        InvalidImageError: maps that are not finite or have no two spatial axes.
        InvalidOptionError: an impossible size or cells, or an unknown interpolation.

    >>> place([[0.0, 1.0]], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    >>> place([[0.0, 1.0]], (1, 4), cells=[(0, 1), (0, 2)]).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    maps = checked_maps(maps)
    size = checked_size(size)
    if interpolation not in INTERPOLATIONS:
        raise InvalidOptionError(f"interpolation must be one of {sorted(INTERPOLATIONS)}. Received: {interpolation!r}.")
    shape = maps.shape[-2:]
    if cells is None:
        cells = [((length / count - 1) / 2, length / count) for length, count in zip(size, shape, strict=True)]
    elif len(cells) != 2 or not all(np.isfinite(cell).all() and cell[1] > 0 for cell in cells):
        raise InvalidOptionError(
            f"cells must be (offset, stride) twice, finite, strides positive. Received: {cells!r}."
        )
    rows, columns = (
        _weights(length, count, *cell, interpolation) for length, count, cell in zip(size, shape, cells, strict=True)
    )
    lines = rows @ maps
    # One product for all maps: as many small ones, one a map, take three to eight times as long.
    return (lines.reshape(-1, shape[1]) @ columns.T).reshape(*maps.shape[:-2], *size)


def _weights(length: int, count: int, offset: float, stride: float, interpolation: str) -> np.ndarray:
    """(length, count): how much of each cell each pixel is made of; every row sums up to 1."""
    position = (np.arange(length) - offset) / stride
    reach = max(1.0, 1 / stride) if interpolation != "nearest" else 1.0
    if reach > 1:  # several cells a pixel: their average, by the share of the pixel that each takes
        return _averages(position, count, reach)
    weights = np.zeros((length, count), np.float32)
    for tap, share in INTERPOLATIONS[interpolation](position):
        np.add.at(weights, (np.arange(length), np.clip(tap, 0, count - 1).astype(int)), share)
    return weights


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
    if mode is None:
        return np.array(maps)
    low, high = limits_of(maps, mode, signed=signed)
    if signed or not low.any():
        low, high = low.astype(np.float32), high.astype(np.float32)
        return np.divide(np.clip(maps, low, high), high, out=np.zeros_like(maps), where=high > 0)
    wide = np.subtract(maps, low, dtype=np.float64)  # the span of a float32 map may not fit in float32
    scaled = np.divide(wide, high - low, out=np.zeros_like(wide), where=high > low)
    return np.clip(scaled, 0, 1).astype(np.float32)


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
    maps = checked_maps(maps)
    if not isinstance(mode, str):
        low, high = (np.full((*maps.shape[:-2], 1, 1), end) for end in checked_range(mode, "A range to normalize by"))
        largest = np.maximum(np.abs(low), np.abs(high))
        return (-largest, largest) if signed else (low, high)
    if mode not in NORMALIZATIONS:
        raise InvalidOptionError(
            f"normalize must be one of {sorted(NORMALIZATIONS)}, a range (low, high) or None. Received: {mode!r}."
        )
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


def checked_maps(maps: Any) -> np.ndarray:
    """Give maps back as float32 (..., h, w), or say why they cannot be drawn."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported below
        array = np.asarray(maps, dtype=np.float32)
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise InvalidImageError(
            f"Maps have shape (..., height, width) with at least one cell. Received: shape {array.shape}."
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


INTERPOLATIONS = {"bilinear": _bilinear, "bicubic": _bicubic, "nearest": _nearest}
NORMALIZATIONS = {"image": _own_maximum, "batch": _batch_maximum, "minmax": _own_ends}
