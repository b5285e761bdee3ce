"""Replay a head with its non-linearities frozen, so that it is affine for the image at hand.

A gate (ReLU, hard-swish, a sigmoid that scales channels) is read as its input times a constant, a normaliser's divisor
as a constant, a maximum as a choice already made. The replayed head gives the same logits and is affine, so that its
gradient times the features, summed, plus its value at zero is the logit, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from keras import ops

from keras_cam.backend import gradient
from keras_cam.graph.gates import gate_of
from keras_cam.graph.keras_internals import alias
from keras_cam.graph.operations import (
    Trait,
    has_trait,
    is_affine,
    is_elementwise,
    is_gate,
    is_layer,
    is_maximum,
    is_operation,
    is_root_or_power,
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
        values: value per slot for the head inputs of the feature maps and the side inputs of the cut.
        frozen: the constants of an earlier run, to use instead of those of the given values.

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
        rule = _rule_of(step, head_slots)
        return call_step(step, args, kwargs) if rule is None else rule(step, cut, args, kwargs, freeze)

    return run(cut.steps, values, call)[cut.logits], used


def _rule_of(step: Step, head_slots: set[int]) -> Rule | None:
    """How a step is made affine in what the features decide; None where it is so already, or cannot be."""
    operation = step.operation
    decided = [slot for slot in step.inputs if slot in head_slots]
    if not decided or (is_affine(step, head_slots) and not is_root_or_power(step)):
        return None
    if is_elementwise(operation) or is_root_or_power(step):
        return _elementwise
    if has_trait(operation, Trait.NORMALIZATION):
        return _normalizer
    if is_maximum(operation):
        return _maximum
    if has_trait(operation, Trait.CHOICE):
        return _choice
    if is_gate(step, head_slots):
        return _gate
    if is_layer(operation, {"Dot"}) and operation.normalize:
        return _cosine
    if has_trait(operation, Trait.BILINEAR) and len(decided) > 1:
        return _product
    name = type(operation).__name__
    return OPERATION_RULES.get(name) if is_operation(operation, OPERATION_RULES) else None


Freeze = Callable[[Callable[[], Tensor]], Tensor]


Rule = Callable[[Step, Cut, tuple[Any, ...], dict[str, Any], Freeze], Tensor]


def _elementwise(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
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


def _normalizer(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """A normalisation over the channels with its divisor frozen."""
    layer, inputs = step.operation, args[0]
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


def _maximum(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """A maximum over some axes as the average over the positions that hold it, frozen."""
    operation, inputs = step.operation, args[0]
    rank = len(inputs.shape)
    if has_trait(operation, Trait.GLOBAL_MAXIMUM):
        axes = tuple(range(2, rank)) if operation.data_format == "channels_first" else tuple(range(1, rank - 1))
    else:
        axes = operation.axis

    def share() -> Tensor:
        highest = ops.cast(inputs == ops.max(inputs, axis=axes, keepdims=True), inputs.dtype)
        return highest / ops.sum(highest, axis=axes, keepdims=True)

    return ops.sum(inputs * freeze(share), axis=axes, keepdims=operation.keepdims)


def _choice(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """The larger (or smaller) of several as the average of those that are it, frozen."""
    parts = list(args[0]) if isinstance(args[0], (list, tuple)) else list(args)

    def share(part: Tensor) -> Tensor:
        chosen = step.operation(*args)
        is_it = [ops.cast(ops.equal(one, chosen), chosen.dtype) for one in (part, *parts)]
        return is_it[0] / sum(is_it[1:])

    return sum(part * freeze(partial(share, part)) for part in parts)


def _gate(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """A product or quotient of two things that the features decide, one of them frozen."""
    one, other = args[0] if isinstance(args[0], (list, tuple)) else args
    if has_trait(step.operation, Trait.DIVISION):
        return one * freeze(lambda: 1 / other)
    return one * freeze(lambda: other) if _gate_of(step, cut) else other * freeze(lambda: one)


def _product(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """A sum of products of two things that the features decide, one of them frozen."""
    is_list = isinstance(args[0], (list, tuple))  # as layers take several
    one, other = args[0] if is_list else args[:2]
    pair = [freeze(lambda: one), other] if _gate_of(step, cut) == 0 else [one, freeze(lambda: other)]
    return call_step(step, (pair, *args[1:]) if is_list else (*pair, *args[2:]), kwargs)


def _cosine(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """A product of two vectors of length one, as that of `_product` with their sizes frozen."""
    axes = step.operation.axes
    pair = []
    for tensor, axis in zip(args[0], (axes, axes) if isinstance(axes, int) else axes, strict=True):
        size = freeze(partial(_inverse_size, tensor, axis))
        pair.append(tensor * size)
    plain = replace(step, operation=alias(step.operation, step.operation.name, normalize=False))
    if all(slot in cut.head_slots for slot in step.inputs):
        return _product(plain, cut, (pair,), kwargs, freeze)
    return call_step(plain, (pair,), kwargs)


def _inverse_size(tensor: Tensor, axis: int) -> Tensor:
    return ops.rsqrt(ops.maximum(ops.sum(tensor**2, axis=axis, keepdims=True), 1e-12))


def _norm(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """A size that doubles with its input, as the input times its gradient, frozen: a norm, a standard deviation."""
    inputs = args[0]

    def by_input() -> Tensor:
        (gradients,), _ = gradient(
            lambda points: (ops.sum(call_step(step, (points[0], *args[1:]), kwargs)), []), [inputs]
        )
        return ops.where(ops.isfinite(gradients), gradients, ops.zeros_like(gradients))  # a size of zero has none

    operation = step.operation
    axes = getattr(operation, "axis", None)
    rank = len(inputs.shape)
    axes = tuple(range(rank)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    return ops.sum(inputs * freeze(by_input), axis=axes, keepdims=bool(getattr(operation, "keepdims", False)))


def _attention(step: Step, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], freeze: Freeze) -> Tensor:
    """Attention with its weights frozen, and its values live: queries and keys are what the weights are made of."""
    query, key, value, *others = args
    return call_step(step, (freeze(lambda: query), freeze(lambda: key), value, *others), kwargs)


def _gate_of(step: Step, cut: Cut) -> int:
    return gate_of(step, cut.program, cut.places().by_slot)


OPERATION_RULES: dict[str, Rule] = {"Norm": _norm, "Std": _norm, "DotProductAttention": _attention}
