"""The card of a probe: picture, overlay, numbered colour bar, and a caption burnt in, for TensorBoard's card width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.colors import color_bar
from keras_cam.heatmap import normalize
from keras_cam.images import resize
from keras_cam.render import beside, caption, contact_sheet, fitted, overlay
from keras_cam.text import PAPER

__all__ = ["CARD_WIDTH", "probe_card"]

CARD_WIDTH = 700  # twice the 350 pixels of TensorBoard's cards, which scale by whole pixels only
GAP = 4
BAR_WIDTH, BAR_TEXT = 100, 22  # room for the bar and its numbers, to be read at half this size too
SIDE = (CARD_WIDTH - BAR_WIDTH - 2 * GAP) // 2  # of a square picture
MARK_HEIGHT = 8
RIGHT, WRONG = (255, 255, 255), (214, 39, 40)


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
    scaled = fitted(picture, SIDE)
    size = scaled.shape[:2]
    low, high = limits
    bar = _bar(max(size[0], 3 * BAR_TEXT), limits)
    shown = []
    for index, heat in enumerate(heatmap if heatmap.ndim == 3 else heatmap[np.newaxis]):
        shares = normalize(resize(heat, size), limits) if high > low else np.zeros(size, np.float32)
        left = np.full_like(scaled, PAPER[0]) if index else scaled  # the picture stays where it is
        shown.append(beside([left, overlay(scaled, shares), bar], gap=GAP))
    mark = np.full((MARK_HEIGHT, CARD_WIDTH, 3), WRONG if wrong else RIGHT, np.uint8)
    return caption(np.concatenate([_widened(contact_sheet(shown, 1, gap=GAP), CARD_WIDTH, centred=True), mark]), lines)


def _bar(height: int, limits: tuple[float, float]) -> np.ndarray:
    """The colour bar, `BAR_WIDTH` wide, its numbers smaller where they are long."""
    bar = color_bar(height, limits, text_size=BAR_TEXT)
    if bar.shape[1] > BAR_WIDTH:
        bar = color_bar(height, limits, text_size=BAR_TEXT * BAR_WIDTH // bar.shape[1])
    return _widened(bar, BAR_WIDTH)


def _widened(picture: np.ndarray, width: int, *, centred: bool = False) -> np.ndarray:
    """White on the right of a picture, or on both sides, until it is so wide."""
    missing = width - picture.shape[1]
    before = missing // 2 if centred else 0
    return np.pad(picture, ((0, 0), (before, missing - before), (0, 0)), constant_values=PAPER[0])
