"""Cut a model at its feature maps: from a chosen output back to the last tensors that have a place in the image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_cam.errors import InvalidOptionError, UnsupportedModelError
from keras_cam.flatten import flatten, open_layer
from keras_cam.operations import (
    AVERAGE_POOLING,
    LAST_ACTIVATIONS,
    MAX_POOLING,
    POOLING_MATHS,
    WITH_ACTIVATION,
    activation_of,
    averages_all,
    is_activation,
    is_known,
    is_layer,
    is_operation,
    passes_through,
)
from keras_cam.program import Program, Slot, Step, twin

MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A tensor of the model that has a place in the image.

    Attributes:
        slot: its slot.
        entry: where the head begins for it: the slot of its average over all positions, or `slot` itself.
        layer: path of the layer or operation that makes it.
        channels_first: whether its channels come before its spatial axes.
        tokens: for ViT tokens (prefix, rows, columns): how many tokens without a place come first, and the grid of
            the others; None for what is not tokens.
    """

    slot: int
    entry: int
    layer: str
    channels_first: bool
    tokens: tuple[int, int, int] | None

    @property
    def pooled(self) -> bool:
        """Whether the head reads only the average over all positions."""
        return self.entry != self.slot


@dataclass(frozen=True, eq=False)
class Cut:
    """A model cut in two: what makes the feature maps, and the steps from there to the logits.

    Attributes:
        program: the flat model; in its head, inline activations are steps of their own.
        features: the feature maps of one input of the model; several where scales or calls meet.
        logits: slot of the scores before the last activation.
        output: slot of the model's chosen output.
        activation: name of the last activation; "linear" where there is none.
        steps: the steps from the entries of the feature maps to the logits.
        image_input: which of the model's inputs is the image that the feature maps are made from.
    """

    program: Program
    features: tuple[FeatureMap, ...]
    logits: int
    output: int
    activation: str
    steps: tuple[Step, ...]
    image_input: int

    @property
    def dependent(self) -> set[int]:
        """The slots of the head that the feature maps decide, their entries included."""
        return {feature.entry for feature in self.features}.union(*(step.outputs for step in self.steps))

    @property
    def sides(self) -> tuple[int, ...]:
        """The slots that the head reads besides the feature maps: a table beside the image, another image."""
        read = {slot for step in self.steps for slot in step.inputs} | {self.logits}
        return tuple(sorted(read - self.dependent))


def cut(
    model: keras.Model,
    *,
    output: int | str | None = None,
    layer: str | None = None,
    image_input: int | str | None = None,
) -> Cut:
    """Cut a model at the feature maps behind one of its outputs.

    Args:
        model: a built Keras model.
        output: which output to explain, by name or index; needed where the model has several.
        layer: path or name of the layer whose output to take as feature map; default: the last that has a place.
        image_input: which input to explain where several are images, by name or index; default: the first of them.

    Returns:
        The cut; nothing in the model is changed.

    Raises:
        UnsupportedModelError: no feature maps, or several outputs and none chosen.
        InvalidOptionError: no such output, layer or input.
    """
    program = flatten(model)
    output_slot = _chosen_output(program, output)
    while True:
        program, logits, activation = _without_last_activation(program, output_slot)
        slots = _slots_of_layer(program, layer, logits) if layer is not None else find_features(program, logits)
        opened = _open_first_unknown(program, slots, logits)
        if opened is None:
            break
        program = opened
    slots = [slot for slot in slots if slot not in program.inputs]
    if not slots:
        raise UnsupportedModelError(
            f"Model {model.name!r} has no convolutional feature maps before its output {program.shape(output_slot)}: "
            "nothing that it computes has a place in the image. A CAM needs convolutions, then pooling or flattening, "
            "then a classifier."
        )
    sources = {slot: _inputs_behind(program, slot) for slot in slots}
    chosen = _chosen_input(program, image_input, sorted(set().union(*sources.values())))
    slots = [slot for slot in slots if chosen in sources[slot]]
    program = _with_activations_apart(program, slots, logits)
    steps = program.steps_between(slots, logits)
    features = tuple(_describe(program, slot, steps) for slot in slots)
    steps = program.steps_between([feature.entry for feature in features], logits)
    return Cut(program, features, logits, output_slot, activation, steps, program.inputs.index(chosen))


def find_features(program: Program, target: int) -> list[int]:
    """The slots of the feature maps behind `target`: the last tensors on the way to it that have a place.

    Walking back from `target`, a tensor has a place if one of its spatial axes is longer than one (or open), or if a
    global pooling layer reads it (a 1x1 map, say). Inputs without a place (a table beside the image) are passed over,
    and a map that was only reshaped to a row of tokens is taken before that.

    Returns:
        Slots in order, one per feature map: two where two pooled scales meet.
    """
    found: set[int] = set()
    seen: set[int] = set()
    stack = [target]
    while stack:
        slot = stack.pop()
        if slot in seen:
            continue
        seen.add(slot)
        step = program.producer(slot)
        if has_place(program, slot):
            found.add(_before_pooling(program, slot))
        elif step is not None and is_layer(step.operation, AVERAGE_POOLING | MAX_POOLING):
            found.update(step.inputs)
        elif step is not None:
            stack.extend(step.inputs)
    return sorted(found)


def has_place(program: Program, slot: int) -> bool:
    """Whether a tensor has a spatial axis that is longer than one, or open."""
    shape = program.shape(slot)
    if len(shape) < 3:
        return False
    spatial = shape[2:] if channels_first(program, slot) else shape[1:-1]
    return any(length != 1 for length in spatial)


def channels_first(program: Program, slot: int) -> bool:
    """Whether a tensor has its channels before its spatial axes, as the last layer before it that says so does."""
    while (step := program.producer(slot)) is not None:
        data_format = getattr(step.operation, "data_format", None)
        if data_format is not None:
            return bool(data_format == "channels_first")
        if not step.inputs:
            break
        slot = step.inputs[0]
    return keras.config.image_data_format() == "channels_first" and len(program.shape(slot)) > 3


def _before_pooling(program: Program, slot: int) -> int:
    """The map before what belongs to its pooling: a reshape to a row of tokens, the power of a generalised mean."""
    step = program.producer(slot)
    while step is not None and is_operation(step.operation, POOLING_MATHS) and len(step.inputs) == 1:
        slot, step = step.inputs[0], program.producer(step.inputs[0])
    return _before_reshape(program, slot)


def _before_reshape(program: Program, slot: int) -> int:
    step = program.producer(slot)
    if step is None or type(step.operation).__name__ != "Reshape" or len(program.shape(slot)) != 3:
        return slot
    before, after = program.shape(step.inputs[0]), program.shape(slot)
    return step.inputs[0] if len(before) > 3 and before[-1] == after[-1] else slot


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
        return images[0]
    index = names.index(image_input) if image_input in names else image_input
    if not isinstance(index, int) or not 0 <= index < len(names) or program.inputs[index] not in images:
        known = ", ".join(f"{program.inputs.index(slot)}: {program.specs[slot].name!r}" for slot in images)
        raise InvalidOptionError(
            f"No feature map of model {program.name!r} is made from input {image_input!r}. Choose one of {known}."
        )
    return program.inputs[index]


def _slots_of_layer(program: Program, layer: str, logits: int) -> list[int]:
    """The outputs of the layer of this path or name, checked to have a place and to reach the logits."""
    on_the_way = program.steps_between(program.inputs, logits)
    matches = [step for step in on_the_way if step.path == layer]
    matches = matches or [step for step in on_the_way if step.operation.name == layer]
    if not matches:
        with_place = [step.path for step in on_the_way if has_place(program, step.outputs[0])]
        raise InvalidOptionError(
            f"Model {program.name!r} has no layer {layer!r} on the way to its output. Layers with a place in the image "
            f"end with: {', '.join(map(repr, with_place[-8:]))}. keras_cam.inspect_model(model) lists them."
        )
    slots = [slot for step in matches for slot in step.outputs]
    for slot in slots:
        if not has_place(program, slot):
            raise InvalidOptionError(
                f"The output of layer {layer!r} has shape {program.shape(slot)} and no place in the image. Choose a "
                "layer before the pooling."
            )
    return slots


def _without_last_activation(program: Program, output: int) -> tuple[Program, int, str]:
    """The program, the slot of the scores before the last activation, and that activation's name.

    Where the activation is inline, the last layer is replaced by a linear twin and a step for the activation.
    """
    slot = output
    while (step := program.producer(slot)) is not None and len(step.inputs) == 1:
        name = activation_of(step.operation)
        if name in LAST_ACTIVATIONS:
            if is_activation(step.operation):
                return program, step.inputs[0], name
            if is_layer(step.operation, WITH_ACTIVATION):
                return (*_split_activation(program, step), name)
        if not passes_through(step.operation):
            break
        slot = step.inputs[0]
    return program, output, "linear"


def _with_activations_apart(program: Program, features: list[int], logits: int) -> Program:
    """The program with every inline activation of the head as a step of its own."""
    for step in program.steps_between(features, logits):
        if is_layer(step.operation, WITH_ACTIVATION) and activation_of(step.operation) != "linear":
            program, _ = _split_activation(program, step)
    return program


def _split_activation(program: Program, step: Step) -> tuple[Program, int]:
    """Put the inline activation of a step into a step of its own; returns the program and the slot between."""
    layer, between = step.operation, len(program.specs)
    linear = dataclasses.replace(
        step,
        operation=twin(layer, f"{layer.name}_logits", activation=keras.activations.linear),
        outputs=(between,),
    )
    activation = layers.Activation(layer.activation, dtype=layer.dtype_policy, name=f"{layer.name}_activation")
    apply = Step(activation, ((Slot(between),), {}), (between,), step.outputs, f"{step.path}_activation")
    steps = tuple(new for old in program.steps for new in ((linear, apply) if old is step else (old,)))
    specs = (*program.specs, program.specs[step.outputs[0]])
    return dataclasses.replace(program, steps=steps, specs=specs), between


def _open_first_unknown(program: Program, slots: list[int], logits: int) -> Program | None:
    """The program with one custom layer of the head, or the one that holds all the convolutions, taken apart."""
    dependent = set(slots)
    for step in program.steps_between(slots, logits):
        if _is_composite(step.operation) and not is_known(step, dependent):
            opened = open_layer(program, step)
            if opened is not None:
                return opened
        dependent.update(step.outputs)
    return None


def _is_composite(operation: Any) -> bool:
    """Whether an operation is a caller's layer made of layers."""
    if not isinstance(operation, layers.Layer) or type(operation).__module__.startswith("keras."):
        return False
    return any(True for _ in operation._layers)


def _inputs_behind(program: Program, slot: int) -> set[int]:
    """The inputs of the model that a slot is made from."""
    wanted = {slot}
    for step in reversed(program.steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
    return wanted.intersection(program.inputs)


def _describe(program: Program, slot: int, steps: tuple[Step, ...]) -> FeatureMap:
    readers = [step for step in steps if slot in step.inputs]
    first = readers[0] if readers else None
    tokens = _tokens(program, slot)
    if len(readers) == 1 and type(readers[0].operation).__name__ == "Reshape":  # tokens, then their mean
        row = readers[0].outputs[0]
        readers = [step for step in steps if row in step.inputs]
        first = readers[0] if _before_reshape(program, row) == slot and readers else first
    pools = len(readers) == 1 and averages_all(readers[0], program)
    entry = readers[0].outputs[0] if pools and not (tokens and tokens[0]) else slot
    first_format = getattr(first.operation, "data_format", None) if first is not None else None
    is_first = first_format == "channels_first" if first_format else channels_first(program, slot)
    producer = program.producer(slot)
    return FeatureMap(slot, entry, program.specs[slot].name if producer is None else producer.path, is_first, tokens)


def _tokens(program: Program, slot: int) -> tuple[int, int, int] | None:
    """How the tokens (N, T, K) in a slot lie in the image: after the last map before them with a fitting size."""
    shape = program.shape(slot)
    if len(shape) != 3 or shape[1] is None:
        return None
    wanted = {slot}
    for step in reversed(program.steps):
        if not wanted.intersection(step.outputs):
            continue
        wanted.update(step.inputs)
        before = program.shape(step.outputs[0])
        if len(before) == 4 and None not in before[1:]:
            rows, columns = before[2:] if channels_first(program, step.outputs[0]) else before[1:3]
            prefix = shape[1] - rows * columns
            if 0 <= prefix <= MOST_PREFIX_TOKENS and rows * columns > 1:
                return prefix, rows, columns
    if len(program.shape(program.inputs[0])) == 4 and math.isqrt(shape[1]) ** 2 == shape[1]:
        return 0, math.isqrt(shape[1]), math.isqrt(shape[1])
    return None


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


def describe(found: Cut) -> str:
    """What was found between the feature maps and the output, in one sentence for an error message."""
    maps = " + ".join(f"{feature.layer!r} {found.program.shape(feature.slot)}" for feature in found.features)
    slots = [feature.slot for feature in found.features]
    tail = " -> ".join(
        f"{type(step.operation).__name__} {step.path!r}" for step in found.program.steps_between(slots, found.logits)[:8]
    )
    return f"Received: feature maps {maps} -> {tail or 'nothing'}."
