"""Programs rewritten so that a head can be read: activations as steps of their own, custom layers opened."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import layers

from keras_cam.graph.operations import (
    LAST_ACTIVATIONS,
    WITH_ACTIVATION,
    activation_of,
    is_activation,
    is_known,
    is_layer,
    passes_through,
)
from keras_cam.graph.program import Program, Slot, Step, alias
from keras_cam.graph.trace import open_layer


def split_last_activation(program: Program, output: int) -> tuple[Program, int, str]:
    """The program, the slot of the scores before the last activation, and that activation's name.

    Where the activation is inline, the last layer is replaced by a linear twin and a step for the activation.
    """
    slot = output
    while (step := program.producer(slot)) is not None and len(step.inputs) == 1:
        name = activation_of(step.operation)
        if name in LAST_ACTIVATIONS:
            if is_activation(step.operation):
                return program, step.inputs[0], name
            if is_layer(step.operation, WITH_ACTIVATION):
                return (*_split_activation(program, step), name)
        if not passes_through(step.operation):
            break
        slot = step.inputs[0]
    return program, output, "linear"


def split_head_activations(program: Program, features: list[int], logits: int) -> Program:
    """The program with every inline activation of the head as a step of its own."""
    for step in program.steps_between(features, logits):
        if is_layer(step.operation, WITH_ACTIVATION) and activation_of(step.operation) != "linear":
            program, _ = _split_activation(program, step)
    return program


def _split_activation(program: Program, step: Step) -> tuple[Program, int]:
    """Put the inline activation of a step into a step of its own; returns the program and the slot between."""
    layer, between = step.operation, len(program.specs)
    linear = dataclasses.replace(
        step,
        operation=alias(layer, f"{layer.name}_logits", activation=keras.activations.linear),
        outputs=(between,),
    )
    activation = layers.Activation(layer.activation, dtype=layer.dtype_policy, name=f"{layer.name}_activation")
    apply = Step(activation, ((Slot(between),), {}), (between,), step.outputs, f"{step.path}_activation")
    steps = tuple(new for old in program.steps for new in ((linear, apply) if old is step else (old,)))
    specs = (*program.specs, program.specs[step.outputs[0]])
    return dataclasses.replace(program, steps=steps, specs=specs), between


def open_first_unknown(program: Program, slots: list[int], logits: int) -> Program | None:
    """The program with one custom layer of the head, or the one that holds all the convolutions, taken apart."""
    head_slots = set(slots)
    for step in program.steps_between(slots, logits):
        if _is_composite(step.operation) and not is_known(step, head_slots):
            opened = open_layer(program, step)
            if opened is not None:
                return opened
        head_slots.update(step.outputs)
    return None


def _is_composite(operation: Any) -> bool:
    """Whether an operation is a caller's layer made of layers."""
    if not isinstance(operation, layers.Layer) or type(operation).__module__.startswith("keras."):
        return False
    return any(True for _ in operation._layers)
