"""One look at the probes of a training: their maps, and where these look in numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.imaging import statistics as attention
from keras_cam.imaging.normalize import limits_of
from keras_cam.probes.ground_truth import inside_numbers
from keras_cam.probes.probe_set import ProbeImages
from keras_cam.results.explanation import Explanation
from keras_cam.training.card import probe_card
from keras_cam.training.measures import INSIDE

ON_CARD = 4  # maps at most: each makes the card higher, and a JPEG has at most 65500 pixels


class PreviousLook(NamedTuple):
    """What the next look needs to know of the last: which images they were, and where their heat lay."""

    marks: list[str]
    shares: np.ndarray


@dataclass(frozen=True, eq=False)
class Look:
    """One look at the probes.

    Attributes:
        step: the epoch, or the batch, from 0.
        unit: "epoch" or "batch".
        watched: the probes.
        result: their maps; the first class of each image is what its map stands for in `shares`.
        numbers: name to one number for each probe (N,), NaN where there is none.
        shares: (N, h, w), where the heat of the first map of each lies.
        further: the same (M, h, w) of further images that are not shown, and the class of each map (M,).
    """

    step: int
    unit: str
    watched: ProbeImages
    result: Explanation
    numbers: dict[str, np.ndarray]
    shares: np.ndarray
    further: tuple[np.ndarray, np.ndarray]

    @cached_property
    def means(self) -> dict[str, float]:
        """The mean of each number over the probes that have it, and the agreement between maps of a class."""
        found = {name: float(np.nanmean(each)) for name, each in self.numbers.items() if not np.isnan(each).all()}
        agreements = [attention.agreement(shares) for shares in self.by_mapped_class.values()]
        known = [each for each in agreements if not np.isnan(each)]
        return {**found, "agreement": float(np.mean(known))} if known else found

    @cached_property
    def heatmaps(self) -> list[dict[int, np.ndarray]]:
        """For each probe its maps over the picture, by slot: those on its card, and that of `measured`."""
        wanted = [list(dict.fromkeys([*self.on_card(row), self.measured(row)])) for row in range(len(self.result))]
        most = max(map(len, wanted))
        slots = np.array([[*row, *row[:1] * (most - len(row))] for row in wanted])
        rows = np.arange(len(slots))[:, np.newaxis]
        maps, classes, bias = (
            each[rows, slots] for each in (self.result.maps, self.result.class_indices, self.result.bias)
        )
        placed = replace(self.result, maps=maps, class_indices=classes, bias=bias).heatmaps(None)
        return [dict(zip(row, each, strict=False)) for row, each in zip(wanted, placed, strict=True)]

    @cached_property
    def cards(self) -> list[np.ndarray]:
        """A picture of each probe: uint8 RGB, `keras_cam.training.card.CARD_WIDTH` pixels wide."""
        return [self._draw_card(row) for row in range(len(self.result))]

    @cached_property
    def by_mapped_class(self) -> dict[int, np.ndarray]:
        """Where the heat lies in the first maps of probes and further images, by the class that they are maps of."""
        shares, classes = (
            np.concatenate(pair)
            for pair in zip((self.shares, self.result.class_indices[:, 0]), self.further, strict=True)
        )
        return {int(index): shares[classes == index] for index in np.unique(classes)}

    @property
    def trace(self) -> PreviousLook:
        """What the next look needs to know of this one."""
        return PreviousLook(self.watched.marks, self.shares)

    def let_go(self) -> None:
        """Give up what was drawn, which is drawn anew when it is asked for again."""
        for name in ("heatmaps", "cards"):
            self.__dict__.pop(name, None)

    def by_class(self) -> dict[int, np.ndarray]:
        """Sort the probes by their true class.

        Returns:
            The rows of each class; those of probes whose class is not known under -1.
        """
        labels = np.array([-1 if label is None else label for label in self.watched.labels])
        return {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}

    def predicted(self, row: int) -> int:
        """Say which class of a probe is the most probable.

        Args:
            row: which probe.

        Returns:
            The class index.
        """
        return int(self.result.logits[row].argmax())

    def slots(self, row: int) -> list[int]:
        """Say which maps of a probe there are.

        Args:
            row: which probe.

        Returns:
            The slots of its maps, each class once.
        """
        first: dict[int, int] = {}
        for slot, index in enumerate(self.result.class_indices[row].tolist()):
            first.setdefault(index, slot)
        return list(first.values())

    def on_card(self, row: int) -> list[int]:
        """Which maps its card shows: all, or of many those of the predicted, the true and the most probable classes."""
        slots = self.slots(row)
        if len(slots) <= ON_CARD:
            return slots
        classes, p = self.result.class_indices[row], self.result.probabilities[row]
        first = (self.predicted(row), self.watched.labels[row])
        return sorted(slots, key=lambda slot: (classes[slot] not in first, -p[classes[slot]]))[:ON_CARD]

    def measured(self, row: int) -> int:
        """Say which map is held against the object.

        Args:
            row: which probe.

        Returns:
            The slot of the true class's map where there is one, else of the first.
        """
        classes, label = self.result.class_indices[row], self.watched.labels[row]
        return 0 if label is None or label not in classes else int(np.argmax(classes == label))

    def _draw_card(self, row: int) -> np.ndarray:
        maps = np.stack([self.heatmaps[row][slot] for slot in self.on_card(row)])
        low, high = (float(end.item()) for end in limits_of(maps.reshape(1, -1)))
        label = self.watched.labels[row]
        wrong = label is not None and label != self.predicted(row)
        return probe_card(self.result.images[row], maps, (low, high), self.caption(row), wrong=wrong)

    def caption(self, row: int) -> list[str]:
        """Write what stands below a probe: when, true class, predicted class, probability, whether the map is empty.

        Args:
            row: which probe.

        Returns:
            The lines.
        """
        result, label, predicted = self.result, self.watched.labels[row], self.predicted(row)
        group = self.watched.groups[row]
        first = f"{self.unit} {self.step}" + (f", {group}" if group else "")
        second = f"predicted: {self._with_value(row, predicted)}"
        if label is not None:
            first += f", true: {self._with_value(row, label)}"
            second = f"{'✓' if label == predicted else '✗'} {second}"
        shown, count = [int(result.class_indices[row, slot]) for slot in self.on_card(row)], len(self.slots(row))
        words = "maps" if count == len(shown) else f"{len(shown)} of {count} maps"
        maps = [] if shown == [predicted] else [f"{words}: " + ", ".join(map(result.class_name, shown))]
        empty = np.isnan(self.shares[row]).any()
        return [first, second, *maps, *(["empty map: nothing in the picture speaks for it"] if empty else [])]

    def _with_value(self, row: int, index: int) -> str:
        """A class with its probability, or with its value where the model gives none."""
        value, name = self.result.probabilities[row, index], self.result.class_name(index)
        return f"{name}: {value:.4g}" if self.result.activation == "linear" else f"{name} {value:.1%}"


def look_at(
    result: Explanation,
    watched: ProbeImages,
    step: int,
    unit: str,
    last: PreviousLook | None,
    further: Explanation | None = None,
) -> Look:
    """Put the numbers to the maps of the probes.

    Args:
        result: the maps.
        watched: the probes.
        step: the epoch or batch.
        unit: "epoch" or "batch".
        last: the look before.
        further: maps of further images, the first class of each, to compare with those of the probes.

    Returns:
        The look.

    Raises:
        InvalidDataError: maps that do not lie in the pictures.
    """
    if result.maps.ndim != 4:
        raise InvalidDataError(
            f"CAMCallback draws maps of rows and columns. Received: maps {result.maps.shape} at {result.layer!r}. "
            "Choose another layer=."
        )
    count, shares = len(result), attention.heat_shares(result.maps[:, 0])
    numbers = {
        "concentration": attention.concentration(shares),
        "share_in_border": attention.border_share(shares),
        "share_in_corners": attention.corner_share(shares),
    }
    known = [row for row, label in enumerate(watched.labels) if label is not None]
    if known:
        true = np.full(count, np.nan)
        classes = np.array([watched.labels[row] for row in known], int)
        true[known] = result.probabilities[known, classes]
        numbers["probability_of_true_class"] = true
    if last is not None and last.shares.shape == shares.shape:
        same = np.array(watched.marks) == np.array(last.marks)
        numbers["moved_since_last"] = np.where(same, attention.moved_share(last.shares, shares), np.nan)
    others = (shares[:0], result.class_indices[:0, 0])
    if further is not None and further.maps.shape[2:] == shares.shape[1:]:  # else of a picture of another size
        others = (attention.heat_shares(further.maps[:, 0]), further.class_indices[:, 0])
    look = Look(step, unit, watched, result, numbers, shares, others)
    if any(watched.truths):
        numbers.update(_inside(look))
    return look


def _inside(look: Look) -> dict[str, np.ndarray]:
    """How far the maps lie on the objects."""
    inside = np.full((len(INSIDE), len(look.result)), np.nan)
    for row, truth in enumerate(look.watched.truths):
        if truth is not None:
            found = inside_numbers(look.heatmaps[row][look.measured(row)], truth)
            inside[:, row] = [found[name] for name in INSIDE]
    return dict(zip(INSIDE, inside, strict=True))
