"""A heat map over its picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.colormaps import checked_heat, colors_of
from keras_cam.imaging.display import to_display, value_range_of
from keras_cam.imaging.load import load_images
from keras_cam.imaging.resample import place


def overlay(
    image: Any,
    heatmap: Any,
    *,
    colormap: str | None = None,
    alpha: float = 0.6,
    value_range: tuple[float, float] | None = None,
    signed: bool = False,
) -> np.ndarray:
    """Draw a heat map over its picture; where there is no heat, the picture stays as it is.

    Opacity rises with the heat up to `alpha` at half heat; from there on the colour alone tells more from less.

    Args:
        image: one image, as an array, tensor, PIL image or path.
        heatmap: (h, w), values in [0, 1]; stretched to the picture's size where it differs.
        colormap: "plasma" (default), "viridis", "turbo", "jet" or another colour map of OpenCV; for signed maps
            "blue_orange" (default) or "purple_green".
        alpha: opacity where the heat is 0.5 or more, in [0, 1].
        value_range: (black, white) of `image`; default: (0, 255) for integers, for floats the first of (0, 1),
            (-1, 1), (0, 255) that holds them, else their smallest and largest value.
        signed: True for a heat map in [-1, 1]: what speaks for the class in one colour, what speaks against it in
            another, opacity by the magnitude.

    Returns:
        uint8 RGB (height, width, 3), the picture's size.

    Raises:
        InvalidImageError: more than one image, or a heat map of another rank or outside [0, 1].
        InvalidOptionError: an unknown colour map or an impossible alpha.

    >>> overlay(np.full((2, 2, 3), 9, "uint8"), np.zeros((2, 2)))[0, 0].tolist()
    [9, 9, 9]
    """
    if not 0 <= alpha <= 1:
        raise InvalidOptionError(f"alpha must lie in [0, 1]. Received: {alpha!r}.")
    arrays, _ = load_images(image)
    if len(arrays) != 1:
        raise InvalidImageError(f"overlay draws on one image. Received: {len(arrays)}. Call it once for each.")
    # The picture, and the heat at its size.
    value_range = value_range_of(arrays) if value_range is None else value_range
    picture = to_display(arrays[0], value_range, copy=False)
    heat = checked_heat(heatmap, signed=signed)
    if heat.shape != picture.shape[:2]:
        heat = place(heat, picture.shape[:2])
    # Opacity first doubles the heat, then stops: half heat is seen as well as full heat.
    opacity = np.abs(heat) * np.float32(2 * alpha) if signed else heat * np.float32(2 * alpha)
    np.minimum(opacity, np.float32(alpha), out=opacity)
    return cv2.blendLinear(picture, colors_of(heat, colormap, signed=signed), 1 - opacity, opacity)
