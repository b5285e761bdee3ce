"""The last pass before the head is looked at: a target as a step at the end of the program."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cam.errors import InvalidOptionError
from keras_cam.graph.program import Program
from keras_cam.graph.trace import append
from keras_cam.targets import Target


def append_target(program: Program, target: Target, given: Any, activation: str, is_unit: bool) -> tuple[Program, int]:
    """The program with a target at its end.

    Args:
        program: the model.
        target: the target.
        given: what the target reads, in a structure with `Slot` in place of tensors: the outputs or the logits.
        activation: what makes probabilities of the logits.
        is_unit: whether the logits are those of one sigmoid unit.

    Returns:
        `(program, slot)`: the slot of the target's scores.
    """
    if target.reads == "probabilities" and activation not in ("softmax", "sigmoid"):
        raise InvalidOptionError(
            f"target='probability' needs a model that gives probabilities. Received: model {program.name!r}, whose "
            f"last activation is {activation!r}. Use target='logit', or compile the model with a loss of "
            "from_logits=True."
        )

    def function(values: Any) -> Any:
        values = keras.tree.map_structure(_at_least_float32, values)
        if target.reads == "probabilities":
            values = keras.activations.get(activation)(values)
        if target.per_class and is_unit:
            other_class = 1 - values if target.reads == "probabilities" else -values
            values = ops.concatenate([other_class, values], axis=-1)
        return target.function(values)

    return append(program, target.name, function, given)


def _at_least_float32(tensor: Any) -> Any:
    """A tensor in which a mean over many pixels, and its gradient, are not rounded away."""
    is_half = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if is_half else tensor
