"""Boxes on a picture: what was found in white, what is true dashed in green, and the IoU of the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from keras_cam.drawing.text import checked_text_size, text_picture
from keras_cam.imaging.boxes import Box, as_boxes, best_iou
from keras_cam.imaging.display import checked_picture

FOUND, TRUE, EDGE = (255, 255, 255), (0, 230, 118), (0, 0, 0)
DASH = 4  # line widths: two dashes of a true box's line, then one of nothing
FARTHEST = 2**14  # pixels; coordinates that are much larger overflow inside OpenCV


def draw_boxes(
    picture: np.ndarray, boxes: Any, *, truth: Any = None, text_size: int | None = None, line_width: int | None = None
) -> np.ndarray:
    """Draw boxes, and true boxes where there are any, with the IoU of the two.

    The IoU is left out where it would cover more than a third of the picture's width or half of its height.

    Args:
        picture: uint8 RGB (height, width, 3).
        boxes: what was found: a `Box`, (left, top, right, bottom), or a list of these; white lines.
        truth: what is true, in the same forms; None where it is not known; dashed green lines.
        text_size: height of the IoU's digits in pixels, at least 6; default: 1/25 of the picture's width, 11 to 20.
        line_width: in pixels; default: 1/240 of the picture's width, at least 1.

    Returns:
        uint8 RGB, the picture's size.

    Raises:
        InvalidDataError: boxes that are none.
        InvalidImageError: not a picture.
        InvalidOptionError: letters that are too small.

    >>> drawn = draw_boxes(np.zeros((40, 60, 3), "uint8"), [Box(5, 6, 50, 30)])
    >>> drawn[6, 5].tolist()
    [255, 255, 255]
    """
    drawn = np.array(checked_picture(picture))
    width = drawn.shape[1]
    text_size = checked_text_size(text_size, min(max(11, width // 25), 20))
    line_width = max(1, width // 240) if line_width is None else line_width
    found_boxes, true_boxes = as_boxes(boxes), as_boxes(truth)
    # What was found lies over what is true.
    for box in true_boxes:
        _draw_frame(drawn, box, TRUE, line_width, dashed=True)
    for box in found_boxes:
        _draw_frame(drawn, box, FOUND, line_width, dashed=False)
    if true_boxes:
        _write_iou(drawn, found_boxes, true_boxes, text_size, line_width)
    return drawn


def _write_iou(
    picture: np.ndarray, found_boxes: Sequence[Box], true_boxes: Sequence[Box], text_size: int, line_width: int
) -> None:
    """Write the best IoU above the box that has it, or inside where there is no room above."""
    height, width = picture.shape[:2]
    label = text_picture([f"IoU {best_iou(found_boxes, true_boxes):.2f}"], text_size)
    if 2 * label.shape[0] > height or 3 * label.shape[1] > width:
        return
    box = max(found_boxes, key=lambda box: best_iou([box], true_boxes) or 0, default=true_boxes[0])
    above = round(box.top) - label.shape[0] - line_width
    top = above if above >= 0 else round(box.top) + 2 * line_width
    # Moved into the picture where the box reaches out of it.
    top, left = min(top, height - label.shape[0]), min(round(box.left), width - label.shape[1])
    picture[max(top, 0) :, max(left, 0) :][: label.shape[0], : label.shape[1]] = label


def _draw_frame(picture: np.ndarray, box: Box, color: tuple[int, int, int], line: int, *, dashed: bool) -> None:
    """Draw a box's outermost pixels into the picture, a dark edge within and without."""
    left, top = (int(np.clip(round(start), -FARTHEST, FARTHEST)) for start in (box.left, box.top))
    right, bottom = (int(np.clip(round(end), -FARTHEST, FARTHEST)) - 1 for end in (box.right, box.bottom))
    right, bottom = max(right, left), max(bottom, top)
    # The line is as wide as was asked for; its edge is a pixel wider on both sides.
    ring = np.zeros(picture.shape[:2], np.uint8)
    cv2.rectangle(ring, (left, top), (right, bottom), 1, 1)
    thick = cv2.dilate(ring, np.ones((2 * line - 1, 2 * line - 1), np.uint8))
    edge = cv2.dilate(ring, np.ones((2 * line + 1, 2 * line + 1), np.uint8))
    inked = thick > 0
    if (
        dashed
    ):  # counted from the upper left corner, along the columns on level sides and along the rows on upright ones
        rows, columns = np.indices(ring.shape)
        level = (np.abs(rows - top) < line) | (np.abs(rows - bottom) < line)
        inked &= np.where(level, columns - left, rows - top) // (DASH * line) % 3 < 2
    picture[edge > 0] = EDGE
    picture[inked] = color
