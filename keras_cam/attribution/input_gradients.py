"""Gradients of scores by the image, through the whole model: plain, guided, and with what every bias adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_cam.attribution.cut_model import CutModel, by_class, infer, per_class
from keras_cam.backend import gradient
from keras_cam.graph.descent import places_in
from keras_cam.graph.operations import activation_of, is_activation, is_affine, is_layer
from keras_cam.graph.program import Program, Step, ancestors_of, call_step
from keras_cam.graph.rewrite import open_first_unknown, split_head_activations
from keras_cam.model.layout import layout_in

Tensor = Any
NORMALIZATION = {"Normalization", "Rescaling"}  # adds a number without having it as a weight


def image_gradients(network: CutModel, inputs: Sequence[Tensor], weights: Tensor, *, guided: bool = False) -> Tensor:
    """Gradient of weighted scores by the image.

    Args:
        network: the model.
        inputs: the inputs of the model.
        weights: (N, C, classes), as for `CutModel`.
        guided: True lets a ReLU pass back only what is positive both ways (Springenberg et al. 2014, arXiv 1412.6806).

    Returns:
        float32 (N, C, H, W, K).
    """
    program = _apart(network) if guided else network.program
    steps = ancestors_of([network.cut.logits], program.steps)
    values, flat = _values(network, inputs, weights)

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        given = {**values, network.image_slot: points[0]}
        (logits,) = infer(steps, given, [network.cut.logits], _guided if guided else call_step)
        return ops.sum(network.head.scores(logits) * flat), []

    (by_image,), _ = gradient(total, [values[network.image_slot]], network.head.gradient_scale)
    return by_class(_last(by_image, network.channels_first), weights)


def has_rectifiers(network: CutModel) -> bool:
    """Whether the model has a ReLU that guided backpropagation could guide."""
    return any(_rectified_range(step.operation) is not None for step in _apart(network).steps)


def input_and_bias_gradients(
    network: CutModel, inputs: Sequence[Tensor], weights: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """What the pixels and the biases add to weighted scores (Srinivas and Fleuret 2019, arXiv 1905.00780).

    A layer's bias is what it makes of zeros. For a model of affine layers, ReLUs and maxima all parts together, with
    those of biases behind the pooling, are the score.

    Args:
        network: the model.
        inputs: the inputs of the model.
        weights: (N, C, classes), as for `CutModel`.

    Returns:
        Image x gradient (N, C, H, W, K), and for every affine layer with a place in the image its bias x gradient
        (N, C, h, w, k): tokens in rows and columns, without prefix.
    """
    program = _apart(network)
    steps = ancestors_of([network.cut.logits], program.steps)
    seen = program.steps_between([network.image_slot], network.cut.logits)
    places = places_in(program, network.image_slot)
    biased = {
        step.outputs[0]: (step, layout_in(places, step.outputs[0], program.shape(step.outputs[0])))
        for step in seen
        if _adds_bias(step) and places.is_spatial(step.outputs[0])
    }
    values, flat = _values(network, inputs, weights)
    sources = [step.inputs[0] for step, _ in biased.values()]
    read = infer(ancestors_of(sources, steps), {slot: value[:1] for slot, value in values.items()}, sources)
    biases = [call_step(step, (ops.zeros_like(one),), {}) for (step, _), one in zip(biased.values(), read, strict=True)]

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        shifts = dict(zip(biased, points[1:], strict=True))

        def shifted(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            result = call_step(step, args, kwargs)
            return result + shifts[step.outputs[0]] if step.outputs[0] in shifts else result

        (logits,) = infer(steps, {**values, network.image_slot: points[0]}, [network.cut.logits], shifted)
        return ops.sum(network.head.scores(logits) * flat), []

    image = values[network.image_slot]
    zeros = [ops.repeat(ops.zeros_like(bias), ops.shape(image)[0], axis=0) for bias in biases]
    (by_image, *by_bias), _ = gradient(total, [image, *zeros], network.head.gradient_scale)
    parts = [
        by_class(layout.to_grid(ops.cast(bias, one.dtype) * one), weights)
        for (_, layout), bias, one in zip(biased.values(), biases, by_bias, strict=True)
    ]
    return by_class(_last(ops.cast(image, by_image.dtype) * by_image, network.channels_first), weights), parts


def _values(network: CutModel, inputs: Sequence[Tensor], weights: Tensor) -> tuple[dict[int, Tensor], Tensor]:
    """The inputs by slot and the weights, for each class; an image of integers, which has no gradient, in float32."""
    inputs, flat = per_class(inputs, weights)
    values = dict(zip(network.program.inputs, inputs, strict=True))
    image = values[network.image_slot]
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(image.dtype)):
        values[network.image_slot] = ops.cast(image, "float32")
    return values, flat


def _apart(network: CutModel) -> Program:
    """The program with custom layers taken apart where that can be, and every activation as a step of its own."""
    program, image, logits = network.program, [network.image_slot], network.cut.logits
    while (opened := open_first_unknown(program, image, logits)) is not None:
        program = opened
    return split_head_activations(program, image, logits)


def _guided(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    limits = _rectified_range(step.operation)
    if limits is None or not is_activation(step.operation):
        return call_step(step, args, kwargs)

    def rectified(values: Tensor) -> tuple[Tensor, Any]:
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
    if name != "relu" or getattr(operation, "negative_slope", False):
        return None
    highest = getattr(operation, "max_value", None)
    return float(getattr(operation, "threshold", 0.0)), float("inf") if highest is None else float(highest)


def _adds_bias(step: Step) -> bool:
    """Whether a step is an affine layer of one input that may add something."""
    if len(step.inputs) != 1 or not isinstance(step.operation, layers.Layer):
        return False
    adds = bool(step.operation.weights) or is_layer(step.operation, NORMALIZATION)
    return adds and is_affine(step, set(step.inputs))


def _last(tensor: Tensor, first: bool) -> Tensor:
    return ops.cast(ops.moveaxis(tensor, 1, -1) if first else tensor, "float32")
