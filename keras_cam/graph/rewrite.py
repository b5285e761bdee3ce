"""Passes from program to program: activations as steps of their own, custom layers opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_cam.graph.hooks import split_by_recording
from keras_cam.graph.keras_internals import alias, holds_layers
from keras_cam.graph.open_layers import open_layer
from keras_cam.graph.operations import (
    LAST_ACTIVATIONS,
    Trait,
    activation_of,
    has_trait,
    is_activation,
    is_known,
    is_layer,
    passes_through,
)
from keras_cam.graph.program import Program, Slot, Step

# Layers of Keras whose steps are known one by one, and not as a whole.
OPENED = {"MultiHeadAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention", "GroupNormalization"}


def split_last_activation(program: Program, output: int) -> tuple[Program, int, str]:
    """The program, the slot of the scores before the last activation, and that activation's name.

    Where the activation is inline, the last layer is replaced by a linear alias and a step for the activation.
    """
    slot = output
    while (step := program.producer(slot)) is not None and len(step.inputs) == 1:
        name = activation_of(step.operation)
        if name in LAST_ACTIVATIONS:
            if is_activation(step.operation):
                return program, step.inputs[0], name
            if has_trait(step.operation, Trait.INLINE_ACTIVATION):
                return (*_split_activation(program, step), name)
        if not passes_through(step.operation):
            break
        slot = step.inputs[0]
    return program, output, "linear"


def split_head_activations(program: Program, features: Sequence[int], logits: int) -> Program:
    """The program with every inline activation between feature maps and logits as a step of its own."""
    for step in program.steps_between(features, logits):
        if has_trait(step.operation, Trait.INLINE_ACTIVATION) and activation_of(step.operation) != "linear":
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
    activation = layers.Activation(layer.activation, dtype=layer.compute_dtype, name=f"{layer.name}_activation")
    apply = Step(activation, ((Slot(between),), {}), (between,), step.outputs, f"{step.path}_activation")
    return program.with_step_replaced(step, (linear, apply), [program.specs[step.outputs[0]]]), between


def open_first_unknown(program: Program, slots: Sequence[int], logits: int) -> Program | None:
    """The program with one custom layer of the head, or the one that holds all the convolutions, taken apart."""
    head_slots = set(slots)
    for step in program.steps_between(slots, logits):
        is_composite = _is_composite(step.operation) or is_layer(step.operation, OPENED)
        if is_composite and head_slots.intersection(step.inputs) and not is_known(step, head_slots):
            opened = open_layer(program, step) or (
                split_by_recording(program, step) if _is_composite(step.operation) else None
            )
            if opened is not None:
                return opened
        head_slots.update(step.outputs)
    return None


def _is_composite(operation: Any) -> bool:
    """Whether an operation is a caller's layer made of layers."""
    is_callers = isinstance(operation, layers.Layer) and not type(operation).__module__.startswith("keras.")
    return is_callers and holds_layers(operation)
