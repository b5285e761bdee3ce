"""From a batch to its maps: one compiled function where a method can be compiled whole, else compiled pieces."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cam.attribution.cut_model import CutModel, in_parts
from keras_cam.attribution.decomposition import add_on_finest_grid
from keras_cam.backend import Compiled, as_arrays, fetch_weights
from keras_cam.errors import UnsupportedModelError
from keras_cam.explainer.cache import get_or_make, hashable
from keras_cam.graph.keras_internals import original
from keras_cam.graph.receptive_field import Axis
from keras_cam.methods import METHODS, Method, check_maps
from keras_cam.methods.view import View
from keras_cam.model.affine import can_fold
from keras_cam.model.cut import Cut, describe, loss_activation
from keras_cam.model.grid import Grid, grid_of
from keras_cam.model.head import find_head

Tensor = Any
CLASSES_AT_ONCE = 16


class Maps(NamedTuple):
    """What one batch gives, as NumPy arrays; C classes were asked for, the model has n."""

    maps: np.ndarray  # (N, C, h, w) float32
    bias: np.ndarray  # (N, C) float32: mean(map) + bias = logit; NaN where the method does not take the score apart
    class_indices: np.ndarray  # (N, C) int
    logits: np.ndarray  # (N, n) float32
    predictions: np.ndarray  # (N, n) float32, the model's own output


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
        if class_indices is None and self._folds:
            return _fetched(self._all(*inputs))
        compiled, at_once = self.method.compiled, CLASSES_AT_ONCE
        behind_layer = self._choices.get("layer") is not None and not all(one.pooled for one in self.head.cut.features)
        if compiled and (self.method.at_pixels or behind_layer):  # the layer may be an early one
            at_once = max(1, min(at_once, batch_size // len(inputs[0])))
        if class_indices is not None and compiled and (self._folds or class_indices.shape[1] <= at_once):
            return _fetched(self.tensors(inputs, class_indices))
        tensors = [ops.convert_to_tensor(array) for array in inputs]
        read = self._read(*tensors)
        if class_indices is None:
            class_indices = np.tile(np.arange(self.head.num_classes, dtype="int32"), (len(inputs[0]), 1))
        if not (compiled or self.method.at_pixels):
            return self._stepwise(tensors, read, class_indices, batch_size, verbose)
        parts, columns = [], []
        for part, new in in_parts(class_indices.shape[1], at_once):
            some = class_indices[:, part]
            if compiled:
                parts.append(_fetched(self._some_of_read(*tensors, *read, some)))
            else:
                parts.append(self._stepwise(tensors, read, some, batch_size, verbose))
            columns.append([array[:, new] for array in parts[-1][:3]])
        maps, bias, indices = (np.concatenate(arrays, axis=1) for arrays in zip(*columns, strict=True))
        return Maps(maps, bias, indices, parts[0].logits, parts[0].predictions)

    def tensors(self, inputs: Sequence[Tensor], class_indices: Tensor) -> tuple[Tensor, ...]:
        """The values of `Maps` where the backend has them, by a method that is compiled whole."""
        return tuple(self._some(*inputs, class_indices))

    def refresh(self) -> MapFunction:
        """Cut the model anew if its layers have changed, and see to its weights; returns itself."""
        model = self._model()
        if model is None:
            return self
        fetch_weights(model)
        if self._state != _state_of(self._changeable, model):
            self._prepare(model)
        return self

    def grid(self, image: tuple[int, ...], shape: tuple[int, ...]) -> Grid:
        """Where the cells of maps of a shape lie in an image of a size, on the feature map that has such cells."""
        pixels = Grid(tuple(Axis(length) for length in image), image)
        if self.method.at_pixels:
            return pixels
        if (image, shape) not in self._grids:
            found = [grid_of(self.head.cut, feature, image, shape) for feature in self.head.cut.features]
            known = (grid for grid in found if grid.source == "graph")
            own = shape == image and self.method not in METHODS.values()  # a user's method may map the pixels
            self._grids[image, shape] = next(known, pixels if own else found[0])
        return self._grids[image, shape]

    def _prepare(self, model: keras.Model) -> None:
        self.head = find_head(model, **self._choices)
        self._network = network = CutModel(self.head)
        self._grids, self._pieces = dict[Any, Grid](), dict[Any, Callable[..., Any]]()
        program = self.head.cut.program
        self._changeable = _changeable(original(step.operation) for step in program.steps)
        self._state = _state_of(self._changeable, model)
        self._given = [(program.shape(slot), program.specs[slot].dtype) for slot in program.inputs]
        self._left = [(program.shape(slot), program.specs[slot].dtype) for slot in network.read_slots]
        count, classes = len(self._given), [((None, None), "int32")]
        self._folds = self.method is METHODS["cam"] and can_fold(self.head.cut)
        self._read = self._compiled(lambda *inputs: network.read(inputs), self._given)
        self._all = self._compiled(lambda *inputs: self._explained(inputs, network.read(inputs), None), self._given)
        self._some = self._compiled(
            lambda *given: self._explained(given[:-1], network.read(given[:-1]), given[-1]), [*self._given, *classes]
        )
        self._some_of_read = self._compiled(
            lambda *given: self._explained(given[:count], given[count:-1], given[-1]),
            [*self._given, *self._left, *classes],
        )

    def _compiled(self, function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
        return Compiled(function, signature, lambda: _variables(self.head.cut))

    def _explained(
        self,
        inputs: Sequence[Tensor],
        read: Sequence[Tensor],
        class_indices: Tensor | None,
        run: Callable[..., Any] | None = None,
        **options: Any,
    ) -> tuple[Tensor, ...]:
        """The values of `Maps`; all classes of a head that folds where `class_indices` is None."""
        head, reading = self.head, self._network.reading(read)
        scores = head.scores(reading.logits)
        if class_indices is None:
            maps, bias = self._network.decomposition(reading, None)
            class_indices = ops.broadcast_to(ops.arange(head.num_classes, dtype="int32"), ops.shape(scores))
        else:
            class_indices = _by_rank(scores, class_indices)
            views = [
                View(self._network, run, inputs, read, class_indices, index=index, **options)
                for index in range(1 if self.method.joins_features else len(head.cut.features))
            ]
            results = [self.method.function(view, **self._options) for view in views]
            if self.method not in METHODS.values() and not self.method.compiled:
                for result, view in zip(results, views, strict=True):
                    check_maps(result, view)
            if isinstance(results[0], tuple):
                maps, bias = results[0]
            else:
                maps = add_on_finest_grid([ops.cast(result, "float32") for result in results], head.cut)
                bias = ops.full(ops.shape(class_indices), np.nan, dtype="float32")
        return maps, bias, class_indices, scores, head.probabilities(reading.output)

    def _stepwise(
        self, inputs: Sequence[Tensor], read: Sequence[Tensor], class_indices: np.ndarray, batch_size: int, verbose: int
    ) -> Maps:
        """The maps of a method that is called as it stands, what it asks of its view compiled."""
        indices = ops.convert_to_tensor(class_indices)
        options = {"batch_size": batch_size, "verbose": verbose}
        return _fetched(self._explained(inputs, read, indices, self._run_compiled, **options))

    def _run_compiled(
        self, key: Any, function: Callable[..., Any], inputs: Sequence[Tensor], read: Sequence[Tensor], *others: Tensor
    ) -> Any:
        """Run a function of tensors, compiled at its first call."""
        kinds = tuple((len(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)) for tensor in others)
        count, end = len(inputs), len(inputs) + len(read)

        def compiled() -> Callable[..., Any]:
            signature = [*self._given, *self._left, *(((None,) * rank, dtype) for rank, dtype in kinds)]
            return self._compiled(
                lambda *given: function(list(given[:count]), list(given[count:end]), *given[end:]), signature
            )

        return get_or_make(self._pieces, (key, kinds), compiled)(*inputs, *read, *others)


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


_MAP_FUNCTIONS: weakref.WeakKeyDictionary[keras.Model, dict[Any, MapFunction]] = weakref.WeakKeyDictionary()


def map_function_of(
    model: keras.Model, method: Method, method_options: Mapping[str, Any], **choices: Any
) -> MapFunction:
    """The compiled maps of a model, kept while the model lives."""
    if not isinstance(model, keras.Model):
        return MapFunction(model, method, method_options, **choices)  # which says what is wrong with it
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in method_options.items()}
    key = (method, *((name, hashable(value)) for name, value in {**options, **choices}.items()))
    functions = _MAP_FUNCTIONS.setdefault(model, {})
    return get_or_make(functions, key, lambda: MapFunction(model, method, options, **choices)).refresh()


def _fetched(values: Sequence[Tensor]) -> Maps:
    return Maps(*as_arrays(values))


def _by_rank(scores: Tensor, class_indices: Tensor) -> Tensor:
    """Class indices (N, C) in which -1 stands for an image's highest score, -2 for the second, ..."""
    images, classes = ops.shape(scores)
    ranked = ops.reshape(ops.cast(ops.argsort(-scores, axis=-1), "int32"), (-1,))
    rows = ops.expand_dims(ops.arange(images, dtype="int32") * classes, 1)
    chosen = ops.take(ranked, rows + ops.maximum(-class_indices - 1, 0))  # `take_along_axis` takes three times as long
    return ops.where(class_indices < 0, chosen, class_indices)


def _variables(cut: Cut) -> list[keras.Variable]:
    found = (variable for step in cut.program.steps for variable in getattr(step.operation, "variables", ()))
    return list({id(variable): variable for variable in found}.values())


def _changeable(operations: Iterable[Any]) -> list[tuple[Any, str]]:
    """What a trace bakes in of a model's operations and a caller may change: LoRA, quantisation, activations."""
    found = []
    for operation in operations:
        can_quantize = getattr(type(operation), "quantize", None) not in (None, keras.layers.Layer.quantize)
        names = [name for name in ("lora_enabled", "activation") if hasattr(operation, name)]
        found += [(operation, name) for name in (*names, *["quantization_mode"] * can_quantize)]
    return found


def _state_of(changeable: Sequence[tuple[Any, str]], model: keras.Model) -> tuple[Any, ...]:
    """What a trace has baked in, as it is now: the graph, the loss, and what is changeable in operations."""
    outputs = tuple(map(id, getattr(model, "outputs", None) or ()))
    return (outputs, loss_activation(model), *(getattr(operation, name) for operation, name in changeable))
