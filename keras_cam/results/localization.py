"""What a result says in boxes, outlines and masks, in the pixels of its pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.imaging.boxes import Box, find_boxes, find_contours, find_mask, find_segments

Found = TypeVar("Found")
PAPERS_THRESHOLD = 0.2


class Localized(ABC):
    """Maps (N, C) over N pictures, of which boxes, outlines and masks are asked (of signals and volumes: an error).

    `threshold` is the share of a map's maximum that a pixel must exceed: 0.2 in CAM's paper (its released code: 20 of
    255), 0.15 in Grad-CAM's. A map in which nothing is positive gives no box, no outline and an empty mask.
    """

    class_indices: np.ndarray
    probabilities: np.ndarray

    @abstractmethod
    def heatmaps(
        self,
        normalize: str | tuple[float, float] | None = "image",
        *,
        signed: bool = False,
        align: str = "receptive_field",
        interpolation: str = "bilinear",
    ) -> list[np.ndarray]:
        """The maps over their pictures, (C, H, W) for each."""

    def boxes(
        self, threshold: float = 0.2, *, largest: bool = True, align: str = "receptive_field"
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
        return self._each(find_boxes, threshold, largest, align)

    def contours(
        self, threshold: float = 0.2, *, largest: bool = True, align: str = "receptive_field"
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
        return self._each(find_contours, threshold, largest, align)

    def masks(
        self, threshold: float = 0.2, *, largest: bool = True, align: str = "receptive_field"
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
        return [np.stack(masks) for masks in self._each(find_mask, threshold, largest, align)]

    def to_coco(
        self,
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
        images, classes = len(self.class_indices), self.probabilities.shape[1]
        image_ids = range(images) if image_ids is None else image_ids
        category_ids = range(classes) if category_ids is None else category_ids
        for name, ids, wanted in (("image_ids", image_ids, images), ("category_ids", category_ids, classes)):
            if len(ids) != wanted:
                raise InvalidDataError(f"{name} has one id for each of {wanted}. Received: {len(ids)} ids.")
        found: list[dict[str, Any]] = []
        for image, slots in enumerate(self.boxes(threshold, largest=largest, align=align)):
            for index, boxes in zip(self.class_indices[image].tolist(), slots, strict=True):
                for box in boxes:
                    score = float(self.probabilities[image, index]) * box.score
                    ids = (int(image_ids[image]), int(category_ids[index]))
                    found.append({"image_id": ids[0], "category_id": ids[1], "bbox": box.to_coco(), "score": score})
        if segmentation:
            segments = self._each(find_segments, threshold, largest, align)
            for each, pixels in zip(found, (one for image in segments for slot in image for one in slot), strict=True):
                each["segmentation"] = pixels
        return found

    def _each(self, find: Callable[..., Found], threshold: float, largest: bool, align: str) -> list[list[Found]]:
        heatmaps = self.heatmaps(None, align=align)
        if any(maps.ndim != 3 for maps in heatmaps):
            raise InvalidDataError(
                "Boxes, outlines and masks are drawn on pictures. Received: heat maps over "
                f"{'signals' if heatmaps[0].ndim == 2 else 'volumes'}, {heatmaps[0].shape} of image 0. Leave boxes and "
                "truth out, or take what is hot from the numbers: result.heatmaps()[0] > 0.2."
            )
        return [[find(heatmap, threshold, largest=largest) for heatmap in maps] for maps in heatmaps]

    def _found(
        self, threshold: float | None, truth: Any, align: str = "receptive_field"
    ) -> Sequence[Sequence[Sequence[Box]]]:
        """The boxes to draw of each map."""
        if threshold is None and truth is None:
            return [[[]] * self.class_indices.shape[1]] * len(self.class_indices)
        return self.boxes(PAPERS_THRESHOLD if threshold is None else threshold, align=align)

    def _true(self, truth: Any) -> Sequence[Any]:
        """The true boxes of each image."""
        images = len(self.class_indices)
        if truth is None:
            return [None] * images
        alone = isinstance(truth, Box) or (len(truth) == 4 and isinstance(truth[0], Real))
        if alone and images == 1:
            return [truth]
        if alone or len(truth) != images:
            raise InvalidDataError(
                f"truth holds None, a box (left, top, right, bottom) or several boxes for each of {images} images. "
                f"Received: {f'one box {truth}' if alone else f'{len(truth)} entries'}."
            )
        return list(truth)
