"""Where the object is, as the user knows it, and how far a map lies on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    pictures: Sequence[np.ndarray], chosen: Sequence[int], boxes: Any, masks: Any, count: int
) -> list[GroundTruth | None]:
    """Where the objects are in the pictures chosen from some data.

    Args:
        pictures: (height, width, ...) each.
        chosen: the index of each among the data.
        boxes: one entry for each of the data: a box (left, top, right, bottom) in pixels, several, or none; or None.
        masks: one (height, width) array for each of the data, true on the object; or None.
        count: how many images the data hold.

    Returns:
        One for each picture; None where no object is known in it.

    Raises:
        InvalidDataError: more or fewer entries than images, a box outside its picture, or a mask of another size.
    """
    _checked_entries(boxes, masks, count)
    found: list[GroundTruth | None] = []
    for picture, index in zip(pictures, chosen, strict=True):
        size = picture.shape[:2]
        if masks is not None:
            found.append(_from_mask(np.asarray(masks[index]), size, index))
            continue
        mask = np.zeros(size, bool)
        several = as_boxes(boxes[index])
        if not several:
            found.append(None)
            continue
        for box in several:
            left, top, right, bottom = (round(edge) for edge in box)
            mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        if not mask.any():
            raise InvalidDataError(
                f"boxes[{index}] must cover some of its picture of {size[1]} x {size[0]} pixels. Received: "
                f"{boxes[index]!r}. Give (left, top, right, bottom) in pixels of the picture."
            )
        found.append(GroundTruth(mask, tuple(several)))
    return found


def where_known(boxes: Any, masks: Any, count: int) -> np.ndarray | None:
    """Of which of some data the object is known, before any of them is looked at.

    Args:
        boxes: as for `ground_truth_of`, and so the rest.
        masks: likewise.
        count: how many images the data hold.

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
    if type(masks) is list or type(masks) is np.ndarray:
        return np.array([np.any(mask) for mask in entries], bool)
    return None


def _checked_entries(boxes: Any, masks: Any, count: int) -> Any:
    name, values = ("boxes", boxes) if masks is None else ("masks", masks)
    if len(values) != count:
        raise InvalidDataError(
            f"{name} must hold an entry for each image of the data. Received: {len(values)} entries for {count} images."
        )
    return values


def inside_numbers(heatmap: np.ndarray, truth: GroundTruth) -> Mapping[str, float]:
    """How far a map lies on the object.

    Args:
        heatmap: (height, width), signed, over the picture.
        truth: where the object is.

    Returns:
        "energy_inside": share of the heat on the object (Wang et al. 2020, arXiv 1910.01279); "pointing": 1 where the
        hottest pixel is on it, else 0 (Zhang et al. 2016, arXiv 1608.00507); "iou": overlap of the box of the largest
        part above 0.2 of the maximum with the nearest true box. NaN where the map has no heat.
    """
    heat = np.maximum(heatmap, 0)
    total = float(heat.sum())
    if total == 0:
        return dict.fromkeys(("energy_inside", "pointing", "iou"), float("nan"))
    overlap = best_iou(find_boxes(heat / heat.max()), truth.boxes)
    return {
        "energy_inside": float(heat[truth.mask].sum()) / total,
        "pointing": float(truth.mask.reshape(-1)[int(heat.argmax())]),
        "iou": 0.0 if overlap is None else overlap,
    }


def _from_mask(mask: np.ndarray, size: tuple[int, ...], index: int) -> GroundTruth | None:
    mask = mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask
    if mask.shape != size:
        raise InvalidDataError(f"masks[{index}] must have the size {size} of its picture. Received: {mask.shape}.")
    if not mask.any():
        return None
    rows, columns = np.nonzero(mask)
    box = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return GroundTruth(mask != 0, (box,))
