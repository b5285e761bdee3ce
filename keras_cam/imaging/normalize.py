"""Maps scaled to [0, 1] to be drawn, signed ones to [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.validation import checked_range, one_of


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
    # Where zero stays zero, one clip and one division do, in place.
    if signed or not low.any():
        low, high = low.astype(np.float32), high.astype(np.float32)
        shares = np.clip(maps, low, high, out=out)
        return np.divide(shares, np.where(high > 0, high, 1), out=shares)  # where there is nothing to draw: zeros
    # Else zero moves; the span of a float32 map may not fit in float32.
    wide = np.subtract(maps, low, dtype=np.float64)
    shares = np.divide(wide, high - low, out=np.zeros_like(wide), where=high > low)
    return np.clip(shares, 0, 1).astype(np.float32)


def scaled_to_limits(maps: Any, limits: tuple[float, float], *, signed: bool) -> np.ndarray:
    """As `normalize` by the limits of a colour bar; where these are equal there is nothing to draw: zeros."""
    low, high = limits
    return normalize(maps, limits, signed=signed) if high > low else np.zeros(np.shape(maps), np.float32)


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
    """As `limits_of`, of maps that have been checked."""
    # A range holds for all maps; signed, the larger of its ends holds on both sides.
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
    # A word asks the maps themselves; signed, for their magnitudes.
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
    highest = max(float(limits_of(stack, "batch", signed=signed)[1].max(initial=0)) for stack in maps)
    return (0.0, highest) if highest > 0 else "image"  # no range ends at zero; "image" leaves such maps empty too


def checked_maps(maps: Any, rank: int = 2) -> np.ndarray:
    """Give maps of `rank` spatial axes back as float32 (..., h, w), or say why they cannot be drawn."""
    # What comes in as float32 is not copied.
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


def _own_maximum(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    highest = maps.max(axis=(-2, -1), keepdims=True).astype(np.float64)
    return np.zeros_like(highest), np.maximum(highest, 0)


def _batch_maximum(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    highest = np.full((*maps.shape[:-2], 1, 1), maps.max(initial=0), np.float64)
    return np.zeros_like(highest), highest


def _own_ends(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = (end(axis=(-2, -1), keepdims=True).astype(np.float64) for end in (maps.min, maps.max))
    return low, high


# Each gives what becomes 0 and what becomes 1, (..., 1, 1).
NORMALIZATIONS = {"image": _own_maximum, "batch": _batch_maximum, "minmax": _own_ends}
