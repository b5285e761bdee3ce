"""From a batch to its maps in one compiled function: one forward pass and a small product."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cam.backend import compile_function
from keras_cam.cam_op import weigh
from keras_cam.graph import InferenceLayer, run
from keras_cam.head import Head, find_head, fold

Tensor = Any


class Maps(NamedTuple):
    """What one batch gives, as NumPy arrays; C classes were asked for, the model has n."""

    maps: np.ndarray  # (N, C, h, w) float32, logit units
    class_indices: np.ndarray  # (N, C) int
    logits: np.ndarray  # (N, n) float32
    predictions: np.ndarray  # (N, n) float32, the model's own output
    bias: np.ndarray  # (N, C) float32: mean(map) + bias = logit


class MapFunction:
    """A model's compiled path from inputs to maps; follows training, and is cut anew when the model's layers change.

    Args:
        model: the Keras model; only weakly held.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self._cut(model)

    def __call__(self, inputs: Sequence[np.ndarray], class_indices: np.ndarray | None) -> Maps:
        """Compute the maps of one batch.

        Args:
            inputs: one array per input of the model, as the model wants them.
            class_indices: int32 (N, C); -1 is an image's most probable class, -2 the second. None: all classes.

        Returns:
            The maps and what belongs to them.
        """
        if self._state != _state_of(self.head):
            self._cut(self._model())
        results = self._all(*inputs) if class_indices is None else self._some(*inputs, class_indices)
        return Maps(*(ops.convert_to_numpy(result) for result in results))

    def _cut(self, model: keras.Model) -> None:
        self.head = head = find_head(model)
        self._state = _state_of(head)
        signature = [(head.program.shape(slot), head.program.specs[slot].dtype) for slot in head.program.inputs]
        self._some = compile_function(
            lambda *arguments: _explain(head, arguments[:-1], arguments[-1]),
            [*signature, ((None, None), "int32")],
            lambda: _variables(head),
        )
        self._all = compile_function(
            lambda *inputs: _explain(head, inputs, None), signature, lambda: _variables(head)
        )


def _explain(head: Head, inputs: Sequence[Tensor], class_indices: Tensor | None) -> tuple[Tensor, ...]:
    program = head.program

    def forward(*inputs: Tensor) -> list[Tensor]:
        values = run(program.steps, dict(zip(program.inputs, inputs, strict=True)))
        return [values[head.features], values[head.logits], values[program.outputs[0]]]

    features, logits, predictions = InferenceLayer(forward)(*inputs)
    features = ops.cast(ops.moveaxis(features, 1, -1) if head.channels_first else features, "float32")
    scores = ops.cast(ops.reshape(logits, (-1, head.num_outputs)), "float32")
    predictions = ops.cast(ops.reshape(predictions, (-1, head.num_outputs)), "float32")
    if head.is_binary:
        scores, predictions = _two_classes(scores), ops.concatenate([1 - predictions, predictions], axis=-1)

    def columns(matrix: Tensor) -> Tensor:
        return _two_classes(matrix) if head.is_binary else matrix

    if class_indices is None:
        weights, bias = fold(head, columns)
        maps = weigh(features, weights, per_image=False)
        class_indices = ops.broadcast_to(ops.arange(scores.shape[-1], dtype="int32"), ops.shape(scores))
        bias = ops.broadcast_to(bias, ops.shape(scores))
    else:
        ranked = ops.cast(ops.argsort(-scores, axis=-1), "int32")
        by_rank = ops.take_along_axis(ranked, ops.maximum(-class_indices - 1, 0), axis=-1)
        class_indices = ops.where(class_indices < 0, by_rank, class_indices)
        weights, bias = fold(head, lambda matrix: ops.take(columns(matrix), class_indices, axis=-1))
        maps = weigh(features, ops.moveaxis(weights, 0, 1), per_image=True)
    return ops.moveaxis(maps, -1, 1), class_indices, scores, predictions, bias


def _two_classes(scores: Tensor) -> Tensor:
    """One sigmoid unit as two classes: class 0 has the negated score."""
    return ops.concatenate([-scores, scores], axis=-1)


def _variables(head: Head) -> list[keras.Variable]:
    found = (variable for step in head.program.steps for variable in getattr(step.operation, "variables", ()))
    return list({id(variable): variable for variable in found}.values())


def _state_of(head: Head) -> tuple[Any, ...]:
    """What a trace has baked in and a caller may change: LoRA, quantisation, activations."""
    return tuple(
        (
            getattr(step.operation, "lora_enabled", None),
            getattr(step.operation, "quantization_mode", None),
            id(getattr(step.operation, "activation", None)),
        )
        for step in head.program.steps
    )
