"""How well a heat map finds boxes: MaxBoxAcc, pointing and energy, for maps of one image at a time.

Boxes are (left, top, right, bottom) in pixels, right and bottom not included; a picture may have several of them.
"""

from __future__ import annotations

import cv2
import numpy as np

THRESHOLDS = np.arange(0, 1, 0.01)
NO_BOX = (0, 0, 0, 0)


def largest_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Box of the largest connected region of a mask, by the area inside its outline; all zero where there is none."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return NO_BOX
    left, top, width, height = cv2.boundingRect(max(outlines, key=cv2.contourArea))
    return left, top, left + width, top + height


def overlap(box: tuple[int, int, int, int], boxes: np.ndarray) -> float:
    """Largest intersection over union of a box with one of several, (M, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2] - box[0]) * (box[3] - box[1])
    return float((shared / (areas - shared)).max())


def overlaps_by_threshold(heatmap: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Overlap of the largest region above each of `THRESHOLDS`, shares of the map's maximum, with the nearest box.

    Args:
        heatmap: (H, W) in [0, 1], its minimum 0.
        boxes: (M, 4), at least one.
    """
    levels = THRESHOLDS * heatmap.max()
    return np.array([overlap(largest_box(heatmap > level), boxes) for level in levels])


def max_box_accuracy(overlaps: np.ndarray, wanted: float) -> float:
    """MaxBoxAcc (Choe et al. 2020): share of pictures whose box overlaps enough, at the best common threshold.

    Args:
        overlaps: (N, thresholds), a row of `overlaps_by_threshold` for each picture.
        wanted: how much overlap counts as found, 0.5 by custom.
    """
    return float((overlaps >= wanted).mean(axis=0).max())


def pointing(heatmap: np.ndarray, boxes: np.ndarray) -> float:
    """1 where the maximum lies in a box, 0 where not; of several equal maxima, the share that does."""
    spread = np.ptp(heatmap)
    highest = heatmap >= heatmap.max() - 1e-5 * spread  # rounding aside: past the outermost cells maps are flat
    return float((highest & box_mask(boxes, heatmap.shape)).sum() / highest.sum())


def energy(heatmap: np.ndarray, boxes: np.ndarray) -> float:
    """Share of the positive evidence that lies in the boxes; 0 where there is none."""
    positive = np.maximum(heatmap, 0)
    total = positive.sum(dtype=np.float64)
    return float(positive[box_mask(boxes, heatmap.shape)].sum(dtype=np.float64) / total) if total > 0 else 0.0


def off_centre(heatmap: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """From the middle of the nearest box to that of the evidence above half of its maximum, (rows, columns) in pixels.

    The middle of the evidence is its centre of mass. NaN where there is no positive evidence.
    """
    if heatmap.max() <= 0:
        return np.full(2, np.nan)
    strong = np.where(heatmap > heatmap.max() / 2, heatmap, 0).astype(np.float64)
    sides = (strong.sum(axis=1), strong.sum(axis=0))
    middle = np.array([side @ np.arange(len(side)) / side.sum() for side in sides])
    ways = middle - (boxes[:, [1, 0]] + boxes[:, [3, 2]] - 1) / 2
    return ways[np.hypot(*ways.T).argmin()]


def box_mask(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels that lie in any of the boxes, bool of this shape."""
    mask = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def centre_gaussian(size: tuple[int, int]) -> np.ndarray:
    """The map that looks at no picture: a bell over the middle, its deviation a quarter of each side, in [0, 1]."""
    rows, columns = ((np.arange(length) + 0.5) / length - 0.5 for length in size)
    bell = np.exp(-8 * (rows[:, np.newaxis] ** 2 + columns**2))
    return ((bell - bell.min()) / np.ptp(bell)).astype(np.float32)
