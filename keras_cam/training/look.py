"""One look at the probes of a training: their maps, where the heat of these lies, and the cards that show them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.imaging.normalize import limits_of
from keras_cam.imaging.statistics import heat_shares
from keras_cam.probes.probe_set import ProbeImages
from keras_cam.results.explanation import Explanation
from keras_cam.training.card import probe_card

MAPS_ON_CARD = 4  # at most: each makes the card higher, and a JPEG has at most 65500 pixels


class PreviousLook(NamedTuple):
    """What a look needs to know of the one before.

    Attributes:
        fingerprints: of the images that were looked at.
        shares: (N, h, w), where the heat of the first map of each lay.
    """

    fingerprints: list[str]
    shares: np.ndarray


class MapShares(NamedTuple):
    """Where the heat of some maps lies, and what they are maps of.

    Attributes:
        shares: (M, h, w), the share of each map's heat in each cell; NaN where a map has none.
        classes: (M,), the class of each map.
    """

    shares: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Look:
    """One look at the N probes of a training: what `CAMCallback(on_look=...)` calls its function with.

    Attributes:
        step: the epoch, or the batch, from 0; -1 before training.
        unit: what `step` counts: "epoch" or "batch".
        probes: the images, their classes, groups and true boxes.
        result: the maps of the probes, as `keras_cam.explain` gives them; the first class of each is what `shares` and
            most of the numbers are about.
        shares: (N, h, w), the share of the heat of each first map that lies in each cell; NaN in an empty map.
        comparison: the same of the comparison images, which are not shown, and the classes of their maps.
        previous: what is known of the look before; None at the first.
        numbers: by the names of `keras_cam.training.measures.MEASURES`, one number for each probe (N,), NaN where there
            is none.
        means: by the same names, the means over the probes that have the number, and the numbers that are about all
            maps together.
        cards: a picture of each probe, uint8 RGB; drawn when it is asked for.
        heatmaps: the maps over the pictures, likewise.

    Example:
        >>> import keras, keras_cam, numpy as np
        >>> x, y = np.random.default_rng(0).uniform(size=(6, 8, 8, 3)), np.arange(6) % 2
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> looks = []
        >>> watch = keras_cam.CAMCallback((x, y), log_dir=None, on_look=looks.append)
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[watch])
        >>> [(look.unit, look.step) for look in looks]
        [('epoch', 0), ('epoch', 1)]
        >>> looks[1].result.maps.shape, looks[1].shares.shape, looks[1].probes.labels
        ((6, 2, 6, 6), (6, 6, 6), [0, 0, 0, 1, 1, 1])
        >>> "moved_since_last" in looks[0].means, 0 <= looks[1].means["moved_since_last"] <= 1
        (False, True)
    """

    step: int
    unit: str
    probes: ProbeImages
    result: Explanation
    shares: np.ndarray
    comparison: MapShares
    previous: PreviousLook | None
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        result: Explanation,
        probes: ProbeImages,
        step: int,
        unit: str,
        previous: PreviousLook | None,
        comparison: Explanation | None = None,
    ) -> Look:
        """A look at maps, without numbers yet.

        Args:
            result: the maps.
            probes: the images that they are of.
            step: the epoch or batch.
            unit: "epoch" or "batch".
            previous: what is known of the look before.
            comparison: maps of comparison images, the first class of each.

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
        # Comparison images can be compared where their maps have as many cells.
        shares = heat_shares(result.maps[:, 0])
        compared = MapShares(shares[:0], result.class_indices[:0, 0])
        if comparison is not None and comparison.maps.shape[2:] == shares.shape[1:]:
            compared = MapShares(heat_shares(comparison.maps[:, 0]), comparison.class_indices[:, 0])
        return cls(step, unit, probes, result, shares, compared, previous)

    @cached_property
    def shares_by_class(self) -> dict[int, np.ndarray]:
        """Where the heat lies in the first maps of probes and comparison images, by the class that they are maps of."""
        shares = np.concatenate([self.shares, self.comparison.shares])
        classes = np.concatenate([self.result.class_indices[:, 0], self.comparison.classes])
        return {int(index): shares[classes == index] for index in np.unique(classes)}

    @cached_property
    def heatmaps(self) -> list[dict[int, np.ndarray]]:
        """For each probe its maps over the picture, by slot: those on its card, and the one of `truth_slot`."""
        wanted = [list(dict.fromkeys([*self.card_slots(row), self.truth_slot(row)])) for row in range(len(self.result))]
        # The maps of all probes are placed at once, so each has as many slots: the first one again fills them up.
        most = max(map(len, wanted))
        slots = np.array([[*row, *row[:1] * (most - len(row))] for row in wanted])
        rows = np.arange(len(slots))[:, np.newaxis]
        parts = {name: getattr(self.result, name)[rows, slots] for name in ("maps", "class_indices", "bias")}
        placed = replace(self.result, **parts).heatmaps(None)
        return [dict(zip(row, maps, strict=False)) for row, maps in zip(wanted, placed, strict=True)]

    @cached_property
    def cards(self) -> list[np.ndarray]:
        """A picture of each probe: uint8 RGB, `keras_cam.training.card.CARD_WIDTH` pixels wide."""
        return [self._draw_card(row) for row in range(len(self.result))]

    def clear_cache(self) -> None:
        """Give up what was drawn, which is drawn anew when it is asked for again."""
        for name in ("heatmaps", "cards"):
            self.__dict__.pop(name, None)

    def rows_by_label(self) -> dict[int, np.ndarray]:
        """Sort the probes by their true class.

        Returns:
            The rows of each class; those of probes whose class is not known under -1.
        """
        labels = np.array([-1 if label is None else label for label in self.probes.labels])
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

    def card_slots(self, row: int) -> list[int]:
        """Say which maps the card of a probe shows.

        Args:
            row: which probe.

        Returns:
            The slots of all its maps, or of many those of the predicted, the true and the most probable classes.
        """
        slots = self.slots(row)
        if len(slots) <= MAPS_ON_CARD:
            return slots
        # The predicted and the true class before all others.
        classes, p = self.result.class_indices[row], self.result.probabilities[row]
        first = (self.predicted(row), self.probes.labels[row])
        return sorted(slots, key=lambda slot: (classes[slot] not in first, -p[classes[slot]]))[:MAPS_ON_CARD]

    def truth_slot(self, row: int) -> int:
        """Say which map of a probe is held against the object.

        Args:
            row: which probe.

        Returns:
            The slot of the true class's map where there is one, else of the first.
        """
        classes, label = self.result.class_indices[row], self.probes.labels[row]
        return 0 if label is None or label not in classes else int(np.argmax(classes == label))

    def caption(self, row: int) -> list[str]:
        """Write what stands below a probe: when, true class, predicted class, probability, whether the map is empty.

        Args:
            row: which probe.

        Returns:
            The lines.
        """
        # When it was and what is true, and what the model says.
        result, label, predicted = self.result, self.probes.labels[row], self.predicted(row)
        group = self.probes.groups[row]
        first = f"{self.unit} {self.step}" + (f", {group}" if group else "")
        second = f"predicted: {self._with_value(row, predicted)}"
        if label is not None:
            first += f", true: {self._with_value(row, label)}"
            second = f"{'✓' if label == predicted else '✗'} {second}"
        lines = [first, second]
        # Which maps there are is said unless it is that of the predicted class alone.
        shown, count = [int(result.class_indices[row, slot]) for slot in self.card_slots(row)], len(self.slots(row))
        if shown != [predicted]:
            words = "maps" if count == len(shown) else f"{len(shown)} of {count} maps"
            lines.append(f"{words}: " + ", ".join(map(result.class_name, shown)))
        if np.isnan(self.shares[row]).any():
            lines.append("empty map: nothing in the picture speaks for it")
        return lines

    def _draw_card(self, row: int) -> np.ndarray:
        maps = np.stack([self.heatmaps[row][slot] for slot in self.card_slots(row)])
        # One scale for all maps of a card, so that their colours can be compared.
        low, high = (float(end.item()) for end in limits_of(maps.reshape(1, -1)))
        label = self.probes.labels[row]
        wrong = label is not None and label != self.predicted(row)
        return probe_card(self.result.images[row], maps, (low, high), self.caption(row), wrong=wrong)

    def _with_value(self, row: int, index: int) -> str:
        """A class with its probability, or with its value where the model gives none."""
        value, name = self.result.probabilities[row, index], self.result.class_name(index)
        return f"{name}: {value:.4g}" if self.result.activation == "linear" else f"{name} {value:.1%}"
