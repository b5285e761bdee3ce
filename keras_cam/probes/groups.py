"""The data that probes are taken from, by the name of a group, each with what is known of its objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.probes.array_source import ArraySource
from keras_cam.probes.ground_truth import GroundTruth, ground_truth_of, has_object
from keras_cam.probes.selection import Selection
from keras_cam.probes.source import ProbeSource, open_source


class Group(NamedTuple):
    """Data under one name.

    Attributes:
        name: of the group, "" where there is only one.
        source: the data.
        boxes: where the object is in each image of the data; None where that is not said.
        masks: the same, as masks.
    """

    name: str
    source: ProbeSource
    boxes: Any
    masks: Any

    @property
    def is_in_memory(self) -> bool:
        """Whether its images can be had in any order, rather than by reading from the start."""
        return isinstance(self.source, ArraySource)

    @property
    def knows_objects(self) -> bool:
        """Whether it is said where the objects are."""
        return self.boxes is not None or self.masks is not None

    def select(
        self, num_probes: int, num_comparison: int, seed: int, num_classes: int | None
    ) -> tuple[Selection, Selection]:
        """Select probes and comparison images, of images in memory those first that have an object."""
        if not isinstance(self.source, ArraySource):
            return self.source.select(num_probes, num_comparison, seed=seed, num_classes=num_classes)
        preferred = has_object(self.boxes, self.masks, len(self.source))
        return self.source.select(num_probes, num_comparison, seed=seed, preferred=preferred)

    def truths(self, selection: Selection) -> list[GroundTruth | None]:
        """Where the object is in each image of a selection; None where that is not known."""
        if not self.knows_objects or selection.indices is None or not isinstance(self.source, ArraySource):
            return [None] * len(selection.images)
        return ground_truth_of(selection.images, selection.indices.tolist(), self.boxes, self.masks, len(self.source))


def groups_of(data: Any, boxes: Any, masks: Any) -> list[Group]:
    """Split what the user gives into groups.

    Args:
        data: as for `open_source`, or a dict of such data by the names of groups.
        boxes: where the object is in each image of the data; where they are a dict, a dict by the same names.
        masks: the same, as masks.

    Returns:
        The groups, in their order in the dict.

    Raises:
        InvalidOptionError: both boxes and masks.
        InvalidDataError: data that no probes can be taken from, or boxes and masks that do not belong to them.
    """
    if boxes is not None and masks is not None:
        raise InvalidOptionError("Give boxes= or masks=, not both: they say the same.")
    # Data without names are one group, whose name is empty.
    by_name = {str(name): part for name, part in data.items()} if isinstance(data, Mapping) else {"": data}
    if not by_name:
        raise InvalidDataError("No probes can be taken from a dict without groups. Give data by name.")
    sources = {name: open_source(part) for name, part in by_name.items()}
    groups = [
        Group(name, source, _part_of(boxes, name, data), _part_of(masks, name, data))
        for name, source in sources.items()
    ]
    # The place of an image among the data is known only where they can be had in any order.
    for group in groups:
        if group.knows_objects and not group.is_in_memory:
            raise InvalidDataError(
                "boxes and masks belong to images by their place in the data. Give arrays (x, y) or a directory, "
                "rather than a data set that is read from its start."
            )
    return groups


def common_class_names(groups: list[Group]) -> tuple[str, ...] | None:
    """The names of the classes of directories, which must be the same in all of them; None without directories."""
    names = {group.source.class_names for group in groups if group.source.class_names}
    if len(names) > 1:
        raise InvalidDataError(f"The directories must hold the same classes. Received: {sorted(names)}.")
    return next(iter(names), None)


def _part_of(truth: Any, name: str, data: Any) -> Any:
    """The part of boxes or masks that belongs to a group."""
    if truth is None or not isinstance(data, Mapping):
        return truth
    if not isinstance(truth, Mapping) or not truth.keys() <= data.keys():
        received = f"the names {list(truth)}" if isinstance(truth, Mapping) else type(truth).__name__
        raise InvalidDataError(
            f"data is a dict of the groups {list(data)}. Give boxes or masks as a dict by these names. Received: "
            f"{received}."
        )
    return next((part for key, part in truth.items() if str(key) == name), None)
