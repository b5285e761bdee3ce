"""One map as a picture of its own: overlay, boxes, colour bar and caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cam.drawing.colorbar import frame_drawing
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.layout import scale_to_width
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import Title, panel_text_size
from keras_cam.imaging.boxes import Box, as_boxes
from keras_cam.imaging.display import checked_picture
from keras_cam.imaging.load import resize
from keras_cam.imaging.normalize import scaled_to_limits

TEXT_SHARE = 18  # how many times wider a panel is than its letters are high


def panel(
    picture: np.ndarray,
    heatmap: np.ndarray,
    limits: tuple[float, float],
    lines: Sequence[str | Title],
    *,
    width: int = 240,
    colormap: str | None = None,
    signed: bool = False,
    alpha: float = 0.6,
    boxes: Sequence[Box] = (),
    truth: Any = None,
    text_size: int | None = None,
) -> np.ndarray:
    """Draw a picture under its heat map, beside it a colour bar with numbers, below it lines of text.

    Args:
        picture: uint8 RGB (height, width, 3).
        heatmap: (h, w), over the picture, in the units that the colour bar shall show.
        limits: what the colour bar's ends stand for.
        lines: the caption.
        width: of the picture in the panel, in pixels.
        colormap: as for `overlay`.
        signed: as for `overlay`.
        alpha: as for `overlay`.
        boxes: found boxes to draw, in the pixels of `picture`.
        truth: true boxes to draw, in the pixels of `picture`.
        text_size: height of the letters in pixels, at least 6; default: 1/18 of the width, 11 to 18.

    Returns:
        uint8 RGB.

    Raises:
        InvalidDataError: boxes that are none.
        InvalidImageError: not a picture, or a heat map that is not finite.
        InvalidOptionError: an unknown colour map, an impossible alpha, or letters that are too small.

    >>> panel(np.zeros((40, 60, 3), "uint8"), np.ones((4, 6)), (0.0, 1.0), ["fox 98%"], width=120).shape[0] > 80
    True
    """
    text_size = panel_text_size(text_size, width, TEXT_SHARE)
    # Picture and heat at the size of the panel, and the one over the other.
    scaled_picture = scale_to_width(checked_picture(picture), width)
    height, width = scaled_picture.shape[:2]
    heat = scaled_to_limits(resize(heatmap, (height, width)), limits, signed=signed)
    drawn = overlay(scaled_picture, heat, colormap=colormap, signed=signed, alpha=alpha)
    # Boxes come in the pixels of the picture, and are drawn in those of the panel.
    across, down = width / picture.shape[1], height / picture.shape[0]
    found_boxes, true_boxes = ([_scaled(box, across, down) for box in as_boxes(given)] for given in (boxes, truth))
    drawn = draw_boxes(drawn, found_boxes, truth=true_boxes, text_size=text_size)
    return frame_drawing(drawn, limits, lines, colormap=colormap, signed=signed, text_size=text_size)


def _scaled(box: Box, across: float, down: float) -> Box:
    return Box(box.left * across, box.top * down, box.right * across, box.bottom * down, box.score)
