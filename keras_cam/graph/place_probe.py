"""Where an operation puts its cells, found out by running it: for what cannot be read, such as a raw function.

The gradient of the output's cells says which cells of the input each of them reads. Where these windows move on evenly,
their centres are the places; where a cell reads all of the image, or none of it, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.backend import gradient
from keras_cam.graph.keras_internals import in_inference_mode
from keras_cam.graph.place import BATCH, Line, Place, line_axis, placeless
from keras_cam.graph.place_call import UnknownPlaceError
from keras_cam.graph.program import Program, Slot, Step
from keras_cam.graph.receptive_field import Axis, sliced

IMAGES = 2
MOST_CELLS = 9  # of an axis that are asked
MOST_NUMBERS = 2**24  # of an input that is run through the operation
OWN_SHARE = 4  # how much more its own cell changes than any other
# Where cells are changed, as shares of each axis: other ones for each, so that swapped axes do not pass for unmoved.
CHANGED = ((0.2, 0.45, 0.7), (0.45, 0.7, 0.2), (0.7, 0.2, 0.45))
TOLERANCE = 0.51  # cells that a window's centre may lie beside its place: windows of even sizes are cut at borders
END_TOLERANCE = 1.01  # and that its ends may: of windows whose size is no whole number


def probe_place(step: Step, program: Program, places: Mapping[int, Place]) -> Place:
    """Where the output of a step lies, by running it.

    Args:
        step: a step that no rule knows, with one output.
        program: whose step it is.
        places: where its inputs lie, by slot.

    Returns:
        The place of the output.

    Raises:
        UnknownPlaceError: what comes out has other axes, or reads the image in no even way.
    """
    name = f"{step.path!r} ({type(step.operation).__name__})"
    slot = next(slot for slot in step.inputs if slot in places)
    place = places[slot]
    shape = tuple(IMAGES if length == BATCH else length for length in place.shape)
    if len(step.outputs) != 1 or int(np.prod(shape)) > MOST_NUMBERS or any(length % BATCH == 0 for length in shape):
        raise UnknownPlaceError(f"{name} is a layer of its own kind")
    point, run = _runner(step, program, slot, shape)
    moved = _moved_cells(place, point, run)
    if moved is not None:
        return moved
    try:
        output = run(point)
    except Exception as error:  # whatever the caller's code raises
        raise UnknownPlaceError(f"{name} does not run on an example: {type(error).__name__}") from error
    if len(getattr(output, "shape", ())) != len(shape):
        raise UnknownPlaceError(f"{name} gives other axes than it takes")
    axes = [place.axes[0]]
    for axis in range(1, len(shape)):
        line = place.axes[axis].line
        if place.axes[axis].lines and line is None:
            raise UnknownPlaceError(f"{name} reads an axis in which rows and columns are joined")
        axes.append(
            placeless(int(output.shape[axis]))
            if line is None
            else line_axis(_line_of(line, axis, int(output.shape[axis]), point, run, name))
        )
    return Place(tuple(axes))


def _runner(step: Step, program: Program, slot: int, shape: tuple[int, ...]) -> tuple[Any, Callable[[Any], Any]]:
    """An example of one input, and the step as a function of it; other inputs are fixed examples."""
    rng = np.random.default_rng(0)

    def example(index: int, lengths: tuple[int, ...]) -> Any:
        return ops.convert_to_tensor(rng.normal(size=lengths).astype("float32"), dtype=program.specs[index].dtype)

    others = {
        index: example(index, tuple(length or IMAGES for length in program.specs[index].shape))
        for index in step.inputs
        if index != slot
    }

    def run(point: Any) -> Any:
        values = {**others, slot: point}
        args, kwargs = keras.tree.map_structure(
            lambda argument: values[argument.index] if isinstance(argument, Slot) else argument, step.arguments
        )
        return step.operation(*args, **in_inference_mode(step.operation, kwargs))

    return example(slot, shape), run


def _moved_cells(place: Place, point: Any, run: Callable[[Any], Any]) -> Place | None:
    """The place of an output in which each cell of the input has one, its own or the mirrored; else None."""
    lengths = tuple(point.shape[1:-1])
    try:
        moves = _moves(point, run)
    except Exception:  # whatever the caller's code raises
        return None
    if not moves:
        return None
    for axis, length in enumerate(lengths):
        line = place.axes[1 + axis].line
        pairs = [(cell[axis], own[axis]) for cell, own in moves]
        if all(cell == own for cell, own in pairs):
            continue
        if line is None or any(length - 1 - cell != own for cell, own in pairs):
            return None
        mirrored = replace(line, cells=sliced(line.cells, range(length)[::-1]))
        place = place.replaced(1 + axis, line_axis(mirrored))
    return place


def _moves(point: Any, run: Callable[[Any], Any]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Some cells of the input, each with the cell that it changes far more than any other; none where it does not."""
    values = ops.convert_to_numpy(point)
    before = ops.convert_to_numpy(run(point))
    lengths = values.shape[1:-1]
    if before.shape != values.shape or not 1 <= len(lengths) <= len(CHANGED):
        return []
    moves = []
    for shares in CHANGED:
        cell = tuple(int(share * length) for share, length in zip(shares, lengths, strict=False))
        changed = values.copy()
        changed[(0, *cell)] += 1
        after = ops.convert_to_numpy(run(ops.convert_to_tensor(changed, dtype=point.dtype)))
        change = np.abs(after - before)[0].sum(axis=-1)
        own = tuple(map(int, np.unravel_index(change.argmax(), change.shape)))
        largest, change[own] = change[own], 0
        if not largest > OWN_SHARE * change.max():
            return []
        moves.append((cell, own))
    return moves


def _line_of(line: Line, axis: int, length: int, point: Any, run: Callable[[Any], Any], name: str) -> Line:
    """The line that comes out along one axis."""
    if line.roll:
        raise UnknownPlaceError(f"{name} reads a rolled image")
    asked = np.unique(np.linspace(0, length - 1, min(length, MOST_CELLS)).round().astype(int))
    found = [_window_of(int(cell), axis, point, run) for cell in asked]
    windows = np.array([ends for ends in found if ends is not None])
    if len(windows) < len(asked):
        raise UnknownPlaceError(f"{name} is a layer of its own kind whose cells read no window of the image")
    before = line.cells
    moved = _even_windows(asked, windows, length, before.length)
    if moved is None:
        raise UnknownPlaceError(f"{name} is a layer of its own kind whose cells move unevenly over the image")
    cells = Axis(
        length,
        before.offset + before.stride * moved.offset,
        before.stride * moved.stride,
        before.field + abs(before.stride) * (moved.field - 1),
        before.spread,
    )
    return replace(line, cells=cells)


def _even_windows(cells: Any, windows: Any, length: int, count: int) -> Axis | None:
    """Where cells lie that read these windows of `count` others; None where they do not move on evenly."""
    whole, centres = _are_whole(windows, count), windows.mean(axis=1)
    if whole.sum() < min(2, length):
        return None
    if length == 1:
        stride, offset = float(count), float(centres[0])
    else:
        stride, offset = (float(number) for number in np.polyfit(cells[whole], centres[whole], 1))
    reach = (windows[whole, 1] - windows[whole, 0]).max() / 2
    # What is predicted of all windows, those at the border too, must be what was found.
    places = offset + stride * cells
    ends = np.stack([places - reach, places + reach], axis=1).clip(0, count - 1)
    is_even = np.abs(places - centres)[whole].max() <= TOLERANCE and np.abs(ends - windows).max() <= END_TOLERANCE
    if not is_even or abs(stride) * length < count / 4:
        return None
    return Axis(length, round(offset, 6), round(stride, 6), float(2 * reach + 1))


def _are_whole(windows: Any, count: int) -> Any:
    """Which windows the border does not cut off: only these say where their centre is."""
    sizes = windows[:, 1] - windows[:, 0] + 1
    inner = (windows[:, 0] > 0) & (windows[:, 1] < count - 1)
    if inner.any():
        return inner | (sizes >= sizes[inner].max())
    lie_side_by_side = len(windows) * sizes.max() <= count
    return np.full(len(windows), bool(lie_side_by_side and (sizes == sizes[0]).all()))


def _window_of(cell: int, axis: int, point: Any, run: Callable[[Any], Any]) -> tuple[int, int] | None:
    """The first and the last cell of the input that one cell of the output reads along an axis; None: it reads none."""

    def total(points: list[Any]) -> tuple[Any, list[Any]]:
        output = ops.cast(run(points[0]), "float32")
        at_cell = ops.take(output, cell, axis=axis)
        weights = np.random.default_rng(1).normal(size=tuple(at_cell.shape)).astype("float32")
        return ops.sum(at_cell * ops.convert_to_tensor(weights)), []

    try:
        (by_input,), _ = gradient(total, [point])
    except Exception:  # an operation that has no gradient
        return None
    magnitude = np.abs(ops.convert_to_numpy(ops.cast(by_input, "float32")))
    profile = magnitude.sum(axis=tuple(each for each in range(magnitude.ndim) if each != axis))
    reads = np.flatnonzero(profile > 1e-9 * profile.max())
    return (int(reads[0]), int(reads[-1])) if len(reads) else None
