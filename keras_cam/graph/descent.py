"""Descent: one pass over a program that says of every tensor where it lies in an image, and what is spatial by that."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras

from keras_cam.backend import call_eagerly
from keras_cam.graph.gates import gate_of, is_product
from keras_cam.graph.operations import Trait, has_trait, is_callers, is_operation
from keras_cam.graph.place import BATCH, Line, Place, line_axis, placeless
from keras_cam.graph.place_call import Call, Constant, UnknownPlaceError
from keras_cam.graph.place_probe import probe_place
from keras_cam.graph.place_rules import rule_of
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.receptive_field import Axis

OPEN_LENGTH = 256  # stands for an open axis of an image where only the structure is asked for


@dataclass(frozen=True, eq=False)
class Places:
    """Where the tensors of a program lie in one of its inputs.

    Attributes:
        image: the spatial lengths of the input.
        by_slot: the place of each tensor that has cells along some axis of the image.
        unknown: of tensors that are made from the image in a way that is not known: which step, and why.
        unplaced: those of them that have the shape of a map: of these a map can be made, and not be placed.
        channels_first: whether the image, and so what is unplaced, has its channels first.
    """

    image: tuple[int, ...]
    channels_first: bool = False
    by_slot: dict[int, Place] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)
    unplaced: set[int] = field(default_factory=set)

    def lines(self, slot: int) -> tuple[Line, ...] | None:
        """The lines of a tensor, in the order of the image's axes; None where it lacks one of them."""
        place = self.by_slot.get(slot)
        found = {} if place is None else place.lines()
        return tuple(found[axis] for axis in range(len(self.image))) if len(found) == len(self.image) else None

    def has_cells(self, slot: int) -> bool:
        """Whether a tensor has several cells along any axis of the image."""
        place = self.by_slot.get(slot)
        return place is not None and any(atom.line is not None and atom.length > 1 for atom in place.atoms)

    def is_spatial(self, slot: int) -> bool:
        """Whether a tensor has a place along every axis of the image, more than one cell, and channels apart."""
        if slot in self.unplaced:
            return True
        lines = self.lines(slot)
        if lines is None or all(line.cells.length == 1 for line in lines):
            return False
        axes = [axis for axis in self.by_slot[slot].axes if axis.lines]
        return all(atom.line is not None or atom.length in (1, BATCH) for axis in axes for atom in axis.atoms)


_PLACES: weakref.WeakKeyDictionary[Program, dict[Any, Places]] = weakref.WeakKeyDictionary()


def places_in(program: Program, source: int, image: Sequence[int] | None = None) -> Places:
    """Where the tensors of a program lie in one of its inputs.

    Args:
        program: the model.
        source: slot of the input.
        image: its spatial lengths; default: those of the model, `OPEN_LENGTH` where they are open.

    Returns:
        The places, kept while the program lives.
    """
    first = channels_first_of(program, source)
    spatial = program.shape(source)[2:] if first else program.shape(source)[1:-1]
    lengths = tuple(length or OPEN_LENGTH for length in spatial) if image is None else tuple(image)
    known = _PLACES.setdefault(program, {})
    key = (source, lengths)
    if key not in known:
        known[key] = call_eagerly(partial(_descend, program, source, lengths, first))
    return known[key]


def channels_first_of(program: Program, source: int) -> bool:
    """Whether an input has its channels before its spatial axes, as the first layer that says so reads it."""
    reached = {source}
    for step in program.steps:
        if reached.intersection(step.inputs):
            data_format = getattr(step.operation, "data_format", None)
            if data_format is not None:
                return bool(data_format == "channels_first")
            reached.update(step.outputs)
    return keras.config.image_data_format() == "channels_first" and len(program.shape(source)) > 3


def image_slots(program: Program) -> list[int]:
    """The slots of the images among a program's inputs."""
    found = (image_slot_of(program, slot) for slot in program.inputs)
    return [slot for slot in found if slot is not None]


def image_slot_of(program: Program, source: int) -> int | None:
    """The slot of the image that comes in by an input; of a row of numbers, what it is reshaped to first thing."""
    if len(program.shape(source)) > 2:
        return source
    readers = [step for step in program.steps if source in step.inputs and type(step.operation).__name__ == "Reshape"]
    return next((slot for step in readers for slot in step.outputs if len(program.shape(slot)) > 2), None)


def spatial_slots(program: Program) -> frozenset[int]:
    """The slots that are spatial in any input of the program."""
    sources = image_slots(program)
    every = range(len(program.specs))
    return frozenset(slot for source in sources for slot in every if places_in(program, source).is_spatial(slot))


def find_feature_slots(program: Program, target: int) -> list[int]:
    """The slots of the feature maps behind `target`: the last spatial tensors on every way to it.

    Inputs without a place (a table beside the image) are passed over. A map of one cell counts where a global pooling
    reads it. A map that was only reshaped to a row of tokens is taken before that.

    Returns:
        Slots in order, one per feature map: two where two pooled scales meet.
    """
    spatial = spatial_slots(program)
    found, seen, stack = set[int](), set[int](), [target]
    while stack:
        slot = stack.pop()
        if slot in seen:
            continue
        seen.add(slot)
        step = program.producer(slot)
        if slot in spatial:
            found.add(_before_pooling(program, slot, spatial))
        elif step is not None and has_trait(step.operation, Trait.GLOBAL_AVERAGE, Trait.GLOBAL_MAXIMUM):
            found.update(step.inputs if _has_one_cell(program, step.inputs[0]) else ())
            stack.extend(() if _has_one_cell(program, step.inputs[0]) else step.inputs)
        elif step is not None:
            stack.extend(_read_through(program, step))
    return sorted(found)


def _read_through(program: Program, step: Step) -> list[int]:
    """The inputs of a step that its output is made of; of a product, not what only gates it."""
    if is_operation(step.operation, {"ForEachImage"}):
        return []
    if is_operation(step.operation, {"DotProductAttention"}):
        return [step.inputs[-1]]  # the values; queries and keys say only where they are read
    if not is_product(step):
        return list(step.inputs)
    placed = {slot for source in image_slots(program) for slot in places_in(program, source).by_slot}
    live = step.inputs[1 - gate_of(step, program, placed)]
    return [live] if live in placed else list(step.inputs)


def _has_one_cell(program: Program, slot: int) -> bool:
    return any(places_in(program, source).lines(slot) is not None for source in image_slots(program))


def _before_pooling(program: Program, slot: int, spatial: frozenset[int]) -> int:
    """The map before what belongs to its pooling: the power of a generalised mean, a reshape to a row of tokens."""
    step = program.producer(slot)
    while step is not None and has_trait(step.operation, Trait.POOLING_MATH) and len(step.inputs) == 1:
        slot, step = step.inputs[0], program.producer(step.inputs[0])
    return before_reshape(program, slot, spatial)


def before_reshape(program: Program, slot: int, spatial: frozenset[int] | None = None) -> int:
    """The map that a row of tokens was reshaped from, where that is all that happened; else the slot itself."""
    step = program.producer(slot)
    if step is None or type(step.operation).__name__ != "Reshape" or len(program.shape(slot)) != 3:
        return slot
    source = step.inputs[0]
    before, after = program.shape(source), program.shape(slot)
    is_row = len(before) > 3 and before[-1] == after[-1]
    return source if is_row and source in (spatial_slots(program) if spatial is None else spatial) else slot


def _descend(program: Program, source: int, image: tuple[int, ...], channels_first: bool) -> Places:
    """Walk from the input through all that is made from it."""
    places = Places(image, channels_first)
    lines = [line_axis(Line(number, Axis(length))) for number, length in enumerate(image)]
    channels = placeless(program.shape(source)[1 if channels_first else -1] or OPEN_LENGTH)
    axes = [channels, *lines] if channels_first else [*lines, channels]
    places.by_slot[source] = Place((placeless(BATCH), *axes))
    for step in program.steps:
        if any(slot in places.by_slot for slot in step.inputs):
            _put(places, program, step)
        elif any(slot in places.unknown for slot in step.inputs):
            reason = next(places.unknown[slot] for slot in step.inputs if slot in places.unknown)
            _put_unknown(places, program, step.outputs, reason)
    return places


def _put(places: Places, program: Program, step: Step) -> None:
    """Find where the outputs of a step lie."""
    try:
        outputs = _outputs_of(places, program, step)
    except UnknownPlaceError as unknown:
        _put_unknown(places, program, step.outputs, str(unknown))
        return
    for slot, place in zip(step.outputs, outputs, strict=True):
        if place is None or not any(axis.lines for axis in place.axes):
            continue
        if not _fits(place, program.shape(slot)):
            words = f"{step.path!r} ({type(step.operation).__name__}) is read as {place.shape[1:]}"
            _put_unknown(places, program, [slot], f"{words}, and has {program.shape(slot)[1:]}")
            continue
        places.by_slot[slot] = place


def _put_unknown(places: Places, program: Program, slots: Sequence[int], reason: str) -> None:
    for slot in slots:
        places.unknown[slot] = reason
        shape = program.shape(slot)
        spatial = shape[2:] if places.channels_first else shape[1:-1]
        if len(shape) == len(places.image) + 2 and any(length != 1 for length in spatial):
            places.unplaced.add(slot)


def _outputs_of(places: Places, program: Program, step: Step) -> list[Place | None]:
    unknown = [places.unknown[slot] for slot in step.inputs if slot in places.unknown]
    rule = rule_of(step.operation)
    if rule is None:
        if is_callers(step.operation):
            return [probe_place(step, program, places.by_slot)] * len(step.outputs)
        return [None] * len(step.outputs)  # an operation of Keras that keeps no place, such as a sort or an LSTM
    if unknown:
        raise UnknownPlaceError(unknown[0])
    result = rule(_call(places, program, step))
    return list(result) if isinstance(result, list) else [result] * len(step.outputs)


def _call(places: Places, program: Program, step: Step) -> Call:
    def fill(argument: Any) -> Any:
        if not isinstance(argument, Slot):
            return argument
        place = places.by_slot.get(argument.index)
        return Constant(program.specs[argument.index].shape) if place is None else place

    args, kwargs = keras.tree.map_structure(fill, step.arguments)
    return Call(step.operation, args, kwargs, step.path)


def _fits(place: Place, shape: Sequence[int | None]) -> bool:
    if len(place.axes) != len(shape):
        return False
    return all(
        known is None or length % BATCH == 0 or length == known
        for length, known in zip(place.shape, shape, strict=True)
    )
