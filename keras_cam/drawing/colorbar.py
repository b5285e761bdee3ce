"""The bar that says which number each colour of a heat map stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.drawing.layout import beside, caption
from keras_cam.drawing.text import PAPER, Title, short_number, text_picture, text_width
from keras_cam.imaging.colormaps import colorize

GAP = 4  # pixels between a drawing and its bar


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

    Raises:
        InvalidOptionError: an unknown colour map, or one for the other kind of heat map.

    >>> color_bar(100, (0.0, 2.5)).shape[0]
    100
    """
    low, high = limits
    # Both ends and, where there is room for it, the middle; of a map with nothing to show one number, at the foot.
    if high > low:
        numbers = [high, low / 2 + high / 2, low] if height >= 4 * text_size else [high, low]
        levels, places = np.linspace(1, -1 if signed else 0, height), np.linspace(0, 1, len(numbers))
    else:
        numbers, levels, places = [low], np.zeros(height), np.ones(1)
    bar = np.repeat(colorize(levels[:, np.newaxis], colormap, signed=signed), max(4, text_size * 2 // 3), axis=1)
    words = [short_number(number) for number in numbers]
    # Room for seven letters is the same for nearly all numbers, so that panels align.
    labels = np.full((height, text_width([*words, "-0.888"], text_size), 3), PAPER, np.uint8)
    for word, place in zip(words, places.tolist(), strict=True):
        _write_number(labels, word, place, text_size)
    return np.concatenate([bar, labels], axis=1)


def frame_drawing(
    drawing: np.ndarray,
    limits: tuple[float, float],
    lines: Sequence[str | Title],
    *,
    colormap: str | None,
    signed: bool,
    text_size: int,
) -> np.ndarray:
    """A drawing with its colour bar beside it and, where there are any, lines of text below."""
    bar_text_size = max(6, round(text_size * 0.85))
    bar = color_bar(drawing.shape[0], limits, colormap=colormap, signed=signed, text_size=bar_text_size)
    framed = beside([drawing, bar], gap=GAP)
    return caption(framed, lines, text_size=text_size) if lines else framed


def _write_number(labels: np.ndarray, word: str, place: float, text_size: int) -> None:
    """Write a number beside the bar: at its head for place 0, at its foot for 1; none that is higher than the bar."""
    line = _trimmed(text_picture([word], text_size))
    top = round(place * (len(labels) - len(line)))
    if len(line) <= len(labels):
        labels[top : top + len(line), : line.shape[1]] = line[:, : labels.shape[1]]


def _trimmed(line: np.ndarray) -> np.ndarray:
    """A line of text without the white above and below it, so that numbers stand level with the bar's ends."""
    rows = np.flatnonzero((line != PAPER).any(axis=(1, 2)))
    return line[rows[0] : rows[-1] + 1]
