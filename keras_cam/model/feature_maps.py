"""Feature maps: which tensors of a program are taken as them, and how each is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from keras_cam.errors import InvalidOptionError
from keras_cam.graph.descent import Places, before_reshape, find_feature_slots, spatial_slots
from keras_cam.graph.keras_internals import original
from keras_cam.graph.operations import averages_all, only_rearranges
from keras_cam.graph.program import Program, Step, ancestors_of
from keras_cam.model.layout import Layout, layout_in


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A tensor of the model that is spatial.

    Attributes:
        slot: its slot.
        head_input: what the head reads of it: the slot of its average over all positions, or `slot` itself.
        layer: path of the layer or operation that makes it.
        layout: how its cells and channels lie in the tensor.
    """

    slot: int
    head_input: int
    layer: str
    layout: Layout

    @property
    def pooled(self) -> bool:
        """Whether the head reads only the average over all positions."""
        return self.head_input != self.slot


def feature_map_of(program: Program, slot: int, places: Places, head_steps: Sequence[Step]) -> FeatureMap:
    """The feature map in a slot, as the steps of the head read it.

    Args:
        program: the model.
        slot: the slot.
        places: where its tensors lie in the image.
        head_steps: the steps from the feature maps to the logits.
    """
    readers = _readers(slot, head_steps)
    # A map may be reshaped to a row of tokens first, of which the mean is taken then.
    if len(readers) == 1 and before_reshape(program, row := readers[0].outputs[0]) == slot != row:
        readers = _readers(row, head_steps) or readers
    maker, layout = program.producer(slot), layout_in(places, slot, program.shape(slot))
    pools = len(readers) == 1 and averages_all(readers[0], program) and layout.has_one_channel_axis
    average = readers[0].outputs[0] if pools else slot
    return FeatureMap(
        slot=slot,
        head_input=slot if places.has_cells(average) else average,  # of a video, averages of frames have a place
        layer=program.specs[slot].name if maker is None else maker.path,
        layout=layout,
    )


def _readers(slot: int, steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if slot in step.inputs]


def find_feature_maps(
    program: Program, logits: int, layer: str | keras.layers.Layer | None, score_slots: set[int] | None = None
) -> list[int]:
    """The slots of the feature maps behind the logits, inputs of the model included where nothing comes after them.

    Args:
        program: the model.
        logits: slot of the scores.
        layer: whose output to take: a path, a name or the layer itself; None: the last spatial tensors.
        score_slots: where a target follows, the slots that hold the model's own scores: what is made of them is no
            feature map.

    Returns:
        Slots, in order; none where the layer is not on the way, or nothing is spatial.
    """
    if layer is not None:
        return _slots_of_layer(program, layer, logits)
    slots = find_feature_slots(program, logits)
    return slots if score_slots is None else _before_classifier(program, slots, score_slots)


def _slots_of_layer(program: Program, layer: str | keras.layers.Layer, logits: int) -> list[int]:
    """The outputs of this layer, or that of this path or name, checked to be spatial; none if not on the way."""
    on_the_way = program.steps_between(program.inputs, logits)
    if isinstance(layer, str):
        matches = [step for step in on_the_way if step.path == layer]
        matches = matches or [step for step in on_the_way if step.operation.name == layer]
    else:
        matches = [step for step in on_the_way if original(step.operation) is layer]
    slots = [slot for step in matches for slot in step.outputs]
    for slot in slots:
        if slot not in spatial_slots(program):
            raise InvalidOptionError(
                f"The output of layer {_layer_in_words(layer)} has shape {program.shape(slot)} and no place in the "
                "image. Choose a layer before the pooling."
            )
    return slots


def no_such_layer(program: Program, layer: str | keras.layers.Layer, logits: int) -> InvalidOptionError:
    """The error for a layer that is not on the way to the logits, with the last ones that are."""
    spatial = spatial_slots(program)
    steps = program.steps_between(program.inputs, logits)
    paths = [step.path for step in steps if step.outputs[0] in spatial]
    return InvalidOptionError(
        f"Model {program.name!r} has no layer {_layer_in_words(layer)} on the way to its output. Layers with a place "
        f"in the image end with: {', '.join(map(repr, paths[-8:]))}. keras_cam.inspect_model(model) lists them."
    )


def _layer_in_words(layer: str | keras.layers.Layer) -> str:
    return repr(layer) if isinstance(layer, str) else f"object {layer.name!r}"


def _before_classifier(program: Program, slots: list[int], score_slots: set[int]) -> list[int]:
    """Feature maps in place of what only holds scores: the maps that the layer reads which makes these scores."""
    found: set[int] = set()
    stack = [(slot, _is_made_of(program, slot, score_slots)) for slot in slots]
    while stack:
        slot, holds_scores = stack.pop()
        step = program.producer(slot)
        if not holds_scores or step is None:
            found.add(slot)
        elif only_rearranges(step.operation):
            stack.extend((source, True) for source in step.inputs)
        else:
            stack.extend(
                (source, slot not in score_slots and _is_made_of(program, source, score_slots))
                for source in step.inputs
            )
    return sorted(found & spatial_slots(program))


def _is_made_of(program: Program, slot: int, score_slots: set[int]) -> bool:
    """Whether a slot holds scores, or is made of such."""
    return slot in score_slots or any(
        score_slots.intersection(step.inputs) for step in ancestors_of([slot], program.steps)
    )


def inputs_behind(program: Program, slot: int) -> set[int]:
    """The inputs of the model that a slot is made from."""
    read = (step.inputs for step in ancestors_of([slot], program.steps))
    return {slot}.union(*read).intersection(program.inputs)
