"""A layer's own `call` on symbolic tensors, so that what it does becomes steps.

Its variables are symbolic there too, so that what it computes of them follows training. Where it asks for the number of
images, it is called with a number that can be told from all others, which is taken out again afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.keras_internals import (
    alias,
    in_inference_mode,
    layers_inside,
    nodes_in_order,
)
from keras_cam.graph.operations import is_operation
from keras_cam.graph.place import BATCH
from keras_cam.graph.program import Slot, Step

Tensor = Any


@dataclass(frozen=True, eq=False)
class ReadVariable:
    """Gives a variable as it is now, or a constant."""

    name: str
    variable: keras.Variable | Tensor
    dtype: str

    @property
    def variables(self) -> list[keras.Variable]:
        """The variable alone; none where it is a constant."""
        return [self.variable] if isinstance(self.variable, keras.Variable) else []

    def __call__(self) -> Tensor:
        """The variable's value."""
        return ops.cast(self.variable, self.dtype)


@dataclass(frozen=True, eq=False)
class ForEachImage:
    """Gives a constant of one row once for each of some images."""

    name: str

    def __call__(self, constant: Tensor, images: Tensor) -> Tensor:
        """The constant, repeated."""
        return ops.repeat(constant, ops.shape(images)[0], axis=0)


@dataclass(frozen=True, eq=False)
class Recording:
    """What a `call` did.

    Attributes:
        outputs: what it returned, symbolic.
        variables: the symbolic tensors that stood for variables of the layer, each with the variable.
    """

    outputs: Any
    variables: Sequence[tuple[Any, ReadVariable]]


def record(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
    """Call a layer's own `call` on symbolic tensors, in inference mode.

    Args:
        layer: the layer; nothing in it changes but the nodes of the layers inside (see `without_new_nodes`).
        args: its arguments, symbolic tensors among them.
        kwargs: its keyword arguments.

    Raises:
        UnsupportedModelError: a `call` that only runs on real tensors, or computes with weights of layers inside before
            the images come in.
    """
    stand_in, variables = _with_symbolic_variables(layer)
    args, kwargs = _cast(layer, args), _cast(layer, kwargs)
    known = {id(tensor) for tensor in keras.tree.flatten((args, kwargs))} | {id(tensor) for tensor, _ in variables}

    def call() -> tuple[Any, list[Tensor]]:
        outputs = stand_in.call(*args, **in_inference_mode(layer, kwargs))
        nodes = nodes_in_order(filter(_is_symbolic, keras.tree.flatten(outputs)), known)
        every = [each for node in nodes for each in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))]
        return outputs, [each for each in every if ops.is_tensor(each)]

    try:
        outputs, values = call()
        follow = not values or not layers_inside(layer) or _are_constants(layer, values, lambda: call()[1])
    except Exception as error:  # whatever the caller's code raises on a tensor without values
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise UnsupportedModelError(
            f"{layer.name!r} ({type(layer).__name__}) cannot be taken apart: its call() does not run on symbolic "
            f"tensors ({type(error).__name__}: {first_line}). "
            "Write it with Keras layers and keras.ops, or build the model functionally."
        ) from error
    if not follow:
        raise UnsupportedModelError(
            f"{layer.name!r} ({type(layer).__name__}) cannot be taken apart: its call() computes with its own weights "
            "before the images come in, which would not follow training. Put that into a layer of its own."
        )
    return Recording(outputs, variables)


def _are_constants(layer: Any, values: Sequence[Tensor], again: Callable[[], Sequence[Tensor]]) -> bool:
    """Whether tensors with values are the same whatever the weights of the layers inside are."""
    rng = np.random.default_rng(0)
    floats = [variable for variable in layer.variables if keras.backend.is_float_dtype(variable.dtype)]
    drawn = [ops.cast(rng.normal(size=variable.shape), variable.dtype) for variable in floats]
    with keras.StatelessScope(state_mapping=list(zip(floats, drawn, strict=True))):
        others = again()
    arrays = [[ops.convert_to_numpy(each) for each in several] for several in (values, others)]
    return len(values) == len(others) and all(map(np.array_equal, *arrays))


def _is_symbolic(tensor: Any) -> bool:
    return isinstance(tensor, keras.KerasTensor)


def _cast(layer: Any, structure: Any) -> Any:
    """Symbolic tensors in the dtype that the layer casts its inputs to."""

    def cast(tensor: Any) -> Any:
        is_float = _is_symbolic(tensor) and keras.backend.is_float_dtype(tensor.dtype)
        casts = is_float and getattr(layer, "autocast", False) and tensor.dtype != layer.input_dtype
        return ops.cast(tensor, layer.input_dtype) if casts else tensor

    return keras.tree.map_structure(cast, structure)


def _with_symbolic_variables(layer: Any) -> tuple[Any, list[tuple[Any, ReadVariable]]]:
    """An alias of a layer whose own variables are symbolic tensors, and these with what they stand for."""
    found: list[tuple[Any, ReadVariable]] = []

    def symbolic(value: Any) -> Any:
        if isinstance(value, keras.Variable):
            casts = keras.backend.is_float_dtype(value.dtype) and getattr(layer, "autocast", False)
            dtype = layer.compute_dtype if casts else value.dtype
            tensor = keras.KerasTensor(value.shape, dtype=dtype)
            found.append((tensor, ReadVariable(f"{layer.name}/{value.name}", value, dtype)))
            return tensor
        if ops.is_tensor(value) and not _is_symbolic(value):  # a constant, which layers inside may be called on
            dtype = keras.backend.standardize_dtype(value.dtype)
            tensor = keras.KerasTensor(tuple(value.shape), dtype=dtype)
            found.append((tensor, ReadVariable(f"{layer.name}/constant", value, dtype)))
            return tensor
        if isinstance(value, (list, tuple)) and any(isinstance(each, keras.Variable) for each in value):
            return [symbolic(each) for each in value]
        if isinstance(value, dict) and any(isinstance(each, keras.Variable) for each in value.values()):
            return {key: symbolic(each) for key, each in value.items()}
        return value

    own = {name: value for name, value in layer.__dict__.items() if name not in TRACKED}
    changes = {name: new for name, value in own.items() if (new := symbolic(value)) is not value}
    return alias(layer, layer.name, **changes), found


SPREADING = {"BroadcastTo", "Repeat", "Tile"}
TRACKED = {"_trainable_variables", "_non_trainable_variables", "_tracker", "_seed_generators", "_metrics"}


def needs_image_count(step: Step) -> bool:
    """Whether a step was recorded with an unknown number of images where it needs one."""
    names = ("newshape", "shape", "repeats") if is_operation(step.operation, {"Reshape", *SPREADING}) else ()
    values = [getattr(step.operation, name, 0) for name in names]
    return any(value is None or (isinstance(value, (tuple, list)) and None in value) for value in values)


def without_image_count(steps: Sequence[Step], specs: list[Any], images: int) -> list[Step] | None:
    """Steps that were recorded for `BATCH` images, for any number of them.

    Args:
        steps: the steps.
        specs: the symbolic tensors by slot; those of the steps lose the number.
        images: the slot whose rows are the images.

    Returns:
        The steps; None where the number has gone into something else than the length of an axis.
    """
    constants: set[int] = set()
    freed: list[Step] = []
    for step in steps:
        if not set(step.inputs) - constants:
            constants.update(step.outputs)
        new = _for_any_count(step, specs, images, constants)
        if new is None:
            return None
        freed.append(new)
    for slot in {slot for step in freed for slot in step.outputs}:
        shape = [None if length and length % BATCH == 0 else length for length in specs[slot].shape]
        specs[slot] = keras.KerasTensor(shape, dtype=specs[slot].dtype)
    return freed


def _for_any_count(step: Step, specs: list[Any], images: int, constants: set[int]) -> Step | None:
    operation = step.operation
    if is_operation(operation, {"Reshape"}) and any(length % BATCH == 0 for length in operation.newshape):
        total = math.prod(_counted(specs[step.inputs[0]]))
        others = math.prod(length for length in operation.newshape if length != -1)
        known = [total // others if length == -1 else length for length in operation.newshape]
        shape = tuple(-1 if length % BATCH == 0 else length for length in known)
        return (
            replace(step, operation=alias(operation, operation.name, newshape=shape)) if shape.count(-1) == 1 else None
        )
    if is_operation(operation, SPREADING):
        before, after = _counted(specs[step.inputs[0]]), _counted(specs[step.outputs[0]])
        grown = [axis for axis, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
        if any(length % BATCH == 0 for length in after) and step.inputs[0] in constants:
            if grown != [0] or before[0] != 1 or after[0] != BATCH:
                return None
            arguments: Any = ((Slot(step.inputs[0]), Slot(images)), {})
            return Step(ForEachImage(operation.name), arguments, (step.inputs[0], images), step.outputs, step.path)
    return step


def _counted(spec: Any) -> tuple[int, ...]:
    """The shape of a tensor of `BATCH` images."""
    return tuple(BATCH if length is None else length for length in spec.shape)
