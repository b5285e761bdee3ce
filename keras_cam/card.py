"""The card of a probe: picture beside overlay with a caption burnt in, made for TensorBoard's card width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.render import beside, caption, fitted, overlay

__all__ = ["CARD_WIDTH", "probe_card"]

CARD_WIDTH = 700  # twice the 350 pixels of TensorBoard's cards, which scale by whole pixels only
GAP = 4
MARK_HEIGHT = 8
RIGHT, WRONG = (255, 255, 255), (214, 39, 40)


def probe_card(picture: np.ndarray, heatmap: np.ndarray, lines: Sequence[str], *, wrong: bool = False) -> np.ndarray:
    """Draw a picture, the same picture under its heat map, and lines of text below.

    Args:
        picture: uint8 RGB (height, width, 3).
        heatmap: (h, w) in [0, 1].
        lines: the caption.
        wrong: True draws a red bar between pictures and caption.

    Returns:
        uint8 RGB, `CARD_WIDTH` pixels wide.

    >>> probe_card(np.zeros((32, 32, 3), "uint8"), np.zeros((4, 4)), ["epoch 0"]).shape
    (412, 700, 3)
    """
    scaled = fitted(picture, (CARD_WIDTH - GAP) // 2)
    pair = beside([scaled, overlay(scaled, heatmap)], gap=GAP)
    mark = np.full((MARK_HEIGHT, CARD_WIDTH, 3), WRONG if wrong else RIGHT, np.uint8)
    return caption(np.concatenate([_centred(pair), mark]), lines)


def _centred(pair: np.ndarray) -> np.ndarray:
    missing = CARD_WIDTH - pair.shape[1]
    return np.pad(pair, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)), constant_values=255)
