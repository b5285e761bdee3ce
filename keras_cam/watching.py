"""Which images to look at, and which of their classes: the user's words as probes and columns of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_cam.classes import resolve_classes
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.explainer import Explainer
from keras_cam.looks import Watched
from keras_cam.probes import Probes, ProbeSource
from keras_cam.truth import find_truth
from keras_cam.worst import most_wrong

__all__ = ["Watching"]

PROBES = ("spread", "worst")


class Watching:
    """Chooses the images to look at, once or at each look.

    Args:
        data: as for `CAMCallback`, and so the rest.
        num_probes: how many, of each group.
        probes: "spread" or "worst".
        classes: which maps.
        boxes: where the objects are.
        masks: the same, as masks.
        seed: of the choice.

    Raises:
        InvalidDataError: data that no probes can be taken from, or boxes that do not fit them.
        InvalidOptionError: an argument outside its range.
    """

    def __init__(
        self, data: Any, num_probes: int, probes: str, classes: Any, boxes: Any, masks: Any, seed: int
    ) -> None:
        if isinstance(num_probes, bool) or not isinstance(num_probes, int) or num_probes < 1:
            raise InvalidOptionError(
                f"num_probes must be a whole number, at least 1. Received: num_probes={num_probes!r}."
            )
        if probes not in PROBES:
            raise InvalidOptionError(f"probes must be one of {', '.join(map(repr, PROBES))}. Received: {probes!r}.")
        if boxes is not None and masks is not None:
            raise InvalidOptionError("Give boxes= or masks=, not both: they say the same.")
        self._num_probes, self._worst, self._seed = num_probes, probes == "worst", seed
        self._classes = list(classes) if isinstance(classes, (list, tuple)) else [classes]
        groups = dict(data) if isinstance(data, Mapping) else {"": data}
        self._sources = {str(name): ProbeSource(each) for name, each in groups.items()}
        self._truths = {name: (_of(boxes, name, groups), _of(masks, name, groups)) for name in self._sources}
        self._chosen: dict[str, Probes] = {}
        self._watched: Watched | None = None
        for name, source in self._sources.items():
            if any(truth is not None for truth in self._truths[name]) and not source.in_memory:
                raise InvalidDataError(
                    "boxes and masks belong to images by their place in the data. Give arrays (x, y) or a directory, "
                    "rather than a data set that is read from its start."
                )
            if source.in_memory and not self._worst:
                self._chosen[name] = source.choose(num_probes, seed=seed)
        if len(self._chosen) == len(self._sources):
            self._watched = self._joined(self._chosen)  # which says what is wrong with the boxes

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of a directory's classes."""
        return next((source.class_names for source in self._sources.values() if source.class_names), None)

    def prepare(self, num_classes: int) -> None:
        """Choose what can only be chosen by reading a data set, and check labels against the model's classes."""
        if not self._worst:
            for name, source in self._sources.items():
                if name not in self._chosen:
                    self._chosen[name] = source.choose(self._num_probes, seed=self._seed, num_classes=num_classes)
            self._watched = self._watched or self._joined(self._chosen)
        for probes in self._chosen.values():
            if probes.labels is not None and probes.labels.max() >= num_classes:
                raise InvalidDataError(
                    f"Labels must lie in 0..{num_classes - 1}, for the model tells {num_classes} classes apart. "
                    f"Received: label {probes.labels.max()} in the data given to CAMCallback."
                )

    def watched(self, explainer: Explainer) -> Watched:
        """The images to look at now."""
        if self._watched is not None:
            return self._watched
        return self._joined(
            {
                name: most_wrong(explainer, source, self._num_probes, seed=self._seed)
                for name, source in self._sources.items()
            }
        )

    def columns(self, watched: Watched, explainer: Explainer) -> Any:
        """Which classes of each image to explain, as `explain` takes them."""
        columns: list[Any] = []
        for one in self._classes:
            if one == "predicted":
                columns.append("top1")
            elif one == "true":
                if None not in watched.labels:
                    columns.append(np.array(watched.labels))
                elif any(label is not None for label in watched.labels) or self._classes == ["true"]:
                    columns.append("top1")  # an image without a label has no true class
            else:
                columns.append(one)
        resolve_classes(columns, len(watched.images), explainer.num_classes, explainer.class_names)
        return columns

    def _joined(self, chosen: Mapping[str, Probes]) -> Watched:
        images: list[Any] = []
        labels: list[Any] = []
        groups: list[str] = []
        truths: list[Any] = []
        for name, probes in chosen.items():
            count = len(probes.images)
            images += probes.images
            labels += [None] * count if probes.labels is None else probes.labels.tolist()
            groups += [name] * count
            boxes, masks = self._truths[name]
            if (boxes is None and masks is None) or probes.indices is None:
                truths += [None] * count
            else:
                truths += find_truth(probes.images, probes.indices.tolist(), boxes, masks)
        return Watched(images, labels, groups, truths)


def _of(values: Any, name: str, groups: Mapping[str, Any]) -> Any:
    """The part of boxes or masks that belongs to a group."""
    if values is None or (len(groups) == 1 and "" in groups):
        return values
    if not isinstance(values, Mapping):
        raise InvalidDataError("data is a dict of groups. Give boxes or masks as a dict of the same names too.")
    return values.get(name)
