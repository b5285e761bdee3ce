"""Maps before they are drawn: laid over the picture, and scaled to [0, 1]."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.images import checked_range, checked_size, resize

__all__ = ["INTERPOLATIONS", "NORMALIZATIONS", "normalize", "place"]


def place(maps: Any, size: tuple[int, int], *, interpolation: str = "bilinear") -> np.ndarray:
    """Lay maps over a picture whose area their cells share evenly.

    Args:
        maps: (..., h, w), any finite values, any leading axes.
        size: (height, width) of the picture.
        interpolation: "bilinear" (default) between cell centres, averaging where the picture is smaller than the
            map; "nearest" shows the cells.

    Returns:
        float32 (..., height, width), values in the maps' own units.

    Raises:
        InvalidImageError: maps that are not finite or have no two spatial axes.
        InvalidOptionError: an impossible size or an unknown interpolation.

    >>> place([[0.0, 1.0]], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    maps = checked_maps(maps)
    size = checked_size(size)
    if interpolation not in INTERPOLATIONS:
        raise InvalidOptionError(f"interpolation must be one of {sorted(INTERPOLATIONS)}. Received: {interpolation!r}.")
    placed = np.empty((int(np.prod(maps.shape[:-2])), *size), np.float32)
    for target, source in zip(placed, maps.reshape(-1, *maps.shape[-2:]), strict=True):
        target[...] = INTERPOLATIONS[interpolation](source, size)
    return placed.reshape(*maps.shape[:-2], *size)


def normalize(maps: Any, mode: str | tuple[float, float] | None = "image") -> np.ndarray:
    """Scale maps to [0, 1] for drawing, without ever making heat out of nothing.

    Args:
        maps: (..., h, w), any finite values.
        mode: what becomes 0 and what becomes 1.
            "image" (default): zero, and each map's own maximum; what is negative is drawn as zero.
            "batch": zero, and the maximum of all maps, so that maps can be compared.
            "minmax": each map's own minimum and maximum.
            (low, high): these two numbers; what lies outside is clipped.
            None: nothing is changed.

    Returns:
        float32, the shape of `maps`. A map without positive values (or, for "minmax", a constant one) is all zeros.

    Raises:
        InvalidImageError: maps that are not finite or have no two spatial axes.
        InvalidOptionError: an unknown mode.

    >>> normalize([[-1.0, 2.0, 4.0]]).tolist()
    [[0.0, 0.5, 1.0]]
    """
    maps = checked_maps(maps)
    if mode is None:
        return np.array(maps)
    if isinstance(mode, str):
        if mode not in NORMALIZATIONS:
            raise InvalidOptionError(
                f"normalize must be one of {sorted(NORMALIZATIONS)}, a range (low, high) or None. Received: {mode!r}."
            )
        return NORMALIZATIONS[mode](maps)
    low, high = checked_range(mode, "A range to normalize by")
    return np.clip((maps.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


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


def _bilinear(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return resize(cells, size)


def _nearest(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(cells, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _over_own_maximum(maps: np.ndarray) -> np.ndarray:
    return _positive_share(maps, maps.max(axis=(-2, -1), keepdims=True))


def _over_batch_maximum(maps: np.ndarray) -> np.ndarray:
    return _positive_share(maps, maps.max(keepdims=True, initial=0))


def _positive_share(maps: np.ndarray, highest: np.ndarray) -> np.ndarray:
    return np.divide(np.maximum(maps, 0), highest, out=np.zeros_like(maps), where=highest > 0)


def _min_to_max(maps: np.ndarray) -> np.ndarray:
    wide = maps.astype(np.float64)  # the span of a float32 map may not fit in float32
    low = wide.min(axis=(-2, -1), keepdims=True)
    span = wide.max(axis=(-2, -1), keepdims=True) - low
    return np.divide(wide - low, span, out=np.zeros_like(wide), where=span > 0).astype(np.float32)


INTERPOLATIONS = {"bilinear": _bilinear, "nearest": _nearest}
NORMALIZATIONS = {"image": _over_own_maximum, "batch": _over_batch_maximum, "minmax": _min_to_max}
