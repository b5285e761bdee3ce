"""Gates: which of two factors of a product is taken as given, and which is what it lets through."""

from __future__ import annotations

from collections.abc import Container

from keras_cam.graph.operations import (
    Trait,
    activation_of,
    has_trait,
    is_layer,
    is_operation,
    only_rearranges,
    passes_through,
)
from keras_cam.graph.program import Program, Step

BOUNDED = ("sigmoid", "hard_sigmoid", "softmax", "tanh")


def is_product(step: Step) -> bool:
    """Whether a step multiplies two tensors, number by number or summed up."""
    multiplies = is_layer(step.operation, {"Multiply"}) or has_trait(step.operation, Trait.BILINEAR)
    return multiplies and len(step.inputs) == 2


def gate_of(step: Step, program: Program, placed: Container[int]) -> int:
    """Which of the two factors of a product is the gate.

    What comes out of a bounded activation, such as weights of attention; else what has no place in the image; else the
    smaller one; else the second.

    Args:
        step: a product.
        program: whose step it is.
        placed: the slots that have a place.

    Returns:
        0 or 1.
    """
    bounded = [_comes_from_bounded(slot, program) for slot in step.inputs]
    if bounded[0] != bounded[1]:
        return bounded.index(True)
    has_place = [slot in placed for slot in step.inputs]
    if has_place[0] != has_place[1]:
        return has_place.index(False)
    sizes = [sum(length != 1 for length in program.shape(slot)) for slot in step.inputs]
    return 0 if sizes[0] < sizes[1] else 1


def _comes_from_bounded(slot: int, program: Program) -> bool:
    while (step := program.producer(slot)) is not None and len(step.inputs) == 1:
        name = activation_of(step.operation)
        if name in BOUNDED or is_operation(step.operation, {"Rsqrt", "Reciprocal"}):
            return True
        if name != "linear" and not passes_through(step.operation) and not only_rearranges(step.operation):
            return False
        slot = step.inputs[0]
    return False
