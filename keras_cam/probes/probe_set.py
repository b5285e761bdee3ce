"""Which images to look at, and which of their classes: the user's words as probes and columns of classes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_cam.classes import resolve_classes
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.explainer.explainer import Explainer
from keras_cam.probes.ground_truth import GroundTruth, ground_truth_of, where_known
from keras_cam.probes.hard_examples import most_wrong
from keras_cam.probes.labels import check_labels
from keras_cam.probes.source import Probes, ProbeSource
from keras_cam.validation import one_of, whole_number

PROBES = ("spread", "worst")
FURTHER = 32  # images besides the probes, of all groups together: one batch


class ProbeSet:
    """Chooses the images to look at, once or at each look; lets go of the data once nothing more is chosen from them.

    Args:
        data: as for `CAMCallback`, and so the rest.
        num_probes: how many, of each group.
        probes: "spread" or "worst".
        classes: which maps.
        boxes: where the objects are.
        masks: the same, as masks.
        seed: of the choice.

    Attributes:
        class_names: the names of a directory's classes, or None.
        knows_objects: whether boxes or masks were given.
        further: images besides the probes, of which the maps are only compared with each other: up to `FURTHER`, None
            where there are none. Those of a directory are paths.

    Raises:
        InvalidDataError: data that no probes can be taken from, or boxes that do not fit them.
        InvalidOptionError: an argument outside its range.
    """

    def __init__(
        self, data: Any, num_probes: int, probes: str, classes: Any, boxes: Any, masks: Any, seed: int
    ) -> None:
        self._num_probes = whole_number("num_probes", num_probes)
        self._worst, self._seed = one_of("probes", probes, PROBES) == "worst", seed
        if boxes is not None and masks is not None:
            raise InvalidOptionError("Give boxes= or masks=, not both: they say the same.")
        self._classes = list(classes) if isinstance(classes, (list, tuple, range, np.ndarray)) else [classes]
        groups = dict(data) if isinstance(data, Mapping) else {"": data}
        if not groups:
            raise InvalidDataError("No probes can be taken from a dict without groups. Give data by name.")
        self._sources = {str(name): ProbeSource(each) for name, each in groups.items()}
        named = {source.class_names for source in self._sources.values() if source.class_names}
        if len(named) > 1:
            raise InvalidDataError(f"The directories must hold the same classes. Received: {sorted(named)}.")
        self.class_names = next(iter(named), None)
        self.knows_objects = boxes is not None or masks is not None
        self._truths = {name: (_of(boxes, name, groups), _of(masks, name, groups)) for name in self._sources}
        self._chosen: dict[str, ProbeImages | None] = dict.fromkeys(self._sources)
        self._further: dict[str, ProbeImages] = {}
        self._watched: ProbeImages | None = None
        self.further: ProbeImages | None = None
        for name, source in list(self._sources.items()):
            if any(truth is not None for truth in self._truths[name]) and not source.in_memory:
                raise InvalidDataError(
                    "boxes and masks belong to images by their place in the data. Give arrays (x, y) or a directory, "
                    "rather than a data set that is read from its start."
                )
            if source.in_memory and not self._worst:
                self._choose(name, None)

    def prepare(self, explainer: Explainer) -> None:
        """Choose what can only be chosen by reading a data set, and check classes against those of the model."""
        num_classes = explainer.num_classes
        any_image = ProbeImages([np.zeros((1, 1, 1))], [0], [""], [None])
        resolve_classes(self.columns(any_image, explainer), 1, explainer.names)
        if not self._worst:
            for name in list(self._sources):
                self._choose(name, num_classes)
        for part in filter(None, (self._watched, self.further)):
            check_labels(np.array([label for label in part.labels if label is not None], np.int64), num_classes)

    def watched(self, explainer: Explainer) -> ProbeImages:
        """The images to look at now."""
        if self._watched is not None:
            return self._watched
        options: Any = {"seed": self._seed}
        return _joined(
            self._known(name, most_wrong(explainer, source, self._num_probes, **options))
            for name, source in self._sources.items()
        )

    def columns(self, watched: ProbeImages, explainer: Explainer) -> Any:
        """Which classes of each image to explain, as `explain` takes them."""
        unknown = np.array([label is None for label in watched.labels])
        labels = np.ma.masked_array([0 if label is None else label for label in watched.labels], unknown)
        columns: list[Any] = []
        for one in self._classes:
            if _is(one, "predicted"):
                columns.append("top1")
            elif _is(one, "all"):
                columns += range(explainer.num_classes)
            elif not _is(one, "true"):
                columns.append(one)
            elif not unknown.all() or len(self._classes) == 1:
                columns.append(labels)  # an image without a label has no true class: the predicted one
        return columns

    def _choose(self, name: str, num_classes: int | None) -> None:
        """Choose the images of a group, once and for all: its data are not needed any more."""
        source = self._sources[name]
        preferred = where_known(*self._truths[name], len(source)) if source.in_memory else None
        options: Any = {"seed": self._seed, "num_classes": num_classes, "preferred": preferred}
        probes, further = source.choose_with_more(self._num_probes, FURTHER // len(self._chosen), **options)
        self._chosen[name] = self._known(name, probes)  # which says what is wrong with the boxes
        self._further[name] = _unknown(name, further)
        del self._sources[name], self._truths[name]
        if not self._sources:
            self._watched = _joined(part for part in self._chosen.values() if part is not None)
            self.further = _joined(self._further[name] for name in self._chosen)
            self.further = self.further if self.further.images else None

    def _known(self, name: str, probes: Probes) -> ProbeImages:
        """Probes with what is known of them."""
        boxes, masks = self._truths[name]
        found = _unknown(name, probes)
        if (boxes is None and masks is None) or probes.indices is None:
            return found
        count = len(self._sources[name])
        truths = ground_truth_of(probes.images, probes.indices.tolist(), boxes, masks, count)
        return ProbeImages(found.images, found.labels, found.groups, truths)


def _unknown(name: str, probes: Probes) -> ProbeImages:
    """Images with their classes, and without a word on where the objects are."""
    count = len(probes.images)
    labels = [None] * count if probes.labels is None else probes.labels.tolist()
    return ProbeImages(probes.images, labels, [name] * count, [None] * count)


def _joined(parts: Iterable[ProbeImages]) -> ProbeImages:
    several, names = list(parts), ("images", "labels", "groups", "truths")
    return ProbeImages(*([one for part in several for one in getattr(part, name)] for name in names))


def _of(values: Any, name: str, groups: Mapping[str, Any]) -> Any:
    """The part of boxes or masks that belongs to a group."""
    if values is None or (len(groups) == 1 and "" in groups):
        return values
    if not isinstance(values, Mapping) or not values.keys() <= groups.keys():
        received = f"the names {list(values)}" if isinstance(values, Mapping) else type(values).__name__
        raise InvalidDataError(
            f"data is a dict of the groups {list(groups)}. Give boxes or masks as a dict by these names. Received: "
            f"{received}."
        )
    return next((part for key, part in values.items() if str(key) == name), None)


def _is(asked: Any, word: str) -> bool:
    return isinstance(asked, str) and asked.lower() == word


@dataclass(frozen=True, eq=False)
class ProbeImages:
    """The images that are looked at again and again.

    Attributes:
        images: as the model takes them.
        labels: class of each, None where it is not known.
        groups: name of the group that each belongs to, "" where there is none.
        truths: where the object is in each, None where it is not known.
    """

    images: list[Any]
    labels: list[int | None]
    groups: list[str]
    truths: list[GroundTruth | None]

    @cached_property
    def marks(self) -> list[str]:
        """What tells each image from any other: a checksum."""
        return [f"{zlib.crc32(np.ascontiguousarray(image).tobytes(), _form_of(image)):08x}" for image in self.images]


def _form_of(image: np.ndarray) -> int:
    return zlib.crc32(repr((image.shape, image.dtype.str)).encode())
