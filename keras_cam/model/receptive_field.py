"""What a layer does to where cells lie: a line of cells per spatial axis, moved by windows, pads and merges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keras_cam.graph.operations import Trait, has_trait, is_layer, is_operation, traits_of
from keras_cam.graph.program import Program, Step
from keras_cam.graph.spatial import channels_first, spatial_shape

NEIGHBOURS = {"nearest": 0, "bilinear": 1, "bicubic": 3, "lanczos3": 5, "lanczos5": 9}  # of a cell, read besides it


@dataclass(frozen=True)
class Axis:
    """Where cells lie along one axis of the image: centre = offset + stride * index, in input pixels.

    Attributes:
        length: number of cells.
        offset: centre of the first cell.
        stride: from one centre to the next.
        field: length of what a cell sees.
        spread: how far apart the centres are by the branches that meet in a cell.
    """

    length: int
    offset: float = 0.0
    stride: float = 1.0
    field: float = 1.0
    spread: float = 0.0


class UnknownLayerError(Exception):
    """A layer that moves space in a way that is not known."""


def propagate(step: Step, program: Program, inputs: list[tuple[Axis, ...]]) -> tuple[Axis, ...] | None:
    """The axes after a step; None for an output that has no place (pooled to one cell, flattened).

    Args:
        step: the step.
        program: whose step it is.
        inputs: the axes of each of its spatial inputs.

    Raises:
        UnknownLayerError: a step that moves space in a way that is not known.
    """
    operation, axes = step.operation, inputs[0]
    if is_layer(operation, {"SpectralNormalization"}):
        operation = operation.layer
    # A layer that is known moves the axes by its own rule.
    rule = _rule_of(operation)
    if rule is not None:
        return rule(operation, axes)
    if is_operation(operation, {"GetItem"}):
        return _sliced(step, program, axes)
    # What is left keeps the axes, or has lost them.
    if len(program.shape(step.outputs[0])) != len(axes) + 2:
        return None
    _check_order(step, program)
    if is_operation(operation, {"Transpose"}) or is_layer(operation, {"Permute"}):
        return axes  # the channels alone have moved
    if is_operation(operation, {"Pad"}):
        return _padded_by_operation(step, program, axes)
    spatial = spatial_shape(program, step.outputs[0])
    if all(length == 1 for length in spatial) and not all(axis.length == 1 for axis in axes):
        return None
    if has_trait(operation, Trait.REDUCTION):
        return _reduced(axes, spatial)
    merged = _merged(inputs)
    if all(length in (None, axis.length) for length, axis in zip(spatial, merged, strict=True)):
        return merged
    raise UnknownLayerError(f"{step.path!r} ({type(operation).__name__}) moves space in a way that is not known")


def _rule_of(operation: Any) -> Rule | None:
    traits = traits_of(operation)
    return next((rule for trait, rule in _RULES.items() if trait in traits), None)


def _check_order(step: Step, program: Program) -> None:
    """Raise where a step may put other places into the cells."""
    name = type(step.operation).__name__
    if _reorders(step, program) or _swaps(step.operation):
        raise UnknownLayerError(f"{step.path!r} ({name}) mirrors or swaps places, or picks some")
    if is_layer(step.operation, {"Lambda"}):
        raise UnknownLayerError(f"{step.path!r} (Lambda) holds a function that cannot be read")


def _padded_by_operation(step: Step, program: Program, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    pads = [tuple(pair) for pair in step.operation.pad_width]
    pads = pads[2:] if channels_first(program, step.outputs[0]) else pads[1:-1]
    return _shifted(axes, [(-before, before + after) for before, after in pads])


def _reduced(axes: tuple[Axis, ...], spatial: Sequence[int | None]) -> tuple[Axis, ...]:
    """Axes of which some are reduced to one cell, which sees all of them."""
    pairs = zip(axes, spatial, strict=True)
    return tuple(_window(axis, axis.length, axis.length, "valid") if length == 1 else axis for axis, length in pairs)


def _reorders(step: Step, program: Program) -> bool:
    """Whether an operation may put other places into the cells: along an axis that is not the channels'."""
    if not has_trait(step.operation, Trait.REORDERING):
        return False
    rank = len(program.shape(step.inputs[0]))
    channels = 1 if channels_first(program, step.inputs[0]) else rank - 1
    along = getattr(step.operation, "axis", None)
    along = along if isinstance(along, (tuple, list)) else [along]
    return any(axis is None or axis % rank != channels for axis in along)


def _swaps(operation: Any) -> bool:
    """Whether an operation changes the order of the axes by more than where the channels are."""
    if is_layer(operation, {"Permute"}):
        order = list(operation.dims)
    elif is_operation(operation, {"Transpose"}):
        order = list(operation.axes or ())[1:]
    else:
        return is_operation(operation, {"Swapaxes"})
    first = order.index(min(order)) if order else 0
    return not order or order[first:] + order[:first] != sorted(order)


def _sliced(step: Step, program: Program, axes: tuple[Axis, ...]) -> tuple[Axis, ...] | None:
    """A slice of a map: which rows and columns are left, as Python's own ranges say; None where an axis is gone."""
    key = step.arguments[0][1]
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    rest = [slice(None)] * (len(axes) + 3 - len(parts))
    gap = parts.index(Ellipsis) if Ellipsis in parts else None
    parts = [*parts, *rest[1:]] if gap is None else [*parts[:gap], *rest, *parts[gap + 1 :]]
    parts = parts[2:] if channels_first(program, step.inputs[0]) else parts[1:-1]
    if len(parts) != len(axes) or not all(isinstance(part, slice) for part in parts):
        return None
    kept = [range(axis.length)[part] for axis, part in zip(axes, parts, strict=True)]
    if any(left.step < 0 for left in kept):
        raise UnknownLayerError(f"{step.path!r} (GetItem) mirrors places")
    return tuple(
        replace(axis, length=len(left), offset=axis.offset + axis.stride * left.start, stride=axis.stride * left.step)
        for axis, left in zip(axes, kept, strict=True)
    )


def _window(axis: Axis, size: int, step: int, padding: str) -> Axis:
    """A window of `size` pixels (dilation included) that moves by `step`."""
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
        field=axis.field + axis.stride * (size - 1),
    )


def _convolved(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    sizes = (
        (k - 1) * d + 1 for k, d in zip(_each(layer.kernel_size, axes), _each(layer.dilation_rate, axes), strict=True)
    )
    steps = _each(layer.strides, axes)
    return tuple(_window(axis, k, s, layer.padding) for axis, k, s in zip(axes, sizes, steps, strict=True))


def _pooled(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    sizes, steps = _each(layer.pool_size, axes), _each(layer.strides or layer.pool_size, axes)
    return tuple(_window(axis, k, s, layer.padding) for axis, k, s in zip(axes, sizes, steps, strict=True))


def _adapted(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    wanted = _each(layer.output_size, axes)
    if any(axis.length % length for axis, length in zip(axes, wanted, strict=True)):
        raise UnknownLayerError(f"{layer.name!r} pools windows of different length")
    pairs = [(axis, axis.length // length) for axis, length in zip(axes, wanted, strict=True)]
    return tuple(_window(axis, size, size, "valid") for axis, size in pairs)


def _transposed(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The way back of the window that would make these axes of those that come out."""
    if any(value is not None for value in _each(layer.output_padding, axes)):
        raise UnknownLayerError(f"{layer.name!r} has output_padding")
    moved = []
    sizes = zip(
        _each(layer.kernel_size, axes), _each(layer.dilation_rate, axes), _each(layer.strides, axes), strict=True
    )
    for axis, (k, d, s) in zip(axes, sizes, strict=True):
        size = (k - 1) * d + 1
        same = layer.padding == "same"
        length = axis.length * s if same else axis.length * s + max(size - s, 0)
        before = max(size - s, 0) // 2 if same else 0
        stride = axis.stride / s
        field = axis.field + axis.stride * (math.ceil(size / s) - 1)
        moved.append(Axis(length, axis.offset + stride * (before - (size - 1) / 2), stride, field, axis.spread))
    return tuple(moved)


def _padded(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    pads = [layer.padding] if len(axes) == 1 else layer.padding
    return _shifted(axes, [(-before, before + after) for before, after in pads])


def _cropped(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    crops = [layer.cropping] if len(axes) == 1 else layer.cropping
    return _shifted(axes, [(before, -before - after) for before, after in crops])


def _center_cropped(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    wanted = (layer.height, layer.width)
    if any(axis.length < length for axis, length in zip(axes, wanted, strict=True)):
        raise UnknownLayerError(f"{layer.name!r} resizes what is smaller than its crop")
    pairs = zip(axes, wanted, strict=True)
    return _shifted(axes, [((axis.length - length) // 2, length - axis.length) for axis, length in pairs])


def _shifted(axes: tuple[Axis, ...], moves: Sequence[tuple[int, int]]) -> tuple[Axis, ...]:
    return tuple(
        replace(axis, length=axis.length + more, offset=axis.offset + axis.stride * first)
        for axis, (first, more) in zip(axes, moves, strict=True)
    )


def _scaled(layer: Any, axes: tuple[Axis, ...], lengths: Sequence[int]) -> tuple[Axis, ...]:
    """Resized to other lengths, half-pixel centres; what is interpolated sees its neighbours too."""
    moved = []
    neighbours = NEIGHBOURS.get(getattr(layer, "interpolation", "nearest"), 1)
    for axis, length in zip(axes, lengths, strict=True):
        share = axis.length / length
        offset = axis.offset + axis.stride * (share - 1) / 2
        reach = (neighbours + 1) * max(share, 1) - 1 if getattr(layer, "antialias", False) else neighbours
        field = axis.field + axis.stride * reach * (share != 1)
        moved.append(replace(axis, length=length, offset=offset, stride=axis.stride * share, field=field))
    return tuple(moved)


def _upsampled(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    factors = zip(axes, _each(layer.size, axes), strict=True)
    return _scaled(layer, axes, [axis.length * factor for axis, factor in factors])


def _resized(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    if getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False):
        raise UnknownLayerError(f"{layer.name!r} crops or pads to an aspect ratio")
    return _scaled(layer, axes, (layer.height, layer.width))


def _merged(inputs: list[tuple[Axis, ...]]) -> tuple[Axis, ...]:
    """Branches that meet: the mean of their places, and how far these are apart.

    Along an axis, a branch that was pooled to one cell has no place beside a longer one.
    """
    if any(len(axes) != len(inputs[0]) for axes in inputs):
        raise UnknownLayerError("branches of different rank meet")
    merged = []
    for branch in zip(*inputs, strict=True):
        longest = max(axis.length for axis in branch)
        placed = [axis for axis in branch if axis.length > 1 or longest == 1]
        offsets = [axis.offset for axis in placed]
        merged.append(
            Axis(
                length=longest,
                offset=sum(offsets) / len(placed),
                stride=sum(axis.stride for axis in placed) / len(placed),
                field=max(axis.field for axis in placed),
                spread=max(max(offsets) - min(offsets), *(axis.spread for axis in placed)),
            )
        )
    return tuple(merged)


def _each(value: Any, axes: tuple[Axis, ...]) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(axes)


Rule = Callable[[Any, tuple[Axis, ...]], tuple[Axis, ...]]
_RULES: dict[Trait, Rule] = {
    Trait.CONVOLUTION: _convolved,
    Trait.POOLING: _pooled,
    Trait.ADAPTIVE_POOLING: _adapted,
    Trait.TRANSPOSED_CONVOLUTION: _transposed,
    Trait.PADDING: _padded,
    Trait.CROPPING: _cropped,
    Trait.UPSAMPLING: _upsampled,
    Trait.RESIZING: _resized,
    Trait.CENTER_CROPPING: _center_cropped,
}
