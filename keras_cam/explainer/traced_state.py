"""What a trace bakes in of a model: when that changes, the model has to be cut and compiled anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from keras_cam.graph.keras_internals import original
from keras_cam.graph.program import Program
from keras_cam.model.choices import loss_activation


class TracedState:
    """What a trace of a program has baked in of its model and a caller may change.

    These are the graph, the loss, and of operations LoRA, quantisation and activations. Weights are not among them: a
    compiled function reads them at each call.

    Args:
        program: the model, traced.
        model: the model.
    """

    def __init__(self, program: Program, model: keras.Model) -> None:
        self._changeable = _changeable_attributes(original(step.operation) for step in program.steps)
        self._values = self._values_in(model)

    def differs_from(self, model: keras.Model) -> bool:
        """Whether the model is another now than it was."""
        return self._values != self._values_in(model)

    def _values_in(self, model: keras.Model) -> tuple[Any, ...]:
        # By their ids: a Sequential model that got another layer has other outputs.
        outputs = tuple(map(id, getattr(model, "outputs", None) or ()))
        return (outputs, loss_activation(model), *(getattr(operation, name) for operation, name in self._changeable))


def _changeable_attributes(operations: Iterable[Any]) -> list[tuple[Any, str]]:
    """Operations, and the names of what may be changed in them."""
    found = []
    for operation in operations:
        # A layer that inherits `quantize` as it is cannot be quantised; to ask it for its mode would take time.
        can_quantize = getattr(type(operation), "quantize", None) not in (None, keras.layers.Layer.quantize)
        names = [name for name in ("lora_enabled", "activation") if hasattr(operation, name)]
        found += [(operation, name) for name in (*names, *["quantization_mode"] * can_quantize)]
    return found
