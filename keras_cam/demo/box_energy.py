"""How much of the energy of a map, its positive part, lies in a box."""

from __future__ import annotations

import numpy as np

from keras_cam.imaging.statistics import heat_shares

CELL = 4  # pixels of the picture under one cell of the network's map


def energy_in_boxes(placed: np.ndarray, boxes: np.ndarray, *, margin: int = CELL) -> np.ndarray:
    """Measure how much of the positive part of each map, placed on its picture, lies in a box.

    Args:
        placed: (N, size, size) maps over their pictures, signed.
        boxes: (N, 4), left, top, right, bottom in pixels; all zero where there is none.
        margin: pixels by which a box is grown on every side first, for a map cannot be sharper than its cells.

    Returns:
        float64 (N,) in [0, 1]; 0 where there is no box, or the map has no positive part.

    >>> energy_in_boxes(np.ones((1, 32, 32)), np.array([[0, 0, 16, 32]]), margin=0).tolist()
    [0.5]
    """
    energy = np.nan_to_num(heat_shares(placed))
    return (energy * pixels_in_boxes(boxes, placed.shape[1], margin=margin)).sum(axis=(1, 2))


def pixels_in_boxes(boxes: np.ndarray, size: int, *, margin: int = CELL) -> np.ndarray:
    """Tell which pixels lie in the grown boxes.

    Args:
        boxes: as for `energy_in_boxes`.
        size: height and width of the pictures.
        margin: as for `energy_in_boxes`.

    Returns:
        bool (N, size, size).
    """
    pixel = np.arange(size)
    left, top, right, bottom = (boxes[:, side, np.newaxis] for side in range(4))
    # A box of zeros is none: it has no width.
    columns = (pixel >= left - margin) & (pixel < right + margin) & (right > left)
    rows = (pixel >= top - margin) & (pixel < bottom + margin)
    return rows[:, :, np.newaxis] & columns[:, np.newaxis, :]
