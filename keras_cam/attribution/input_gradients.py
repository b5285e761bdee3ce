"""Gradients of scores by the image, through the whole model: plain, guided, and with what every bias adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_cam.attribution.cut_model import CutModel, by_class, infer, per_class
from keras_cam.attribution.feature_layout import to_grid
from keras_cam.backend import gradient
from keras_cam.graph.operations import activation_of, is_activation, is_affine, is_layer
from keras_cam.graph.program import Program, Step, ancestors_of, call_step
from keras_cam.graph.rewrite import open_first_unknown, split_head_activations
from keras_cam.graph.spatial import channels_first, is_spatial, tokens_of
from keras_cam.model.feature_maps import FeatureMap

Tensor = Any
NORMALIZATION = {"Normalization", "Rescaling"}  # adds a number without having it as a weight


def image_gradients(cut_model: CutModel, inputs: Sequence[Tensor], weights: Tensor, *, guided: bool = False) -> Tensor:
    """Gradient of weighted scores by the image.

    Args:
        cut_model: the model.
        inputs: the inputs of the model.
        weights: (N, C, classes), as for `CutModel`.
        guided: True lets a ReLU pass back only what is positive both ways (Springenberg et al. 2014, arXiv 1412.6806).

    Returns:
        float32 (N, C, H, W, K).
    """
    program = _split_program(cut_model) if guided else cut_model.program
    steps = ancestors_of([cut_model.cut.logits], program.steps)
    values, flat_weights = _values_per_class(cut_model, inputs, weights)

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        given = {**values, cut_model.image_slot: points[0]}
        (logits,) = infer(steps, given, [cut_model.cut.logits], _guided if guided else call_step)
        return ops.sum(cut_model.head.scores(logits) * flat_weights), []

    (by_image,), _ = gradient(total, [values[cut_model.image_slot]], cut_model.head.gradient_scale)
    return by_class(_image_channels_last(cut_model, by_image), weights)


def has_rectifiers(cut_model: CutModel) -> bool:
    """Whether the model has a ReLU that guided backpropagation could guide."""
    return any(_rectified_range(step.operation) is not None for step in _split_program(cut_model).steps)


def input_and_bias_gradients(
    cut_model: CutModel, inputs: Sequence[Tensor], weights: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """What the pixels and the biases add to weighted scores (Srinivas and Fleuret 2019, arXiv 1905.00780).

    A layer's bias is what it makes of zeros. For a model of affine layers, ReLUs and maxima all parts together, with
    those of biases behind the pooling, are the score.

    Args:
        cut_model: the model.
        inputs: the inputs of the model.
        weights: (N, C, classes), as for `CutModel`.

    Returns:
        Image x gradient (N, C, H, W, K), and for every affine layer that is spatial its bias x gradient
        (N, C, h, w, k): tokens in rows and columns, without prefix.
    """
    program = _split_program(cut_model)
    steps = ancestors_of([cut_model.cut.logits], program.steps)
    values, flat_weights = _values_per_class(cut_model, inputs, weights)

    # The layers that add a bias, and what each adds.
    biased = _biased_layers(cut_model, program)
    biases = _biases_of([step for step, _ in biased.values()], steps, values)

    # The gradient by a bias is that by a shift, of zero, behind its layer.
    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        shifts = dict(zip(biased, points[1:], strict=True))

        def shifted(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            result = call_step(step, args, kwargs)
            return result + shifts[step.outputs[0]] if step.outputs[0] in shifts else result

        given = {**values, cut_model.image_slot: points[0]}
        (logits,) = infer(steps, given, [cut_model.cut.logits], shifted)
        return ops.sum(cut_model.head.scores(logits) * flat_weights), []

    image = values[cut_model.image_slot]
    zeros = [ops.repeat(ops.zeros_like(bias), ops.shape(image)[0], axis=0) for bias in biases]
    (by_image, *by_shifts), _ = gradient(total, [image, *zeros], cut_model.head.gradient_scale)

    # Each value times its gradient, classes apart.
    parts = [
        by_class(to_grid(feature, ops.cast(bias, by_shift.dtype) * by_shift), weights)
        for (_, feature), bias, by_shift in zip(biased.values(), biases, by_shifts, strict=True)
    ]
    product = ops.cast(image, by_image.dtype) * by_image
    return by_class(_image_channels_last(cut_model, product), weights), parts


def _values_per_class(
    cut_model: CutModel, inputs: Sequence[Tensor], weights: Tensor
) -> tuple[dict[int, Tensor], Tensor]:
    """The inputs by slot and the weights, for each class; an image of integers, which has no gradient, in float32."""
    inputs, flat_weights = per_class(inputs, weights)
    values = dict(zip(cut_model.program.inputs, inputs, strict=True))
    image = values[cut_model.image_slot]
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(image.dtype)):
        values[cut_model.image_slot] = ops.cast(image, "float32")
    return values, flat_weights


def _split_program(cut_model: CutModel) -> Program:
    """The program with custom layers taken apart where that can be, and every activation as a step of its own."""
    # A ReLU or a bias inside a custom layer is out of reach until that is opened.
    program, image, logits = cut_model.program, [cut_model.image_slot], cut_model.cut.logits
    while (opened := open_first_unknown(program, image, logits)) is not None:
        program = opened
    return split_head_activations(program, image, logits)


def _biased_layers(cut_model: CutModel, program: Program) -> dict[int, tuple[Step, FeatureMap]]:
    """The spatial layers between image and scores that may add a bias, by the slot of their output."""
    rank = len(program.shape(cut_model.image_slot))
    found = {}
    for step in program.steps_between([cut_model.image_slot], cut_model.cut.logits):
        feature = _as_feature_map(program, step.outputs[0], rank) if _adds_bias(step) else None
        if feature is not None:
            found[feature.slot] = step, feature
    return found


def _biases_of(layer_steps: Sequence[Step], steps: Sequence[Step], values: Mapping[int, Tensor]) -> list[Tensor]:
    """What layers make of zeros, once for all images; the first image is run for the shapes of these zeros."""
    sources = [step.inputs[0] for step in layer_steps]
    # A layer that is affine gives its bias alone for zeros, whatever the image.
    first = {slot: value[:1] for slot, value in values.items()}
    tensors = infer(ancestors_of(sources, steps), first, sources)
    return [call_step(step, (ops.zeros_like(tensor),), {}) for step, tensor in zip(layer_steps, tensors, strict=True)]


def _guided(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a step; of a ReLU with a gradient that passes back only what is positive both ways."""
    limits = _rectified_range(step.operation)
    if limits is None or not is_activation(step.operation):
        return call_step(step, args, kwargs)

    def rectified(values: Tensor) -> tuple[Tensor, Any]:
        # Keras gives the upstream gradient by keyword on torch, beside the arguments, and alone elsewhere.
        def pass_back(*received: Tensor, upstream: Tensor | None = None) -> Tensor:
            back = received[0] if upstream is None else upstream
            passes = ops.logical_and(values > limits[0], values < limits[1])
            return ops.where(passes, ops.relu(back), ops.zeros_like(back))

        return call_step(step, (values,), kwargs), pass_back

    return ops.custom_gradient(rectified)(args[0])


def _rectified_range(operation: Any) -> tuple[float, float] | None:
    """Between which values a ReLU hands on what it gets; None for what is no ReLU, or a leaky one."""
    name = activation_of(operation)
    if name == "relu6":
        return 0.0, 6.0
    # A slope below zero lets everything pass back, guided or not.
    if name != "relu" or getattr(operation, "negative_slope", False):
        return None
    highest = getattr(operation, "max_value", None)
    return float(getattr(operation, "threshold", 0.0)), float("inf") if highest is None else float(highest)


def _adds_bias(step: Step) -> bool:
    """Whether a step is an affine layer of one input that may add something."""
    if len(step.inputs) != 1 or not isinstance(step.operation, layers.Layer):
        return False
    # Normalization and Rescaling hold what they add as attributes.
    adds = bool(step.operation.weights) or is_layer(step.operation, NORMALIZATION)
    return adds and is_affine(step, set(step.inputs))


def _as_feature_map(program: Program, slot: int, rank: int) -> FeatureMap | None:
    """A tensor as a feature map of an image of this rank; None where it is not spatial."""
    if not is_spatial(program, slot):
        return None
    if len(program.shape(slot)) == rank:
        return FeatureMap(slot, slot, "", channels_first(program, slot), None)
    # Of another rank than the image: tokens, which have a grid or are left out.
    tokens = tokens_of(program, slot)
    return FeatureMap(slot, slot, "", False, tokens) if tokens and tokens[1] and tokens[2] else None


def _image_channels_last(cut_model: CutModel, tensor: Tensor) -> Tensor:
    """What has the layout of the image input, as float32 with its channels last."""
    return ops.cast(ops.moveaxis(tensor, 1, -1) if cut_model.channels_first else tensor, "float32")
