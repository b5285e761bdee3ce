"""A program with a target at its end: the number to explain, and the feature maps behind it."""

from __future__ import annotations

from typing import Any

import keras

from keras_cam.errors import InvalidOptionError
from keras_cam.flatten import append
from keras_cam.operations import hands_on
from keras_cam.places import placed_slots
from keras_cam.program import Program, Slot, needed_for
from keras_cam.targets import Target


def loss_activation(model: keras.Model) -> str | None:
    """The activation that the loss of a compiled model applies to its logits (`from_logits=True`); None if none."""
    loss = getattr(model, "loss", None)
    if not getattr(loss, "from_logits", False):
        return None
    return "sigmoid" if "Binary" in type(loss).__name__ else "softmax"


def aimed(
    program: Program, aim: Target, outputs: Any, logits: int, activation: str, model: keras.Model
) -> tuple[Program, int]:
    """The program with a target at its end, and the slot of the target's scores."""
    if aim.reads == "outputs":
        return append(program, aim.name, aim.function, outputs)
    if aim.reads == "logits":
        return append(program, aim.name, aim.function, Slot(logits))
    known = loss_activation(model) or activation if activation == "linear" else activation
    if known not in ("softmax", "sigmoid"):
        raise InvalidOptionError(
            f"target='probability' needs a model that gives probabilities. Received: model {program.name!r}, whose "
            f"last activation is {known!r}. Use target='logit', or compile the model with a loss of from_logits=True."
        )
    return append(program, aim.name, keras.activations.get(known), Slot(logits))


def before_classifier(program: Program, slots: list[int], ends: set[int]) -> list[int]:
    """Feature maps in place of what only holds scores: the maps that the layer reads which makes these scores."""
    found: set[int] = set()
    stack = [(slot, _is_made_of(program, slot, ends)) for slot in slots]
    while stack:
        slot, is_scores = stack.pop()
        step = program.producer(slot)
        if not is_scores or step is None:
            found.add(slot)
        elif hands_on(step.operation):
            stack.extend((source, True) for source in step.inputs)
        else:
            stack.extend((source, slot not in ends and _is_made_of(program, source, ends)) for source in step.inputs)
    placed = placed_slots(program)
    return sorted(found & placed)


def _is_made_of(program: Program, slot: int, ends: set[int]) -> bool:
    """Whether a slot is one of the model's ends, or made of one."""
    return slot in ends or any(ends.intersection(step.inputs) for step in needed_for([slot], program.steps))
