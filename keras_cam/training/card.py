"""The card of a probe: picture, overlay, numbered colour bar, and a caption burnt in, for TensorBoard's card width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.drawing.colorbar import color_bar
from keras_cam.drawing.layout import scale_to_width
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import PAPER, text_picture
from keras_cam.imaging.load import resize
from keras_cam.imaging.normalize import normalize

CARD_WIDTH = 700  # twice the 350 pixels of TensorBoard's cards, which scale by whole pixels only
GAP = 4
BAR_WIDTH, BAR_TEXT = 100, 22  # room for the bar and its numbers, to be read at half this size too
SIDE = (CARD_WIDTH - BAR_WIDTH - 2 * GAP) // 2  # of a square picture
MARK_HEIGHT = 8
WRONG = (214, 39, 40)


def probe_card(
    picture: np.ndarray, heatmap: np.ndarray, limits: tuple[float, float], lines: Sequence[str], *, wrong: bool = False
) -> np.ndarray:
    """Draw a picture, the same picture under each heat map, a colour bar with numbers, and lines of text below.

    Args:
        picture: uint8 RGB (height, width, 3).
        heatmap: (h, w), or several (C, h, w) to draw below each other, in the units that the colour bar shall show.
        limits: what the colour bar's ends stand for; equal ones draw an empty map.
        lines: the caption.
        wrong: True draws a red bar between pictures and caption.

    Returns:
        uint8 RGB, `CARD_WIDTH` pixels wide.

    >>> probe_card(np.zeros((32, 32, 3), "uint8"), np.zeros((4, 4)), (0.0, 1.0), ["epoch 0"]).shape
    (360, 700, 3)
    """
    # The parts: the picture, a colour bar that has room for its numbers, the caption.
    scaled = scale_to_width(picture, SIDE)
    (height, width), (low, high) = scaled.shape[:2], limits
    bar = _bar(max(height, 3 * BAR_TEXT), limits)
    words = text_picture(lines, CARD_WIDTH // 25, CARD_WIDTH)
    maps, row_height = heatmap if heatmap.ndim == 3 else heatmap[np.newaxis], len(bar) + GAP
    end = len(maps) * row_height - GAP  # of the maps; the mark and the caption follow
    card = np.full((end + MARK_HEIGHT + len(words), CARD_WIDTH, 3), PAPER[0], np.uint8)
    # All of it in the middle; narrow pictures leave white on both sides.
    left, down = (CARD_WIDTH - 2 * width - BAR_WIDTH - 2 * GAP) // 2, (len(bar) - height) // 2
    for index, heat in enumerate(maps):
        shares = np.zeros((height, width), "float32")
        if high > low:
            shares = normalize(resize(heat, (height, width)), limits)
        row = card[index * row_height :][: len(bar), left:]
        if index == 0:  # the picture stays where it is, however many maps there are
            row[down : down + height, :width] = scaled
        row[down : down + height, width + GAP :][:, :width] = overlay(scaled, shares)
        row[:, 2 * (width + GAP) :][:, :BAR_WIDTH] = bar
    if wrong:
        card[end : end + MARK_HEIGHT] = WRONG
    card[end + MARK_HEIGHT :] = words
    return card


def _bar(height: int, limits: tuple[float, float]) -> np.ndarray:
    """The colour bar, `BAR_WIDTH` wide, its numbers smaller where they are long."""
    bar = color_bar(height, limits, text_size=BAR_TEXT)
    if bar.shape[1] > BAR_WIDTH:
        bar = color_bar(height, limits, text_size=BAR_TEXT * BAR_WIDTH // bar.shape[1])
    return np.pad(bar, ((0, 0), (0, BAR_WIDTH - bar.shape[1]), (0, 0)), constant_values=PAPER[0])
