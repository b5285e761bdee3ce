"""The caller's own layers as the steps that they take."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.backend import call_eagerly
from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.keras_internals import (
    layers_inside,
    without_new_nodes,
)
from keras_cam.graph.operations import is_callers
from keras_cam.graph.place import BATCH
from keras_cam.graph.program import Program, Slot, Step, run
from keras_cam.graph.symbolic import needs_image_count, record, without_image_count
from keras_cam.graph.trace import StepWriter

OPEN_LENGTH = 32  # stands for an open axis of an example
TOLERANCE = 1e-2  # that of half precision


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
    # What is handed on as it came in, or twice, keeps its slot, and is copied into that of the output.
    renamed: dict[int, int] = {}
    copies = []
    for tensor, slot in zip(outputs, step.outputs, strict=True):
        made = slots[id(tensor)]
        if made in step.inputs or made in renamed:
            source = renamed.get(made, made)
            copies.append(Step(keras.layers.Identity(), ((Slot(source),), {}), (source,), (slot,), step.path))
        else:
            renamed[made] = slot
    new_steps = [*(new.renamed(renamed) for new in inner), *copies]
    if images is not None and not call_eagerly(partial(_does_the_same, step, new_steps, specs)):
        return None
    return program.with_step_replaced(step, new_steps, writer.specs[len(program.specs) :])


def _does_the_same(step: Step, opened: list[Step], specs: dict[int, Any]) -> bool:
    """Whether steps give what a layer gives, on two images: a number of images may hide in them in any form."""
    rng = np.random.default_rng(0)
    shapes = {slot: (2, *(length or OPEN_LENGTH for length in spec.shape[1:])) for slot, spec in specs.items()}
    values = {
        slot: ops.cast(ops.convert_to_tensor(rng.uniform(size=shapes[slot]).astype("float32")), spec.dtype)
        for slot, spec in specs.items()
    }
    try:
        expected = run([step], values)
    except Exception:  # the caller's code does not take such images: nothing to compare with
        return True
    try:
        found = run(opened, values)
    except Exception:  # a shape in which the number stands
        return False
    pairs = [
        [ops.convert_to_numpy(ops.cast(each[slot], "float32")) for each in (found, expected)] for slot in step.outputs
    ]
    return all(
        one.shape == other.shape and np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE) for one, other in pairs
    )


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
