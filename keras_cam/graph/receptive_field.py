"""Receptive fields: where cells lie along one axis of the image, and how windows, pads and resizings move them.

A cell's centre in pixels of the image is `offset + stride * index`. A window of size k (dilation included) and stride s
with p cells of padding before it moves `offset += stride * ((k - 1) / 2 - p)`, and then `stride *= s`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

NEIGHBOURS = {"nearest": 0, "bilinear": 1, "bicubic": 3, "lanczos3": 5, "lanczos5": 9}  # of a cell, read besides it


@dataclass(frozen=True)
class Axis:
    """Where cells lie along one axis of the image: centre = offset + stride * index, in input pixels.

    Attributes:
        length: number of cells.
        offset: centre of the first cell.
        stride: from one centre to the next; negative where the image is mirrored.
        field: length of what a cell sees.
        spread: how far apart the centres are by the branches that meet in a cell.
    """

    length: int
    offset: float = 0.0
    stride: float = 1.0
    field: float = 1.0
    spread: float = 0.0


def window(axis: Axis, size: int, step: int, padding: str) -> Axis:
    """Cells that each see `size` cells (dilation included), `step` cells apart."""
    if padding == "valid":
        length, before = (axis.length - size) // step + 1, 0
    elif padding == "causal":
        length, before = -(-axis.length // step), size - 1
    else:
        length = -(-axis.length // step)
        before = max((length - 1) * step + size - axis.length, 0) // 2
    return replace(
        axis,
        length=length,
        offset=axis.offset + axis.stride * ((size - 1) / 2 - before),
        stride=axis.stride * step,
        field=axis.field + abs(axis.stride) * (size - 1),
    )


def transposed_window(axis: Axis, size: int, step: int, padding: str) -> Axis:
    """The way back of the window that would make these cells of those that come out."""
    is_same = padding == "same"
    length = axis.length * step if is_same else axis.length * step + max(size - step, 0)
    before = max(size - step, 0) // 2 if is_same else 0
    stride = axis.stride / step
    return Axis(
        length,
        axis.offset + stride * (before - (size - 1) / 2),
        stride,
        axis.field + abs(axis.stride) * (math.ceil(size / step) - 1),
        axis.spread,
    )


def shifted(axis: Axis, first: int, more: int) -> Axis:
    """Cells that begin at number `first`, and `more` of them than before: padding and cropping."""
    return replace(axis, length=axis.length + more, offset=axis.offset + axis.stride * first)


def sliced(axis: Axis, kept: range) -> Axis:
    """The cells of these numbers; a range that runs backwards mirrors them."""
    return replace(
        axis, length=len(kept), offset=axis.offset + axis.stride * kept.start, stride=axis.stride * kept.step
    )


def resized(axis: Axis, length: int, interpolation: str = "nearest", *, antialias: bool = False) -> Axis:
    """Cells resized to another length, half-pixel centres; what is interpolated sees its neighbours too."""
    share = axis.length / length
    neighbours = NEIGHBOURS.get(interpolation, 1)
    reach = (neighbours + 1) * max(share, 1) - 1 if antialias else neighbours
    return replace(
        axis,
        length=length,
        offset=axis.offset + axis.stride * (share - 1) / 2,
        stride=axis.stride * share,
        field=axis.field + abs(axis.stride) * reach * (share != 1),
    )


def blocks(axis: Axis, size: int) -> Axis:
    """Cells joined in blocks of `size`."""
    return window(axis, size, size, "valid")


def widened(axis: Axis, seen: float) -> Axis:
    """The same cells, each of which sees at least so many pixels."""
    return replace(axis, field=max(axis.field, seen))


def merged(axes: Sequence[Axis]) -> Axis:
    """Branches that meet: the mean of their places, and how far these are apart."""
    offsets = [axis.offset for axis in axes]
    return Axis(
        length=max(axis.length for axis in axes),
        offset=sum(offsets) / len(axes),
        stride=sum(axis.stride for axis in axes) / len(axes),
        field=max(axis.field for axis in axes),
        spread=max(max(offsets) - min(offsets), *(axis.spread for axis in axes)),
    )
