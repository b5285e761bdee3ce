"""Walk a Keras model: a flat program of its steps, nested models opened, and the cut at the feature maps.

A Keras model is a graph of nodes (one per call of a layer) between symbolic tensors. `flatten` writes it down as a
`Program`: a list of steps over numbered slots, in an order that can be run, with every nested functional or
Sequential model opened at each of its call sites. Nothing is called or built for that, and nothing in the model
changes. `run` replays any part of a program, on real tensors or on symbolic ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_cam.errors import UnsupportedModelError

Tensor = Any
GLOBAL_POOLING = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
)


@dataclass(frozen=True, eq=False)
class Step:
    """One call of one operation: which slots go in, which come out, and the path of the operation's name."""

    operation: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]  # as in the model, with `Slot` in place of tensors
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    path: str


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

    def shape(self, slot: int) -> tuple[int | None, ...]:
        """Static shape of a slot, batch axis first, None where open."""
        return tuple(self.specs[slot].shape)

    def producer(self, slot: int) -> Step | None:
        """The step that makes a slot; None for an input of the model."""
        return next((step for step in self.steps if slot in step.outputs), None)

    def steps_between(self, sources: Iterable[int], target: int) -> tuple[Step, ...]:
        """The steps on the way from any of the slots `sources` to the slot `target`, in order."""
        reached = set(sources)
        downstream = []
        for step in self.steps:
            if reached.intersection(step.inputs) and not reached.issuperset(step.outputs):
                downstream.append(step)
                reached.update(step.outputs)
        return needed_for([target], downstream)


def needed_for(targets: Iterable[int], steps: Iterable[Step]) -> tuple[Step, ...]:
    """Those of `steps` that the slots `targets` need, in order."""
    wanted, kept = set(targets), []
    for step in reversed(tuple(steps)):
        if wanted.intersection(step.outputs):
            kept.append(step)
            wanted.update(step.inputs)
    return tuple(reversed(kept))


def call_step(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the step's operation as `model.predict` does: in inference mode."""
    if getattr(step.operation, "_call_has_training_arg", False):
        kwargs = {**kwargs, "training": False}
    return step.operation(*args, **kwargs)


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


def twin(operation: Any, name: str, **changes: Any) -> Any:
    """A second operation object over the same variables and state, with another name and other attributes.

    It follows training, since it holds the same variables; nothing in `operation` changes.
    """
    # `copy.copy` would go through Keras' serialisation and copy the variables, and attributes set in the usual way
    # would be tracked as the layer's own.
    other = object.__new__(type(operation))
    other.__dict__.update(operation.__dict__, name=name, _inbound_nodes=[], _outbound_nodes=[], **changes)
    return other


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


def flatten(model: keras.Model) -> Program:
    """Write a model down as a `Program`.

    Args:
        model: a built functional, Sequential or nested Keras model.

    Returns:
        The program; paths of nested layers read "resnet50/conv5_block3_out".

    Raises:
        UnsupportedModelError: not a Keras model, not built yet, or a subclassed model without a graph.
    """
    _check_model(model)
    specs: list[Any] = []
    steps: list[Step] = []

    def new_slot(tensor: Any) -> int:
        specs.append(tensor)
        return len(specs) - 1

    def visit(graph: Any, slots: dict[int, int], prefix: str) -> None:
        for node in _nodes_in_order(graph.outputs, slots):
            operation, path = node.operation, prefix + node.operation.name
            if _opens(operation) and len(operation.inputs) == len(node.input_tensors):
                arguments = (slots[id(tensor)] for tensor in node.input_tensors)
                inner = dict(zip(map(id, operation.inputs), arguments, strict=True))
                visit(operation, inner, path + "/")
                for outer_tensor, inner_tensor in zip(node.outputs, operation.outputs, strict=True):
                    slots[id(outer_tensor)] = inner[id(inner_tensor)]
                continue
            for tensor in node.outputs:
                slots[id(tensor)] = new_slot(tensor)
            args, kwargs = node.arguments.convert(
                lambda argument: Slot(slots[id(argument)]) if isinstance(argument, keras.KerasTensor) else argument
            )
            inputs = tuple(slots[id(tensor)] for tensor in node.input_tensors)
            outputs = tuple(slots[id(tensor)] for tensor in node.outputs)
            steps.append(Step(operation, (args, kwargs), inputs, outputs, path))

    slots = {id(tensor): new_slot(tensor) for tensor in model.inputs}
    inputs = tuple(range(len(specs)))
    visit(model, slots, "")
    outputs = tuple(slots[id(tensor)] for tensor in model.outputs)
    return Program(model.name, tuple(steps), inputs, outputs, tuple(specs), _input_structure(model))


def find_features(program: Program, target: int) -> tuple[int, ...]:
    """The slots of the feature maps behind `target`: the last tensors on the way to it that have a place.

    Walking back from `target`, a tensor has a place if one of its spatial axes is longer than one (or open), or if a
    global pooling layer reads it (a 1x1 map, say). Inputs without a place (a table beside the image) are passed over.

    Args:
        program: the flat model.
        target: the slot to walk back from, usually the logits.

    Returns:
        Slots, one per feature map: two where two pooled scales meet.
    """
    found: list[int] = []
    seen: set[int] = set()
    stack = [target]
    while stack:
        slot = stack.pop()
        if slot in seen:
            continue
        seen.add(slot)
        step = program.producer(slot)
        if _has_place(program, slot):
            found.append(slot)
        elif step is not None and isinstance(step.operation, GLOBAL_POOLING):
            found.extend(index for index in step.inputs if index not in found)
        elif step is not None:
            stack.extend(step.inputs)
    return tuple(sorted(found))


def _has_place(program: Program, slot: int) -> bool:
    shape = program.shape(slot)
    if len(shape) < 3:
        return False
    spatial = shape[2:] if keras.config.image_data_format() == "channels_first" else shape[1:-1]
    return any(length != 1 for length in spatial)


def _nodes_in_order(outputs: Iterable[Any], known: Mapping[int, Any]) -> list[Any]:
    """The nodes that make `outputs` from the tensors in `known` (by id), each after those it reads."""
    order: list[Any] = []
    seen: set[int] = set()
    stack = [(tensor, False) for tensor in outputs]
    while stack:
        tensor, expanded = stack.pop()
        if id(tensor) in known:
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if expanded:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((tensor, True))
            stack.extend((source, False) for source in node.input_tensors)
    return order


def _opens(operation: Any) -> bool:
    """Whether an operation is a nested model that does nothing but run its own graph."""
    if not isinstance(operation, keras.Model) or not getattr(operation, "outputs", None):
        return False
    runs_graph = [kind.call for kind in type(operation).__mro__ if kind.__name__ in ("Functional", "Sequential")]
    return bool(runs_graph) and type(operation).call in runs_graph


def _input_structure(model: Any) -> Any:
    """The inputs as the model wants them: one symbolic tensor, or a list or dict of them."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model._inputs_struct


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise UnsupportedModelError(
            f"Expected a Keras model. Received: {type(model).__name__}. "
            "Pass a keras.Model; load a saved one with keras.models.load_model(path)."
        )
    if not model.built or (isinstance(model, keras.Sequential) and not getattr(model, "outputs", None)):
        raise UnsupportedModelError(
            f"Model {model.name!r} is not built, so its layers are not connected yet. "
            "Give it a keras.Input first, or call it once on a batch of images."
        )
    if not _opens(model):
        raise UnsupportedModelError(
            f"Model {model.name!r} is a subclassed model ({type(model).__name__}) without a graph of layers. "
            "Build it as a functional model: x = keras.Input(shape); keras.Model(x, model.call(x))."
        )
