"""Looks at the same images through a model that is being trained, their inputs made once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_cam.errors import CAMError, CAMWarning
from keras_cam.explainer.explainer import Explainer
from keras_cam.explainer.inputs import Inputs
from keras_cam.methods import find_method
from keras_cam.probes.probe_set import ProbeImages, ProbeSet
from keras_cam.results.explanation import Explanation
from keras_cam.training.look import Look, PreviousLook
from keras_cam.training.measures import take_measures


class ProbeExplainer:
    """Looks at the probes through one model.

    Args:
        model: the model.
        probe_set: which images, and which of their classes.
        options: as for `Explainer`.

    Raises:
        CAMError: a model or options that do not go together, or classes that the model does not have.
    """

    def __init__(self, model: keras.Model, probe_set: ProbeSet, options: Mapping[str, Any]) -> None:
        self._probe_set = probe_set
        self._explainer = Explainer(model, **options)
        probe_set.prepare(self._explainer)
        # A method that runs the model many times would take several times as long with the comparison images.
        has_comparison = probe_set.comparison is not None
        self._compares = has_comparison and find_method(options.get("method", "auto"), {}).compiled
        self._prepared: tuple[ProbeImages, Inputs] | None = None
        self._comparison: tuple[Explainer, ProbeImages, Inputs] | None = None

    def look(self, step: int, unit: str, previous: PreviousLook | None) -> Look:
        """Look at the model as it is now.

        Args:
            step: the epoch or batch.
            unit: "epoch" or "batch".
            previous: what is known of the look before.

        Returns:
            The look, with its numbers.
        """
        # Inputs are made once for the same probes; those that are chosen anew at each look are new ones.
        explainer, probes = self._explainer, self._probe_set.probes(self._explainer)
        if self._prepared is None or self._prepared[0] is not probes:
            (inputs,) = explainer.load(probes.images)
            self._prepared = probes, inputs.cached()
        explainer.refresh()
        result = explainer.explain_loaded([self._prepared[1]], self._probe_set.columns(probes, explainer))
        look = Look.of(result, probes, step, unit, previous, self._explain_comparison())
        take_measures(look)
        return look

    def _explain_comparison(self) -> Explanation | None:
        """The first map of each comparison image; what an explanation would warn of goes unsaid."""
        if self._comparison is None and self._compares:
            self._comparison = self._load_comparison()
            self._compares = self._comparison is not None
        if self._comparison is None:
            return None
        explainer, images, inputs = self._comparison
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CAMWarning)
            return explainer.explain_loaded([inputs], self._probe_set.columns(images, explainer)[:1])

    def _load_comparison(self) -> tuple[Explainer, ProbeImages, Inputs] | None:
        """The comparison images, read one by one and kept at the model's size only; None where none can be."""
        comparison = self._probe_set.comparison
        if comparison is None:
            return None
        # Each as the model takes it; one of another size than the first would not fit into the batch.
        batches: dict[int, np.ndarray] = {}
        for row, image in enumerate(comparison.images):
            try:
                (inputs,) = self._explainer.load([image])
                ((_, (batch,)),) = inputs.batches(1, self._explainer.preprocess)
            except CAMError:  # a file that is no picture, say: the others will do
                continue
            if not batches or batch.shape == next(iter(batches.values())).shape:
                batches[row] = batch
        if not batches:
            return None
        explainer = copy.copy(self._explainer)  # it keeps an account of its own of what it has warned of
        explainer.preprocess = None
        images = ProbeImages(
            [comparison.images[row] for row in batches],
            [comparison.labels[row] for row in batches],
            [""] * len(batches),
            [None] * len(batches),
        )
        return explainer, images, Inputs(inputs.cut, "stretch", None, [np.concatenate([*batches.values()])], False)
