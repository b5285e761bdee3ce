"""Where the object is, as the user knows it, and how far a map lies on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.imaging.boxes import Box, as_boxes, best_iou, find_boxes


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Where the object is in one picture.

    Attributes:
        mask: (height, width) bool, true on the object.
        boxes: boxes around it, in pixels.
    """

    mask: np.ndarray
    boxes: tuple[Box, ...]


def ground_truth_of(
    pictures: Sequence[np.ndarray], indices: Sequence[int], boxes: Any, masks: Any, count: int
) -> list[GroundTruth | None]:
    """Where the objects are in some pictures of the data.

    Args:
        pictures: (height, width, ...) each.
        indices: which of the data each picture is.
        boxes: one entry for each of the data: a box (left, top, right, bottom) in pixels, several, or none; or None.
        masks: one (height, width) array for each of the data, true on the object; or None.
        count: how many images the data hold.

    Returns:
        For each picture where the object is; None where no object is known in it.

    Raises:
        InvalidDataError: more or fewer entries than images, a box outside its picture, or a mask of another size.
    """
    # Only the entries of these pictures are read: masks may lie on disk.
    _checked_entries(boxes, masks, count)
    if masks is not None:
        return [
            _from_mask(np.asarray(masks[index]), picture.shape[:2], index)
            for picture, index in zip(pictures, indices, strict=True)
        ]
    return [
        _from_boxes(boxes[index], picture.shape[:2], index) for picture, index in zip(pictures, indices, strict=True)
    ]


def has_object(boxes: Any, masks: Any, count: int) -> np.ndarray | None:
    """Which of some data have an object, told without looking at any picture.

    Args:
        boxes: as for `ground_truth_of`.
        masks: likewise.
        count: likewise.

    Returns:
        (count,) bool; None where there are neither boxes nor masks, or masks that are yet to be read from somewhere.

    Raises:
        InvalidDataError: more or fewer entries than images.
    """
    if boxes is None and masks is None:
        return None
    entries = _checked_entries(boxes, masks, count)
    if masks is None:
        return np.array([entry is not None and (isinstance(entry, Box) or len(entry) > 0) for entry in entries], bool)
    # Masks of any other type may be read from disk, all of them here.
    if type(masks) is list or type(masks) is np.ndarray:
        return np.array([np.any(mask) for mask in entries], bool)
    return None


def energy_inside(heatmap: np.ndarray, truth: GroundTruth) -> float:
    """The share of the heat that lies on the object (Wang et al. 2020, arXiv 1910.01279).

    Args:
        heatmap: (height, width), signed, over the picture.
        truth: where the object is.

    Returns:
        0 to 1; NaN where the map has no heat.
    """
    heat = np.maximum(heatmap, 0)  # what speaks against the class lies nowhere
    total = float(heat.sum())
    return float(heat[truth.mask].sum()) / total if total else math.nan


def pointing(heatmap: np.ndarray, truth: GroundTruth) -> float:
    """Whether the hottest pixel lies on the object (Zhang et al. 2016, arXiv 1608.00507).

    Args:
        heatmap: as for `energy_inside`.
        truth: likewise.

    Returns:
        1 or 0; NaN where the map has no heat.
    """
    return float(truth.mask.reshape(-1)[int(heatmap.argmax())]) if heatmap.max() > 0 else math.nan


def iou(heatmap: np.ndarray, truth: GroundTruth) -> float:
    """Overlap of the box of the largest part above 0.2 of the maximum with the nearest true box.

    Args:
        heatmap: as for `energy_inside`.
        truth: likewise.

    Returns:
        0 to 1; NaN where the map has no heat.
    """
    heat = np.maximum(heatmap, 0)
    if not heat.any():
        return math.nan
    # The protocol of CAM's paper: a box round the largest part above a fifth of the maximum.
    return best_iou(find_boxes(heat / heat.max()), truth.boxes) or 0.0


def _checked_entries(boxes: Any, masks: Any, count: int) -> Any:
    """The boxes or masks, whichever there are: one entry for each image."""
    name, entries = ("boxes", boxes) if masks is None else ("masks", masks)
    if len(entries) != count:
        raise InvalidDataError(
            f"{name} must hold an entry for each image of the data. Received: {len(entries)} entries for {count} "
            "images."
        )
    return entries


def _from_boxes(entry: Any, size: tuple[int, ...], index: int) -> GroundTruth | None:
    boxes = as_boxes(entry)
    if not boxes:
        return None
    # Several boxes are one object: their pixels together. What lies outside the picture is cut off.
    mask = np.zeros(size, bool)
    for box in boxes:
        left, top, right, bottom = (round(edge) for edge in box)
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    if not mask.any():  # shares of the picture's size instead of pixels, say
        raise InvalidDataError(
            f"boxes[{index}] must cover some of its picture of {size[1]} x {size[0]} pixels. Received: "
            f"{entry!r}. Give (left, top, right, bottom) in pixels of the picture."
        )
    return GroundTruth(mask, tuple(boxes))


def _from_mask(mask: np.ndarray, size: tuple[int, ...], index: int) -> GroundTruth | None:
    mask = mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask
    if mask.shape != size:
        raise InvalidDataError(f"masks[{index}] must have the size {size} of its picture. Received: {mask.shape}.")
    if not mask.any():
        return None
    rows, columns = np.nonzero(mask)  # one box round all of it, for the overlap
    box = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return GroundTruth(mask != 0, (box,))
