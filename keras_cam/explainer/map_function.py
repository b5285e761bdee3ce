"""From a batch to its maps: one compiled function where a method can be compiled whole, else compiled pieces."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cam.attribution.cut_model import FEWEST_POINTS, MOST_POINTS, in_parts
from keras_cam.backend import as_arrays, fetch_weights
from keras_cam.errors import UnsupportedModelError
from keras_cam.explainer.cache import get_or_make, hashable
from keras_cam.explainer.compiled_maps import CompiledMaps
from keras_cam.explainer.traced_state import TracedState
from keras_cam.graph.receptive_field import Axis
from keras_cam.methods.registry import METHODS, Method, is_built_in
from keras_cam.model.affine import can_fold
from keras_cam.model.cut import Cut, describe
from keras_cam.model.grid import Grid, grid_of
from keras_cam.model.head import INTEGRATED, find_head

Tensor = Any
CLASSES_AT_ONCE = 16
INTEGRAL_TOLERANCE = 1e-4  # of the largest logit


class Maps(NamedTuple):
    """What one batch gives, as NumPy arrays; C classes were asked for, the model has n."""

    maps: np.ndarray  # (N, C, h, w) float32
    bias: np.ndarray  # (N, C) float32: mean(map) + bias = logit; NaN where the method does not take the score apart
    class_indices: np.ndarray  # (N, C) int
    logits: np.ndarray  # (N, n) float32
    predictions: np.ndarray  # (N, n) float32, the model's own output


class Batch(NamedTuple):
    """What maps are made of, and how: the arguments of `MapFunction.__call__`."""

    inputs: Sequence[np.ndarray]
    class_indices: np.ndarray | None
    batch_size: int
    verbose: int


class MapFunction:
    """A model's compiled path from inputs to maps; follows training, and is cut anew when the model's layers change.

    Args:
        model: the Keras model; only weakly held.
        method: how to make maps.
        method_options: what the method is called with.
        **choices: as for `keras_cam.model.cut.cut`.
    """

    def __init__(
        self,
        model: keras.Model,
        method: Method = METHODS["cam"],
        method_options: Mapping[str, Any] | None = None,
        **choices: Any,
    ) -> None:
        self.method, self._options, self._choices = method, dict(method_options or {}), choices
        fetch_weights(model)
        self._prepare(model)  # says what is wrong with a model that is none
        self._model = weakref.ref(model)

    def __call__(
        self, inputs: Sequence[np.ndarray], class_indices: np.ndarray | None, batch_size: int = 32, verbose: int = 0
    ) -> Maps:
        """Compute the maps of one batch.

        Args:
            inputs: one array per input of the model, as the model wants them.
            class_indices: int32 (N, C); -1 is an image's most probable class, -2 the second. None: all classes.
            batch_size: how many changed images a method that changes images may run at once, and how many images times
                classes one at the pixels or at a layer of the caller's choice.
            verbose: 1 shows the progress of such a method.

        Returns:
            The maps and what belongs to them.
        """
        batch = Batch(inputs, class_indices, batch_size, verbose)
        plan = self._plan_for(batch)
        maps = plan(batch)
        # An integral is taken by twice as many points until the sum holds, and by as many from then on.
        while self._integrates and self._num_points < MOST_POINTS and _missing(maps) > INTEGRAL_TOLERANCE:
            self._num_points *= 2
            self.compiled = CompiledMaps(self.head, self.method, self._options, self._num_points)
            maps = plan(batch)
        return maps

    def tensors(self, inputs: Sequence[Tensor], class_indices: Tensor) -> tuple[Tensor, ...]:
        """The values of `Maps` where the backend has them, by a method that is compiled whole."""
        return tuple(self.compiled.chosen_classes(*inputs, class_indices))

    def refresh(self) -> MapFunction:
        """Cut the model anew if its layers have changed, and see to its weights; returns itself."""
        model = self._model()
        if model is None:
            return self
        fetch_weights(model)
        if self._state.differs_from(model):
            self._prepare(model)
        return self

    def grid(self, image: tuple[int, ...], shape: tuple[int, ...]) -> Grid:
        """Where the cells of maps of a shape lie in an image of a size, on the feature map that has such cells."""
        return get_or_make(self._grids, (image, shape), lambda: self._find_grid(image, shape))

    def _find_grid(self, image: tuple[int, ...], shape: tuple[int, ...]) -> Grid:
        # The feature map whose cells are known, else a guess; a user's method may also have mapped the pixels.
        pixels = Grid(tuple(Axis(length) for length in image), image)
        if self.method.at_pixels:
            return pixels
        grids = [grid_of(self.head.cut, feature, image, shape) for feature in self.head.cut.features]
        known = (grid for grid in grids if grid.source == "graph")
        may_map_pixels = shape == image and not is_built_in(self.method)
        return next(known, pixels if may_map_pixels else grids[0])

    def _prepare(self, model: keras.Model) -> None:
        """Cut the model as it is now, and drop what was made for the model as it was."""
        self.head = find_head(model, **self._choices)
        self._state = TracedState(self.head.cut.program, model)
        self.compiled = CompiledMaps(self.head, self.method, self._options)
        self._num_points: int = FEWEST_POINTS
        self._integrates: bool = self.method is METHODS["cam"] and self.head.kind == INTEGRATED
        self._grids = dict[Any, Grid]()

        # What the choice of a plan goes by.
        self._folds = self.method is METHODS["cam"] and can_fold(self.head.cut)
        is_pooled = all(feature.pooled for feature in self.head.cut.features)
        may_be_early = self._choices.get("layer") is not None and not is_pooled  # most of the model may come after it
        self._batch_size_holds = self.method.compiled and (self.method.at_pixels or may_be_early)

    # plans: the ways from a batch to its maps

    def _plan_for(self, batch: Batch) -> Callable[[Batch], Maps]:
        """The cheapest of the plans that the method, the head and the number of classes allow."""
        class_indices = batch.class_indices
        if class_indices is None and self._folds:
            return self._run_folded
        if not self.method.compiled:
            return self._run_in_parts if self.method.at_pixels else self._run_stepwise
        fits = class_indices is not None and (self._folds or class_indices.shape[1] <= self._classes_at_once(batch))
        return self._run_whole if fits else self._run_in_parts

    def _run_folded(self, batch: Batch) -> Maps:
        """All classes of a head that is one matrix, in one compiled function."""
        return _as_maps(self.compiled.all_classes(*batch.inputs))

    def _run_whole(self, batch: Batch) -> Maps:
        """The chosen classes, forward pass and method in one compiled function."""
        return _as_maps(self.tensors(batch.inputs, batch.class_indices))

    def _run_in_parts(self, batch: Batch) -> Maps:
        """One forward pass, and by it some of the classes at a time."""
        inputs, values, class_indices = self._run_forward(batch)
        parts, columns = [], []
        for part, new in in_parts(class_indices.shape[1], self._classes_at_once(batch)):
            if self.method.compiled:
                found = _as_maps(self.compiled.part_of_classes(*inputs, *values, class_indices[:, part]))
            else:
                found = self._stepwise(inputs, values, class_indices[:, part], batch)
            parts.append(found)
            columns.append([array[:, new] for array in found[:3]])
        maps, bias, indices = (np.concatenate(arrays, axis=1) for arrays in zip(*columns, strict=True))
        return Maps(maps, bias, indices, parts[0].logits, parts[0].predictions)

    def _run_stepwise(self, batch: Batch) -> Maps:
        """One forward pass, and by it all classes at once, by a method that is called as it stands."""
        return self._stepwise(*self._run_forward(batch), batch)

    def _classes_at_once(self, batch: Batch) -> int:
        if not self._batch_size_holds:
            return CLASSES_AT_ONCE
        return max(1, min(CLASSES_AT_ONCE, batch.batch_size // len(batch.inputs[0])))

    def _run_forward(self, batch: Batch) -> tuple[list[Tensor], list[Tensor], np.ndarray]:
        """Inputs and values of the forward pass where the backend has them, and the classes: all if none are chosen."""
        inputs, class_indices = [ops.convert_to_tensor(array) for array in batch.inputs], batch.class_indices
        values = self.compiled.forward(*inputs)
        if class_indices is None:
            class_indices = np.tile(np.arange(self.head.num_classes, dtype="int32"), (len(batch.inputs[0]), 1))
        return inputs, values, class_indices

    def _stepwise(
        self, inputs: Sequence[Tensor], values: Sequence[Tensor], class_indices: np.ndarray, batch: Batch
    ) -> Maps:
        options = {"batch_size": batch.batch_size, "verbose": batch.verbose}
        return _as_maps(self.compiled.stepwise(inputs, values, class_indices, **options))


def _missing(found: Maps) -> float:
    """How far map and bias are from a score, at most, as a share of the image's largest."""
    scores = np.take_along_axis(found.logits, found.class_indices, axis=1)
    sums = found.maps.reshape(*found.maps.shape[:2], -1).mean(axis=-1) + found.bias
    largest = np.abs(found.logits).max(axis=1, keepdims=True)
    return float((np.abs(sums - scores) / np.maximum(largest, np.finfo("float32").tiny)).max())


def check_finite(found: Maps, cut: Cut) -> None:
    """Raise where scores or maps hold NaN or infinite numbers; what a method does not give is NaN in `bias`."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(found.logits.sum() + found.maps.sum()) and not np.isinf(found.bias).any():
            return  # which is nearly always so, and the quicker question
    finite = np.isfinite(found.logits).all(axis=1)
    if not finite.all():
        raise UnsupportedModelError(
            f"Model {cut.program.name!r} gives scores that are not finite for image {int(np.argmin(finite))}: "
            f"{found.logits[~finite][0][:5]}. Look for NaN in its weights, or a preprocess function that overflows."
        )
    if not np.isfinite(found.maps).all() or np.isinf(found.bias).any():
        raise UnsupportedModelError(
            f"The maps of model {cut.program.name!r} are not finite: its head has no gradient at these features (a "
            f"root or a quotient at zero, say), or the method divides by zero. {describe(cut)} Choose another layer= "
            "or method=."
        )


# Map functions by model and options; a model that dies takes its own with it.
_map_functions: weakref.WeakKeyDictionary[keras.Model, dict[Any, MapFunction]] = weakref.WeakKeyDictionary()


def map_function_of(
    model: keras.Model, method: Method, method_options: Mapping[str, Any], **choices: Any
) -> MapFunction:
    """The map function of a model, cached while the model lives."""
    if not isinstance(model, keras.Model):
        return MapFunction(model, method, method_options, **choices)  # which says what is wrong with it
    # The same options make the same function; arrays among them are the same only as the same object.
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in method_options.items()}
    key = (method, *((name, hashable(value)) for name, value in {**options, **choices}.items()))
    cache = _map_functions.setdefault(model, {})
    return get_or_make(cache, key, lambda: MapFunction(model, method, options, **choices)).refresh()


def _as_maps(values: Sequence[Tensor]) -> Maps:
    return Maps(*as_arrays(values))
