"""The numbers that say where a network looks. To add one, add a row to `MEASURES`: all that shows numbers reads it.

From this table come the scalars in TensorBoard, what is in the logs of `fit`, the numbers and their labels in the
records of the CAM tab, and the table of docs/training.md, which a test holds equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from keras_cam.imaging import statistics
from keras_cam.probes import ground_truth
from keras_cam.probes.ground_truth import GroundTruth
from keras_cam.tensorboard.records import FIRST_MAP, OBJECT_MAP
from keras_cam.training.look import Look


class Measure(NamedTuple):
    """A number that says where a network looks.

    Attributes:
        name: what it is called in `Look.numbers`, `Look.means` and records, and behind "cam/" as a scalar.
        words: what it says, as TensorBoard and docs/training.md describe it.
        label: what the CAM tab calls it.
        function: takes a `Look` and returns one number for each probe (N,), NaN where there is none, or a number that
            is about all maps together; None where it cannot be told.
        about: which map of a probe it is about: `FIRST_MAP`, `OBJECT_MAP` (the one held against the object: the true
            class's, where it is mapped), or None.
        logged: what it is called in the logs of `fit`, where it is there: the ones about objects where boxes or masks
            are given, the others where none are.
    """

    name: str
    words: str
    label: str
    function: Callable[[Look], np.ndarray | float | None]
    about: str | None = FIRST_MAP
    logged: str | None = None


def take_measures(look: Look) -> None:
    """Put the numbers to a look: all of `MEASURES` that can be told of it.

    Args:
        look: the look, whose `numbers` and `means` are filled.
    """
    for name, measure in MEASURES.items():
        values = measure.function(look)
        if values is None:
            continue
        if np.ndim(values):  # one number for each probe
            look.numbers[name] = np.asarray(values)
        if not np.isnan(values).all():
            look.means[name] = float(np.nanmean(values))


def logged_means(means: Mapping[str, float], knows_objects: bool) -> dict[str, float]:
    """What is logged of the means of a look.

    Args:
        means: as a look has them; empty where there was none.
        knows_objects: whether boxes or masks were given.

    Returns:
        Always the same names, for `CSVLogger` takes its columns from the first epoch; NaN where nothing is known.
    """
    return {
        measure.logged: means.get(name, float("nan"))
        for name, measure in MEASURES.items()
        if measure.logged is not None and (measure.about == OBJECT_MAP) == knows_objects
    }


def _probability_of_true_class(look: Look) -> np.ndarray | None:
    labels = look.probes.labels
    if all(label is None for label in labels):
        return None
    pairs = zip(look.result.probabilities, labels, strict=True)
    return np.array([np.nan if label is None else p[label] for p, label in pairs], np.float64)


def _moved_since_last(look: Look) -> np.ndarray | None:
    if look.previous is None or look.previous.shares.shape != look.shares.shape:
        return None
    # A probe that is chosen anew shows another picture, which has not moved.
    is_same = np.array(look.probes.fingerprints) == np.array(look.previous.fingerprints)
    return np.where(is_same, statistics.moved_share(look.previous.shares, look.shares), np.nan)


def _agreement(look: Look) -> float | None:
    # A class of which there is one map says nothing.
    by_class = [statistics.agreement(shares) for shares in look.shares_by_class.values()]
    known = [agreement for agreement in by_class if not np.isnan(agreement)]
    return float(np.mean(known)) if known else None


def _on_objects(number: Callable[[np.ndarray, GroundTruth], float], look: Look) -> np.ndarray | None:
    """What `number` says of each probe's map and of where its object is."""
    if not any(look.probes.truths):
        return None
    return np.array(
        [
            np.nan if truth is None else number(look.heatmaps[row][look.truth_slot(row)], truth)
            for row, truth in enumerate(look.probes.truths)
        ]
    )


# Few are logged: all would make a line of Keras' progress too long.
MEASURES = {
    measure.name: measure
    for measure in (
        Measure(
            "concentration",
            "How small the area is that holds half of the heat: 0 spread evenly, near 1 all in one spot.",
            "concentration",
            lambda look: statistics.concentration(look.shares),
            logged="val_cam_concentration",
        ),
        Measure(
            "share_in_border",
            "Share of the heat within a tenth of the picture's sides: 0.36 if spread evenly. High: the model may be "
            "looking at a mark or a frame.",
            "in the border",
            lambda look: statistics.border_share(look.shares),
            logged="val_cam_share_in_border",
        ),
        Measure(
            "share_in_corners",
            "Share of the heat in the four corners, each a quarter of the sides long: 0.25 if spread evenly.",
            "in the corners",
            lambda look: statistics.corner_share(look.shares),
        ),
        Measure(
            "probability_of_true_class",
            "Mean over the probes of the probability that the model gives to the true class.",
            "p of the true class",
            _probability_of_true_class,
            about=None,
        ),
        Measure(
            "moved_since_last",
            "Share of the heat that lies elsewhere than the last time: 0 nothing moved, 1 everything.",
            "moved since last",
            _moved_since_last,
        ),
        Measure(
            "energy_inside",
            "Share of the heat on the object.",
            "energy inside the boxes",
            partial(_on_objects, ground_truth.energy_inside),
            about=OBJECT_MAP,
            logged="val_cam_energy",
        ),
        Measure(
            "pointing",
            "How often the hottest pixel lies on the object.",
            "pointing hit",
            partial(_on_objects, ground_truth.pointing),
            about=OBJECT_MAP,
            logged="val_cam_pointing",
        ),
        Measure(
            "iou",
            "Overlap of the box round what is hot with the true box.",
            "IoU of the box",
            partial(_on_objects, ground_truth.iou),
            about=OBJECT_MAP,
            logged="val_cam_iou",
        ),
        Measure(
            "agreement",
            "How far the maps of one class lie in the same place whatever the picture: 1 all alike.",
            "agreement",
            _agreement,
        ),
    )
}
