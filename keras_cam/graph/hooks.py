"""Forward hooks, for what has no graph: a `call` full of raw TensorFlow operations is run, its layers listened to.

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

from keras_cam.graph.keras_internals import in_inference_mode, layers_inside
from keras_cam.graph.operations import LAST_ACTIVATIONS, activation_of, is_activation
from keras_cam.graph.program import Program, Slot, Step

Tensor = Any
EXAMPLE_LENGTH = 64  # stands for an open axis when a layer is listened to


class LayerCall(NamedTuple):
    """A call of an inner layer: the layer, its number among the calls of that layer, and what came out."""

    layer: Any
    number: int
    output: Any


def split_by_recording(program: Program, step: Step) -> Program | None:
    """The program with one opaque step as steps up to its last feature map, from there on, and its last activation.

    Returns:
        The new program; None where no inner layer gives something with a place in the image.
    """
    # Run the layer once, on examples, and note what its inner layers give.
    specs = [program.specs[slot] for slot in step.inputs]
    args, kwargs = _filled(step, [example_of(spec) for spec in specs])
    calls: list[LayerCall] = []
    with _forward_hooks(step.operation, calls):
        output = step.operation(*args, **kwargs)
    spatial = [call for call in calls if _has_place(call.output)]
    if not spatial or len(step.outputs) != 1:
        return None
    features, activation = spatial[-1], _last_activation(calls, output, spatial[-1])
    # Two slots are added: the feature map, and the scores before the last activation.
    map_slot, score_slot = len(program.specs), len(program.specs) + 1
    map_spec = _map_spec(features.output, any(length is None for spec in specs for length in spec.shape[1:]))
    steps = _steps_in_its_stead(step, features, activation, map_slot, score_slot)
    return program.with_step_replaced(step, steps, [map_spec, program.specs[step.outputs[0]]])


def _last_activation(calls: list[LayerCall], output: Tensor, features: LayerCall) -> LayerCall | None:
    """The call of a layer whose output is the layer's own, and that ends with an activation; None if there is none."""
    last = (call for call in calls if call.output is output and activation_of(call.layer) in LAST_ACTIVATIONS)
    return next((call for call in last if call.layer is not features.layer), None)


def _map_spec(features: Tensor, has_open_axes: bool) -> keras.KerasTensor:
    """The symbolic tensor of a feature map; its spatial axes are open where the layer's input has open ones."""
    spatial = [None] * (len(features.shape) - 2) if has_open_axes else features.shape[1:-1]
    return keras.KerasTensor((None, *spatial, features.shape[-1]), dtype=_dtype(features))


def _steps_in_its_stead(
    step: Step, features: LayerCall, activation: LayerCall | None, map_slot: int, score_slot: int
) -> list[Step]:
    """Steps that make the feature map, read the scores off it, and apply the last activation."""
    positional, keywords = step.arguments
    path = f"{step.path}/{features.layer.name}"
    make_map = Step(RecordedFeatures(path, step.operation, features), step.arguments, step.inputs, (map_slot,), path)
    head_path = f"{step.path}/head"
    read_scores = Step(
        operation=RecordedHead(head_path, step.operation, features, activation),
        arguments=((Slot(map_slot), *positional), keywords),
        inputs=(map_slot, *step.inputs),
        outputs=step.outputs if activation is None else (score_slot,),
        path=head_path,
    )
    if activation is None:
        return [make_map, read_scores]
    name = activation_of(activation.layer)
    layer = layers.Activation(name, name=f"{activation.layer.name}_activation")
    apply = Step(layer, ((Slot(score_slot),), {}), (score_slot,), step.outputs, f"{step.path}/{name}")
    return [make_map, read_scores, apply]


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedFeatures:
    """Runs an operation and gives the output of one call of an inner layer."""

    name: str
    operation: Any
    chosen: LayerCall

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the operation that is run."""
        return list(self.operation.variables)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the operation; returns the feature map."""
        calls: list[LayerCall] = []
        with _forward_hooks(self.operation, calls):
            self.operation(*args, **kwargs)
        wanted = (self.chosen.layer, self.chosen.number)
        return next(call.output for call in calls if (call.layer, call.number) == wanted)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedHead:
    """Runs an operation with the output of one call of an inner layer given, and the last activation left out."""

    name: str
    operation: Any
    chosen: LayerCall
    activation: LayerCall | None

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the operation that is run."""
        return list(self.operation.variables)

    def __call__(self, features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the operation on this feature map; returns its output."""
        given = {(id(self.chosen.layer), self.chosen.number): features}
        with _forward_hooks(self.operation, [], given), _without(self.activation):
            return self.operation(*args, **kwargs)


@contextmanager
def _forward_hooks(
    operation: Any, calls: list[LayerCall], given: dict[tuple[int, int], Tensor] | None = None
) -> Iterator[None]:
    """Note every call of an inner layer while the block runs, and answer those in `given`; all is put back after."""
    counts: dict[int, int] = {}

    def hooked(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def hooked_call(*args: Any, **kwargs: Any) -> Any:
            number = counts[id(layer)] = counts.get(id(layer), 0) + 1
            answer = (given or {}).get((id(layer), number))
            output = call(*args, **kwargs) if answer is None else answer
            calls.append(LayerCall(layer, number, output))
            return output

        return hooked_call

    inner = layers_inside(operation)
    before = [layer.__dict__.get("call") for layer in inner]
    for layer in inner:
        layer.__dict__["call"] = hooked(layer, layer.call)
    try:
        yield
    finally:
        for layer, call in zip(inner, before, strict=True):
            if call is None:
                layer.__dict__.pop("call")
            else:
                layer.__dict__["call"] = call


@contextmanager
def _without(activation: LayerCall | None) -> Iterator[None]:
    """Leave the last activation out while the block runs."""
    if activation is None:
        yield
        return
    layer = activation.layer
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
    return args, in_inference_mode(step.operation, kwargs)


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
