"""A program with a target at its end: the number to explain, and the feature maps behind it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cam.errors import InvalidOptionError
from keras_cam.graph.operations import only_rearranges
from keras_cam.graph.program import Program, ancestors_of
from keras_cam.graph.spatial import spatial_slots
from keras_cam.graph.trace import append
from keras_cam.targets import Target


def loss_activation(model: keras.Model) -> str | None:
    """The activation that the loss of a compiled model applies to its logits (`from_logits=True`); None if none."""
    loss = getattr(model, "loss", None)
    if not getattr(loss, "from_logits", False):
        return None
    return "sigmoid" if "Binary" in type(loss).__name__ else "softmax"


def known_activation(model: keras.Model, activation: str) -> str:
    """What makes probabilities of a model's logits: its last activation, or where it has none that of its loss."""
    return loss_activation(model) or activation if activation == "linear" else activation


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
            other = 1 - values if target.reads == "probabilities" else -values
            values = ops.concatenate([other, values], axis=-1)
        return target.function(values)

    return append(program, target.name, function, given)


def _at_least_float32(tensor: Any) -> Any:
    """A tensor in which a mean over many pixels, and its gradient, are no rounded away."""
    is_half = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if is_half else tensor


def before_classifier(program: Program, slots: list[int], ends: set[int]) -> list[int]:
    """Feature maps in place of what only holds scores: the maps that the layer reads which makes these scores."""
    found: set[int] = set()
    stack = [(slot, _is_made_of(program, slot, ends)) for slot in slots]
    while stack:
        slot, is_scores = stack.pop()
        step = program.producer(slot)
        if not is_scores or step is None:
            found.add(slot)
        elif only_rearranges(step.operation):
            stack.extend((source, True) for source in step.inputs)
        else:
            stack.extend((source, slot not in ends and _is_made_of(program, source, ends)) for source in step.inputs)
    placed = spatial_slots(program)
    return sorted(found & placed)


def _is_made_of(program: Program, slot: int, ends: set[int]) -> bool:
    """Whether a slot is one of the model's ends, or made of one."""
    return slot in ends or any(ends.intersection(step.inputs) for step in ancestors_of([slot], program.steps))
