"""What a result says in boxes, outlines and masks, in the pixels of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.imaging.boxes import Box, find_boxes, find_contours, find_mask, find_segments
from keras_cam.results.result import Result

Found = TypeVar("Found")
PAPERS_THRESHOLD = 0.2  # CAM's, arXiv 1512.04150


class Localization:
    """The part of `Explanation` that says where the heat is on pictures (of signals and volumes: an error).

    `threshold` is the share of a map's maximum that a pixel must exceed: 0.2 in CAM's paper (its released code: 20 of
    255), 0.15 in Grad-CAM's. A map in which nothing is positive gives no box, no outline and an empty mask.
    """

    def boxes(
        self: Result, threshold: float = 0.2, *, largest: bool = True, align: str = "receptive_field"
    ) -> list[list[list[Box]]]:
        """Draw boxes round what is hot.

        Args:
            threshold: share of a map's maximum that a pixel must exceed, in [0, 1).
            largest: True for the largest connected part only, as in the papers; False for all, the largest first.
            align: as for `heatmaps`.

        Returns:
            For each image, for each of its classes, a list of `Box` (left, top, right, bottom, right and bottom not
            included; score: the part's maximum as a share of the map's): `boxes()[image][slot]`. As JSON:
            `json.dumps(result.boxes(), default=Box.to_dict)`.

        Raises:
            InvalidOptionError: a threshold outside [0, 1).
        """
        return find_in_maps(self, find_boxes, threshold, largest, align)

    def contours(
        self: Result, threshold: float = 0.2, *, largest: bool = True, align: str = "receptive_field"
    ) -> list[list[list[np.ndarray]]]:
        """Trace outlines of what is hot.

        Args:
            threshold: as for `boxes`.
            largest: as for `boxes`.
            align: as for `heatmaps`.

        Returns:
            For each image, for each of its classes, a list of int32 (n, 2) arrays of corners (x, y), ready for
            `cv2.drawContours`.

        Raises:
            InvalidOptionError: a threshold outside [0, 1).
        """
        return find_in_maps(self, find_contours, threshold, largest, align)

    def masks(
        self: Result, threshold: float = 0.2, *, largest: bool = True, align: str = "receptive_field"
    ) -> list[np.ndarray]:
        """Mark the pixels that are hot.

        Args:
            threshold: as for `boxes`.
            largest: as for `boxes`; False marks all parts.
            align: as for `heatmaps`.

        Returns:
            For each image a bool array (C, H, W), at the picture's own size.

        Raises:
            InvalidOptionError: a threshold outside [0, 1).
        """
        return [np.stack(masks) for masks in find_in_maps(self, find_mask, threshold, largest, align)]

    def to_coco(
        self: Result,
        threshold: float = 0.2,
        *,
        largest: bool = True,
        align: str = "receptive_field",
        image_ids: Sequence[int] | None = None,
        category_ids: Sequence[int] | None = None,
        segmentation: bool = False,
    ) -> list[dict[str, Any]]:
        """Give the boxes as a list of COCO results, ready for `json.dump` and `pycocotools`' `loadRes`.

        Args:
            threshold: as for `boxes`.
            largest: as for `boxes`.
            align: as for `heatmaps`.
            image_ids: COCO's id of each image; default: 0, 1, 2, ...
            category_ids: COCO's id of each of the model's classes; default: the class index.
            segmentation: True adds which pixels are hot, as run lengths.

        Returns:
            One dict for each box: "image_id", "category_id", "bbox" [x, y, width, height] in pixels of the picture, and
            "score": the class's probability times the box's score. Where the model's outputs are no probabilities, a
            score is the output itself times the box's, in its own units, and may be negative.

        Raises:
            InvalidDataError: not one id for each image, or for each class.
            InvalidOptionError: a threshold outside [0, 1).
        """
        image_ids = _checked_ids("image_ids", image_ids, len(self.class_indices))
        category_ids = _checked_ids("category_ids", category_ids, self.probabilities.shape[1])
        boxes = find_in_maps(self, find_boxes, threshold, largest, align)
        # One entry for each box, in the order of images, classes and parts.
        entries: list[dict[str, Any]] = []
        for image, slots in enumerate(boxes):
            for index, parts in zip(self.class_indices[image].tolist(), slots, strict=True):
                ids = {"image_id": int(image_ids[image]), "category_id": int(category_ids[index])}
                probability = float(self.probabilities[image, index])
                entries += [{**ids, "bbox": box.to_coco(), "score": probability * box.score} for box in parts]
        if segmentation:  # the pixels of each part, in the same order
            segments = find_in_maps(self, find_segments, threshold, largest, align)
            flat = chain.from_iterable(chain.from_iterable(segments))
            entries = [{**entry, "segmentation": pixels} for entry, pixels in zip(entries, flat, strict=True)]
        return entries


def find_in_maps(
    result: Result, find: Callable[..., Found], threshold: float, largest: bool, align: str
) -> list[list[Found]]:
    """What a function of `keras_cam.imaging.boxes` finds in each map, laid over its picture, by image and class."""
    # A threshold is a share of a map's own maximum, so that maps need not be scaled.
    heatmaps = result.heatmaps(None, align=align)
    if any(maps.ndim != 3 for maps in heatmaps):
        raise InvalidDataError(
            "Boxes, outlines and masks are drawn on pictures. Received: heat maps over "
            f"{'signals' if heatmaps[0].ndim == 2 else 'volumes'}, {heatmaps[0].shape} of image 0. Leave boxes and "
            "truth out, or take what is hot from the numbers: result.heatmaps()[0] > 0.2."
        )
    return [[find(heatmap, threshold, largest=largest) for heatmap in maps] for maps in heatmaps]


def boxes_to_draw(result: Result, threshold: float | None, truth: Any, align: str) -> Sequence[Sequence[Sequence[Box]]]:
    """The boxes to draw of each map; without a threshold none, or where there is a truth those of CAM's paper."""
    # Without either no map is looked at: signals and volumes have no boxes, and are drawn all the same.
    if threshold is None and truth is None:
        return [[[]] * result.class_indices.shape[1]] * len(result.class_indices)
    return find_in_maps(result, find_boxes, PAPERS_THRESHOLD if threshold is None else threshold, True, align)


def true_boxes_to_draw(truth: Any, images: int) -> Sequence[Any]:
    """The true boxes of each of some images, or an error where they are not given for each."""
    if truth is None:
        return [None] * images
    # A single box is meant for a single image.
    is_box = isinstance(truth, Box) or (len(truth) == 4 and isinstance(truth[0], Real))
    if is_box and images == 1:
        return [truth]
    if is_box or len(truth) != images:
        raise InvalidDataError(
            f"truth holds None, a box (left, top, right, bottom) or several boxes for each of {images} images. "
            f"Received: {f'one box {truth}' if is_box else f'{len(truth)} entries'}."
        )
    return list(truth)


def _checked_ids(name: str, ids: Sequence[int] | None, count: int) -> Sequence[int]:
    """The user's ids, by default 0, 1, 2, ..., or an error where there is not one for each."""
    ids = range(count) if ids is None else ids
    if len(ids) != count:
        raise InvalidDataError(f"{name} has one id for each of {count}. Received: {len(ids)} ids.")
    return ids
