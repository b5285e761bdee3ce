"""The bar that says which number each colour of a heat map stands for."""

from __future__ import annotations

import numpy as np

from keras_cam.drawing.text import PAPER, text_picture, text_width
from keras_cam.imaging.colormaps import colorize


def color_bar(
    height: int,
    limits: tuple[float, float],
    *,
    colormap: str | None = None,
    signed: bool = False,
    text_size: int = 12,
) -> np.ndarray:
    """Draw an upright bar of the colours with numbers beside it.

    Args:
        height: of the bar in pixels, at least 1.
        limits: what its lower and its upper end stand for; equal ones make a bar of nothing but the neutral colour.
        colormap: as for `colorize`.
        signed: as for `colorize`.
        text_size: height of the numbers in pixels.

    Returns:
        uint8 RGB, `height` high.

    >>> color_bar(100, (0.0, 2.5)).shape[0]
    100
    """
    low, high = limits
    middle = (low / 2 + high / 2) if high > low else low
    ends = [high, middle, low] if height >= 4 * text_size else [high, low]
    words = [f"{value:.3g}" if value else "0" for value in (ends if high > low else [low])]
    levels = np.linspace(1, -1 if signed else 0, height) if high > low else np.zeros(height)
    bar = np.repeat(colorize(levels[:, np.newaxis], colormap, signed=signed), max(4, text_size * 2 // 3), axis=1)
    room = text_width([*words, "-0.888"], text_size)  # the same for nearly all, so that panels align
    labels = np.full((height, room, 3), PAPER, np.uint8)
    for word, share in zip(words, np.linspace(0, 1, len(words)) if high > low else [1.0], strict=True):
        line = _trimmed(text_picture([word], text_size))
        top = round(share * (height - line.shape[0]))
        if line.shape[0] <= height:
            labels[top : top + line.shape[0], : line.shape[1]] = line[:, : labels.shape[1]]
    return np.concatenate([bar, labels], axis=1)


def _trimmed(line: np.ndarray) -> np.ndarray:
    """A line of text without the white above and below it."""
    rows = np.flatnonzero((line != PAPER).any(axis=(1, 2)))
    return line[rows[0] : rows[-1] + 1]
