"""From a batch to its maps in one compiled function: one forward pass and a small product."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cam.affine import can_fold, fold
from keras_cam.attribute import attribute, channels_last, on_its_grid
from keras_cam.backend import compile_function, fetch_weights
from keras_cam.cam_op import weigh
from keras_cam.geometry import Grid, grid_of
from keras_cam.graph import Cut
from keras_cam.head import Head, find_head, loss_activation
from keras_cam.program import InferenceLayer, needed_for, original, run

Tensor = Any
CLASSES_AT_ONCE = 16


class Maps(NamedTuple):
    """What one batch gives, as NumPy arrays; C classes were asked for, the model has n."""

    maps: np.ndarray  # (N, C, h, w) float32, logit units
    bias: np.ndarray  # (N, C) float32: mean(map) + bias = logit
    class_indices: np.ndarray  # (N, C) int
    logits: np.ndarray  # (N, n) float32
    predictions: np.ndarray  # (N, n) float32, the model's own output


class MapFunction:
    """A model's compiled path from inputs to maps; follows training, and is cut anew when the model's layers change.

    Args:
        model: the Keras model; only weakly held.
        **choices: `output`, `layer`, `image_input`, as for `keras_cam.graph.cut`.
    """

    def __init__(self, model: keras.Model, **choices: Any) -> None:
        self._choices = choices
        fetch_weights(model)
        self._prepare(find_head(model, **choices), model)  # says what is wrong with a model that is none
        self._model = weakref.ref(model)

    def __call__(self, inputs: Sequence[np.ndarray], class_indices: np.ndarray | None) -> Maps:
        """Compute the maps of one batch.

        Args:
            inputs: one array per input of the model, as the model wants them.
            class_indices: int32 (N, C); -1 is an image's most probable class, -2 the second. None: all classes.

        Returns:
            The maps and what belongs to them.
        """
        if class_indices is not None:
            results = self._some(*inputs, class_indices)
        elif self._folds:
            results = self._all(*inputs)
        else:
            return self._class_by_class(inputs)
        return Maps(*map(ops.convert_to_numpy, results))

    def refresh(self) -> MapFunction:
        """Cut the model anew if its layers have changed, and see to its weights; returns itself."""
        model = self._model()
        if model is None:
            return self
        fetch_weights(model)
        if self._state != _state_of(self._operations, model):
            self._prepare(find_head(model, **self._choices), model)
        return self

    def grid(self, image: tuple[int, int], shape: tuple[int, ...]) -> Grid:
        """Where the cells of maps of a shape lie in an image of a size, on the feature map that has such cells."""
        if (image, shape) not in self._grids:
            found = [grid_of(self.head.cut, feature, image, shape) for feature in self.head.cut.features]
            self._grids[image, shape] = next((grid for grid in found if grid.source == "graph"), found[0])
        return self._grids[image, shape]

    def _prepare(self, head: Head, model: keras.Model) -> None:
        self.head, self._folds, self._grids = head, can_fold(head.cut), dict[Any, Grid]()
        self._operations = [original(step.operation) for step in head.cut.program.steps]
        self._state = _state_of(self._operations, model)
        program = head.cut.program
        given = [(program.shape(slot), program.specs[slot].dtype) for slot in program.inputs]
        read = [(program.shape(slot), program.specs[slot].dtype) for slot in _read_slots(head.cut)]
        classes = [((None, None), "int32")]

        def compiled(function: Any, signature: Any) -> Any:
            return compile_function(function, signature, lambda: _variables(head.cut))

        def explain(*arguments: Tensor) -> tuple[Tensor, ...]:
            return _explain(head, _forward(head.cut, arguments[:-1]), arguments[-1])

        self._some = compiled(explain, [*given, *classes])
        self._all = compiled(lambda *inputs: _explain_all(head, _forward(head.cut, inputs)), given)
        self._forward = compiled(lambda *inputs: _forward(head.cut, inputs), given)
        self._from_read = compiled(lambda *read: _explain(head, read[:-1], read[-1]), [*read, *classes])

    def _class_by_class(self, inputs: Sequence[np.ndarray]) -> Maps:
        """All classes of a head that is not one matrix: one forward pass, then the head for a few classes at a time."""
        read = self._forward(*inputs)
        every = np.arange(self.head.num_classes, dtype="int32")
        images = len(inputs[0])
        parts = []
        for start in range(0, len(every), CLASSES_AT_ONCE):
            some = np.tile(every[start : start + CLASSES_AT_ONCE], (images, 1))
            parts.append(Maps(*map(ops.convert_to_numpy, self._from_read(*read, some))))
        columns = zip(*(part[:3] for part in parts), strict=True)
        maps, bias, indices = (np.concatenate(arrays, axis=1) for arrays in columns)
        return Maps(maps, bias, indices, parts[0].logits, parts[0].predictions)


_MAP_FUNCTIONS: weakref.WeakKeyDictionary[keras.Model, dict[Any, MapFunction]] = weakref.WeakKeyDictionary()


def map_function_of(model: keras.Model, **choices: Any) -> MapFunction:
    """The compiled maps of a model, kept while the model lives."""
    if not isinstance(model, keras.Model):
        return MapFunction(model, **choices)  # which says what is wrong with it
    kept = _MAP_FUNCTIONS.setdefault(model, {})
    key = tuple(choices.items())
    if key not in kept:
        kept[key] = MapFunction(model, **choices)
    return kept[key].refresh()


def _read_slots(cut: Cut) -> list[int]:
    """The slots that the maps are made from; the logits and the output come first."""
    return [
        cut.logits,
        cut.output,
        *(feature.slot for feature in cut.features),
        *(feature.entry for feature in cut.features),
        *cut.sides,
    ]


def _forward(cut: Cut, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The model's one forward pass: the values of `_read_slots`."""
    slots = _read_slots(cut)
    steps = needed_for(slots, cut.program.steps)

    def forward(*inputs: Tensor) -> list[Tensor]:
        values = run(steps, dict(zip(cut.program.inputs, inputs, strict=True)))
        return [values[slot] for slot in slots]

    return InferenceLayer(forward)(*inputs)


def _explain(head: Head, read: Sequence[Tensor], class_indices: Tensor) -> tuple[Tensor, ...]:
    """Maps of some classes (N, C) from the values of `_read_slots`."""
    logits, predictions, *rest = read
    number = len(head.cut.features)
    features, entries, sides = rest[:number], rest[number : 2 * number], rest[2 * number :]
    scores = head.scores(logits)
    ranked = ops.cast(ops.argsort(-scores, axis=-1), "int32")
    by_rank = ops.take_along_axis(ranked, ops.maximum(-class_indices - 1, 0), axis=-1)
    class_indices = ops.where(class_indices < 0, by_rank, class_indices)
    if can_fold(head.cut):
        weights, bias = fold(head.cut, lambda matrix: ops.take(_columns(head, matrix), class_indices, axis=-1))
        maps = weigh(channels_last(head.cut.features[0], features[0]), ops.moveaxis(weights, 0, 1), per_image=True)
        maps, placeless = on_its_grid(head.cut.features[0], ops.moveaxis(maps, -1, 1))
        bias = bias + placeless
    else:
        maps, bias = attribute(head, features, entries, dict(zip(head.cut.sides, sides, strict=True)), class_indices)
    return maps, bias, class_indices, scores, head.probabilities(logits, predictions)


def _explain_all(head: Head, read: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Maps of all classes of a head that folds into one matrix."""
    logits, predictions, features = read[:3]
    scores = head.scores(logits)
    weights, bias = fold(head.cut, lambda matrix: _columns(head, matrix))
    maps = weigh(channels_last(head.cut.features[0], features), weights, per_image=False)
    maps, placeless = on_its_grid(head.cut.features[0], ops.moveaxis(maps, -1, 1))
    class_indices = ops.broadcast_to(ops.arange(head.num_classes, dtype="int32"), ops.shape(scores))
    return (
        maps,
        ops.broadcast_to(bias, ops.shape(scores)) + placeless,
        class_indices,
        scores,
        head.probabilities(logits, predictions),
    )


def _columns(head: Head, matrix: Tensor) -> Tensor:
    """The columns of the classes: one sigmoid unit stands for two, class 0 with the sign turned."""
    return ops.concatenate([-matrix, matrix], axis=-1) if head.is_binary else matrix


def _variables(cut: Cut) -> list[keras.Variable]:
    found = (variable for step in cut.program.steps for variable in getattr(step.operation, "variables", ()))
    return list({id(variable): variable for variable in found}.values())


def _state_of(operations: Sequence[Any], model: keras.Model) -> tuple[Any, ...]:
    """What a trace has baked in and a caller may change: the graph, the loss, LoRA, quantisation, activations."""
    outputs = tuple(map(id, getattr(model, "outputs", None) or ()))
    return (
        outputs,
        loss_activation(model),
        *(
            (
                getattr(operation, "lora_enabled", None),
                getattr(operation, "quantization_mode", None),
                id(getattr(operation, "activation", None)),
            )
            for operation in operations
        ),
    )
