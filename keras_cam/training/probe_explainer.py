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
from keras_cam.training.look import Look, PreviousLook, look_at


class ProbeExplainer:
    """Looks at what is watched through one model.

    Args:
        model: the model.
        watching: which images, and which of their classes.
        options: as for `Explainer`.

    Raises:
        CAMError: a model or options that do not go together, or classes that the model does not have.
    """

    def __init__(self, model: keras.Model, watching: ProbeSet, options: Mapping[str, Any]) -> None:
        self._watching = watching
        self._explainer = Explainer(model, **options)
        watching.prepare(self._explainer)
        # A method that runs the model many times would take several times as long with the further images.
        self._compares = watching.further is not None and find_method(options.get("method", "auto"), {}).compiled
        self._loaded: tuple[ProbeImages, Inputs] | None = None
        self._further: tuple[Explainer, ProbeImages, Inputs] | None = None

    def look(self, step: int, unit: str, last: PreviousLook | None) -> Look:
        """Look at the model as it is now.

        Args:
            step: the epoch or batch.
            unit: "epoch" or "batch".
            last: what is known of the look before.

        Returns:
            The look.
        """
        explainer, watched = self._explainer, self._watching.watched(self._explainer)
        if self._loaded is None or self._loaded[0] is not watched:
            (inputs,) = explainer.load(watched.images)
            self._loaded = watched, inputs.cached()
        explainer.refresh()
        result = explainer.explain_loaded([self._loaded[1]], self._watching.columns(watched, explainer))
        return look_at(result, watched, step, unit, last, self._of_further_images())

    def _of_further_images(self) -> Explanation | None:
        """The first map of each image that is compared with the probes, and not shown; without a word on them."""
        if self._further is None and self._compares:
            self._further = self._load_further()
            self._compares = self._further is not None
        if self._further is None:
            return None
        explainer, watched, inputs = self._further
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CAMWarning)
            return explainer.explain_loaded([inputs], self._watching.columns(watched, explainer)[:1])

    def _load_further(self) -> tuple[Explainer, ProbeImages, Inputs] | None:
        """The further images, read one by one and kept at the model's size only."""
        explainer = copy.copy(self._explainer)  # one that has its own mind on what was warned of
        explainer.preprocess = None
        images = self._watching.further.images if self._watching.further is not None else []
        found: dict[int, np.ndarray] = {}
        for row, image in enumerate(images):
            try:
                (inputs,) = self._explainer.load([image])
                ((_, (batch,)),) = inputs.batches(1, self._explainer.preprocess)
            except CAMError:  # a file that is no picture, say: the others will do
                continue
            if not found or batch.shape == next(iter(found.values())).shape:
                found[row] = batch
        if not found or self._watching.further is None:
            return None
        labels = [self._watching.further.labels[row] for row in found]
        watched = ProbeImages([images[row] for row in found], labels, [""] * len(found), [None] * len(found))
        return explainer, watched, Inputs(inputs.cut, "stretch", None, [np.concatenate([*found.values()])], False)
