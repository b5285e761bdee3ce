"""Cut a model at its feature maps: from a chosen output back to the last tensors that have a place in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_cam.errors import InvalidOptionError, UnsupportedModelError
from keras_cam.graph.operations import is_layer
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.rewrite import open_first_unknown, split_head_activations, split_last_activation
from keras_cam.graph.spatial import find_feature_slots, is_spatial
from keras_cam.graph.trace import trace
from keras_cam.model.feature_maps import FeatureMap, _describe, _inputs_behind, _no_such_layer, _slots_of_layer
from keras_cam.model.target import append_target, before_classifier, known_activation
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
    def per_class(self) -> bool:
        """Whether there is one logit for each of the model's classes."""
        return self.target is None or self.target.per_class

    @property
    def head_slots(self) -> set[int]:
        """The slots of the head that the feature maps decide, their head_inputs included."""
        return {feature.head_input for feature in self.features}.union(*(step.outputs for step in self.steps))

    @property
    def side_inputs(self) -> tuple[int, ...]:
        """The slots that the head reads besides the feature maps: a table beside the image, another image."""
        read = {slot for step in self.steps for slot in step.inputs} | {self.logits}
        return tuple(sorted(read - self.head_slots))


def cut(
    model: keras.Model,
    *,
    output: int | str | None = None,
    layer: str | keras.layers.Layer | None = None,
    image_input: int | str | None = None,
    target: Any = "logit",
) -> Cut:
    """Cut a model at the feature maps behind one of its outputs.

    Args:
        model: a built Keras model.
        output: which output to explain, by name or index; needed where the model has several.
        layer: path or name of the layer whose output to take as feature map, or the layer itself; default: the last
            that has a place.
        image_input: which input to explain where several are images, by name or index; default: the first of them.
        target: what to explain: "logit" (default), or as for `keras_cam.targets.find_target`.

    Returns:
        The cut; nothing in the model is changed.

    Raises:
        UnsupportedModelError: no feature maps, or several outputs and none chosen.
        InvalidOptionError: no such output, layer or input.
    """
    if not (layer is None or isinstance(layer, (str, keras.layers.Layer))):
        raise InvalidOptionError(
            "layer must be the path or name of a layer, or a layer of the model; several as a list. Received: "
            f"{layer!r}. keras_cam.inspect_model(model) lists them; by its number it is model.layers[number]."
        )
    program, target = trace(model), find_target(target)
    reads_all = target is not None and target.reads == "outputs" and not target.per_class and output is None
    output_slot = program.outputs[0] if reads_all else _chosen_output(program, output)
    while True:
        program, logits, activation = split_last_activation(program, output_slot)
        slots = _slots_of_layer(program, layer, logits) if layer is not None else find_feature_slots(program, logits)
        opened = open_first_unknown(program, slots or list(program.inputs), logits)
        if opened is None:
            break
        program = opened
    if target is not None:
        ends, known = {logits, *program.outputs}, known_activation(model, activation)
        is_unit = known == "sigmoid" and math.prod(length or 0 for length in program.shape(logits)[1:]) == 1
        given = program.output_structure if reads_all else Slot(output_slot if target.reads == "outputs" else logits)
        if is_unit and target.reads == "outputs":
            target = replace(target, per_class=False)  # the unit's value, upwards or downwards, and not two classes
        program, logits = append_target(program, target, given, known, is_unit)
        slots = _slots_of_layer(program, layer, logits) if layer is not None else find_feature_slots(program, logits)
        if layer is None:
            slots = before_classifier(program, slots, ends)
        if not target.per_class:
            output_slot, activation = logits, "linear"
    if layer is not None and not slots:
        raise _no_such_layer(program, layer, logits)
    slots = [slot for slot in slots if slot not in program.inputs]
    if logits in slots:
        raise UnsupportedModelError(
            f"The output of model {model.name!r} has shape {program.shape(logits)}: a score for every position, not "
            "one for each class (segmentation?). Say which score to explain, such as "
            "target=keras_cam.targets.segmentation(class_index) or any function of the outputs."
        )
    if not slots:
        _check_no_opaque(program)
        raise UnsupportedModelError(
            f"Model {model.name!r} has no convolutional feature maps before its output {program.shape(output_slot)}: "
            "nothing that it computes has a place in the image. A map needs convolutions, then global average pooling "
            "(or flattening), then a classifier."
        )
    sources = {slot: _inputs_behind(program, slot) for slot in slots}
    chosen = _chosen_input(program, image_input, sorted(set().union(*sources.values())))
    slots = [slot for slot in slots if chosen in sources[slot]]
    program = split_head_activations(program, slots, logits)
    steps = program.steps_between(slots, logits)
    features = tuple(_describe(program, slot, steps) for slot in slots)
    steps = program.steps_between([feature.head_input for feature in features], logits)
    return Cut(program, features, logits, output_slot, activation, steps, program.inputs.index(chosen), target)


def _check_no_opaque(program: Program) -> None:
    """Say so where the feature maps are out of reach inside a saved graph."""
    for step in program.steps:
        if is_layer(step.operation, {"TFSMLayer"}):
            raise UnsupportedModelError(
                f"{step.path!r} is a TFSMLayer, one opaque operation: the layers of the SavedModel in it are gone. "
                "Explain the original model (a .keras file or its code), or export one with keras_cam.build_cam_model."
            )


def _chosen_output(program: Program, output: int | str | None) -> int:
    count, names = len(program.outputs), program.output_names
    known = ", ".join(f"{index}: {name!r}" for index, name in enumerate(names))
    if output is None:
        if count > 1:
            raise UnsupportedModelError(
                f"Model {program.name!r} has {count} outputs ({known}) and a map explains one. Choose it with output=."
            )
        return program.outputs[0]
    if isinstance(output, str) and names.count(output) == 1:
        return program.outputs[names.index(output)]
    if isinstance(output, int) and -count <= output < count:
        return program.outputs[output]
    raise InvalidOptionError(f"Model {program.name!r} has no output {output!r}. Its outputs are {known}.")


def _chosen_input(program: Program, image_input: int | str | None, images: list[int]) -> int:
    """The slot of the input to explain, out of those that feature maps are made from."""
    names = [program.specs[slot].name for slot in program.inputs]
    if image_input is None:
        return next((slot for slot in images if is_spatial(program, slot)), images[0])  # a text is no image
    index = names.index(image_input) if image_input in names else image_input
    if not isinstance(index, int) or not 0 <= index < len(names) or program.inputs[index] not in images:
        known = ", ".join(f"{program.inputs.index(slot)}: {program.specs[slot].name!r}" for slot in images)
        raise InvalidOptionError(
            f"No feature map of model {program.name!r} is made from input {image_input!r}. Choose one of {known}."
        )
    return program.inputs[index]


def reads_channels_first(cut: Cut) -> bool:
    """Whether the image input of a model has its channels before its spatial axes."""
    reached = {cut.program.inputs[cut.image_input]}
    for step in cut.program.steps:
        if reached.intersection(step.inputs):
            data_format = getattr(step.operation, "data_format", None)
            if data_format is not None:
                return bool(data_format == "channels_first")
            reached.update(step.outputs)
    return False


def image_shape(cut: Cut) -> tuple[int | None, ...]:
    """The spatial axes of what the image input of a model takes, None where open."""
    shape = cut.program.shape(cut.program.inputs[cut.image_input])
    return shape[2:] if reads_channels_first(cut) else shape[1:-1]


def describe(found: Cut) -> str:
    """What was found between the feature maps and the output, in one sentence for an error message."""
    maps = " + ".join(f"{feature.layer!r} {found.program.shape(feature.slot)}" for feature in found.features)
    slots = [feature.slot for feature in found.features]
    steps = found.program.steps_between(slots, found.logits)
    tail = " -> ".join(f"{type(step.operation).__name__} {step.path!r}" for step in steps[:8])
    return f"Received: feature maps {maps} -> {tail or 'nothing'}."
