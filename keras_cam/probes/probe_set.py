"""Which images are looked at while a model trains, and which of their classes: what the user says, as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_cam.classes import resolve_classes
from keras_cam.explainer.explainer import Explainer
from keras_cam.probes.ground_truth import GroundTruth
from keras_cam.probes.groups import Group, common_class_names, groups_of
from keras_cam.probes.hard_examples import hard_examples
from keras_cam.probes.labels import check_labels
from keras_cam.probes.selection import Selection
from keras_cam.validation import one_of, whole_number

PROBES = ("spread", "worst")
NUM_COMPARISON = 32  # comparison images of all groups together: one batch


@dataclass(frozen=True, eq=False)
class ProbeImages:
    """Images that are looked at, and what is known of them.

    Attributes:
        images: as the model takes them; comparison images of a directory are paths.
        labels: class of each image, None where it is not known.
        groups: name of the group that each image belongs to, "" where there is none.
        truths: where the object is in each image, None where it is not known.
    """

    images: list[Any]
    labels: list[int | None]
    groups: list[str]
    truths: list[GroundTruth | None]

    @classmethod
    def of(cls, selection: Selection, group: str, truths: list[GroundTruth | None] | None = None) -> ProbeImages:
        """The images that were selected from a group."""
        count = len(selection.images)
        labels = [None] * count if selection.labels is None else selection.labels.tolist()
        return cls(selection.images, labels, [group] * count, [None] * count if truths is None else truths)

    @classmethod
    def joined(cls, parts: Iterable[ProbeImages]) -> ProbeImages:
        """The images of several groups, one group after the other."""
        images, labels, groups, truths = [], [], [], []
        for part in parts:
            images += part.images
            labels += part.labels
            groups += part.groups
            truths += part.truths
        return cls(images, labels, groups, truths)

    @cached_property
    def fingerprints(self) -> list[str]:
        """For each image a checksum of its pixels, their shape and type: images that are the same have the same."""
        return [_fingerprint(image) for image in self.images]

    @property
    def known_labels(self) -> np.ndarray:
        """The classes that are known, int64."""
        return np.array([label for label in self.labels if label is not None], np.int64)


class ProbeSet:
    """The images to look at, chosen once or at each look; the data are given up once nothing more is chosen from them.

    Args:
        data: as for `CAMCallback`, as are the other arguments. None of them is read before `choose`.
        num_probes: how many probes of each group.
        probes: "spread" or "worst".
        classes: which maps.
        boxes: where the objects are.
        masks: the same, as masks.
        seed: of the choice.

    Attributes:
        class_names: the names of a directory's classes, or None.
        knows_objects: whether boxes or masks were given.
        chosen: the probes, once those of all groups are chosen; None before, and for "worst".
        comparison: images besides the probes, of which the maps are only compared with each other: up to
            `NUM_COMPARISON`; None as `chosen` is, and where there are none. Those of a directory are paths.

    Raises:
        InvalidDataError: data that no probes can be taken from, or boxes that do not belong to them.
        InvalidOptionError: an argument outside its range.
    """

    def __init__(
        self, data: Any, num_probes: int, probes: str, classes: Any, boxes: Any, masks: Any, seed: int
    ) -> None:
        # What is wrong with the arguments is said now; data and boxes are looked into by `choose`.
        self._num_probes = whole_number("num_probes", num_probes)
        self._is_worst = one_of("probes", probes, PROBES) == "worst"
        self._classes = list(classes) if isinstance(classes, (list, tuple, range, np.ndarray)) else [classes]
        self._seed = seed
        groups = groups_of(data, boxes, masks)
        self.class_names = common_class_names(groups)
        self.knows_objects = boxes is not None or masks is not None
        # Groups whose probes are not chosen yet, with their data; and the others, with probes and comparison images.
        self._names = [group.name for group in groups]
        self._unchosen = {group.name: group for group in groups}
        self._chosen: dict[str, tuple[ProbeImages, ProbeImages]] = {}
        self.chosen: ProbeImages | None = None
        self.comparison: ProbeImages | None = None

    def choose(self, num_classes: int | None = None) -> None:
        """Choose the probes for good, unless they are chosen at each look, and give up the data.

        Args:
            num_classes: how many classes there are. Without it probes are chosen from data in memory only: how far a
                data set is read depends on it.

        Raises:
            InvalidDataError: boxes or masks that do not fit the images, or a data set without images.
            InvalidImageError: an image that cannot be fed.
        """
        if self._is_worst:
            return
        for group in list(self._unchosen.values()):
            if group.is_in_memory or num_classes is not None:
                self._chosen[group.name] = self._choose_from(group, num_classes)
                del self._unchosen[group.name]  # and with it the data
        # All are there: one list, in the order in which the groups were given.
        if self.chosen is None and not self._unchosen:
            probes, comparison = zip(*(self._chosen[name] for name in self._names), strict=True)
            self.chosen = ProbeImages.joined(probes)
            self.comparison = ProbeImages.joined(comparison) if any(part.images for part in comparison) else None

    def prepare(self, explainer: Explainer) -> None:
        """Choose what can only be chosen for a model, and check the classes against those that it has."""
        # Classes that the model does not have are found with any image, before a data set is read.
        any_image = ProbeImages([np.zeros((1, 1, 1))], [0], [""], [None])
        resolve_classes(self.columns(any_image, explainer), 1, explainer.names)
        self.choose(explainer.num_classes)
        for images in filter(None, (self.chosen, self.comparison)):
            check_labels(images.known_labels, explainer.num_classes)

    def probes(self, explainer: Explainer) -> ProbeImages:
        """The probes to look at now."""
        if self.chosen is not None:
            return self.chosen
        return ProbeImages.joined(self._hardest_of(group, explainer) for group in self._unchosen.values())

    def columns(self, images: ProbeImages, explainer: Explainer) -> Any:
        """Which classes of each image to explain, as `explain` takes them."""
        # Of an image without a label the true class is hidden, which `resolve_classes` takes for the predicted one.
        unknown = np.array([label is None for label in images.labels])
        labels = np.ma.masked_array([0 if label is None else label for label in images.labels], unknown)
        columns: list[Any] = []
        for wanted in self._classes:
            word = wanted.lower() if isinstance(wanted, str) else None
            if word == "predicted":
                columns.append("top1")
            elif word == "all":
                columns += range(explainer.num_classes)
            elif word != "true":
                columns.append(wanted)
            elif not unknown.all() or len(self._classes) == 1:
                columns.append(labels)
        return columns

    def _choose_from(self, group: Group, num_classes: int | None) -> tuple[ProbeImages, ProbeImages]:
        num_comparison = NUM_COMPARISON // len(self._names)
        probes, comparison = group.select(self._num_probes, num_comparison, self._seed, num_classes)
        return ProbeImages.of(probes, group.name, group.truths(probes)), ProbeImages.of(comparison, group.name)

    def _hardest_of(self, group: Group, explainer: Explainer) -> ProbeImages:
        hardest = hard_examples(explainer, group.source, self._num_probes, seed=self._seed)
        return ProbeImages.of(hardest, group.name, group.truths(hardest))


def _fingerprint(image: np.ndarray) -> str:
    # Two images of the same bytes and of another shape or type are not the same.
    digest = hashlib.blake2b(repr((image.shape, image.dtype.str)).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()
