"""What a user chooses of a model: output, layer, input; and what is known of its activation by its loss."""

from __future__ import annotations

from typing import Any

import keras

from keras_cam.errors import InvalidOptionError, UnsupportedModelError
from keras_cam.graph.operations import is_layer
from keras_cam.graph.program import Program
from keras_cam.model.feature_maps import inputs_behind


def of_one_input(program: Program, slots: list[int], image_input: int | str | None) -> tuple[int, list[int]]:
    """The slot of the input to explain, and those of the feature maps that are made from it."""
    sources = {slot: inputs_behind(program, slot) for slot in slots}
    image = _chosen_input(program, image_input, sorted(set().union(*sources.values())))
    return image, [slot for slot in slots if image in sources[slot]]


def check_layer(layer: Any) -> None:
    """Refuse what is neither the name of a layer nor a layer."""
    if not (layer is None or isinstance(layer, (str, keras.layers.Layer))):
        raise InvalidOptionError(
            "layer must be the path or name of a layer, or a layer of the model; several as a list. Received: "
            f"{layer!r}. keras_cam.inspect_model(model) lists them; by its number it is model.layers[number]."
        )


def loss_activation(model: keras.Model) -> str | None:
    """The activation that the loss of a compiled model applies to its logits (`from_logits=True`); None if none."""
    loss = getattr(model, "loss", None)
    if not getattr(loss, "from_logits", False):
        return None
    return "sigmoid" if "Binary" in type(loss).__name__ else "softmax"


def known_activation(model: keras.Model, activation: str) -> str:
    """What makes probabilities of a model's logits: its last activation, or where it has none that of its loss."""
    return loss_activation(model) or activation if activation == "linear" else activation


def check_no_opaque(program: Program) -> None:
    """Say so where the feature maps are out of reach inside a saved graph."""
    for step in program.steps:
        if is_layer(step.operation, {"TFSMLayer"}):
            raise UnsupportedModelError(
                f"{step.path!r} is a TFSMLayer, one opaque operation: the layers of the SavedModel in it are gone. "
                "Explain the original model (a .keras file or its code), or export one with keras_cam.build_cam_model."
            )


def chosen_output(program: Program, output: int | str | None) -> int:
    """The slot of the output to explain: the only one, or the one that is named or numbered."""
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
        return next((slot for slot in images if len(program.shape(slot)) > 2), images[0])  # a text is no image
    index = names.index(image_input) if image_input in names else image_input
    if not isinstance(index, int) or not 0 <= index < len(names) or program.inputs[index] not in images:
        known = ", ".join(f"{program.inputs.index(slot)}: {program.specs[slot].name!r}" for slot in images)
        raise InvalidOptionError(
            f"No feature map of model {program.name!r} is made from input {image_input!r}. Choose one of {known}."
        )
    return program.inputs[index]
