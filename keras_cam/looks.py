"""One look at the probes of a training: their maps, where these look in numbers, and when that is alarming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_cam import attention
from keras_cam.explanation import Explanation
from keras_cam.truth import Truth, inside_numbers

__all__ = ["ABOUT", "Look", "Watched", "look_at", "watermark"]

ABOUT = {
    "probability_of_true_class": "Mean over the probes of the probability that the model gives to the true class.",
    "concentration": "How small the area is that holds half of the heat: 0 spread evenly, near 1 all in one spot.",
    "share_in_border": "Share of the heat within a tenth of the picture's sides: 0.36 if spread evenly. "
    "High: the model may be looking at a mark or a frame.",
    "share_in_corners": "Share of the heat in the four corners, each a quarter of the sides long: 0.25 if spread "
    "evenly.",
    "moved_since_last": "Share of the heat that lies elsewhere than the last time: 0 nothing moved, 1 everything.",
    "agreement": "How far the maps of one class lie in the same place whatever the picture: 1 all alike.",
    "energy_inside": "Share of the heat on the object.",
    "pointing": "How often the hottest pixel lies on the object.",
    "iou": "Overlap of the box round what is hot with the true box.",
}
INSIDE = ("energy_inside", "pointing", "iou")
# A watermark: maps of one class that lie in one place, small, near the border. Objects are in the middle, or anywhere.
ALIKE, SMALL, OUTSIDE = 0.6, 0.6, 0.6
FEWEST = 3  # maps of a class that can agree by more than chance


@dataclass(frozen=True, eq=False)
class Watched:
    """The images that are looked at again and again.

    Attributes:
        images: as the model takes them.
        labels: class of each, None where it is not known.
        groups: name of the group that each belongs to, "" where there is none.
        truths: where the object is in each, None where it is not known.
    """

    images: list[np.ndarray]
    labels: list[int | None]
    groups: list[str]
    truths: list[Truth | None]


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
    """

    step: int
    unit: str
    watched: Watched
    result: Explanation
    numbers: dict[str, np.ndarray]
    shares: np.ndarray

    @property
    def means(self) -> dict[str, float]:
        """The mean of each number over the probes that have it, and the agreement between maps of a class."""
        found = {name: float(np.nanmean(each)) for name, each in self.numbers.items() if not np.isnan(each).all()}
        agreements = [attention.agreement(self.shares[rows]) for rows in self.by_class().values()]
        known = [each for each in agreements if not np.isnan(each)]
        return {**found, "agreement": float(np.mean(known))} if known else found

    def by_class(self) -> dict[int, np.ndarray]:
        """The rows of each true class; all rows under -1 where no class is known."""
        labels = np.array([-1 if label is None else label for label in self.watched.labels])
        return {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}

    def slots(self, row: int) -> list[int]:
        """Which maps of a probe to show: each class once."""
        classes = self.result.class_indices[row].tolist()
        return [slot for slot, index in enumerate(classes) if index not in classes[:slot]]


def look_at(result: Explanation, watched: Watched, step: int, unit: str, last: Look | None) -> Look:
    """Put the numbers to the maps of the probes.

    Args:
        result: the maps.
        watched: the probes.
        step: the epoch or batch.
        unit: "epoch" or "batch".
        last: the look before, if it was at the same images.

    Returns:
        The look.
    """
    maps = result.maps[:, 0]
    count = len(maps)
    if maps.ndim == 3:
        shares = attention.heat_shares(maps)
        numbers = {
            "concentration": attention.concentration(shares),
            "share_in_border": attention.border_share(shares),
            "share_in_corners": attention.corner_share(shares),
        }
    else:  # signals and volumes have no border
        shares, numbers = attention.heat_shares(maps.reshape(count, 1, -1)), {}
        numbers["concentration"] = attention.concentration(shares)
    known = [row for row, label in enumerate(watched.labels) if label is not None]
    if known:
        true = np.full(count, np.nan)
        classes = np.array([watched.labels[row] for row in known], int)
        true[known] = result.probabilities[known, classes]
        numbers["probability_of_true_class"] = true
    if last is not None and last.shares.shape == shares.shape:
        same = np.array([np.array_equal(*pair) for pair in zip(watched.images, last.watched.images, strict=True)])
        numbers["moved_since_last"] = np.where(same, attention.moved_share(last.shares, shares), np.nan)
    if any(watched.truths):
        inside = np.full((len(INSIDE), count), np.nan)
        for row, (truth, heatmaps) in enumerate(zip(watched.truths, result.heatmaps(None), strict=True)):
            if truth is not None:
                heatmap = heatmaps[_slot_of(result.class_indices[row], watched.labels[row])]
                found = inside_numbers(heatmap, truth)
                inside[:, row] = [found[name] for name in INSIDE]
        numbers.update(zip(INSIDE, inside, strict=True))
    return Look(step, unit, watched, result, numbers, shares)


def watermark(look: Look) -> str | None:
    """Say in words that the maps of a class lie in one small place near the border, whatever the picture.

    Args:
        look: the look.

    Returns:
        The warning, or None.
    """
    if look.result.maps.ndim != 4:
        return None
    for label, rows in {**look.by_class(), -1: np.arange(len(look.shares))}.items():
        shares = look.shares[rows]
        shares = shares[~np.isnan(shares).any(axis=(1, 2))]
        if len(shares) < FEWEST:
            continue
        alike, small = attention.agreement(shares), float(attention.concentration(shares).mean())
        outside = float(np.maximum(attention.border_share(shares), attention.corner_share(shares)).mean())
        if alike >= ALIKE and small >= SMALL and outside >= OUTSIDE:
            row, column = np.unravel_index(int(shares.mean(axis=0).argmax()), shares.shape[1:])
            place = _place((row + 0.5) / shares.shape[1], (column + 0.5) / shares.shape[2])
            whose = "of all classes" if label < 0 else f"of {look.result.class_name(label)!r}"
            return (
                f"The maps {whose} lie in the same place in {len(shares)} pictures, {place}: they share {alike:.0%} "
                f"of their heat, {outside:.0%} of which is near the border. Whatever the picture shows, the network "
                "may be looking at a mark, a tag or a frame there."
            )
    return None


def _slot_of(classes: np.ndarray, label: int | None) -> int:
    """The slot of the true class where it is mapped, else the first."""
    return 0 if label is None or label not in classes else int(np.argmax(classes == label))


def _place(down: float, right: float) -> str:
    """Where in a picture, in words."""
    names: Sequence[str] = [
        low if share < 1 / 3 else high if share > 2 / 3 else ""
        for share, low, high in ((down, "top", "bottom"), (right, "left", "right"))
    ]
    return " ".join(name for name in names if name) or "the middle"
