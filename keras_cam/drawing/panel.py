"""One map as a picture of its own: overlay, boxes, colour bar and caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cam.drawing.colorbar import color_bar
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.layout import beside, caption, scale_to_width
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import checked_text_size
from keras_cam.imaging.boxes import Box, as_boxes
from keras_cam.imaging.display import checked_picture
from keras_cam.imaging.load import resize
from keras_cam.imaging.normalize import normalize


def panel(
    picture: np.ndarray,
    heatmap: np.ndarray,
    limits: tuple[float, float],
    lines: Sequence[str],
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
    """
    text_size = checked_text_size(text_size, min(max(11, round(width / 18)), 18))
    shown = scale_to_width(checked_picture(picture), width)
    size = shown.shape[:2]
    low, high = limits
    heat = normalize(resize(heatmap, size), limits, signed=signed) if high > low else np.zeros(size, np.float32)
    drawn = overlay(shown, heat, colormap=colormap, signed=signed, alpha=alpha)
    scales = (size[1] / picture.shape[1], size[0] / picture.shape[0])
    found, true = ([_scaled(box, *scales) for box in as_boxes(some)] for some in (boxes, truth))
    drawn = draw_boxes(drawn, found, truth=true or None, text_size=text_size)
    bar = color_bar(size[0], limits, colormap=colormap, signed=signed, text_size=max(6, round(text_size * 0.85)))
    framed = beside([drawn, bar], gap=4)
    return caption(framed, lines, text_size=text_size) if lines else framed


def _scaled(box: Box, across: float, down: float) -> Box:
    return Box(box.left * across, box.top * down, box.right * across, box.bottom * down, box.score)
