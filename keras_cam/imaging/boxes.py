"""Where the heat is, in words of geometry: boxes, outlines and masks of a map that lies over its picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from keras_cam.errors import InvalidDataError, InvalidImageError, InvalidOptionError
from keras_cam.imaging.normalize import checked_maps


@dataclass(frozen=True)
class Box:
    """A box in pixels, right and bottom not included, so that its width is `right - left`.

    Attributes:
        left: first column.
        top: first row.
        right: the column after the last.
        bottom: the row after the last.
        score: how hot the hottest point in it is, as a share of the map's maximum; 1 holds the maximum.

    Raises:
        InvalidDataError: a box without a pixel in it, or numbers that are not finite.

    >>> Box(0, 0, 4, 2).iou(Box(2, 0, 6, 2))
    0.3333333333333333
    >>> Box(10, 20, 40, 25).to_coco()
    [10.0, 20.0, 30.0, 5.0]
    >>> import json
    >>> json.dumps([Box(0, 0, 4, 2)], default=Box.to_dict)
    '[{"left": 0.0, "top": 0.0, "right": 4.0, "bottom": 2.0, "score": 1.0}]'
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(tuple(self)).all() and self.left < self.right and self.top < self.bottom):
            raise InvalidDataError(
                "A box is (left, top, right, bottom) in pixels, left < right and top < bottom. "
                f"Received: {tuple(self)}. COCO's boxes are (x, y, width, height): give (x, y, x + width, y + height)."
            )

    def __iter__(self) -> Iterator[float]:
        """Give left, top, right, bottom."""
        return iter((self.left, self.top, self.right, self.bottom))

    @property
    def area(self) -> float:
        """Number of pixels in it."""
        return (self.right - self.left) * (self.bottom - self.top)

    def iou(self, other: Box | Sequence[float]) -> float:
        """Intersection over union with another box.

        Args:
            other: a `Box`, or (left, top, right, bottom).

        Returns:
            0 (apart) to 1 (the same box).
        """
        # Boxes that lie apart share nothing: neither width nor height is negative.
        box = as_box(other)
        width = min(self.right, box.right) - max(self.left, box.left)
        height = min(self.bottom, box.bottom) - max(self.top, box.top)
        shared = max(width, 0) * max(height, 0)
        return float(shared / (self.area + box.area - shared))

    def to_coco(self) -> list[float]:
        """Give the box as COCO has it.

        Returns:
            [x, y, width, height].
        """
        return [float(value) for value in (self.left, self.top, self.right - self.left, self.bottom - self.top)]

    def to_dict(self) -> dict[str, float]:
        """Give the box as JSON can hold it.

        Returns:
            Its numbers by name.
        """
        return {name: float(value) for name, value in asdict(self).items()}


def as_box(box: Box | Sequence[float]) -> Box:
    """A box of four numbers, or the box itself."""
    if isinstance(box, Box):
        return box
    numbers = np.asarray(box, dtype=float).ravel().tolist()
    if len(numbers) != 4:
        raise InvalidDataError(f"A box is (left, top, right, bottom). Received: {box!r}.")
    return Box(*numbers)


def as_boxes(boxes: Any) -> list[Box]:
    """The boxes of one picture: None, one box, or several as a list or an (n, 4) array."""
    if not isinstance(boxes, Box | Iterable | None):
        raise InvalidDataError(f"Boxes are one (left, top, right, bottom), or a list of these. Received: {boxes!r}.")
    if boxes is None or len(entries := [boxes] if isinstance(boxes, Box) else list(boxes)) == 0:
        return []
    if not isinstance(entries[0], Box) and np.ndim(entries[0]) == 0:
        entries = [boxes]  # four numbers: one box
    return [as_box(box) for box in entries]


def best_iou(boxes: Sequence[Box], truth: Any) -> float | None:
    """Give the largest IoU of any of the boxes with any true one.

    Args:
        boxes: what was found.
        truth: what is true: None, a `Box`, (left, top, right, bottom), or a list or (n, 4) array of these.

    Returns:
        0 to 1; 0.0 without boxes, None without truth.

    Raises:
        InvalidDataError: a truth that is none of these.

    >>> best_iou([Box(0, 0, 4, 2)], [(2, 0, 6, 2), (0, 0, 4, 4)])
    0.5
    """
    true_boxes = as_boxes(truth)
    return max((box.iou(true) for box in boxes for true in true_boxes), default=0.0) if true_boxes else None


def find_boxes(heatmap: Any, threshold: float = 0.2, *, largest: bool = True) -> list[Box]:
    """Draw a box round what is hot: the connected pixels (diagonals count) above a share of the map's maximum.

    A fifth of the maximum and the largest connected part is the protocol of CAM's paper (arXiv 1512.04150); its
    released code draws at 20/255. Grad-CAM's (arXiv 1610.02391) is 0.15.

    Args:
        heatmap: (h, w), any finite values; laid over the picture, so that boxes come out in the picture's pixels.
        threshold: share of the maximum that a pixel must exceed, in [0, 1).
        largest: True for the part with most pixels only, False for all.

    Returns:
        The boxes, that of the largest part first; none where nothing in the map is positive.

    Raises:
        InvalidImageError: not one finite map.
        InvalidOptionError: a threshold outside [0, 1).

    >>> find_boxes([[0, 0, 0, 10], [0, 5, 0, 0], [0, 0, 5, 0]])
    [Box(left=1, top=1, right=3, bottom=3, score=0.5)]
    """
    heat, parts = _hot_parts(heatmap, threshold, largest)
    peak = float(heat.max())
    # Hotness is looked up within the part alone, not in all of its box.
    boxes = []
    for part, (left, top) in parts:
        height, width = part.shape
        hottest = float(heat[top : top + height, left : left + width][part].max())
        boxes.append(Box(left, top, left + width, top + height, hottest / peak))
    return boxes


def find_contours(heatmap: Any, threshold: float = 0.2, *, largest: bool = True) -> list[np.ndarray]:
    """Trace the outlines of what is hot.

    Args:
        heatmap: as for `find_boxes`.
        threshold: as for `find_boxes`.
        largest: as for `find_boxes`.

    Returns:
        For each connected part, the largest first, the corners (n, 2) of its outline: int32 (x, y), pixels on the
        outline belonging to the part; holes are not traced.

    Raises:
        InvalidImageError: not one finite map.
        InvalidOptionError: a threshold outside [0, 1).

    >>> find_contours([[0, 0, 0], [0, 1, 1], [0, 1, 1]])[0].tolist()
    [[1, 1], [1, 2], [2, 2], [2, 1]]
    """
    contours = []
    for part, corner in _hot_parts(heatmap, threshold, largest)[1]:
        # A connected part has one outer outline; it was cut out, so that its corner is added again.
        outlines, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        contours.append(np.asarray(outlines[0], np.int32).reshape(-1, 2) + np.array(corner, np.int32))
    return contours


def find_mask(heatmap: Any, threshold: float = 0.2, *, largest: bool = True) -> np.ndarray:
    """Mark the pixels that are hot.

    Args:
        heatmap: as for `find_boxes`.
        threshold: as for `find_boxes`.
        largest: as for `find_boxes`.

    Returns:
        bool (h, w), all False where nothing in the map is positive.

    Raises:
        InvalidImageError: not one finite map.
        InvalidOptionError: a threshold outside [0, 1).

    >>> find_mask([[1.0, 0.0, 0.5], [0.0, 0.0, 0.5]]).tolist()
    [[False, False, True], [False, False, True]]
    """
    heat, parts = _hot_parts(heatmap, threshold, largest)
    mask = np.zeros(heat.shape, bool)
    for part, (left, top) in parts:
        mask[top : top + part.shape[0], left : left + part.shape[1]] |= part
    return mask


def find_segments(heatmap: Any, threshold: float = 0.2, *, largest: bool = True) -> list[dict[str, list[int]]]:
    """Mark the pixels of each hot part as COCO does.

    Args:
        heatmap: as for `find_boxes`.
        threshold: as for `find_boxes`.
        largest: as for `find_boxes`.

    Returns:
        For each connected part, the largest first, its run lengths: "size" [h, w], and "counts", how many pixels are
        out, in, out, ... of it, column by column.

    Raises:
        InvalidImageError: not one finite map.
        InvalidOptionError: a threshold outside [0, 1).

    >>> find_segments([[0, 0, 1], [0, 1, 1]])
    [{'size': [2, 3], 'counts': [3, 3]}]
    """
    heat, parts = _hot_parts(heatmap, threshold, largest)
    segments = []
    for part, (left, top) in parts:
        mask = np.zeros(heat.shape, bool)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        # COCO reads down the columns, and begins with a run of what is out, which may be empty.
        changes = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False))
        segments.append({"size": [*mask.shape], "counts": np.diff(changes, prepend=0, append=mask.size).tolist()})
    return segments


def _hot_parts(
    heatmap: Any, threshold: float, largest: bool
) -> tuple[np.ndarray, list[tuple[np.ndarray, tuple[int, int]]]]:
    """The map, and its connected parts, the largest first: pixels (bool, cut out) and (left, top) of each."""
    heat = checked_maps(heatmap)
    if heat.ndim != 2:
        raise InvalidImageError(f"Boxes are found in one map (height, width). Received: shape {heat.shape}.")
    if np.ndim(threshold) or not 0 <= threshold < 1:
        raise InvalidOptionError(
            f"threshold is a share of the map's maximum, in [0, 1): 0.2 in CAM's paper. Received: {threshold!r}."
        )
    # What is hot, the peak among it however the threshold was rounded.
    peak = max(float(heat.max()), 0.0)
    hot = (heat > np.float32(peak * threshold)) | ((heat == peak) & (heat > 0))
    # Its connected parts: label 0 is what is not hot.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(hot.astype(np.uint8), connectivity=8)
    # The largest first, of equal ones the first in reading order.
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    parts = []
    for label in order[: 1 if largest else None]:
        left, top, width, height = (int(value) for value in stats[label, : cv2.CC_STAT_AREA])
        parts.append((labels[top : top + height, left : left + width] == label, (left, top)))
    return heat, parts
