"""What each operation does to where its tensors lie in the image: one rule an operation, in one table.

A rule takes a `Call` and returns the place of what comes out, or of each of several things; None where none of it has
a place. What no rule knows has none.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_cam.graph.keras_internals import inner_layer
from keras_cam.graph.operations import Trait, is_layer, is_operation, traits_of
from keras_cam.graph.place import (
    BATCH,
    Atom,
    Line,
    Place,
    TensorAxis,
    contracted,
    line_axis,
    met,
    placeless,
    reshaped,
    without_line,
)
from keras_cam.graph.receptive_field import Axis, everywhere, resized, shifted, sliced, transposed_window, window


class UnknownPlaceError(Exception):
    """An operation that moves places in a way that is not known; the message says which and how."""


@dataclass(frozen=True)
class Call:
    """One call of an operation, with `Place` in the stead of tensors that have one.

    Attributes:
        operation: the operation; a wrapper such as SpectralNormalization is looked through.
        args: its arguments, `Place` or `Constant` in place of tensors.
        kwargs: its keyword arguments, likewise.
        path: its path in the model.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    path: str

    @property
    def places(self) -> list[Place]:
        """The places among the arguments, in order."""
        return [each for each in _leaves((self.args, self.kwargs)) if isinstance(each, Place)]

    @property
    def place(self) -> Place:
        """The first of them."""
        return self.places[0]

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by its place or name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)


@dataclass(frozen=True)
class Constant:
    """Stands for a tensor that has no place, in the arguments of a call."""

    shape: tuple[int | None, ...]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


Rule = Callable[[Call], Place | list[Place | None] | None]


def rule_of(operation: Any) -> Rule | None:
    """The rule for an operation; None where there is none."""
    name = type(operation).__name__
    if is_layer(operation, LAYER_RULES):
        return LAYER_RULES[name]
    if is_operation(operation, OPERATION_RULES):
        return OPERATION_RULES[name]
    traits = traits_of(operation)
    return next((rule for trait, rule in TRAIT_RULES.items() if trait in traits), None)


# What keeps every number where it is.


def _kept(call: Call) -> Place:
    return call.place


def _met(call: Call) -> Place | None:
    """Number by number: tensors of several shapes, aligned at their last axes."""
    return meet(call.places)


def meet(places: Sequence[Place]) -> Place | None:
    """Where tensors meet number by number: axes of length one and those without a place follow the others."""
    rank = max(len(place.axes) for place in places)
    aligned = [[TensorAxis()] * (rank - len(place.axes)) + list(place.axes) for place in places]
    return Place(tuple(met(axes) for axes in zip(*aligned, strict=True)))


def _broadcast_with_constants(call: Call) -> Place | None:
    """As `_met`; a constant of more axes, or longer ones, stretches what it meets."""
    shapes = [each.shape for each in _leaves((call.args, call.kwargs)) if isinstance(each, Constant)]
    constants = [Place(tuple(placeless(length or BATCH) for length in shape)) for shape in shapes]
    return meet([*call.places, *constants])


# Windows over the axes that a layer calls spatial.


def _spatial_axes(call: Call) -> list[int]:
    rank = len(call.place.axes)
    first = getattr(call.operation, "data_format", None) == "channels_first"
    return list(range(2, rank)) if first else list(range(1, rank - 1))


def _channel_axis(call: Call) -> int:
    return 1 if getattr(call.operation, "data_format", None) == "channels_first" else len(call.place.axes) - 1


def _line_of(axis: TensorAxis, what: str) -> Line | None:
    """The line that an axis is, so that windows can move over it; None where it has no place.

    A line with several entries for each cell (a depth-to-space, a repetition) has as many cells.
    """
    if not axis.lines:
        return None
    if axis.line is not None:
        return axis.line
    if not (axis.before or axis.after):
        whole, *inner = axis.atoms
        is_whole = whole.line is not None and whole.length == whole.line.cells.length
        if whole.line is not None and is_whole and all(atom.line is None for atom in inner):
            return replace(whole.line, cells=resized(whole.line.cells, axis.length))
    raise UnknownPlaceError(f"{what} reads an axis in which rows and columns are joined")


def _by_axis(call: Call, change: Callable[[Axis, int], Axis], channels: int | None = None) -> Place | None:
    """Each spatial axis changed; `channels` gives the channel axis a new length."""
    place = call.place
    what = f"{call.path!r} ({type(call.operation).__name__})"
    if channels is not None:
        place = contracted(place, _channel_axis(call), placeless(channels))
    for number, axis in enumerate(_spatial_axes(call)):
        line = _line_of(place.axes[axis], what)
        if line is None:
            length = change(Axis(place.axes[axis].length), number).length
            place = place.replaced(axis, placeless(length))
            continue
        cells = change(line.cells, number)
        if line.roll and cells != line.cells:
            raise UnknownPlaceError(f"{what} reads across the edge of a rolled image")
        place = place.replaced(axis, line_axis(replace(line, cells=cells)))
    return place


def _pair(value: Any, number: int) -> Any:
    return value[number] if isinstance(value, (tuple, list)) else value


def _convolution(call: Call) -> Place | None:
    layer = call.operation

    def change(axis: Axis, number: int) -> Axis:
        size = (_pair(layer.kernel_size, number) - 1) * _pair(layer.dilation_rate, number) + 1
        return window(axis, size, _pair(layer.strides, number), layer.padding)

    if _keeps_tokens(call, layer.kernel_size, layer.strides):
        return contracted(call.place, _channel_axis(call), placeless(_filters(layer, call)))
    return _by_axis(call, change, _filters(layer, call))


def _keeps_tokens(call: Call, size: Any, strides: Any) -> bool:
    """Whether a window of one cell moves over tokens one by one, in whatever order they lie."""
    ones = {*_each(size), *_each(strides)} == {1}
    return ones and any(call.place.axes[axis].line is None for axis in _spatial_axes(call))


def _each(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _filters(layer: Any, call: Call) -> int:
    filters = getattr(layer, "filters", None)
    if filters is not None:
        return int(filters)
    return call.place.axes[_channel_axis(call)].length * layer.depth_multiplier


def _transposed_convolution(call: Call) -> Place | None:
    layer = call.operation
    if any(value is not None for value in _each(layer.output_padding)):
        raise UnknownPlaceError(f"{call.path!r} has output_padding")

    def change(axis: Axis, number: int) -> Axis:
        size = (_pair(layer.kernel_size, number) - 1) * _pair(layer.dilation_rate, number) + 1
        return transposed_window(axis, size, _pair(layer.strides, number), layer.padding)

    return _by_axis(call, change, layer.filters)


def _pooling(call: Call) -> Place | None:
    layer = call.operation
    steps = layer.strides or layer.pool_size
    return _by_axis(
        call, lambda axis, number: window(axis, _pair(layer.pool_size, number), _pair(steps, number), layer.padding)
    )


def _adaptive_pooling(call: Call) -> Place | None:
    layer = call.operation
    size = layer.output_size

    def change(axis: Axis, number: int) -> Axis:
        length = _pair(size, number)
        if axis.length % length:
            raise UnknownPlaceError(f"{call.path!r} pools windows of different length")
        return window(axis, axis.length // length, axis.length // length, "valid")

    return _by_axis(call, change)


def _convolution_operation(call: Call) -> Place | None:
    conv, kernel = call.operation, _shape_of(call.argument(1, "kernel"))
    if kernel is None:
        raise UnknownPlaceError(f"{call.path!r} convolves with a kernel that is made from the image")

    def change(axis: Axis, number: int) -> Axis:
        size = (int(kernel[number] or 1) - 1) * _pair(conv.dilation_rate, number) + 1
        return window(axis, size, _pair(conv.strides, number), conv.padding)

    return _by_axis(call, change, int(kernel[-1] or 1))


def _extract_patches(call: Call) -> Place | None:
    op = call.operation
    sizes = op.size if isinstance(op.size, (tuple, list)) else (op.size,) * len(_spatial_axes(call))
    steps = sizes if op.strides is None else op.strides

    def change(axis: Axis, number: int) -> Axis:
        return window(axis, (sizes[number] - 1) * _pair(op.dilation_rate, number) + 1, _pair(steps, number), op.padding)

    channels = call.place.axes[_channel_axis(call)].length
    for size in sizes:
        channels *= size
    return _by_axis(call, change, channels)


def _padding(call: Call) -> Place | None:
    pads = call.operation.padding
    pads = [pads] if len(_spatial_axes(call)) == 1 else pads
    return _by_axis(call, lambda axis, number: shifted(axis, -pads[number][0], sum(pads[number])))


def _padding_operation(call: Call) -> Place | None:
    pads = [_each(pair) for pair in call.operation.pad_width]
    pads = [(pair[0], pair[-1]) for pair in pads] * (len(call.place.axes) if len(pads) == 1 else 1)
    place = call.place
    for axis, (before, after) in enumerate(pads):
        if not (before or after):
            continue
        line = _line_of(place.axes[axis], repr(call.path))
        length = place.axes[axis].length + before + after
        new = (
            placeless(length)
            if line is None
            else line_axis(replace(line, cells=shifted(line.cells, -before, before + after)))
        )
        place = place.replaced(axis, new)
    return place


def _cropping(call: Call) -> Place | None:
    crops = call.operation.cropping
    crops = [crops] if len(_spatial_axes(call)) == 1 else crops
    return _by_axis(call, lambda axis, number: shifted(axis, crops[number][0], -sum(crops[number])))


def _center_cropping(call: Call) -> Place | None:
    wanted = (call.operation.height, call.operation.width)

    def change(axis: Axis, number: int) -> Axis:
        if axis.length < wanted[number]:
            raise UnknownPlaceError(f"{call.path!r} resizes what is smaller than its crop")
        return shifted(axis, (axis.length - wanted[number]) // 2, wanted[number] - axis.length)

    return _by_axis(call, change)


def _upsampling(call: Call) -> Place | None:
    layer = call.operation
    interpolation = getattr(layer, "interpolation", "nearest")
    return _by_axis(call, lambda axis, number: resized(axis, axis.length * _pair(layer.size, number), interpolation))


def _resizing(call: Call) -> Place | None:
    op = call.operation
    if getattr(op, "crop_to_aspect_ratio", False) or getattr(op, "pad_to_aspect_ratio", False):
        raise UnknownPlaceError(f"{call.path!r} crops or pads to an aspect ratio")
    size = op.size if hasattr(op, "size") else (op.height, op.width)
    antialias = bool(getattr(op, "antialias", False))
    return _by_axis(call, lambda axis, number: resized(axis, size[number], op.interpolation, antialias=antialias))


# Sums over axes.


def _global_pooling(call: Call) -> Place | None:
    keeps = call.operation.keepdims
    return _reduced(call.place, _spatial_axes(call), keeps)


def _reduction(call: Call) -> Place | None:
    axes = getattr(call.operation, "axis", None)
    rank = len(call.place.axes)
    numbers = range(rank) if axes is None else [axis % rank for axis in _each(axes)]
    return _reduced(call.place, sorted(numbers), getattr(call.operation, "keepdims", False))


def _reduced(place: Place, axes: Sequence[int], keeps: bool) -> Place:
    for axis in axes:
        line = place.axes[axis].line
        one_cell = TensorAxis() if line is None else line_axis(_as_one_cell(line))
        place = place.replaced(axis, one_cell) if keeps and line else contracted(place, axis, TensorAxis())
    return place if keeps else Place(tuple(each for index, each in enumerate(place.axes) if index not in axes))


def _as_one_cell(line: Line) -> Line:
    """The line as one cell that sees all of it: of an axis that is kept where it is summed over."""
    return replace(line, cells=window(line.cells, line.cells.length, line.cells.length, "valid"), roll=0)


def _dense(call: Call) -> Place | None:
    return contracted(call.place, len(call.place.axes) - 1, placeless(call.operation.units))


def _einsum_dense(call: Call) -> Place | None:
    kernel = Place(tuple(placeless(length) for length in call.operation.kernel.shape))
    return einsum(call.operation.equation, [call.place, kernel])


def _normalized_over(call: Call) -> Place:
    return call.place


# Other axes, other shapes.


def _permuted(place: Place, order: Sequence[int]) -> Place:
    return Place(tuple(place.axes[axis] for axis in order))


def _permute(call: Call) -> Place:
    return _permuted(call.place, (0, *call.operation.dims))


def _transpose(call: Call) -> Place:
    rank = len(call.place.axes)
    axes = call.operation.axes
    return _permuted(call.place, range(rank)[::-1] if axes is None else [axis % rank for axis in axes])


def _moveaxis(call: Call) -> Place:
    rank, op = len(call.place.axes), call.operation
    sources = [axis % rank for axis in _each(op.source)]
    targets = [axis % rank for axis in _each(op.destination)]
    order = [axis for axis in range(rank) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _permuted(call.place, order)


def _swapaxes(call: Call) -> Place:
    rank, op = len(call.place.axes), call.operation
    order = list(range(rank))
    one, other = op.axis1 % rank, op.axis2 % rank
    order[one], order[other] = order[other], order[one]
    return _permuted(call.place, order)


def _reshape(call: Call) -> Place:
    is_layer_of_keras = isinstance(call.operation, keras.layers.Layer)
    target = call.operation.target_shape if is_layer_of_keras else call.operation.newshape
    shape: list[int | None] = [None if length is None or length == -1 else int(length) for length in target]
    if is_layer_of_keras:
        shape = [BATCH, *shape]
    elif shape.count(None) > 1 and shape[0] is None:
        shape[0] = BATCH
    return reshape_to(call.place, shape, call.path)


def reshape_to(place: Place, shape: Sequence[int | None], path: str) -> Place:
    """The place after a reshape to a shape in which one length may be left open."""
    total, known = 1, 1
    for length in place.shape:
        total *= length
    for wanted in shape:
        known *= wanted or 1
    if list(shape).count(None) > 1 or not known or total % known:
        raise UnknownPlaceError(f"{path!r} reshapes {place.shape} to {tuple(shape)}")
    return reshaped(place, [total // known if length is None else length for length in shape])


def _flatten(call: Call) -> Place:
    return reshape_to(call.place, [BATCH, None], call.path)


def _ravel(call: Call) -> Place:
    return reshape_to(call.place, [None], call.path)


def _squeeze(call: Call) -> Place:
    rank, axes = len(call.place.axes), call.operation.axis
    gone = {axis % rank for axis in _each(axes)} if axes is not None else None
    kept = [
        axis
        for index, axis in enumerate(call.place.axes)
        if (index not in gone if gone is not None else axis.length != 1)
    ]
    return Place(tuple(kept))


def _expand_dims(call: Call) -> Place:
    axes = list(call.place.axes)
    rank = len(axes) + len(_each(call.operation.axis))
    for axis in sorted(axis % rank for axis in _each(call.operation.axis)):
        axes.insert(axis, TensorAxis())
    return Place(tuple(axes))


def _repeat_vector(call: Call) -> Place:
    batch, *rest = call.place.axes
    return Place((batch, placeless(call.operation.n), *rest))


def _broadcast_to(call: Call) -> Place | None:
    shape = call.operation.shape
    lengths = [placeless(length) if length not in (None, -1) else placeless(BATCH) for length in shape]
    return meet([call.place, Place(tuple(lengths))])


def _repeat(call: Call) -> Place:
    axis, repeats = call.operation.axis, call.operation.repeats
    if axis is None or not isinstance(repeats, int):
        raise UnknownPlaceError(f"{call.path!r} repeats each cell a number of times of its own")
    axis %= len(call.place.axes)
    old = call.place.axes[axis]
    if old.before or old.after:
        raise UnknownPlaceError(f"{call.path!r} repeats tokens")
    return call.place.replaced(axis, replace(old, atoms=(*old.atoms, Atom(repeats))))


def _tile(call: Call) -> Place:
    repeats = _each(call.operation.repeats)
    place = call.place
    axes = [TensorAxis()] * (len(repeats) - len(place.axes)) + list(place.axes)
    repeats = (1,) * (len(axes) - len(repeats)) + repeats
    tiled = []
    for axis, count in zip(axes, repeats, strict=True):
        if count != 1 and axis.lines:
            raise UnknownPlaceError(f"{call.path!r} repeats the image")
        tiled.append(axis if count == 1 else replace(axis, atoms=(Atom(int(count)), *axis.atoms)))
    return Place(tuple(tiled))


# Some of the cells.


def _get_item(call: Call) -> Place | None:
    axes, kept = list(call.place.axes), list[TensorAxis]()
    key = call.argument(1, "key")
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    named = sum(part is not None and part is not Ellipsis for part in parts)
    rest = [slice(None)] * (len(axes) - named)
    if any(part is Ellipsis for part in parts):
        gap = next(index for index, part in enumerate(parts) if part is Ellipsis)
        parts = [*parts[:gap], *rest, *parts[gap + 1 :]]
    else:
        parts = [*parts, *rest]
    place = call.place
    for part in parts:
        if part is None:
            kept.append(TensorAxis())
            continue
        axis = axes.pop(0)
        if isinstance(part, slice):
            kept.append(_slice(axis, part, call.path))
        elif isinstance(part, int):
            kept_lines = axis.lines
            place = _lost(place, kept_lines)
            kept = [_axis_lost(each, kept_lines) for each in kept]
            axes = [_axis_lost(each, kept_lines) for each in axes]
        else:
            raise UnknownPlaceError(f"{call.path!r} picks cells by an index that is computed")
    return Place((*kept, *axes))


def _lost(place: Place, lines: set[int]) -> Place:
    for number in lines:
        place = without_line(place, number)
    return place


def _axis_lost(axis: TensorAxis, lines: set[int]) -> TensorAxis:
    return _lost(Place((axis,)), lines & axis.lines).axes[0]


def _slice(axis: TensorAxis, part: slice, path: str) -> TensorAxis:
    """A slice of an axis: of cells, of the tokens round them, or of neither."""
    if part == slice(None):
        return axis
    bounds = [part.start, part.stop, part.step]
    if not all(bound is None or isinstance(bound, int) for bound in bounds):
        raise UnknownPlaceError(f"{path!r} picks cells by an index that is computed")
    kept = range(axis.length)[part]
    if not axis.lines:
        return placeless(len(kept))
    cells = range(axis.before, axis.length - axis.after)
    inside = [number for number in kept if number in cells]
    if not inside:
        return placeless(len(kept))
    if abs(kept.step) == 1 and len(inside) == len(cells) and kept.step == 1:
        return replace(axis, before=inside[0] - kept.start, after=len(kept) - len(inside) - (inside[0] - kept.start))
    if axis.before or axis.after or axis.line is None:
        if len(axis.atoms) == 1 and axis.atoms[0].line is not None and not (axis.before or axis.after):
            return _part_of_line(axis.atoms[0], kept, path)
        raise UnknownPlaceError(f"{path!r} keeps some tokens only")
    if axis.line.roll:
        raise UnknownPlaceError(f"{path!r} cuts a rolled image")
    return line_axis(replace(axis.line, cells=sliced(axis.line.cells, kept)))


def _part_of_line(atom: Atom, kept: range, path: str) -> TensorAxis:
    raise UnknownPlaceError(f"{path!r} keeps part of the blocks of a line only")


def _take(call: Call) -> Place | None:
    """Entries picked by a list of numbers: channels stay channels, cells have lost their place."""
    place, axis = call.place, call.operation.axis
    indices = call.argument(1, "indices")
    shape = tuple(getattr(indices, "shape", None) or (np.shape(indices) if not isinstance(indices, Place) else ()))
    if axis is None or isinstance(indices, Place):
        return None
    axis %= len(place.axes)
    picked = _lost(place, place.axes[axis].lines)
    axes = [placeless(length or BATCH) for length in shape]
    return Place((*picked.axes[:axis], *axes, *picked.axes[axis + 1 :]))


def _split(call: Call) -> list[Place | None]:
    op, place = call.operation, call.place
    axis = op.axis % len(place.axes)
    length = place.axes[axis].length
    sections = op.indices_or_sections
    if isinstance(sections, int):
        bounds = [length // sections * index for index in range(sections + 1)]
    else:
        bounds = [0, *(int(bound) for bound in sections), length]
    return [
        place.replaced(axis, _slice(place.axes[axis], slice(start, stop), call.path))
        for start, stop in itertools.pairwise(bounds)
    ]


def _unstack(call: Call) -> list[Place | None]:
    op, place = call.operation, call.place
    axis = op.axis % len(place.axes)
    lines, count = place.axes[axis].lines, place.axes[axis].length
    rest = Place(tuple(each for index, each in enumerate(_lost(place, lines).axes) if index != axis))
    return [rest] * count


def _concatenate(call: Call) -> Place | None:
    parts = [each for each in _leaves(call.args) if isinstance(each, (Place, Constant))]
    places = [each for each in parts if isinstance(each, Place)]
    rank = len(places[0].axes)
    axis = call.operation.axis % rank
    others = meet([place.replaced(axis, TensorAxis()) for place in places])
    if others is None:
        return None
    along = [part.axes[axis] if isinstance(part, Place) else placeless(part.shape[axis] or 1) for part in parts]
    return others.replaced(axis, _joined_along(along))


def _joined_along(parts: Sequence[TensorAxis]) -> TensorAxis:
    """Axes one after the other: cells of the image among tokens that have no place; else an axis without a place."""
    with_cells = [index for index, part in enumerate(parts) if part.lines]
    total = sum(part.length for part in parts)
    if len(with_cells) != 1:
        return placeless(total)
    (index,) = with_cells
    before = sum(part.length for part in parts[:index])
    cells = parts[index]
    return replace(cells, before=cells.before + before, after=total - before - cells.length + cells.after)


def _stack(call: Call) -> Place | None:
    place = meet(call.places)
    if place is None:
        return None
    count = sum(isinstance(each, (Place, Constant)) for each in _leaves(call.args))
    axes = list(place.axes)
    axes.insert(call.operation.axis % (len(axes) + 1), placeless(count))
    return Place(tuple(axes))


def _flip(call: Call) -> Place:
    place, axes = call.place, call.operation.axis
    rank = len(place.axes)
    for axis in range(rank) if axes is None else [each % rank for each in _each(axes)]:
        place = place.replaced(axis, _mirrored(place.axes[axis], call.path))
    return place


def _mirrored(axis: TensorAxis, path: str) -> TensorAxis:
    if not axis.lines:
        return axis
    line = _line_of(axis, repr(path))
    if line is None or line.roll:
        raise UnknownPlaceError(f"{path!r} mirrors a rolled image")
    return line_axis(replace(line, cells=sliced(line.cells, range(line.cells.length)[::-1])))


def _rot90(call: Call) -> Place:
    place, rank = call.place, len(call.place.axes)
    one, other = (axis % rank for axis in call.operation.axes)
    for _ in range(call.operation.k % 4):  # a quarter turn: the axes swapped, then the first one mirrored
        order = list(range(rank))
        order[one], order[other] = other, one
        place = _permuted(place, order)
        place = place.replaced(one, _mirrored(place.axes[one], call.path))
    return place


def _roll(call: Call) -> Place:
    place, op = call.place, call.operation
    if op.axis is None:
        raise UnknownPlaceError(f"{call.path!r} rolls all cells as one row")
    shifts = _each(op.shift) * (len(_each(op.axis)) if len(_each(op.shift)) == 1 else 1)
    for axis, shift in zip((each % len(place.axes) for each in _each(op.axis)), shifts, strict=True):
        line = _line_of(place.axes[axis], repr(call.path))
        if line is not None:
            roll = (line.roll + operator.index(shift)) % line.cells.length
            place = place.replaced(axis, line_axis(replace(line, roll=roll)))
    return place


# Products of two tensors.


def einsum(equation: str, places: Sequence[Place]) -> Place | None:
    """The place of a product of tensors by Einstein's summation.

    What is summed over is gone. Axes that several tensors share have the place of those that keep most of theirs: of
    attention, those of the queries, not of the values.
    """
    inputs, _, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    hidden = max(len(place.axes) - len(term.replace("...", "")) for term, place in zip(terms, places, strict=True))
    filler = "".join(chr(0x3B1 + index) for index in range(max(hidden, 0)))  # letters for the axes behind "..."
    wanted = output.replace("...", filler)
    summed: list[tuple[str, Place]] = []
    for term, place in zip(terms, places, strict=True):
        missing = len(place.axes) - len(term.replace("...", ""))
        letters = term.replace("...", filler[len(filler) - missing :])
        for axis, letter in enumerate(letters):
            if letter not in wanted:
                place = contracted(place, axis, TensorAxis())
        summed.append((letters, place))
    most = max(_extent(place) for _, place in summed)
    axes: dict[str, list[TensorAxis]] = {}
    for letters, place in summed:
        for letter, tensor_axis in zip(letters, place.axes, strict=True):
            keeps = _extent(place) == most or not tensor_axis.lines
            axes.setdefault(letter, []).append(tensor_axis if keeps else placeless(tensor_axis.length))
    return Place(tuple(met(axes[letter]) for letter in wanted))


def _extent(place: Place) -> tuple[int, int]:
    """How many axes of the image a tensor has, and how many cells."""
    lines = place.lines()
    return len(lines), math.prod(line.cells.length for line in lines.values())


def _einsum(call: Call) -> Place | None:
    operands = [each for each in _leaves(call.args) if isinstance(each, (Place, Constant))]
    return einsum(call.operation.subscripts, [_as_place(each) for each in operands])


def _as_place(operand: Place | Constant) -> Place:
    if isinstance(operand, Place):
        return operand
    return Place(tuple(placeless(length or BATCH) for length in operand.shape))


def _matmul(call: Call) -> Place | None:
    one, other = (_as_place(_tensor(each)) for each in (call.argument(0, "x1"), call.argument(1, "x2")))
    if len(other.axes) == 1:
        return einsum("...k,k->...", [one, other])
    if len(one.axes) == 1:
        return einsum("k,...kn->...n", [one, other])
    return einsum("...mk,...kn->...mn", [one, other])


def _tensor(value: Any) -> Place | Constant:
    return value if isinstance(value, (Place, Constant)) else Constant(tuple(value.shape))


def _dot_operation(call: Call) -> Place | None:
    one, other = (_as_place(_tensor(each)) for each in (call.argument(0, "x1"), call.argument(1, "x2")))
    letters = "abcdefgh"[: len(one.axes)]
    if len(other.axes) == 1:
        return einsum(f"{letters},{letters[-1]}->{letters[:-1]}", [one, other])
    right = "mnopqrst"[: len(other.axes) - 2]
    return einsum(f"{letters},{right}{letters[-1]}z->{letters[:-1]}{right}z", [one, other])


def _tensordot(call: Call) -> Place | None:
    one, other = (_as_place(_tensor(each)) for each in (call.argument(0, "x1"), call.argument(1, "x2")))
    axes = call.operation.axes
    if isinstance(axes, int):
        pairs = [(len(one.axes) - axes + index, index) for index in range(axes)]
    else:
        pairs = list(zip(_each(axes[0]), _each(axes[1]), strict=True))
    left, right = list("abcdefgh"[: len(one.axes)]), list("mnopqrst"[: len(other.axes)])
    for first, second in pairs:
        right[second % len(right)] = left[first % len(left)]
    shared = {left[first % len(left)] for first, _ in pairs}
    output = "".join(letter for letter in [*left, *right] if letter not in shared)
    return einsum(f"{''.join(left)},{''.join(right)}->{output}", [one, other])


def _dot_layer(call: Call) -> Place | None:
    one, other = (_as_place(_tensor(each)) for each in call.args[0])
    axes = call.operation.axes
    first, second = (axes, axes) if isinstance(axes, int) else axes
    left, right = list("abcdefgh"[: len(one.axes)]), list("mnopqrst"[: len(other.axes)])
    right[0] = left[0]
    right[second % len(right)] = left[first % len(left)]
    shared = left[first % len(left)]
    output = "".join(letter for letter in [*left, *right[1:]] if letter != shared)
    return einsum(f"{''.join(left)},{''.join(right)}->{output}", [one, other])


def _attention(call: Call) -> Place | None:
    """Attention keeps the place of its queries; what it reads, it reads everywhere."""
    query, value = _tensor(call.argument(0, "query")), _tensor(call.argument(1, "value"))
    if not isinstance(query, Place):
        return None
    width = value.axes[-1].length if isinstance(value, Place) else value.shape[-1]
    channels = getattr(call.operation, "_output_shape", None) or width or 1
    channels = channels[-1] if isinstance(channels, (tuple, list)) else channels
    return _sees_all(query.replaced(len(query.axes) - 1, placeless(int(channels))))


def _dot_product_attention(call: Call) -> Place | None:
    query = _tensor(call.argument(0, "query"))
    if not isinstance(query, Place):
        return None
    value = _tensor(call.argument(2, "value"))
    width = value.axes[-1].length if isinstance(value, Place) else value.shape[-1]
    return _sees_all(query.replaced(len(query.axes) - 1, placeless(int(width or 1))))


def _attention_layer(call: Call) -> Place | None:
    inputs = list(call.args[0])
    return _attention(replace(call, args=tuple(inputs)))


def _sees_all(place: Place) -> Place:
    def see(atom: Atom) -> Atom:
        line = atom.line
        return atom if line is None else replace(atom, line=replace(line, cells=everywhere(line.cells)))

    return Place(tuple(replace(axis, atoms=tuple(map(see, axis.atoms))) for axis in place.axes))


def _multi_head_attention(call: Call) -> Place | None:
    query = _tensor(call.argument(0, "query"))
    if not isinstance(query, Place):
        return None
    return _sees_all(query.replaced(len(query.axes) - 1, placeless(_width_of(call))))


def _width_of(call: Call) -> int:
    layer = call.operation
    output = getattr(layer, "_output_shape", None)
    if output:
        return int(output[-1])
    query = _tensor(call.argument(0, "query"))
    return int(query.axes[-1].length if isinstance(query, Place) else query.shape[-1] or 1)


def _shape_of(value: Any) -> tuple[int | None, ...] | None:
    if isinstance(value, Place):
        return None
    return tuple(value.shape)


def _depth_to_space(call: Call) -> Place | None:
    op = call.operation
    size = op.block_size
    channels = call.place.axes[_channel_axis(call)].length // size**2
    place = _by_axis(call, lambda axis, _: resized(axis, axis.length * size))
    return None if place is None else place.replaced(_channel_axis(call), placeless(channels))


def _space_to_depth(call: Call) -> Place | None:
    size = call.operation.block_size
    channels = call.place.axes[_channel_axis(call)].length * size**2
    return _by_axis(call, lambda axis, _: window(axis, size, size, "valid"), channels)


def _wrapped(call: Call) -> Place | list[Place | None] | None:
    inner = inner_layer(call.operation)
    rule = rule_of(inner)
    return None if rule is None else rule(replace(call, operation=inner))


def _conv_lstm(call: Call) -> Place | None:
    """A recurrent convolution over time: windows over the image, the time kept or summed up."""
    layer = call.operation
    place = call.place
    rank = len(place.axes) - 3
    first = layer.data_format == "channels_first"
    spatial = range(3, 3 + rank) if first else range(2, 2 + rank)
    for number, axis in enumerate(spatial):
        line = _line_of(place.axes[axis], repr(call.path))
        size = (_pair(layer.kernel_size, number) - 1) * _pair(layer.dilation_rate, number) + 1
        step = _pair(layer.strides, number)
        if line is None:
            cells = window(Axis(place.axes[axis].length), size, step, layer.padding)
            place = place.replaced(axis, placeless(cells.length))
        else:
            place = place.replaced(axis, line_axis(replace(line, cells=window(line.cells, size, step, layer.padding))))
    place = place.replaced(2 if first else len(place.axes) - 1, placeless(layer.filters))
    return place if layer.return_sequences else _reduced(place, [1], False)


TRAIT_RULES: dict[Trait, Rule] = {
    Trait.CONVOLUTION: _convolution,
    Trait.TRANSPOSED_CONVOLUTION: _transposed_convolution,
    Trait.POOLING: _pooling,
    Trait.ADAPTIVE_POOLING: _adaptive_pooling,
    Trait.GLOBAL_AVERAGE: _global_pooling,
    Trait.GLOBAL_MAXIMUM: _global_pooling,
    Trait.PADDING: _padding,
    Trait.CROPPING: _cropping,
    Trait.CENTER_CROPPING: _center_cropping,
    Trait.UPSAMPLING: _upsampling,
    Trait.RESIZING: _resizing,
    Trait.REDUCTION: _reduction,
    Trait.NORMALIZATION: _kept,
    Trait.ELEMENTWISE: _kept,
    Trait.CHOICE: _broadcast_with_constants,
    Trait.DIVISION: _broadcast_with_constants,
}


def _rules(rows: dict[str, Rule]) -> dict[str, Rule]:
    return {name: rule for names, rule in rows.items() for name in names.split()}


LAYER_RULES = _rules(
    {
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise": _kept,
        "ActivityRegularization Identity Activation Softmax BatchNormalization GroupNormalization": _kept,
        "Rescaling Normalization Masking": _kept,
        "Add Subtract Average Multiply": _met,
        "Dense": _dense,
        "EinsumDense": _einsum_dense,
        "Permute": _permute,
        "Reshape": _reshape,
        "Flatten": _flatten,
        "RepeatVector": _repeat_vector,
        "Concatenate": _concatenate,
        "Dot": _dot_layer,
        "MultiHeadAttention GroupedQueryAttention": _multi_head_attention,
        "Attention AdditiveAttention": _attention_layer,
        "SpectralNormalization": _wrapped,
        "ConvLSTM1D ConvLSTM2D ConvLSTM3D": _conv_lstm,
        "RandomBrightness RandomContrast RandomColorJitter RandomColorDegeneration RandomHue RandomSaturation": _kept,
        "RandomFlip RandomRotation RandomTranslation RandomZoom RandomShear RandomGaussianBlur RandomInvert": _kept,
        "RandomErasing RandomGrayscale RandomPosterization RandomSharpness AugMix RandAugment Solarization": _kept,
        "AutoContrast Equalization": _kept,
    }
)
OPERATION_RULES = _rules(
    {
        "Add Subtract Multiply Power Maximum Minimum Where Mod FloorDivide Arctan2": _broadcast_with_constants,
        "Negative Cast Copy StopGradient Clip Log Log2 Log10 Rsqrt Reciprocal Erf Sign Floor Ceil Round": _kept,
        "Softmax LogSoftmax Sigmoid Identity NanToNum Rint Tan Sinh Cosh Exp2 Square BatchNorm": _kept,
        "LayerNorm RMSNorm": _kept,
        "ForEachImage": lambda call: None,  # the same for all images
        "Transpose": _transpose,
        "Moveaxis": _moveaxis,
        "Swapaxes": _swapaxes,
        "Reshape": _reshape,
        "Ravel": _ravel,
        "Squeeze": _squeeze,
        "ExpandDims": _expand_dims,
        "BroadcastTo": _broadcast_to,
        "Repeat": _repeat,
        "Tile": _tile,
        "GetItem": _get_item,
        "Take": _take,
        "Split": _split,
        "Unstack": _unstack,
        "Concatenate": _concatenate,
        "Stack": _stack,
        "Flip": _flip,
        "Rot90": _rot90,
        "Roll": _roll,
        "Pad": _padding_operation,
        "Logsumexp": _reduction,
        "Matmul": _matmul,
        "Einsum": _einsum,
        "Dot": _dot_operation,
        "Tensordot": _tensordot,
        "DotProductAttention": _dot_product_attention,
        "MaxPool AveragePool": _pooling,
        "AdaptiveMaxPool AdaptiveAveragePool": _adaptive_pooling,
        "Conv": _convolution_operation,
        "Resize": _resizing,
        "ExtractPatches": _extract_patches,
        "DepthToSpace": _depth_to_space,
        "SpaceToDepth": _space_to_depth,
    }
)
