"""Colours of heat, and the bar that says which number each stands for."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from keras_cam.errors import InvalidImageError
from keras_cam.imaging.normalize import checked_maps
from keras_cam.validation import one_of

COLORMAPS = {name[9:].lower(): getattr(cv2, name) for name in sorted(dir(cv2)) if name.startswith("COLORMAP_")}
DEFAULT_COLORMAP = "plasma"  # tells its ends apart for colour-blind eyes, and stands out on grass, fur and skin

# From -1 through a neutral 0 to 1, every pair of hues told apart by colour-blind eyes: five colours, the rest between.
SIGNED_COLORMAPS = {
    "blue_orange": ((0, 52, 150), (66, 146, 255), (242, 242, 242), (255, 140, 30), (166, 54, 0)),
    "purple_green": ((74, 0, 110), (170, 110, 210), (242, 242, 242), (95, 190, 90), (0, 105, 40)),
}
DEFAULT_SIGNED_COLORMAP = "blue_orange"


def colorize(heatmap: Any, colormap: str | None = None, *, signed: bool = False) -> np.ndarray:
    """Turn a heat map into colours.

    Args:
        heatmap: (h, w), values in [0, 1]; where `signed`, in [-1, 1].
        colormap: a name from `COLORMAPS`, by default "plasma"; where `signed`, one from `SIGNED_COLORMAPS`, by default
            "blue_orange": blue speaks against, orange for, zero is light gray.
        signed: whether zero is the middle of the colours.

    Returns:
        uint8 RGB (h, w, 3).

    Raises:
        InvalidImageError: a heat map of another rank, or values outside the range.
        InvalidOptionError: an unknown colour map, or one for the other kind of heat map.

    >>> colorize([[0.0, 1.0]], "bone").tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    >>> colorize([[0.0]], signed=True).tolist()
    [[[242, 242, 242]]]
    """
    return colors_of(checked_heat(heatmap, signed=signed), colormap, signed=signed)


def colors_of(heat: np.ndarray, colormap: str | None, *, signed: bool) -> np.ndarray:
    """As `colorize`, of a heat map that has been checked."""
    known = SIGNED_COLORMAPS if signed else COLORMAPS
    if colormap is None:
        colormap = DEFAULT_SIGNED_COLORMAP if signed else DEFAULT_COLORMAP
    one_of("colormap of a signed map" if signed else "colormap", colormap, known)
    # Signed: 511 colours between the five anchors, zero in the middle, looked up by 255 times the heat.
    if signed:
        anchors = np.array(SIGNED_COLORMAPS[colormap])
        levels = np.linspace(-1, 1, 511)
        table = np.stack([np.interp(levels, np.linspace(-1, 1, 5), channel) for channel in anchors.T], axis=-1)
        return np.take(np.rint(table).astype(np.uint8), np.rint(heat * 255).astype(np.int16) + 255, axis=0)
    # Else one of OpenCV's tables of 256 colours, which are BGR.
    shades = cv2.convertScaleAbs(heat, alpha=255)
    return cv2.cvtColor(cv2.applyColorMap(shades, COLORMAPS[colormap]), cv2.COLOR_BGR2RGB)


def checked_heat(heatmap: Any, *, signed: bool = False) -> np.ndarray:
    """One (h, w) map in [0, 1], signed in [-1, 1], or an error; one that needs no change is given back."""
    heat = checked_maps(heatmap)
    if heat.ndim != 2:
        raise InvalidImageError(f"A heat map has shape (height, width). Received: shape {heat.shape}. Pick one map.")
    # A little over the ends is rounding, and clipped; more is a map that was never scaled.
    lowest, low, high = (-1 if signed else 0), float(heat.min()), float(heat.max())
    if low < lowest - 1e-3 or high > 1 + 1e-3:
        may_be_signed = not signed and low >= -1.001 and high <= 1.001
        hint = ", or pass signed=True for one in [-1, 1]" if may_be_signed else ""
        raise InvalidImageError(
            f"A {'signed ' if signed else ''}heat map lies in [{lowest}, 1]. Received: values from {low:g} to "
            f"{high:g}. Scale it first with keras_cam.imaging.normalize{hint}."
        )
    return heat if lowest <= low and high <= 1 else heat.clip(lowest, 1)
