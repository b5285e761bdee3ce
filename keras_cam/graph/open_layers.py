"""The caller's own layers as the steps that they take."""

from __future__ import annotations

from contextlib import suppress

import keras

from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.keras_internals import (
    layers_inside,
    without_new_nodes,
)
from keras_cam.graph.operations import is_callers
from keras_cam.graph.place import BATCH
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.symbolic import needs_image_count, record, without_image_count
from keras_cam.graph.trace import StepWriter


def open_layer(program: Program, step: Step) -> Program | None:
    """The program with one of the caller's layers replaced by what its `call` does.

    Returns:
        The new program, or None where the layer's `call` only runs on real tensors.
    """
    for images in (None, BATCH):  # where it asks for the number of images, it gets one that can be told from all others
        with suppress(UnsupportedModelError), without_new_nodes(layers_inside(step.operation)):
            opened = _open_for(program, step, images)
            if opened is not None:
                return opened
    return None


def _open_for(program: Program, step: Step, images: int | None) -> Program | None:
    """The program with a layer opened that is called on so many images."""
    specs = {slot: program.specs[slot] for slot in step.inputs}
    fresh = {slot: keras.KerasTensor((images, *spec.shape[1:]), dtype=spec.dtype) for slot, spec in specs.items()}
    args, kwargs = keras.tree.map_structure(
        lambda argument: fresh[argument.index] if isinstance(argument, Slot) else argument, step.arguments
    )
    recording = record(step.operation, args, kwargs)
    outputs = keras.tree.flatten(recording.outputs)
    if len(outputs) != len(step.outputs) or not all(isinstance(each, keras.KerasTensor) for each in outputs):
        return None
    # Slots of what came in, of the variables, and of what `call` made of them.
    writer = StepWriter(list(program.specs))
    slots = {id(tensor): slot for slot, tensor in fresh.items()}
    writer.read_variables(recording, slots, step.path + "/")
    writer.visit(outputs, slots, step.path + "/")
    inner = writer.steps
    if images is None and any(map(needs_image_count, inner)):
        return None
    if images is not None:
        freed = without_image_count(inner, writer.specs, step.inputs[0])
        if freed is None:
            return None
        inner = freed
    # What is handed on as it came in keeps its slot, and is copied into that of the output.
    for tensor, slot in zip(outputs, step.outputs, strict=True):
        if slots[id(tensor)] in step.inputs:
            copy = Step(
                keras.layers.Identity(), ((Slot(slots[id(tensor)]),), {}), (slots[id(tensor)],), (slot,), step.path
            )
            inner = [*inner, copy]
            slots[id(tensor)] = slot
    renamed = {slots[id(tensor)]: slot for tensor, slot in zip(outputs, step.outputs, strict=True)}
    return program.with_step_replaced(step, [new.renamed(renamed) for new in inner], writer.specs[len(program.specs) :])


def open_callers_layers(program: Program) -> Program:
    """The program with all of the caller's layers opened that can be; nested ones too."""
    failed: set[int] = set()
    while True:
        step = next((step for step in program.steps if _can_be_opened(step) and id(step) not in failed), None)
        if step is None:
            return program
        opened = open_layer(program, step)
        if opened is None:
            failed.add(id(step))
        else:
            program = opened


def _can_be_opened(step: Step) -> bool:
    return is_callers(step.operation) and isinstance(step.operation, keras.layers.Layer) and bool(step.inputs)
