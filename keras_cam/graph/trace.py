"""Write a Keras model down as a `Program`: nested models opened, subclassed models and custom layers recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_cam.errors import CAMError, InvalidOptionError, UnsupportedModelError
from keras_cam.graph.hooks import example_of, split_by_recording
from keras_cam.graph.keras_internals import (
    holds_layers,
    in_inference_mode,
    nodes_in_order,
    operation_of,
    runs_its_graph,
    structures_of,
    without_keras_words,
)
from keras_cam.graph.program import Program, Slot, Step


def trace(model: keras.Model) -> Program:
    """Write a model down as a `Program`.

    Args:
        model: a built Keras model. A subclassed model is written down by calling its `call` on symbolic inputs.

    Returns:
        The program; paths of nested layers read "resnet50/conv5_block3_out".

    Raises:
        UnsupportedModelError: not a Keras model, not built yet, or a `call` that only runs on real tensors.
    """
    _check_model(model)
    writer = _Writer()
    if runs_its_graph(model):
        inputs, outputs = list(model.inputs), list(model.outputs)
        structure, output_structure = structures_of(model)
    else:
        structure = _inputs_of_subclassed(model)
        inputs = keras.tree.flatten(structure)
        try:
            output_structure = record(model, (structure,), {})
        except UnsupportedModelError as unsupported:
            return _recorded_model(model, structure, unsupported)
        outputs = keras.tree.flatten(output_structure)
    slots = {id(tensor): writer.new_slot(tensor) for tensor in inputs}
    input_slots = tuple(range(len(inputs)))
    writer.visit(outputs, slots, "")
    output_slots = tuple(slots[id(tensor)] for tensor in outputs)
    names = tuple(_output_names(model, output_structure))
    given = keras.tree.pack_sequence_as(output_structure, [Slot(slot) for slot in output_slots])
    steps, specs = tuple(writer.steps), tuple(writer.specs)
    return Program(model.name, steps, input_slots, output_slots, specs, structure, given, names)


def open_layer(program: Program, step: Step) -> Program | None:
    """The program with one opaque layer (a custom layer made of layers) replaced by what its `call` does.

    Returns:
        The new program, or None where the layer's `call` only runs on real tensors and no layer in it has a place (a
        layer without layers, such as Lambda, is not run to find out).
    """
    specs = {slot: program.specs[slot] for slot in step.inputs}
    fresh = {slot: keras.Input(batch_shape=spec.shape, dtype=spec.dtype) for slot, spec in specs.items()}
    args, kwargs = keras.tree.map_structure(
        lambda argument: fresh[argument.index] if isinstance(argument, Slot) else argument, step.arguments
    )
    try:
        outputs = keras.tree.flatten(record(step.operation, args, kwargs))
    except UnsupportedModelError:
        return split_by_recording(program, step) if holds_layers(step.operation) else None
    writer = _Writer(list(program.specs))
    slots = {id(tensor): slot for slot, tensor in fresh.items()}
    writer.visit(outputs, slots, step.path + "/")
    renamed = {slots[id(tensor)]: slot for tensor, slot in zip(outputs, step.outputs, strict=True)}
    inner = [new.renamed(renamed) for new in writer.steps]
    return program.with_step_replaced(step, inner, writer.specs[len(program.specs) :])


def append(program: Program, name: str, function: Any, arguments: Any) -> tuple[Program, int]:
    """The program with a function of some of its slots at its end.

    Args:
        program: the program.
        name: what the function's steps are called.
        function: takes tensors in a structure, returns one tensor (N,) or (N, C). One that only runs on real tensors is
            one opaque step.
        arguments: the structure, with `Slot` in place of tensors.

    Returns:
        `(program, slot)`: the slot of what the function returns, as (N, C).

    Raises:
        InvalidOptionError: the function returns something else.
    """
    slots = [slot.index for slot in keras.tree.flatten(arguments)]
    fresh = {slot: keras.Input(batch_shape=program.shape(slot), dtype=program.specs[slot].dtype) for slot in slots}

    def on_given(tensors: Mapping[int, Any]) -> Any:
        result = function(keras.tree.map_structure(lambda slot: tensors[slot.index], arguments))
        shape, rows = tuple(getattr(result, "shape", ())), next(iter(tensors.values())).shape[0]
        if len(shape) not in (1, 2) or shape[0] not in (None, rows):
            raise InvalidOptionError(
                f"Target {name!r} must return one number per image (N,), or one per image and class (N, C). Received: "
                f"{shape or type(result).__name__}."
            )
        return keras.ops.expand_dims(result, -1) if len(shape) == 1 else result

    try:
        result = on_given(fresh)
    except CAMError:
        raise
    except Exception:  # raw operations of a backend, which take no symbolic tensors
        result = None
    if not isinstance(result, keras.KerasTensor):
        return _append_opaque(program, name, on_given, slots)
    writer = _Writer(list(program.specs))
    known = {id(tensor): slot for slot, tensor in fresh.items()}
    writer.visit([result], known, f"{name}/")
    appended = dataclasses.replace(program, steps=(*program.steps, *writer.steps), specs=tuple(writer.specs))
    return appended, known[id(result)]


def _append_opaque(program: Program, name: str, function: Any, slots: list[int]) -> tuple[Program, int]:
    applied = Applied(name, function, tuple(slots))
    result = applied(*(example_of(program.specs[slot]) for slot in slots))
    spec = keras.KerasTensor((None, *result.shape[1:]), dtype=keras.backend.standardize_dtype(result.dtype))
    new = len(program.specs)
    arguments: Any = (tuple(map(Slot, slots)), {})
    step = Step(applied, arguments, tuple(slots), (new,), name)
    return dataclasses.replace(program, steps=(*program.steps, step), specs=(*program.specs, spec)), new


@dataclasses.dataclass(frozen=True, eq=False)
class Applied:
    """A function of slots as an operation."""

    name: str
    function: Any
    slots: tuple[int, ...]

    def __call__(self, *tensors: Any) -> Any:
        """Call the function on the tensors of its slots."""
        try:
            return self.function(dict(zip(self.slots, tensors, strict=True)))
        except CAMError:
            raise
        except Exception as error:  # whatever the caller's code raises
            failed = InvalidOptionError(
                f"Target {self.name!r} failed on outputs {', '.join(str(tuple(one.shape)) for one in tensors)} of the "
                f"model: {type(error).__name__}: {error}"
            )
            raise without_keras_words(failed) from error


def record(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a layer's own `call` on symbolic tensors, in inference mode, so that the layers in it become steps."""
    try:
        outputs = layer.call(*args, **in_inference_mode(layer, kwargs))
    except Exception as error:  # whatever the caller's code raises on a tensor without values
        raise UnsupportedModelError(
            f"{layer.name!r} ({type(layer).__name__}) cannot be taken apart: its call() does not run on symbolic "
            f"tensors ({type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}). "
            "Write it with Keras layers and keras.ops, or build the model functionally."
        ) from error
    if _holds_values(outputs, (args, kwargs)):
        raise UnsupportedModelError(
            f"{layer.name!r} ({type(layer).__name__}) cannot be taken apart: its call() computes with its own weights "
            "before the images come in, which would not follow training. Put that into a layer of its own."
        )
    return outputs


def _holds_values(outputs: Any, arguments: Any) -> bool:
    """Whether recorded nodes hold tensors of values: what `call` made of its weights, say, as they were that moment."""
    known = map(id, keras.tree.flatten(arguments))
    tensors = (tensor for tensor in keras.tree.flatten(outputs) if isinstance(tensor, keras.KerasTensor))
    nodes = nodes_in_order(tensors, known)
    return any(
        keras.ops.is_tensor(argument)
        for node in nodes
        for argument in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    )


class _Writer:
    """Collects steps and slots while a graph is walked."""

    def __init__(self, specs: list[Any] | None = None) -> None:
        self.specs = [] if specs is None else specs
        self.steps: list[Step] = []

    def new_slot(self, tensor: Any) -> int:
        self.specs.append(tensor)
        return len(self.specs) - 1

    def visit(self, outputs: Iterable[Any], slots: dict[int, int], prefix: str) -> None:
        """Write the steps that make `outputs`, given the slots of known tensors by id; nested models are opened."""
        for node in nodes_in_order(outputs, slots):
            operation, path = node.operation, prefix + node.operation.name
            if runs_its_graph(operation) and len(operation.inputs) == len(node.input_tensors):
                arguments = (slots[id(tensor)] for tensor in node.input_tensors)
                inner = dict(zip(map(id, operation.inputs), arguments, strict=True))
                self.visit(operation.outputs, inner, path + "/")
                for outer_tensor, inner_tensor in zip(node.outputs, operation.outputs, strict=True):
                    slots[id(outer_tensor)] = inner[id(inner_tensor)]
                continue
            slots.update((id(tensor), self.new_slot(tensor)) for tensor in node.outputs)

            def slot_of(argument: Any) -> Any:
                return Slot(slots[id(argument)]) if isinstance(argument, keras.KerasTensor) else argument

            inputs = tuple(slots[id(tensor)] for tensor in node.input_tensors)
            outputs_of_step = tuple(slots[id(tensor)] for tensor in node.outputs)
            self.steps.append(Step(operation, node.arguments.convert(slot_of), inputs, outputs_of_step, path))


def _recorded_model(model: Any, structure: Any, unsupported: UnsupportedModelError) -> Program:
    """The program of a model whose `call` only runs on real tensors: by listening to its layers."""
    inputs = keras.tree.flatten(structure)
    output = model(keras.tree.map_structure(example_of, structure), training=False)
    if keras.tree.is_nested(output):
        raise unsupported
    spec = keras.KerasTensor((None, *output.shape[1:]), dtype=keras.backend.standardize_dtype(output.dtype))
    slots = tuple(range(len(inputs)))
    numbers = {id(tensor): slot for slot, tensor in enumerate(inputs)}
    arguments: Any = ((keras.tree.map_structure(lambda tensor: Slot(numbers[id(tensor)]), structure),), {})
    step = Step(model, arguments, slots, (len(inputs),), model.name)
    last = len(inputs)
    program = Program(model.name, (step,), slots, (last,), (*inputs, spec), structure, Slot(last), (model.name,))
    split = split_by_recording(program, step)
    if split is None:
        raise unsupported
    return split


def _inputs_of_subclassed(model: Any) -> Any:
    """Symbolic inputs of the shapes that a subclassed model was built with, in the structure it takes."""
    config = model.get_build_config() or {}
    shapes = config.get("input_shape")
    if shapes is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} ({type(model).__name__}) does not say what shapes it was built with. Call it once "
            "on a batch of images before explaining it."
        )
    return keras.tree.map_shape_structure(lambda shape: keras.Input(batch_shape=(None, *shape[1:])), shapes)


def _output_names(model: Any, structure: Any) -> Iterable[str]:
    if isinstance(structure, dict):
        return (str(name) for name in sorted(structure))
    outputs = keras.tree.flatten(structure)
    return (operation_of(tensor).name for tensor in outputs)


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
