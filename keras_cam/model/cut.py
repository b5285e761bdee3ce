"""Cut a model at its feature maps: from a chosen output back to the last tensors that have a place in the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras

from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.class_token import follow_class_tokens
from keras_cam.graph.descent import Places, channels_first_of, image_slot_of, places_in
from keras_cam.graph.open_layers import open_callers_layers
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.rewrite import open_first_unknown, split_head_activations, split_last_activation
from keras_cam.graph.trace import trace
from keras_cam.model.choices import check_layer, check_no_opaque, chosen_output, known_activation, of_one_input
from keras_cam.model.feature_maps import FeatureMap, feature_map_of, find_feature_maps, no_such_layer
from keras_cam.model.target import append_target
from keras_cam.targets import Target, find_target


@dataclass(frozen=True, eq=False)
class Cut:
    """A model cut in two: what makes the feature maps, and the steps from there to the logits.

    Attributes:
        program: the flat model; in its head, inline activations are steps of their own.
        features: the feature maps of one input of the model; several where scales or calls meet.
        logits: slot of the scores before the last activation.
        output: slot of the model's chosen output.
        activation: name of the last activation; "linear" where there is none.
        steps: the steps from the head_inputs of the feature maps to the logits.
        image_input: which of the model's inputs is the image that the feature maps are made from.
        target: what the logits are, where they are something else than the model's.
    """

    program: Program
    features: tuple[FeatureMap, ...]
    logits: int
    output: int
    activation: str
    steps: tuple[Step, ...]
    image_input: int
    target: Target | None = None

    @property
    def image_slot(self) -> int:
        """The slot of the image that the feature maps are made from."""
        return self.program.inputs[self.image_input]

    def places(self, image: Sequence[int] | None = None) -> Places:
        """Where the tensors of the model lie in an image of this size; default: of the model's own."""
        return places_in(self.program, _source(self.program, self.image_slot), image or None)

    def shape(self, slot: int) -> tuple[int | None, ...]:
        """The shape of a slot as far as it is known, by where it lies in an image of the model's own size too."""
        static, place = self.program.shape(slot), self.places().by_slot.get(slot)
        if place is None or None in image_shape(self):
            return static
        pairs = zip(static[1:], place.shape[1:], strict=True)
        return (None, *(length if known is None else known for known, length in pairs))

    @property
    def per_class(self) -> bool:
        """Whether there is one logit for each of the model's classes."""
        return self.target is None or self.target.per_class

    @property
    def head_slots(self) -> set[int]:
        """The slots of the head that the feature maps decide, their head_inputs included."""
        decided = {feature.head_input for feature in self.features}
        for step in self.steps:
            if decided.intersection(step.inputs):
                decided.update(step.outputs)
        return decided

    @property
    def side_inputs(self) -> tuple[int, ...]:
        """The slots that the head reads besides the feature maps: a table beside the image, another image."""
        read = {slot for step in self.steps for slot in step.inputs} | {self.logits}
        made = {slot for step in self.steps for slot in step.outputs}
        return tuple(sorted(read - self.head_slots - made))


def cut(
    model: keras.Model,
    *,
    output: int | str | None = None,
    layer: str | keras.layers.Layer | None = None,
    image_input: int | str | None = None,
    target: Any = "logit",
    opens_layers: bool = True,
) -> Cut:
    """Cut a model at the feature maps behind one of its outputs.

    Args:
        model: a built Keras model.
        output: which output to explain, by name or index; needed where the model has several.
        layer: path or name of the layer whose output to take as feature map, or the layer itself; default: the last
            that has a place.
        image_input: which input to explain where several are images, by name or index; default: the first of them.
        target: what to explain: "logit" (default), or as for `keras_cam.targets.find_target`.
        opens_layers: whether the caller's own layers become the steps that they take; False leaves those as they are
            that stand before the feature maps, for who builds a model of the steps.

    Returns:
        The cut; nothing in the model is changed.

    Raises:
        UnsupportedModelError: no feature maps, or several outputs and none chosen.
        InvalidOptionError: no such output, layer or input.
    """
    check_layer(layer)
    found_target = find_target(target)
    # The model as a program, and the scores of the chosen output: its logits, before the last activation.
    program = open_callers_layers(trace(model)) if opens_layers else trace(model)
    reads_all = _reads_all_outputs(found_target, output)
    output_slot = program.outputs[0] if reads_all else chosen_output(program, output)
    program, scores = _open_to_the_scores(program, output_slot, layer)
    # The target, which may put other scores in the place of the model's.
    score_slots = None
    if found_target is not None:
        score_slots = {scores.logits, *program.outputs}
        activation = known_activation(model, scores.activation)
        program, scores, found_target = _put_target(program, scores, found_target, activation, reads_all)
    # The feature maps of one input.
    slots = find_feature_maps(program, scores.logits, layer, score_slots)
    slots = _checked_slots(program, slots, layer, scores)
    image, slots = of_one_input(program, slots, image_input)
    # What class tokens have read of the patches, block by block.
    if layer is None and opens_layers:
        places = places_in(program, _source(program, image))
        program, slots = follow_class_tokens(program, slots, scores.logits, places)
        program = _opened(program, slots, scores.logits)
    # The head between them, its inline activations as steps of their own.
    program = split_head_activations(program, slots, scores.logits)
    steps = program.steps_between(slots, scores.logits)
    places = places_in(program, _source(program, image))
    features = tuple(feature_map_of(program, slot, places, steps) for slot in slots)
    steps = program.steps_between([feature.head_input for feature in features], scores.logits)
    steps = program.with_constants(steps)
    return Cut(
        program=program,
        features=features,
        logits=scores.logits,
        output=scores.output,
        activation=scores.activation,
        steps=steps,
        image_input=program.inputs.index(image),
        target=found_target,
    )


def _opened(program: Program, slots: Sequence[int], logits: int) -> Program:
    """The program with all layers between feature maps and logits opened that can be, and have to be."""
    while (opened := open_first_unknown(program, slots, logits)) is not None:
        program = opened
    return program


class _Scores(NamedTuple):
    """Where a program's scores are: before the last activation, after it, and its name."""

    logits: int
    output: int
    activation: str


def _open_to_the_scores(
    program: Program, output: int, layer: str | keras.layers.Layer | None
) -> tuple[Program, _Scores]:
    """The program with the last activation apart and the caller's layers of the head opened, and its scores.

    A layer that is opened may hold the last activation, or the feature maps, so both are looked for again.
    """
    while True:
        program, logits, activation = split_last_activation(program, output)
        slots = find_feature_maps(program, logits, layer)
        opened = open_first_unknown(program, slots or list(program.inputs), logits)
        if opened is None:
            return program, _Scores(logits, output, activation)
        program = opened


def _put_target(
    program: Program, scores: _Scores, target: Target, activation: str, reads_all: bool
) -> tuple[Program, _Scores, Target]:
    """The program with the target at its end, the scores that are explained then, and the target as it is read.

    Args:
        program: the model.
        scores: its own scores.
        target: what to explain.
        activation: what makes probabilities of the logits.
        reads_all: whether the target reads all outputs of the model, rather than the chosen one.

    Returns:
        `(program, scores, target)`.
    """
    is_unit = activation == "sigmoid" and math.prod(length or 0 for length in program.shape(scores.logits)[1:]) == 1
    if is_unit and target.reads == "outputs":
        target = replace(target, per_class=False)  # the unit's value, upwards or downwards, and not two classes
    read_slot = Slot(scores.output if target.reads == "outputs" else scores.logits)
    given = program.output_structure if reads_all else read_slot
    program, logits = append_target(program, target, given, activation, is_unit)
    if target.per_class:
        return program, scores._replace(logits=logits), target
    return program, _Scores(logits, logits, "linear"), target


def _reads_all_outputs(target: Target | None, output: int | str | None) -> bool:
    return target is not None and target.reads == "outputs" and not target.per_class and output is None


def _checked_slots(
    program: Program, slots: list[int], layer: str | keras.layers.Layer | None, scores: _Scores
) -> list[int]:
    """The slots of the feature maps without the model's inputs, or an error that says why there are none."""
    if layer is not None and not slots:
        raise no_such_layer(program, layer, scores.logits)
    slots = [slot for slot in slots if slot not in program.inputs]
    lengths = [length for length in program.shape(scores.logits)[1:] if length != 1]
    if scores.logits in slots or len(lengths) > 1:
        raise UnsupportedModelError(
            f"The output of model {program.name!r} has shape {program.shape(scores.logits)}: a score for every "
            "position, not one for each class (segmentation, detection, text?). Say which score to explain: "
            "target=keras_cam.targets.segmentation(class_index), keras_cam.targets.box_score(box, class_index), or any "
            "function of the outputs, such as target=lambda outputs: outputs[:, position, class_index]."
        )
    if not slots:
        check_no_opaque(program)
        raise UnsupportedModelError(
            f"Model {program.name!r} has no convolutional feature maps before its output "
            f"{program.shape(scores.output)}: nothing that it computes has a place in the image. A map needs "
            "convolutions, then global average pooling (or flattening), then a classifier."
        )
    return slots


def _source(program: Program, image: int) -> int:
    """Where an image begins: its input, or what a row of numbers is reshaped to."""
    source = image_slot_of(program, image)
    return image if source is None else source


def reads_channels_first(cut: Cut) -> bool:
    """Whether the image input of a model has its channels before its spatial axes."""
    return channels_first_of(cut.program, cut.image_slot)


def image_shape(cut: Cut) -> tuple[int | None, ...]:
    """The spatial axes of what the image input of a model takes, None where open."""
    shape = cut.program.shape(cut.image_slot)
    return shape[2:] if reads_channels_first(cut) else shape[1:-1]


def describe(found: Cut) -> str:
    """What was found between the feature maps and the output, in one sentence for an error message."""
    maps = " + ".join(f"{feature.layer!r} {found.program.shape(feature.slot)}" for feature in found.features)
    slots = [feature.slot for feature in found.features]
    steps = found.program.steps_between(slots, found.logits)
    tail = " -> ".join(f"{type(step.operation).__name__} {step.path!r}" for step in steps[:8])
    return f"Received: feature maps {maps} -> {tail or 'nothing'}."
