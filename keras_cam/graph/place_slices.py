"""Rules of places for some of the cells: slices, picks, splits."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keras_cam.graph.place import Place, TensorAxis, line_axis, placeless
from keras_cam.graph.place_call import Call, UnknownPlaceError, as_place
from keras_cam.graph.receptive_field import sliced


def get_item(call: Call) -> Place | None:
    """`tensor[...]`: an axis that is picked from by a number is gone, and with it the cells along it."""
    place = call.argument(0, "x")
    if not isinstance(place, Place):
        return None
    axes = iter(place.axes)
    parts = _with_all_axes(call.argument(1, "key"), len(place.axes))
    chosen = [TensorAxis() if part is None else _chosen(next(axes), part, call.path) for part in parts]
    return Place(tuple(axis for axis in chosen if axis is not None))


def _with_all_axes(key: Any, rank: int) -> list[Any]:
    """The parts of a key with a slice for each axis that it leaves out; None where it makes a new axis."""
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    missing = [slice(None)] * (rank - sum(part is not None and part is not Ellipsis for part in parts))
    gap = next((index for index, part in enumerate(parts) if part is Ellipsis), None)
    return [*parts, *missing] if gap is None else [*parts[:gap], *missing, *parts[gap + 1 :]]


def _chosen(axis: TensorAxis, part: Any, path: str) -> TensorAxis | None:
    """What a part of a key leaves of an axis; None where it picks one entry."""
    if isinstance(part, slice):
        return slice_of(axis, part, path)
    if isinstance(part, int):
        return None
    raise UnknownPlaceError(f"{path!r} picks cells by an index that is computed")


def slice_of(axis: TensorAxis, part: slice, path: str) -> TensorAxis:
    """A slice of an axis: of cells, of the tokens round them, or of neither."""
    if part == slice(None):
        return axis
    if not all(bound is None or isinstance(bound, int) for bound in (part.start, part.stop, part.step)):
        raise UnknownPlaceError(f"{path!r} picks cells by an index that is computed")
    kept = range(axis.length)[part]
    cells = range(axis.before, axis.length - axis.after)
    inside = [number for number in kept if number in cells]
    if not axis.lines or not inside:
        return placeless(len(kept))
    if kept.step == 1 and len(inside) == len(cells):
        before = inside[0] - kept.start
        return replace(axis, before=before, after=len(kept) - len(inside) - before)
    if axis.line is None:
        raise UnknownPlaceError(f"{path!r} keeps only some of tokens or blocks")
    if axis.line.roll:
        raise UnknownPlaceError(f"{path!r} cuts a rolled image")
    return line_axis(replace(axis.line, cells=sliced(axis.line.cells, kept)))


def slice_operation(call: Call) -> Place:
    """`ops.slice`: from a start along each axis, so many."""
    place, starts = call.place, call.argument(1, "start_indices")
    if not isinstance(starts, (list, tuple)) or not all(isinstance(start, int) for start in starts):
        raise UnknownPlaceError(f"{call.path!r} picks cells by an index that is computed")
    kept = []
    for axis, start, length in zip(place.axes, starts, call.operation.shape, strict=True):
        kept.append(slice_of(axis, slice(start, None if length == -1 else start + length), call.path))
    return Place(tuple(kept))


def take(call: Call) -> Place | None:
    """`ops.take`: of entries picked by a list of numbers, channels stay channels, cells have lost their place."""
    place, axis, indices = call.place, call.operation.axis, call.argument(1, "indices")
    if axis is None or isinstance(indices, Place):
        return None
    axis %= len(place.axes)
    return Place((*place.axes[:axis], *_axes_of(indices), *place.axes[axis + 1 :]))


def _axes_of(indices: Any) -> Sequence[TensorAxis]:
    """An axis for each of those of a tensor, an array, a list or a number."""
    if hasattr(indices, "shape"):
        return as_place(indices).axes
    return [placeless(len(indices)), *_axes_of(indices[0])] if isinstance(indices, (list, tuple)) else []


def split(call: Call) -> list[Place | None]:
    """`ops.split`."""
    place, sections = call.place, call.operation.indices_or_sections
    axis = call.operation.axis % len(place.axes)
    whole = place.axes[axis]
    if isinstance(sections, int):
        bounds = [whole.length // sections * index for index in range(sections + 1)]
    else:
        bounds = [0, *map(operator.index, sections), whole.length]
    return [place.replaced(axis, slice_of(whole, slice(*ends), call.path)) for ends in itertools.pairwise(bounds)]


def unstack(call: Call) -> list[Place | None]:
    """`ops.unstack`."""
    place = call.place
    axis = call.operation.axis % len(place.axes)
    return [Place((*place.axes[:axis], *place.axes[axis + 1 :]))] * place.axes[axis].length
