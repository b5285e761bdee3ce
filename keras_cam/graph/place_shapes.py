"""Rules of places for other shapes: reshape, transpose, repetition, concatenation, flips and rolls."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace

import keras

from keras_cam.graph.place import (
    BATCH,
    Atom,
    Place,
    TensorAxis,
    line_axis,
    met,
    placeless,
    reshaped,
)
from keras_cam.graph.place_call import Call, Constant, UnknownPlaceError, as_place, as_tuple
from keras_cam.graph.receptive_field import sliced


def kept(call: Call) -> Place:
    """What keeps every number where it is."""
    return call.place


def meet(places: Sequence[Place]) -> Place:
    """Where tensors meet number by number, aligned at their last axes: what has no place follows what has one."""
    rank = max(len(place.axes) for place in places)
    aligned = [[TensorAxis()] * (rank - len(place.axes)) + list(place.axes) for place in places]
    return Place(tuple(met(axes) for axes in zip(*aligned, strict=True)))


def meeting(call: Call) -> Place:
    """What takes several tensors number by number; constants stretch what they meet, open axes of theirs follow it."""
    place = meet(call.places)
    constants = [_constant_beside(tensor, place) for tensor in call.tensors if isinstance(tensor, Constant)]
    return meet([place, *constants])


def _constant_beside(constant: Constant, place: Place) -> Place:
    lengths = [1] * len(constant.shape) + list(place.shape)
    axes = zip(constant.shape, lengths[len(lengths) - len(constant.shape) :], strict=True)
    return Place(
        tuple(placeless((1 if beside > 1 else BATCH) if length is None else length) for length, beside in axes)
    )


def merging(call: Call) -> Place:
    """A layer that takes several tensors number by number: what lacks axes gets them behind the batch."""
    rank = max(len(tensor.shape) for tensor in call.tensors)

    def with_all_axes(tensor: Place | Constant) -> Place | Constant:
        missing = rank - len(tensor.shape)
        if isinstance(tensor, Constant):
            return Constant((*tensor.shape[:1], *(1,) * missing, *tensor.shape[1:]))
        return Place((*tensor.axes[:1], *(TensorAxis(),) * missing, *tensor.axes[1:]))

    return meeting(replace(call, args=tuple(map(with_all_axes, call.tensors)), kwargs={}))


# Axes in another order.


def _permuted(place: Place, order: Sequence[int]) -> Place:
    return Place(tuple(place.axes[axis] for axis in order))


def permute(call: Call) -> Place:
    """`Permute`."""
    return _permuted(call.place, (0, *call.operation.dims))


def transpose(call: Call) -> Place:
    """`ops.transpose`."""
    rank = len(call.place.axes)
    axes = call.operation.axes
    return _permuted(call.place, range(rank)[::-1] if axes is None else [axis % rank for axis in axes])


def moveaxis(call: Call) -> Place:
    """`ops.moveaxis`."""
    rank, op = len(call.place.axes), call.operation
    sources = [axis % rank for axis in as_tuple(op.source)]
    targets = [axis % rank for axis in as_tuple(op.destination)]
    order = [axis for axis in range(rank) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _permuted(call.place, order)


def swapaxes(call: Call) -> Place:
    """`ops.swapaxes`."""
    return _swapped(call.place, call.operation.axis1, call.operation.axis2)


def _swapped(place: Place, first: int, second: int) -> Place:
    order = list(range(len(place.axes)))
    order[first], order[second] = order[second], order[first]
    return _permuted(place, order)


# Axes of other lengths.


def reshape(call: Call) -> Place:
    """`Reshape` and `ops.reshape`."""
    is_layer = isinstance(call.operation, keras.layers.Layer)
    target = call.operation.target_shape if is_layer else call.operation.newshape
    shape: list[int | None] = [None if length is None or length == -1 else int(length) for length in target]
    if is_layer:
        shape = [BATCH, *shape]
    elif shape.count(None) > 1 and shape[0] is None:
        shape[0] = BATCH
    return _reshaped_to(call, shape)


def flatten(call: Call) -> Place:
    """`Flatten`."""
    return _reshaped_to(call, [BATCH, None])


def ravel(call: Call) -> Place:
    """`ops.ravel`."""
    return _reshaped_to(call, [None])


def _reshaped_to(call: Call, shape: Sequence[int | None]) -> Place:
    """The place after a reshape to a shape in which one length may be left open."""
    total = math.prod(call.place.shape)
    known = math.prod(length for length in shape if length is not None)
    if list(shape).count(None) > 1 or not known or total % known:
        raise UnknownPlaceError(f"{call.path!r} reshapes {call.place.shape} to {tuple(shape)}")
    return reshaped(call.place, [total // known if length is None else length for length in shape])


def squeeze(call: Call) -> Place:
    """`ops.squeeze`."""
    place, axes = call.place, call.operation.axis
    if axes is None:
        return Place(tuple(axis for axis in place.axes if axis.length != 1))
    gone = {axis % len(place.axes) for axis in as_tuple(axes)}
    return Place(tuple(axis for index, axis in enumerate(place.axes) if index not in gone))


def expand_dims(call: Call) -> Place:
    """`ops.expand_dims`."""
    axes = list(call.place.axes)
    rank = len(axes) + len(as_tuple(call.operation.axis))
    for axis in sorted(axis % rank for axis in as_tuple(call.operation.axis)):
        axes.insert(axis, TensorAxis())
    return Place(tuple(axes))


# Repetition.


def repeat_vector(call: Call) -> Place:
    """`RepeatVector`."""
    batch, *features = call.place.axes
    return Place((batch, placeless(call.operation.n), *features))


def broadcast_to(call: Call) -> Place:
    """`ops.broadcast_to`."""
    lengths = [placeless(BATCH if length in (None, -1) else length) for length in call.operation.shape]
    return meet([call.place, Place(tuple(lengths))])


def repeat(call: Call) -> Place:
    """`ops.repeat`."""
    axis, repeats = call.operation.axis, call.operation.repeats
    if axis is None or not isinstance(repeats, int):
        raise UnknownPlaceError(f"{call.path!r} repeats each cell a number of times of its own")
    axis %= len(call.place.axes)
    old = call.place.axes[axis]
    if old.before or old.after:
        raise UnknownPlaceError(f"{call.path!r} repeats tokens")
    return call.place.replaced(axis, replace(old, atoms=(*old.atoms, Atom(repeats))))


def tile(call: Call) -> Place:
    """`ops.tile`."""
    place, repeats = call.place, as_tuple(call.operation.repeats)
    axes = [TensorAxis()] * (len(repeats) - len(place.axes)) + list(place.axes)
    repeats = (1,) * (len(axes) - len(repeats)) + repeats
    tiled = []
    for axis, count in zip(axes, repeats, strict=True):
        if count != 1 and axis.lines:
            raise UnknownPlaceError(f"{call.path!r} repeats the image")
        tiled.append(axis if count == 1 else replace(axis, atoms=(Atom(int(count)), *axis.atoms)))
    return Place(tuple(tiled))


# Several tensors in a row.


def concatenate(call: Call) -> Place:
    """`Concatenate` and `ops.concatenate`."""
    axis = call.operation.axis % len(call.place.axes)
    others = meet([place.replaced(axis, TensorAxis()) for place in call.places])
    along = _joined_along([as_place(tensor).axes[axis] for tensor in call.tensors])
    if along.lines and any(tensor.shape[axis] is None for tensor in call.tensors):
        raise UnknownPlaceError(f"{call.path!r} puts tokens round the image, of which it is not known how many")
    return others.replaced(axis, along)


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


def stack(call: Call) -> Place:
    """`ops.stack`."""
    axes = list(meet(call.places).axes)
    axes.insert(call.operation.axis % (len(axes) + 1), placeless(len(call.tensors)))
    return Place(tuple(axes))


# Mirrors and rolls.


def flip(call: Call) -> Place:
    """`ops.flip`."""
    place, axes = call.place, call.operation.axis
    rank = len(place.axes)
    for axis in range(rank) if axes is None else [axis % rank for axis in as_tuple(axes)]:
        place = place.replaced(axis, _mirrored(place.axes[axis], call.path))
    return place


def _mirrored(axis: TensorAxis, path: str) -> TensorAxis:
    """The axis backwards: each line that it has, and the tokens round them."""

    def mirrored(atom: Atom) -> Atom:
        line = atom.line
        if line is None:
            return atom
        if line.roll or atom.length != line.cells.length:
            raise UnknownPlaceError(f"{path!r} mirrors a rolled image, or parts of one")
        return replace(atom, line=replace(line, cells=sliced(line.cells, range(atom.length)[::-1])))

    return TensorAxis(tuple(map(mirrored, axis.atoms)), axis.after, axis.before)


def rot90(call: Call) -> Place:
    """`ops.rot90`: of each quarter turn, the axes swapped, then the first one mirrored."""
    place = call.place
    first, second = call.operation.axes
    for _ in range(call.operation.k % 4):
        place = _swapped(place, first, second)
        place = place.replaced(first, _mirrored(place.axes[first], call.path))
    return place


def roll(call: Call) -> Place:
    """`ops.roll`."""
    place, op = call.place, call.operation
    if op.axis is None:
        raise UnknownPlaceError(f"{call.path!r} rolls all cells as one row")
    axes, shifts = as_tuple(op.axis), as_tuple(op.shift)
    for axis, shift in zip(axes, shifts * (len(axes) // len(shifts)), strict=True):
        line = place.axes[axis].line
        if line is not None:
            rolled = replace(line, roll=(line.roll + operator.index(shift)) % line.cells.length)
            place = place.replaced(axis, line_axis(rolled))
        elif place.axes[axis].lines:
            raise UnknownPlaceError(f"{call.path!r} rolls rows and columns as one row")
    return place
