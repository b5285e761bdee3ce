"""Cut what has no graph: a `call` full of raw TensorFlow operations is run, its layers listened to.

A layer whose `call` only runs on real tensors becomes two steps: one runs it and takes the output of the last inner
layer that has a place in the image, the other runs it again with that output put in its stead. In a compiled function
nothing is computed twice: what the replaced output would have been made from is cut off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from keras_cam.graph.operations import LAST_ACTIVATIONS, activation_of, is_activation
from keras_cam.graph.program import Program, Slot, Step

Tensor = Any
EXAMPLE_LENGTH = 64  # stands for an open axis when a layer is listened to


class Heard(NamedTuple):
    """A call of an inner layer: the layer, the how manieth call of it, and what came out."""

    layer: Any
    number: int
    output: Any


def split_by_recording(program: Program, step: Step) -> Program | None:
    """The program with one opaque step as steps up to its last feature map, from there on, and its last activation.

    Returns:
        The new program; None where no inner layer with a place in the image is heard.
    """
    specs = [program.specs[slot] for slot in step.inputs]
    examples = [example_of(spec) for spec in specs]
    args, kwargs = _filled(step, examples)
    heard: list[Heard] = []
    with _listening(step.operation, heard):
        output = step.operation(*args, **kwargs)
    placed = [call for call in heard if _has_place(call.output)]
    if not placed or len(step.outputs) != 1:
        return None
    chosen = placed[-1]
    last = [call for call in heard if call.output is output and activation_of(call.layer) in LAST_ACTIVATIONS]
    silenced = next((call for call in last if call.layer is not chosen.layer), None)

    map_slot, score_slot = len(program.specs), len(program.specs) + 1
    open_axes = any(length is None for spec in specs for length in spec.shape[1:])
    inner = [None] * (len(chosen.output.shape) - 2) if open_axes else chosen.output.shape[1:-1]
    map_spec = keras.KerasTensor((None, *inner, chosen.output.shape[-1]), dtype=_dtype(chosen.output))
    path = f"{step.path}/{chosen.layer.name}"
    arguments = step.arguments
    make = Step(RecordedFeatures(path, step.operation, chosen), arguments, step.inputs, (map_slot,), path)
    with_map = ((Slot(map_slot), *arguments[0]), arguments[1])
    head_slot = score_slot if silenced else step.outputs[0]
    head = RecordedHead(f"{step.path}/head", step.operation, chosen, silenced)
    read = Step(head, with_map, (map_slot, *step.inputs), (head_slot,), f"{step.path}/head")
    new = [make, read]
    if silenced is not None:
        name = activation_of(silenced.layer)
        apply = layers.Activation(name, name=f"{silenced.layer.name}_activation")
        new.append(Step(apply, ((Slot(score_slot),), {}), (score_slot,), step.outputs, f"{step.path}/{name}"))
    steps = (part for old in program.steps for part in (new if old is step else (old,)))
    all_specs = (*program.specs, map_spec, program.specs[step.outputs[0]])
    return dataclasses.replace(program, steps=tuple(steps), specs=all_specs)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedFeatures:
    """Runs an operation and gives the output of one call of an inner layer."""

    name: str
    operation: Any
    chosen: Heard

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the operation that is run."""
        return list(self.operation.variables)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the operation; returns the feature map."""
        heard: list[Heard] = []
        with _listening(self.operation, heard):
            self.operation(*args, **kwargs)
        calls = [call for call in heard if call.layer is self.chosen.layer and call.number == self.chosen.number]
        return calls[0].output


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedHead:
    """Runs an operation with the output of one call of an inner layer given, and the last activation left out."""

    name: str
    operation: Any
    chosen: Heard
    silenced: Heard | None

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the operation that is run."""
        return list(self.operation.variables)

    def __call__(self, features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the operation on this feature map; returns its output."""
        given = {(id(self.chosen.layer), self.chosen.number): features}
        with _listening(self.operation, [], given), _without_activation(self.silenced):
            return self.operation(*args, **kwargs)


@contextmanager
def _listening(
    operation: Any, heard: list[Heard], given: dict[tuple[int, int], Tensor] | None = None
) -> Iterator[None]:
    """Note every call of an inner layer while the block runs, and answer those in `given`; all is put back after."""
    counts: dict[int, int] = {}

    def listened(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def heard_call(*args: Any, **kwargs: Any) -> Any:
            number = counts[id(layer)] = counts.get(id(layer), 0) + 1
            answer = (given or {}).get((id(layer), number))
            output = call(*args, **kwargs) if answer is None else answer
            heard.append(Heard(layer, number, output))
            return output

        return heard_call

    inner = list({id(layer): layer for layer in operation._flatten_layers(include_self=False)}.values())
    before = [layer.__dict__.get("call") for layer in inner]
    for layer in inner:
        layer.__dict__["call"] = listened(layer, layer.call)
    try:
        yield
    finally:
        for layer, call in zip(inner, before, strict=True):
            if call is None:
                layer.__dict__.pop("call")
            else:
                layer.__dict__["call"] = call


@contextmanager
def _without_activation(silenced: Heard | None) -> Iterator[None]:
    """Leave the last activation out while the block runs."""
    if silenced is None:
        yield
        return
    layer = silenced.layer
    kept = {name: layer.__dict__[name] for name in ("activation", "call") if name in layer.__dict__}
    try:
        if is_activation(layer):
            layer.__dict__["call"] = lambda inputs, *args, **kwargs: inputs
        else:
            layer.__dict__["activation"] = keras.activations.linear
        yield
    finally:
        layer.__dict__.update(kept)


def _filled(step: Step, tensors: list[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    values = dict(zip(step.inputs, tensors, strict=True))

    def fill(argument: Any) -> Any:
        return values[argument.index] if isinstance(argument, Slot) else argument

    args, kwargs = keras.tree.map_structure(fill, step.arguments)
    if getattr(step.operation, "_call_has_training_arg", False):
        kwargs = {**kwargs, "training": False}
    return args, kwargs


def example_of(spec: Any) -> Tensor:
    """A real tensor of a symbolic tensor's shape, one image, open axes short."""
    shape = (1, *(EXAMPLE_LENGTH if length is None else length for length in spec.shape[1:]))
    return ops.ones(shape, dtype=spec.dtype)


def _has_place(output: Any) -> bool:
    shape = getattr(output, "shape", ())
    if len(shape) < 3:
        return False
    first = keras.config.image_data_format() == "channels_first"
    return any(length != 1 for length in (shape[2:] if first else shape[1:-1]))


def _dtype(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)
