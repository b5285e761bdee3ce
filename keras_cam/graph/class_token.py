"""Class tokens: what they take from the patches, block by block, as feature maps of their own.

A transformer that ends in a class token reads nothing of its last patches: the token took from them in every block
before. So the way of the tokens is written down a second time, for the tokens alone. The values that they read of the
patches in each block are feature maps; keys stay what they were. With the weights of attention frozen, the score is a
sum over blocks of what the tokens take from each patch (compare Gandelsman et al. 2024, arXiv 2310.05916).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_cam.graph.descent import Places
from keras_cam.graph.keras_internals import item_operation
from keras_cam.graph.operations import is_operation
from keras_cam.graph.place import Place
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.token_reads import Asked, Joined, NotFollowedError, Rewritten, Tokens, rewritten


def follow_class_tokens(
    program: Program, slots: Sequence[int], logits: int, places: Places
) -> tuple[Program, list[int]]:
    """Put what class tokens have read in place of feature maps of which the head reads class tokens apart.

    Args:
        program: the model.
        slots: its feature maps.
        logits: the slot of the scores.
        places: where the tensors lie in the image.

    Returns:
        The program and the slots of its feature maps; both as they were where no class token is read, or where its way
        cannot be followed.
    """
    found: list[int] = []
    for slot in slots:
        place = places.by_slot.get(slot)
        axes = [] if place is None else [number for number, axis in enumerate(place.axes) if axis.before]
        readers = [step for step in program.steps_between([slot], logits) if slot in step.inputs]
        alone = [step for step in readers if place is not None and axes and _reads_only_tokens(step, place, axes[0])]
        if place is None or len(axes) != 1 or not alone:
            found.append(slot)
            continue
        writer = _TokenWriter(program, places, place.axes[axes[0]].before)
        try:
            joined = writer.write(slot, axes[0])
        except NotFollowedError:
            found.append(slot)
            continue
        read = writer.feature_slots if len(alone) < len(readers) else writer.feature_slots[:-1]
        if not read:  # tokens that never look at a patch
            found.append(slot)
            continue
        program = writer.program_with(slot, joined, readers)
        found += read
    return program, found


def _reads_only_tokens(step: Step, place: Place, axis: int) -> bool:
    """Whether what a step picks of a tensor does not depend on its cells."""
    if not is_operation(step.operation, {"GetItem", "Take"}) or len(step.inputs) != 1:
        return False
    along = place.axes[axis]
    is_cell = np.zeros(along.length, "float32")
    is_cell[along.before : along.length - along.after] = 1
    shape = [1, *place.shape[1:]]
    row = is_cell.reshape([-1 if number == axis else 1 for number in range(len(shape))])
    tensor = ops.convert_to_tensor(np.broadcast_to(row, shape))
    args, kwargs = keras.tree.map_structure(
        lambda argument: tensor if isinstance(argument, Slot) else argument, step.arguments
    )
    return not np.any(ops.convert_to_numpy(step.operation(*args, **kwargs)))


class _TokenWriter:
    """Writes steps for the tokens that stand before the cells of an axis.

    Args:
        program: the model.
        places: where its tensors lie.
        count: how many tokens there are.

    Attributes:
        feature_slots: the slots of what the tokens read of the cells, in order.
    """

    def __init__(self, program: Program, places: Places, count: int) -> None:
        self._program, self._places, self._count = program, places, count
        self._specs: list[Any] = list(program.specs)
        self._steps: list[Step] = []
        self._tokens: dict[tuple[int, int], int] = {}
        self._joined: dict[tuple[int, int], int] = {}
        self._live = _made_of_inputs(program)
        self.feature_slots: list[int] = []

    def write(self, slot: int, axis: int) -> int:
        """Write the way of the tokens of a slot along an axis.

        Returns:
            A slot of these tokens and, behind them, the cells of the slot, which are the last of the feature maps.

        Raises:
            NotFollowedError: something on the way makes the tokens in a way that is not known.
        """
        calls = self._calls_for(slot, axis)
        for step in self._program.steps:
            for asked in [asked for asked in calls if asked[0] in step.outputs]:
                if asked not in self._tokens:
                    self._write_step(step, asked[1], *calls[asked])
        return self._join(Joined(slot, axis))

    def program_with(self, slot: int, joined: int, readers: Sequence[Step]) -> Program:
        """The program with the written steps, and steps that read `joined` in the stead of `slot`."""
        steps: list[Step] = []
        for step in self._program.steps:
            steps.append(step.renamed({slot: joined}) if step in readers else step)
            steps += self._steps if slot in step.outputs else ()
        return dataclasses.replace(self._program, steps=tuple(steps), specs=tuple(self._specs))

    def _calls_for(self, slot: int, axis: int) -> dict[tuple[int, int], Rewritten]:
        """The calls that make the tokens of a slot, by the slot and axis that they make, from the last back."""
        calls: dict[tuple[int, int], Rewritten] = {}
        stack = [(slot, axis)]
        while stack:
            asked = stack.pop()
            step = self._program.producer(asked[0])
            if asked in calls or asked[0] not in self._live:
                continue
            if step is None:
                raise NotFollowedError
            calls[asked] = rewritten(Asked(self._program, self._places, self._live, self._count, step, *asked))
            reads = keras.tree.flatten(calls[asked][1])
            stack += [(read.slot, read.axis) for read in reads if isinstance(read, (Tokens, Joined))]
        return calls

    def _write_step(self, step: Step, axis: int, operation: Any, arguments: Any) -> None:
        inputs: list[int] = []

        def fill(argument: Any) -> Any:
            if isinstance(argument, Tokens):
                argument = Slot(self._tokens_of(argument))
            elif isinstance(argument, Joined):
                argument = Slot(self._join(argument))
            inputs.extend([argument.index] if isinstance(argument, Slot) else [])
            return argument

        arguments = keras.tree.map_structure(fill, arguments)
        outputs = []
        for output in step.outputs:
            outputs.append(self._new_slot(output, axis, self._count))
            self._tokens[output, axis] = outputs[-1]
        self._steps.append(Step(operation, arguments, tuple(inputs), tuple(outputs), f"{step.path}/tokens"))

    def _tokens_of(self, read: Tokens) -> int:
        """The slot of tokens; of a constant that has a row for each token and cell, the first of them."""
        known = self._tokens.get((read.slot, read.axis))
        if known is None:
            known = read.slot
            if self._program.shape(read.slot)[read.axis] not in (1, self._count):
                known = self._sliced(read.slot, read.axis, slice(0, self._count), self._count)
            self._tokens[read.slot, read.axis] = known
        return known

    def _join(self, read: Joined) -> int:
        key = (read.slot, read.axis)
        if key not in self._joined:
            tokens, length = self._tokens_of(Tokens(*key)), self._places.by_slot[read.slot].shape[read.axis]
            cells = self._sliced(read.slot, read.axis, slice(self._count, None), length - self._count)
            self.feature_slots.append(cells)
            self._joined[key] = self._new_slot(read.slot, read.axis, length)
            operation, path = layers.Concatenate(axis=read.axis), self._path(read.slot)
            arguments: Any = (([Slot(tokens), Slot(cells)],), {})
            self._steps.append(Step(operation, arguments, (tokens, cells), (self._joined[key],), f"{path}/joined"))
        return self._joined[key]

    def _sliced(self, slot: int, axis: int, part: slice, length: int) -> int:
        new = self._new_slot(slot, axis, length)
        key = (*(slice(None),) * axis, part)
        operation = item_operation(f"{self._path(slot)}_{part.start}".replace("/", "_"))
        self._steps.append(Step(operation, ((Slot(slot), key), {}), (slot,), (new,), self._path(slot)))
        return new

    def _new_slot(self, like: int, axis: int, length: int) -> int:
        spec = self._specs[like]
        shape = [length if number == axis else old for number, old in enumerate(spec.shape)]
        self._specs.append(keras.KerasTensor(shape, dtype=spec.dtype))
        return len(self._specs) - 1

    def _path(self, slot: int) -> str:
        step = self._program.producer(slot)
        return self._program.specs[slot].name if step is None else step.path


def _made_of_inputs(program: Program) -> set[int]:
    """The slots that depend on what is in the images, and not only on how many there are."""
    live = set(program.inputs)
    for step in program.steps:
        if live.intersection(step.inputs) and not is_operation(step.operation, {"ForEachImage"}):
            live.update(step.outputs)
    return live
