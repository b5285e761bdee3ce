"""Feature maps: which tensors of a program are taken as them, and how each is laid out."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from keras_cam.errors import InvalidOptionError
from keras_cam.graph.operations import averages_all
from keras_cam.graph.program import Program, Step, ancestors_of, original
from keras_cam.graph.spatial import before_reshape, channels_first, spatial_slots, tokens_of


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A tensor of the model that has a place in the image.

    Attributes:
        slot: its slot.
        head_input: where the head begins for it: the slot of its average over all positions, or `slot` itself.
        layer: path of the layer or operation that makes it.
        channels_first: whether its channels come before its spatial axes.
        tokens: for ViT tokens (prefix, rows, columns): how many tokens without a place come first, and the grid of
            the others; None for what is not tokens.
    """

    slot: int
    head_input: int
    layer: str
    channels_first: bool
    tokens: tuple[int, int, int] | None

    @property
    def pooled(self) -> bool:
        """Whether the head reads only the average over all positions."""
        return self.head_input != self.slot


def _slots_of_layer(program: Program, layer: str | keras.layers.Layer, logits: int) -> list[int]:
    """The outputs of this layer, or that of this path or name, checked to have a place; none if not on the way."""
    on_the_way = program.steps_between(program.inputs, logits)
    if isinstance(layer, str):
        matches = [step for step in on_the_way if step.path == layer]
        matches = matches or [step for step in on_the_way if step.operation.name == layer]
    else:
        matches = [step for step in on_the_way if original(step.operation) is layer]
    slots, placed = [slot for step in matches for slot in step.outputs], spatial_slots(program)
    for slot in slots:
        if slot not in placed:
            raise InvalidOptionError(
                f"The output of layer {_called(layer)} has shape {program.shape(slot)} and no place in the image. "
                "Choose a layer before the pooling."
            )
    return slots


def _called(layer: str | keras.layers.Layer) -> str:
    return repr(layer) if isinstance(layer, str) else f"object {layer.name!r}"


def _no_such_layer(program: Program, layer: str | keras.layers.Layer, logits: int) -> InvalidOptionError:
    placed = spatial_slots(program)
    steps = program.steps_between(program.inputs, logits)
    with_place = [step.path for step in steps if step.outputs[0] in placed]
    return InvalidOptionError(
        f"Model {program.name!r} has no layer {_called(layer)} on the way to its output. Layers with a place in the "
        f"image end with: {', '.join(map(repr, with_place[-8:]))}. keras_cam.inspect_model(model) lists them."
    )


def _inputs_behind(program: Program, slot: int) -> set[int]:
    """The inputs of the model that a slot is made from."""
    read = (step.inputs for step in ancestors_of([slot], program.steps))
    return {slot}.union(*read).intersection(program.inputs)


def _describe(program: Program, slot: int, steps: tuple[Step, ...]) -> FeatureMap:
    readers = [step for step in steps if slot in step.inputs]
    first = readers[0] if readers else None
    tokens = tokens_of(program, slot)
    row = readers[0].outputs[0] if len(readers) == 1 else slot
    if row != slot and before_reshape(program, row) == slot:  # tokens, then their mean
        readers = [step for step in steps if row in step.inputs]
        first = readers[0] if readers else first
    pools = len(readers) == 1 and averages_all(readers[0], program)
    head_input = readers[0].outputs[0] if pools and not (tokens and tokens[0]) else slot
    first_format = getattr(first.operation, "data_format", None) if first is not None else None
    is_first = first_format == "channels_first" if first_format else channels_first(program, slot)
    producer = program.producer(slot)
    return FeatureMap(
        slot, head_input, program.specs[slot].name if producer is None else producer.path, is_first, tokens
    )
