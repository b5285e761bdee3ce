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
TOLERANCE = 0.51  # cells that a window's centre may lie beside its place: windows of even sizes are cut at borders


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
    """The place of an output in which each cell of the input has one cell, itself or mirrored; None where it has not.

    What is changed in one cell of the input changes its own cell of the output far more than any other.
    """
    values = ops.convert_to_numpy(point)
    rank = values.ndim - 2
    moves: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    try:
        before = ops.convert_to_numpy(run(point))
        if before.shape != values.shape or rank < 1:
            return None
        for share in (0.2, 0.45, 0.7):
            cell = tuple(int(share * length) for length in values.shape[1:-1])
            changed = values.copy()
            changed[(0, *cell)] += 1
            after = ops.convert_to_numpy(run(ops.convert_to_tensor(changed, dtype=point.dtype)))
            change = np.abs(after - before)[0].sum(axis=-1)
            own = np.unravel_index(change.argmax(), change.shape)
            largest, change[own] = change[own], 0
            if not largest > OWN_SHARE * change.max():
                return None
            moves.append((cell, tuple(map(int, own))))
    except Exception:  # whatever the caller's code raises
        return None
    for axis in range(rank):
        length, line = values.shape[1 + axis], place.axes[1 + axis].line
        if any(cell[axis] != own[axis] for cell, own in moves):
            if line is None or any(length - 1 - cell[axis] != own[axis] for cell, own in moves):
                return None
            cells = sliced(line.cells, range(length)[::-1])
            place = place.replaced(1 + axis, line_axis(replace(line, cells=cells)))
    return place


def _line_of(line: Line, axis: int, length: int, point: Any, run: Callable[[Any], Any], name: str) -> Line:
    """The line that comes out along one axis."""
    if line.roll:
        raise UnknownPlaceError(f"{name} reads a rolled image")
    count = line.cells.length
    asked = np.unique(np.linspace(0, length - 1, min(length, MOST_CELLS)).round().astype(int))
    windows = {int(cell): _window_of(int(cell), axis, point, run) for cell in asked}
    found = {cell: ends for cell, ends in windows.items() if ends is not None}
    # Windows that the border cuts off do not say where their centre is.
    inner = {cell: ends for cell, ends in found.items() if ends[0] > 0 and ends[1] < count - 1}
    inner = inner or (found if all(first == last for first, last in found.values()) else {})
    if not inner or len(found) < len(windows):
        raise UnknownPlaceError(f"{name} is a layer of its own kind whose cells read no window of the image")
    cells = np.array(sorted(inner))
    centres = np.array([(inner[int(cell)][0] + inner[int(cell)][1]) / 2 for cell in cells])
    if len(cells) > 1:
        stride, offset = (float(number) for number in np.polyfit(cells, centres, 1))
    else:
        stride = count / length
        offset = float(centres[0] - cells[0] * stride)
    if np.abs(offset + stride * cells - centres).max() > TOLERANCE or abs(stride) * length < count / 4:
        raise UnknownPlaceError(f"{name} is a layer of its own kind whose cells move unevenly over the image")
    field = max(last - first for first, last in inner.values())
    stride, offset = round(float(stride), 6), round(float(offset), 6)
    before = line.cells
    return replace(
        line,
        cells=Axis(
            length,
            before.offset + before.stride * offset,
            before.stride * stride,
            before.field + abs(before.stride) * field,
            before.spread,
        ),
    )


def _window_of(cell: int, axis: int, point: Any, run: Callable[[Any], Any]) -> tuple[int, int] | None:
    """The first and the last cell of the input that one cell of the output reads along an axis; None: it reads none."""

    def total(points: list[Any]) -> tuple[Any, list[Any]]:
        output = ops.cast(run(points[0]), "float32")
        at_cell = ops.take(output, cell, axis=axis)
        weights = np.random.default_rng(1).normal(size=tuple(at_cell.shape)).astype("float32")
        return ops.sum(at_cell * weights), []

    try:
        (by_input,), _ = gradient(total, [point])
    except Exception:  # an operation that has no gradient
        return None
    magnitude = np.abs(ops.convert_to_numpy(ops.cast(by_input, "float32")))
    profile = magnitude.sum(axis=tuple(each for each in range(magnitude.ndim) if each != axis))
    reads = np.flatnonzero(profile > 1e-9 * profile.max())
    return (int(reads[0]), int(reads[-1])) if len(reads) else None
