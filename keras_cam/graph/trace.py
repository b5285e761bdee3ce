"""Write a Keras model down as a `Program`: nested models opened, subclassed models and custom layers recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_cam.errors import CAMError, InvalidOptionError, UnsupportedModelError
from keras_cam.graph.hooks import example_of, split_by_recording
from keras_cam.graph.keras_internals import (
    inner_layer,
    nodes_in_order,
    operation_of,
    reshape_operation,
    runs_its_graph,
    structures_of,
    with_known_lengths,
    without_keras_words,
)
from keras_cam.graph.operations import is_layer
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.symbolic import Recording, record


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
    writer, recording = StepWriter(), None
    if runs_its_graph(model):
        inputs, outputs = list(model.inputs), list(model.outputs)
        structure, output_structure = structures_of(model)
    else:
        structure = _inputs_of_subclassed(model)
        inputs = keras.tree.flatten(structure)
        try:
            recording = record(model, (structure,), {})
        except UnsupportedModelError as unsupported:
            return _recorded_model(model, structure, unsupported)
        output_structure = recording.outputs
        outputs = keras.tree.flatten(output_structure)
    slots = {id(tensor): writer.new_slot(tensor) for tensor in inputs}
    input_slots = tuple(range(len(inputs)))
    if recording is not None:
        writer.read_variables(recording, slots, "")
    writer.visit(outputs, slots, "")
    output_slots = tuple(slots[id(tensor)] for tensor in outputs)
    names = tuple(_output_names(model, output_structure))
    given = keras.tree.pack_sequence_as(output_structure, [Slot(slot) for slot in output_slots])
    steps, specs = tuple(writer.steps), tuple(writer.specs)
    return Program(model.name, steps, input_slots, output_slots, specs, structure, given, names)


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
    writer = StepWriter(list(program.specs))
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


class StepWriter:
    """Collects steps and slots while a graph is walked."""

    def __init__(self, specs: list[Any] | None = None) -> None:
        self.specs = [] if specs is None else specs
        self.steps: list[Step] = []

    def new_slot(self, tensor: Any) -> int:
        """Number one more tensor, symbolic as it is."""
        self.specs.append(tensor)
        return len(self.specs) - 1

    def read_variables(self, recording: Recording, slots: dict[int, int], prefix: str) -> None:
        """Write a step for each variable that symbolic tensors stand for; those that nothing reads cost nothing."""
        for tensor, read in recording.variables:
            slots[id(tensor)] = self.new_slot(tensor)
            self.steps.append(Step(read, ((), {}), (), (slots[id(tensor)],), prefix + read.name))

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
            if self._open_time_distributed(node, slots, path):
                continue
            slots.update((id(tensor), self.new_slot(with_known_lengths(node, tensor))) for tensor in node.outputs)

            def slot_of(argument: Any) -> Any:
                return Slot(slots[id(argument)]) if isinstance(argument, keras.KerasTensor) else argument

            inputs = tuple(slots[id(tensor)] for tensor in node.input_tensors)
            outputs_of_step = tuple(slots[id(tensor)] for tensor in node.outputs)
            self.steps.append(Step(operation, node.arguments.convert(slot_of), inputs, outputs_of_step, path))

    def _open_time_distributed(self, node: Any, slots: dict[int, int], path: str) -> bool:
        """Write a TimeDistributed layer as what it wraps, on the frames of all images as one batch, where that can be.

        Returns:
            Whether it was written.
        """
        if not is_layer(node.operation, {"TimeDistributed"}) or len(node.input_tensors) != 1:
            return False
        (source,), (output,) = node.input_tensors, node.outputs
        wrapped, frames = inner_layer(node.operation), source.shape[1]
        if frames is None or None in source.shape[2:] or None in output.shape[2:]:
            return False
        # All frames as one batch.
        joined = self.new_slot(keras.KerasTensor((None, *source.shape[2:]), dtype=source.dtype))
        self._reshape(slots[id(source)], joined, (-1, *source.shape[2:]), f"{path}/frames")
        # What is wrapped, opened where it is a model.
        if runs_its_graph(wrapped) and len(wrapped.inputs) == len(wrapped.outputs) == 1:
            inner = {id(wrapped.inputs[0]): joined}
            self.visit(wrapped.outputs, inner, f"{path}/{wrapped.name}/")
            result = inner[id(wrapped.outputs[0])]
        else:
            result = self.new_slot(keras.KerasTensor((None, *output.shape[2:]), dtype=output.dtype))
            self.steps.append(Step(wrapped, ((Slot(joined),), {}), (joined,), (result,), f"{path}/{wrapped.name}"))
        # The frames of each image again.
        slots[id(output)] = self.new_slot(output)
        self._reshape(result, slots[id(output)], (-1, frames, *output.shape[2:]), path)
        return True

    def _reshape(self, source: int, target: int, shape: tuple[int, ...], path: str) -> None:
        operation = reshape_operation(shape, path.replace("/", "_"))
        self.steps.append(Step(operation, ((Slot(source),), {}), (source,), (target,), path))


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
