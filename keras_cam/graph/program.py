"""A Keras model as a flat program of steps, nested models opened, that can be run in part and changed in places.

A Keras model is a graph of nodes (one per call of a layer) between symbolic tensors. A `Program` is the same as a list
of steps over numbered slots, in an order that can be run, with every nested functional or Sequential model opened at
each of its call sites. `run` replays any part of it, on real tensors or on symbolic ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from keras_cam.graph.keras_internals import in_inference_mode

Tensor = Any


@dataclass(frozen=True, eq=False)
class Step:
    """One call of one operation: which slots go in, which come out, and the path of the operation's name."""

    operation: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]  # as in the model, with `Slot` in place of tensors
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    path: str

    def renamed(self, slots: Mapping[int, int]) -> Step:
        """The same step with some slots under other numbers."""

        def rename(argument: Any) -> Any:
            return Slot(slots.get(argument.index, argument.index)) if isinstance(argument, Slot) else argument

        arguments = keras.tree.map_structure(rename, self.arguments)
        inputs, outputs = (tuple(slots.get(slot, slot) for slot in ends) for ends in (self.inputs, self.outputs))
        return Step(self.operation, arguments, inputs, outputs, self.path)


@dataclass(frozen=True)
class Slot:
    """Stands for a tensor inside the arguments of a step."""

    index: int


@dataclass(frozen=True, eq=False)
class Program:
    """A model as a list of steps over slots; `specs[slot]` is the symbolic tensor with its shape and dtype."""

    name: str
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    specs: tuple[Any, ...]
    input_structure: Any
    output_structure: Any  # as the model gives it, with `Slot` in place of tensors
    output_names: tuple[str, ...]

    def shape(self, slot: int) -> tuple[int | None, ...]:
        """Static shape of a slot, None where open; so is the batch axis, also where a first call has fixed it."""
        return (None, *self.specs[slot].shape[1:])

    @cached_property
    def _producers(self) -> dict[int, Step]:
        return {slot: step for step in self.steps for slot in step.outputs}

    def producer(self, slot: int) -> Step | None:
        """The step that makes a slot; None for an input of the model."""
        return self._producers.get(slot)

    def with_step_replaced(self, step: Step, replacement: Iterable[Step], more_specs: Iterable[Any] = ()) -> Program:
        """The program with other steps in place of one; `more_specs` are those of the slots that they add."""
        new_steps = tuple(replacement)
        steps = (part for old in self.steps for part in (new_steps if old is step else (old,)))
        return dataclasses.replace(self, steps=tuple(steps), specs=(*self.specs, *more_specs))

    def steps_between(self, sources: Iterable[int], target: int) -> tuple[Step, ...]:
        """The steps on the way from any of the slots `sources` to the slot `target`, in order."""
        reached = set(sources)
        downstream = []
        for step in self.steps:
            if reached.intersection(step.inputs) and not reached.issuperset(step.outputs):
                downstream.append(step)
                reached.update(step.outputs)
        return ancestors_of([target], downstream)


def ancestors_of(targets: Iterable[int], steps: Iterable[Step]) -> tuple[Step, ...]:
    """Those of `steps` that the slots `targets` need, in order."""
    wanted, kept = set(targets), []
    for step in reversed(tuple(steps)):
        if wanted.intersection(step.outputs):
            kept.append(step)
            wanted.update(step.inputs)
    return tuple(reversed(kept))


def call_step(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the step's operation as `model.predict` does: in inference mode."""
    return step.operation(*args, **in_inference_mode(step.operation, kwargs))


def run(
    steps: Iterable[Step],
    values: Mapping[int, Tensor],
    call: Callable[[Step, tuple[Any, ...], dict[str, Any]], Any] = call_step,
) -> dict[int, Tensor]:
    """Run steps on the given slot values.

    Args:
        steps: steps in order, of a `Program`.
        values: value per slot that the steps read and do not make.
        call: what to do at a step, given its operation's arguments; by default the operation itself.

    Returns:
        A new dict with the given and all computed values.
    """
    values = dict(values)

    def fill(argument: Any) -> Any:
        return values[argument.index] if isinstance(argument, Slot) else argument

    for step in steps:
        args, kwargs = keras.tree.map_structure(fill, step.arguments)
        results = keras.tree.flatten(call(step, args, kwargs))
        values.update(zip(step.outputs, results, strict=True))
    return values


class InferenceLayer(keras.layers.Layer):
    """Runs a function as if inside `model.predict`, so that layers in layers also see `training=False`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(autocast=False, dtype="float32")
        self._function = function
        self.built = True

    def call(self, *arguments: Tensor, training: bool = False) -> Any:
        """Call the function; `training` is only there to be seen by the layers inside."""
        del training
        return self._function(*arguments)
