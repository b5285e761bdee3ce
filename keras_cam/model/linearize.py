"""Replay a head with its non-linearities frozen, so that it is affine for the image at hand.

A gate (ReLU, hard-swish, a sigmoid that scales channels) is read as its input times a constant, a normaliser's divisor
as a constant, a maximum as a choice already made. The replayed head gives the same logits and is affine, so that its
gradient times the features, summed, plus its value at zero is the logit, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from keras import ops

from keras_cam.graph.operations import (
    Trait,
    activation_of,
    has_trait,
    is_elementwise,
    is_gate,
    is_layer,
    is_maximum,
    is_root_or_power,
    passes_through,
)
from keras_cam.graph.program import Step, call_step, run
from keras_cam.model.cut import Cut

Tensor = Any
TINY = 1e-6  # below this a(u) - a(0) is rounding, and the non-linearity taken as constant


def run_linearized(
    cut: Cut, values: Mapping[int, Tensor], frozen: list[Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Run the head with its non-linearities frozen.

    Args:
        cut: the model, cut.
        values: value per slot for the head_inputs of the feature maps and the side_inputs of the cut.
        frozen: the constants of an earlier replay, to use instead of those of the given values.

    Returns:
        `(logits, frozen)`: the logits as the model gives them, and the constants.
    """
    used: list[Tensor] = []
    given: Iterator[Tensor] | None = None if frozen is None else iter(frozen)
    head_slots = cut.head_slots

    def freeze(compute: Callable[[], Tensor]) -> Tensor:
        used.append(ops.stop_gradient(compute()) if given is None else next(given))
        return used[-1]

    def call(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = step.operation
        if is_elementwise(operation) or is_root_or_power(step):
            return _elementwise(step, args, kwargs, freeze)
        if has_trait(operation, Trait.NORMALIZATION):
            return _normalizer(operation, args[0], freeze)
        if is_maximum(operation):
            return _maximum(operation, args[0], freeze)
        if has_trait(operation, Trait.CHOICE):
            return _choice(step, args, freeze)
        if is_gate(step, head_slots):
            return _gate(step, cut, args, freeze)
        return call_step(step, args, kwargs)

    return run(cut.steps, values, call)[cut.logits], used


Freeze = Callable[[Callable[[], Tensor]], Tensor]


def _elementwise(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """a(u) as a(0) + u * slope, with slope = (a(u) - a(0)) / u frozen."""
    inputs, *rest = args
    at_zero = step.operation(ops.zeros_like(inputs), *rest, **kwargs)

    def slope() -> Tensor:
        is_small = ops.logical_and(at_zero != 0, ops.abs(inputs) < TINY)  # without a(0) no digits are lost
        is_small = ops.logical_or(inputs == 0, is_small)
        divisor = ops.where(is_small, ops.ones_like(inputs), inputs)
        rise = step.operation(inputs, *rest, **kwargs) - at_zero
        return ops.where(is_small, ops.zeros_like(inputs), rise / divisor)

    return at_zero + inputs * freeze(slope)


def _normalizer(layer: Any, inputs: Tensor, freeze: Freeze) -> Tensor:
    """A normalisation over the channels with its divisor frozen."""
    dtype = layer.compute_dtype
    inputs = ops.cast(inputs, "float32")
    axes = (layer.axis,) if isinstance(layer.axis, int) else tuple(layer.axis)
    if is_layer(layer, {"UnitNormalization"}):
        size = freeze(lambda: ops.rsqrt(ops.maximum(ops.sum(inputs**2, axis=axes, keepdims=True), 1e-24)))
        return ops.cast(inputs * size, dtype)
    centers = is_layer(layer, {"LayerNormalization"}) and not getattr(layer, "rms_scaling", False)
    if centers:
        inputs = inputs - ops.mean(inputs, axis=axes, keepdims=True)
    size = freeze(lambda: ops.rsqrt(ops.mean(inputs**2, axis=axes, keepdims=True) + layer.epsilon))
    outputs = inputs * size
    axes = tuple(axis % len(inputs.shape) for axis in axes)
    shape = [inputs.shape[axis] if axis in axes else 1 for axis in range(len(inputs.shape))]
    scale = layer.scale if is_layer(layer, {"RMSNormalization"}) else layer.gamma
    if scale is not None:
        outputs = outputs * ops.reshape(ops.cast(scale, "float32"), shape)
    if getattr(layer, "beta", None) is not None:
        outputs = outputs + ops.reshape(ops.cast(layer.beta, "float32"), shape)
    return ops.cast(outputs, dtype)


def _maximum(operation: Any, inputs: Tensor, freeze: Freeze) -> Tensor:
    """A maximum over some axes as the average over the positions that hold it, frozen."""
    rank = len(inputs.shape)
    if has_trait(operation, Trait.GLOBAL_MAXIMUM):
        axes = tuple(range(2, rank)) if operation.data_format == "channels_first" else tuple(range(1, rank - 1))
    else:
        axes = operation.axis

    def share() -> Tensor:
        highest = ops.cast(inputs == ops.max(inputs, axis=axes, keepdims=True), inputs.dtype)
        return highest / ops.sum(highest, axis=axes, keepdims=True)

    return ops.sum(inputs * freeze(share), axis=axes, keepdims=operation.keepdims)


def _choice(step: Step, args: tuple[Any, ...], freeze: Freeze) -> Tensor:
    """The larger (or smaller) of several as the average of those that are it, frozen."""
    parts = list(args[0]) if isinstance(args[0], (list, tuple)) else list(args)

    def share(part: Tensor) -> Tensor:
        chosen = step.operation(*args)
        is_it = [ops.cast(ops.equal(one, chosen), chosen.dtype) for one in (part, *parts)]
        return is_it[0] / sum(is_it[1:])

    return sum(part * freeze(partial(share, part)) for part in parts)


def _gate(step: Step, cut: Cut, args: tuple[Any, ...], freeze: Freeze) -> Tensor:
    """A product or quotient of two things that the features decide, one of them frozen."""
    one, other = args[0] if isinstance(args[0], (list, tuple)) else args
    if has_trait(step.operation, Trait.DIVISION):
        return one * freeze(lambda: 1 / other)
    return one * freeze(lambda: other) if _which_gates(step, cut) else other * freeze(lambda: one)


def _which_gates(step: Step, cut: Cut) -> int:
    """Which of two factors is the gate: what comes out of a bounded activation, else the smaller, else the second."""
    bounded = [_comes_from_bounded(slot, cut) for slot in step.inputs]
    if bounded[0] != bounded[1]:
        return bounded.index(True)
    sizes = [sum(length != 1 for length in cut.program.shape(slot)) for slot in step.inputs]
    return 0 if sizes[0] < sizes[1] else 1


def _comes_from_bounded(slot: int, cut: Cut) -> bool:
    while (step := cut.program.producer(slot)) is not None and len(step.inputs) == 1:
        name = activation_of(step.operation)
        if name in ("sigmoid", "hard_sigmoid", "softmax", "tanh"):
            return True
        if name != "linear" and not passes_through(step.operation):
            return False
        slot = step.inputs[0]
    return False
