"""Slopes of scores by the image, through the whole model: plain, guided, and with what every bias adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers, ops

from keras_cam.backend import gradient
from keras_cam.network import Network, by_class, infer, per_class
from keras_cam.operations import activation_of, is_activation, is_affine
from keras_cam.places import channels_first, has_place
from keras_cam.program import Program, Step, call_step, needed_for
from keras_cam.rewrite import with_activations_apart

Tensor = Any
RECTIFIERS = ("relu", "relu6")


def image_slopes(network: Network, inputs: Sequence[Tensor], weights: Tensor, *, guided: bool = False) -> Tensor:
    """Gradient of weighted scores by the image.

    Args:
        network: the model.
        inputs: the inputs of the model.
        weights: (N, C, classes), as for `Network`.
        guided: True lets a ReLU pass back only what is positive both ways (Springenberg et al. 2014, arXiv 1412.6806).

    Returns:
        float32 (N, C, H, W, K).
    """
    program = _apart(network) if guided else network.program
    steps = needed_for([network.cut.logits], program.steps)
    inputs, flat = per_class(inputs, weights)
    values = dict(zip(program.inputs, inputs, strict=True))

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        given = {**values, network.image_slot: points[0]}
        (logits,) = infer(steps, given, [network.cut.logits], _guided if guided else call_step)
        return ops.sum(network.head.scores(logits) * flat), []

    (slope,), _ = gradient(total, [values[network.image_slot]])
    return by_class(_last(slope, network.channels_first), weights)


def has_rectifiers(network: Network) -> bool:
    """Whether the model has a ReLU that guided backpropagation could guide."""
    return any(activation_of(step.operation) in RECTIFIERS for step in network.program.steps)


def score_parts(network: Network, inputs: Sequence[Tensor], weights: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What the pixels and the biases add to weighted scores (Srinivas and Fleuret 2019, arXiv 1905.00780).

    A layer's bias is what it makes of zeros. For a model of affine layers, ReLUs and maxima all parts together, with
    those of biases behind the pooling, are the score.

    Args:
        network: the model.
        inputs: the inputs of the model.
        weights: (N, C, classes), as for `Network`.

    Returns:
        Image x gradient (N, C, H, W, K), and for every affine layer with a place its bias x gradient (N, C, h, w, k).
    """
    program = _apart(network)
    steps = needed_for([network.cut.logits], program.steps)
    seen = program.steps_between([network.image_slot], network.cut.logits)
    biased = {step.outputs[0]: step for step in seen if _adds_bias(program, step)}
    inputs, flat = per_class(inputs, weights)
    values = dict(zip(program.inputs, inputs, strict=True))
    sources = [step.inputs[0] for step in biased.values()]
    read = infer(steps, values, sources)
    biases = [call_step(step, (ops.zeros_like(one),), {}) for step, one in zip(biased.values(), read, strict=True)]

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        shifts = dict(zip(biased, points[1:], strict=True))

        def shifted(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            result = call_step(step, args, kwargs)
            return result + shifts[step.outputs[0]] if step.outputs[0] in shifts else result

        (logits,) = infer(steps, {**values, network.image_slot: points[0]}, [network.cut.logits], shifted)
        return ops.sum(network.head.scores(logits) * flat), []

    image = values[network.image_slot]
    (slope, *slopes), _ = gradient(total, [image, *map(ops.zeros_like, biases)])
    parts = [
        by_class(_last(bias * one, channels_first(program, slot)), weights)
        for slot, bias, one in zip(biased, biases, slopes, strict=True)
    ]
    return by_class(_last(image * slope, network.channels_first), weights), parts


def _apart(network: Network) -> Program:
    """The program with every activation as a step of its own."""
    return with_activations_apart(network.program, [network.image_slot], network.cut.logits)


def _guided(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not is_activation(step.operation) or activation_of(step.operation) not in RECTIFIERS:
        return call_step(step, args, kwargs)

    def rectified(values: Tensor) -> tuple[Tensor, Any]:
        def slope(*received: Tensor, upstream: Tensor | None = None) -> Tensor:
            back = received[0] if upstream is None else upstream
            highest = 6.0 if activation_of(step.operation) == "relu6" else float("inf")
            passes = ops.logical_and(values > 0, values < highest)
            return ops.where(passes, ops.relu(back), ops.zeros_like(back))

        return call_step(step, (values,), kwargs), slope

    return ops.custom_gradient(rectified)(args[0])


def _adds_bias(program: Program, step: Step) -> bool:
    """Whether a step is an affine layer of one input with weights and a place."""
    is_one = isinstance(step.operation, layers.Layer) and bool(step.operation.weights) and len(step.inputs) == 1
    return is_one and has_place(program, step.outputs[0]) and is_affine(step, set(step.inputs))


def _last(tensor: Tensor, first: bool) -> Tensor:
    return ops.cast(ops.moveaxis(tensor, 1, -1) if first else tensor, "float32")
