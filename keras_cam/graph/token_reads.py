"""What a step computes for the tokens that stand before the cells of an axis, and what it reads for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_cam.graph import place_shapes as shapes
from keras_cam.graph.descent import Places
from keras_cam.graph.keras_internals import reshape_operation
from keras_cam.graph.operations import is_layer, is_operation
from keras_cam.graph.place import BATCH
from keras_cam.graph.place_call import as_tuple
from keras_cam.graph.place_products import letters_of
from keras_cam.graph.place_rules import rule_of
from keras_cam.graph.program import Program, Slot, Step


class NotFollowedError(Exception):
    """A step that makes tokens in a way that is not known."""


@dataclass(frozen=True)
class Tokens:
    """In place of a `Slot` in arguments: its tokens alone."""

    slot: int
    axis: int


@dataclass(frozen=True)
class Joined:
    """In place of a `Slot` in arguments: its tokens, and behind them its cells as feature maps."""

    slot: int
    axis: int


@dataclass(frozen=True)
class Asked:
    """The tokens of a slot along an axis.

    Attributes:
        program: the model.
        places: where its tensors lie.
        live: the slots that depend on what is in the images.
        count: how many tokens there are.
        step: what makes the slot.
        slot: the slot.
        axis: the axis.
    """

    program: Program
    places: Places
    live: Set[int]
    count: int
    step: Step
    slot: int
    axis: int

    @property
    def rank(self) -> int:
        """How many axes the slot has."""
        return len(self.program.specs[self.slot].shape)

    def token_axes(self, slot: int) -> list[int]:
        """The axes of a slot on which the tokens stand before cells."""
        place = self.places.by_slot.get(slot)
        found = [] if place is None else [number for number, axis in enumerate(place.axes) if axis.before]
        for number in found:
            if place is not None and (place.axes[number].before != self.count or place.axes[number].after):
                raise NotFollowedError
        return found

    def with_slots(self, replace: Callable[[int], Any]) -> Any:
        """The arguments of the step with something else for each slot, in order."""
        return keras.tree.map_structure(
            lambda each: replace(each.index) if isinstance(each, Slot) else each, self.step.arguments
        )


Rewritten = tuple[Any, Any]  # the operation, and its arguments with `Tokens` and `Joined` among them


def rewritten(asked: Asked) -> Rewritten:
    """The call that makes the asked tokens.

    Raises:
        NotFollowedError: it cannot be made of tokens alone.
    """
    operation = asked.step.operation
    if not asked.token_axes(asked.slot):
        return _picked(asked)
    for names, rule in RULES:
        if is_layer(operation, names) or is_operation(operation, names):
            return rule(asked)
    if rule_of(operation) in (shapes.kept, shapes.meeting, shapes.merging):
        return _number_by_number(asked)
    raise NotFollowedError


def _picked(asked: Asked) -> Rewritten:
    """Tokens that were picked from among the cells."""
    sources = asked.step.inputs
    if len(sources) == 1 and is_operation(asked.step.operation, {"GetItem", "Split"}):
        axes = asked.token_axes(sources[0])
        if axes == [asked.axis] and asked.program.shape(asked.slot)[asked.axis] == asked.count:
            return layers.Identity(), ((Tokens(sources[0], asked.axis),), {})
    raise NotFollowedError


def _number_by_number(asked: Asked) -> Rewritten:
    operation = asked.step.operation
    mixed = {axis % asked.rank for axis in as_tuple(getattr(operation, "axis", ())) if axis is not None}
    if asked.axis in mixed or is_layer(operation, {"GroupNormalization"}):
        raise NotFollowedError

    def replace(slot: int) -> Any:
        axis = asked.axis - (asked.rank - len(asked.program.specs[slot].shape))
        return Slot(slot) if axis < 0 else Tokens(slot, axis)

    return operation, asked.with_slots(replace)


def _dense(asked: Asked) -> Rewritten:
    if asked.axis == asked.rank - 1:
        raise NotFollowedError
    return asked.step.operation, asked.with_slots(lambda slot: Tokens(slot, asked.axis))


def _moved(asked: Asked) -> Rewritten:
    """What moves axes about, of which one has tokens."""
    (source,) = asked.step.inputs
    axes = asked.token_axes(source)
    if len(axes) != 1:
        raise NotFollowedError
    return asked.step.operation, asked.with_slots(lambda slot: Tokens(slot, axes[0]))


def _reshape(asked: Asked) -> Rewritten:
    _, arguments = _moved(asked)
    lengths = [-1 if length % BATCH == 0 else length for length in asked.places.by_slot[asked.slot].shape]
    if lengths.count(-1) != 1:
        raise NotFollowedError
    lengths[asked.axis] = asked.count
    return reshape_operation(lengths, f"{asked.step.operation.name}_tokens"), (arguments[0][:1], {})


def _concatenate(asked: Asked) -> Rewritten:
    if asked.step.operation.axis % asked.rank != asked.axis:
        return asked.step.operation, asked.with_slots(lambda slot: Tokens(slot, asked.axis))
    pieces, total = [], 0
    for slot in asked.step.inputs:
        if total < asked.count:
            pieces.append(slot)
            total += asked.program.shape(slot)[asked.axis] or 0
    if total != asked.count:
        raise NotFollowedError
    tokens = [Tokens(slot, asked.axis) for slot in pieces]
    return (layers.Identity(), ((tokens[0],), {})) if len(tokens) == 1 else (asked.step.operation, ((tokens,), {}))


def _einsum(asked: Asked) -> Rewritten:
    """A product: of what has the asked axis its tokens; of what is summed up over tokens and cells, both."""
    operation = asked.step.operation
    ranks = [len(asked.program.specs[slot].shape) for slot in asked.step.inputs]
    if is_layer(operation, {"EinsumDense"}):
        equation, ranks = operation.equation, [*ranks, len(operation.kernel.shape)]
    else:
        equation = operation.subscripts if is_operation(operation, {"Einsum"}) else "...mk,...kn->...mn"
    if min(ranks) < 2:
        raise NotFollowedError
    terms, output = letters_of(equation, ranks)
    letter, remaining = output[asked.axis], iter(terms)

    def replace(slot: int) -> Any:
        term = next(remaining)
        if letter in term:
            return Tokens(slot, term.index(letter))
        axes = asked.token_axes(slot)
        summed = [axis for axis in axes if term[axis] not in output]
        if slot in asked.live and not axes:
            raise NotFollowedError  # sums over patches that are made before, as in linear attention
        return Joined(slot, summed[0]) if summed else Slot(slot)

    return operation, asked.with_slots(replace)


def _attention(asked: Asked, names: Sequence[str]) -> dict[str, Any]:
    """The arguments of an attention by name: queries are tokens, values both."""
    args, kwargs = asked.step.arguments
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    extra = [value for name, value in given.items() if name not in names and name != "training"]
    if len(args) > len(names) or not all(value is None or value is False or type(value) is float for value in extra):
        raise NotFollowedError  # a mask or a bias for each pair of tokens
    query, value = given["query"].index, given["value"].index
    if getattr(asked.step.operation, "is_causal", False) or asked.token_axes(value) != [asked.axis]:
        raise NotFollowedError
    key = given.get("key") or Slot(value)
    return {"query": Tokens(query, asked.axis), "value": Joined(value, asked.axis), "key": key}


def _multi_head_attention(asked: Asked) -> Rewritten:
    named = _attention(asked, ("query", "value", "key"))
    return asked.step.operation, ((named["query"], named["value"], named["key"]), {})


def _attention_operation(asked: Asked) -> Rewritten:
    named = _attention(asked, ("query", "key", "value"))
    _, kwargs = asked.step.arguments
    rest = {name: value for name, value in kwargs.items() if name not in named}
    return asked.step.operation, ((named["query"], named["key"], named["value"]), rest)


RULES: list[tuple[set[str], Callable[[Asked], Rewritten]]] = [
    ({"Dense"}, _dense),
    ({"EinsumDense", "Einsum", "Matmul"}, _einsum),
    ({"MultiHeadAttention"}, _multi_head_attention),
    ({"DotProductAttention"}, _attention_operation),
    ({"Concatenate"}, _concatenate),
    ({"Reshape"}, _reshape),
    ({"Transpose", "Swapaxes", "Moveaxis", "Permute", "GetItem", "Unstack", "Split", "ExpandDims", "Squeeze"}, _moved),
]
