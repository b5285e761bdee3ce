"""Maps stretched to another size in a compiled graph, at any rank: one small matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

Tensor = Any


def stretch(maps: Tensor, sizes: Sequence[Any], first_axis: int) -> Tensor:
    """Stretch maps linearly over their last or middle axes: half-pixel centres, edges repeated.

    Args:
        maps: float32 tensor.
        sizes: the new lengths (numbers or scalar tensors), one per axis.
        first_axis: the first axis to stretch; the others follow it.

    Returns:
        The stretched maps.
    """
    for axis, size in enumerate(sizes, start=first_axis):
        shares = _shares(ops.shape(maps)[axis], size)
        maps = ops.moveaxis(ops.tensordot(maps, shares, axes=[[axis], [0]]), -1, axis)
    return maps


def _shares(before: Any, after: Any) -> Tensor:
    """(before, after): how much of each old sample is in each new one."""
    step = ops.cast(before, "float32") / ops.cast(after, "float32")
    places = (ops.arange(after, dtype="float32") + 0.5) * step - 0.5
    places = ops.clip(places, 0.0, ops.cast(before, "float32") - 1)
    away = ops.abs(places[None] - ops.arange(before, dtype="float32")[:, None])
    return ops.maximum(1 - away, 0.0)
