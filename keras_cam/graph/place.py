"""Where the axes of a tensor come from: which is an axis of the image, which are several of them joined, which are not.

A tensor has a place in the image only by descent: its axes come from the image's by steps that keep position. Each of
its axes is written as `Atom`s in row-major order: a line of cells along one axis of the image, a part of such a line (a
line of 8 cells reshaped to 4 x 2 is two atoms of it), or something that has no place (the batch, channels, heads). So
what a reshape joins, splits, blocks or undoes is arithmetic on lengths. Tokens that stand before or after the cells of
an axis (class tokens, registers) are counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from keras_cam.graph.receptive_field import Axis, blocks, merged

BATCH = 8191  # the length that stands for the batch: a prime of which no other length should be a multiple


@dataclass(frozen=True)
class Line:
    """Cells along one axis of the image.

    Attributes:
        image_axis: which of the image's spatial axes.
        cells: where they lie along it.
        roll: by how many cells they were rolled round the edge, and not rolled back yet.
    """

    image_axis: int
    cells: Axis
    roll: int = 0


@dataclass(frozen=True)
class Atom:
    """A factor of an axis of a tensor.

    Attributes:
        length: how many.
        line: the line that it counts cells of; None where it has no place.
        step: how many cells of the line lie from one to the next.
        tokens: an axis with tokens before or after its cells, taken whole: such an axis cannot be split.
    """

    length: int
    line: Line | None = None
    step: int = 1
    tokens: TensorAxis | None = None


@dataclass(frozen=True)
class TensorAxis:
    """One axis of a tensor: its atoms in row-major order, and how many tokens without a place stand round them."""

    atoms: tuple[Atom, ...] = ()
    before: int = 0
    after: int = 0

    @property
    def length(self) -> int:
        """How many entries it has."""
        return self.before + math.prod(atom.length for atom in self.atoms) + self.after

    @property
    def lines(self) -> set[int]:
        """The axes of the image that it has cells of."""
        return {atom.line.image_axis for atom in self.atoms if atom.line is not None}

    @property
    def line(self) -> Line | None:
        """The line that it is, where it is one whole line and nothing else; a line times r has r cells for each."""
        if len(self.atoms) == 1 and not self.before and not self.after:
            atom = self.atoms[0]
            return atom.line if atom.line is not None and atom.length == atom.line.cells.length else None
        return None


def placeless(length: int) -> TensorAxis:
    """An axis that has no place, of this length."""
    return TensorAxis((Atom(length),)) if length != 1 else TensorAxis()


def line_axis(line: Line) -> TensorAxis:
    """An axis that is this line."""
    return TensorAxis((Atom(line.cells.length, line),))


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the image: one `TensorAxis` for each of its axes, the batch first."""

    axes: tuple[TensorAxis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes; `BATCH` stands for the batch."""
        return tuple(axis.length for axis in self.axes)

    @property
    def atoms(self) -> list[Atom]:
        """The atoms of all axes, in order."""
        return [atom for axis in self.axes for atom in axis.atoms]

    def lines(self) -> dict[int, Line]:
        """The lines that it has all cells of, once, by axis of the image."""
        found: dict[int, Line] = {}
        for image_axis in {number for axis in self.axes for number in axis.lines}:
            parts = [atom for atom in self.atoms if atom.line is not None and atom.line.image_axis == image_axis]
            line = parts[0].line
            if line is not None and all(part.line == line for part in parts) and _covers(parts, line.cells.length):
                found[image_axis] = line
        return found

    def replaced(self, axis: int, new: TensorAxis) -> Place:
        """The place with another axis in place of one."""
        axes = list(self.axes)
        axes[axis] = new
        return Place(tuple(axes))


def _covers(parts: Sequence[Atom], length: int) -> bool:
    """Whether atoms of one line count each of its cells once."""
    expected = 1
    for part in sorted(parts, key=lambda part: (part.step, part.length)):
        if part.length > 1 and part.step != expected:
            return False
        expected *= part.length
    return expected == length


def without_line(place: Place, line: Line) -> Place:
    """The place in which cells of a line have no place any more, unless all of them are along other axes.

    So it is after the entries along one axis were summed up or one of them was picked: weights of attention have the
    line of their keys along the axis of the queries too, and keep it there.
    """
    parts = [atom for atom in place.atoms if atom.line == line]
    if not parts or _covers(parts, line.cells.length):
        return place

    def lost(atom: Atom) -> Atom:
        return Atom(atom.length) if atom.line == line else atom

    return Place(tuple(replace(axis, atoms=tuple(map(lost, axis.atoms))) for axis in place.axes))


def contracted(place: Place, axis: int, new: TensorAxis) -> Place:
    """The place after the entries along one axis were summed up, each with its weight, to new ones without a place.

    What is summed up over a line has lost it. Where an axis has only the inner part of a line (the patch of a
    patch embedding), the blocks that it makes are the cells from then on.
    """
    result = place.replaced(axis, new)
    for atom in place.axes[axis].atoms:
        parts = [part for part in result.atoms if part.line == atom.line]
        if atom.line is None or not parts:
            continue
        makes_blocks = atom.step == 1 and all(part.step % atom.length == 0 for part in parts)
        if makes_blocks and atom.line.roll % atom.length == 0:
            result = _in_blocks(result, atom.line, atom.length)
        else:
            result = without_line(result, atom.line)
    return result


def _in_blocks(place: Place, line: Line, size: int) -> Place:
    """The place with a line's cells joined in blocks, of which only the outer part was left."""
    joined = Line(line.image_axis, blocks(line.cells, size), line.roll // size)

    def outer(atom: Atom) -> Atom:
        return Atom(atom.length, joined, atom.step // size) if atom.line == line else atom

    return Place(tuple(replace(axis, atoms=tuple(map(outer, axis.atoms))) for axis in place.axes))


def reshaped(place: Place, shape: Sequence[int]) -> Place:
    """The place after a reshape; axes from the first that cannot be told apart on have no place."""
    atoms = [atom for axis in place.axes for atom in _packed(axis)]
    axes: list[TensorAxis] = []
    for index, length in enumerate(shape):
        taken = _take(atoms, length)
        if taken is None:
            return Place((*axes, *(placeless(rest) for rest in shape[index:])))
        axes.append(_unpacked(taken))
    if atoms and axes:  # cells of length one that are left over
        axes[-1] = replace(axes[-1], atoms=(*axes[-1].atoms, *atoms))
    return Place(tuple(axes))


def _packed(axis: TensorAxis) -> Iterable[Atom]:
    return [Atom(axis.length, tokens=axis)] if axis.before or axis.after else axis.atoms


def _unpacked(atoms: list[Atom]) -> TensorAxis:
    if len(atoms) == 1 and atoms[0].tokens is not None:
        return atoms[0].tokens
    return TensorAxis(tuple(_joined(Atom(atom.length) if atom.tokens is not None else atom for atom in atoms)))


def _joined(atoms: Iterable[Atom]) -> list[Atom]:
    """Neighbouring atoms of one line that count on from each other, as one."""
    joined: list[Atom] = []
    for atom in atoms:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.line is not None
            and last.line == atom.line
            and last.step == atom.step * atom.length
        ):
            joined[-1] = Atom(last.length * atom.length, atom.line, atom.step)
        else:
            joined.append(atom)
    return joined


def _take(atoms: list[Atom], length: int) -> list[Atom] | None:
    """Atoms from the front that make an axis of this length, taken off the list; None where none do."""
    taken: list[Atom] = []
    product = 1
    if length == 1:
        return [atoms.pop(0)] if atoms and atoms[0].length == 1 else []
    while product < length:
        if not atoms:
            return None
        atom = atoms[0]
        if length % (product * atom.length) == 0:
            taken.append(atoms.pop(0))
            product *= atom.length
            continue
        outer = length // product
        if length % product or atom.length % outer or atom.tokens is not None:
            return None
        inner = atom.length // outer
        taken.append(Atom(outer, atom.line, atom.step * inner))
        atoms[0] = Atom(inner, atom.line, atom.step)
        product *= outer
    return taken


def met(axes: Sequence[TensorAxis]) -> TensorAxis:
    """One axis of several tensors that meet number by number: an axis without a place takes over that of another."""
    longest = max(axis.length for axis in axes)
    placed = [axis for axis in axes if axis.length == longest and axis.lines]
    if not placed:
        return next(axis for axis in axes if axis.length == longest)
    first = placed[0]
    if any(not _same_structure(axis, first) for axis in placed):
        return placeless(longest)
    if all(axis == first for axis in placed):
        return first
    return replace(first, atoms=tuple(_mean(parts) for parts in zip(*(axis.atoms for axis in placed), strict=True)))


def _same_structure(one: TensorAxis, other: TensorAxis) -> bool:
    """Whether two axes have the same parts of the same axes of the image, running the same way."""

    def form(axis: TensorAxis) -> list[tuple[object, ...]]:
        return [
            (atom.length, atom.step)
            if (line := atom.line) is None
            else (atom.length, atom.step, line.image_axis, line.cells.length, line.cells.stride > 0, line.roll)
            for atom in axis.atoms
        ]

    return (one.before, one.after, form(one)) == (other.before, other.after, form(other))


def _mean(parts: Sequence[Atom]) -> Atom:
    lines = [part.line for part in parts if part.line is not None]
    if not lines:
        return parts[0]
    return replace(parts[0], line=replace(lines[0], cells=merged([line.cells for line in lines])))
