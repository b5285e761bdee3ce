"""Rules of places for sums and products: Dense layers, einsum, matmul, attention, reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from keras_cam.graph.place import Atom, Line, Place, TensorAxis, contracted, line_axis, met, placeless
from keras_cam.graph.place_call import Call, Constant, UnknownPlaceError, as_place, as_tensor, as_tuple
from keras_cam.graph.receptive_field import widened, window

# Sums over axes.


def reduction(call: Call) -> Place:
    """A sum, mean, maximum or the like over axes of its choice."""
    axes = getattr(call.operation, "axis", None)
    rank = len(call.place.axes)
    numbers = range(rank) if axes is None else sorted(axis % rank for axis in as_tuple(axes))
    return reduced(call.place, numbers, getattr(call.operation, "keepdims", False))


def reduced(place: Place, axes: Sequence[int], keeps: bool) -> Place:
    """The place after some axes were summed over; a line that is kept is one cell, which sees all of it."""
    for axis in axes:
        line, one_cell = place.axes[axis].line, TensorAxis()
        others = contracted(place, axis, one_cell)
        is_elsewhere = line is not None and any(line.image_axis in other.lines for other in others.axes)
        if keeps and line is not None and not is_elsewhere:
            one_cell = line_axis(_as_one_cell(line))
        place = others.replaced(axis, one_cell)
    return place if keeps else Place(tuple(axis for index, axis in enumerate(place.axes) if index not in axes))


def _as_one_cell(line: Line) -> Line:
    return replace(line, cells=window(line.cells, line.cells.length, line.cells.length, "valid"), roll=0)


def dense(call: Call) -> Place:
    """`Dense`."""
    return contracted(call.place, len(call.place.axes) - 1, placeless(call.operation.units))


# Products of two tensors.


def einsum(equation: str, places: Sequence[Place]) -> Place:
    """The place of a product of tensors by Einstein's summation.

    What is summed over is gone. An axis that several tensors share has the place of those that keep most of theirs: of
    attention, that of the queries, not of the values. What keeps its place sees all cells that were summed over.

    Raises:
        UnknownPlaceError: an equation without an arrow.
    """
    terms, output = letters_of(equation, [len(place.axes) for place in places])
    shared: dict[str, list[tuple[tuple[int, int], TensorAxis]]] = {}
    seen: dict[int, float] = {}
    for letters, place in zip(terms, places, strict=True):
        summed, left = [number for number, letter in enumerate(letters) if letter not in output], place
        for number in summed:
            left = contracted(left, number, TensorAxis())
        for number in summed:
            seen |= _seen_over(place.axes[number], left)
        for axis, letter in zip(left.axes, letters, strict=True):
            shared.setdefault(letter, []).append((_extent(left) if axis.lines else (0, 0), axis))
    return _seeing(Place(tuple(_met_with_most(shared[letter]) for letter in output)), seen)


def letters_of(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """A letter for each axis of each tensor, and of what comes out; Greek ones for axes behind "..."."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow:  # Keras' backends do not agree on the order then
        raise UnknownPlaceError(f"the equation {equation!r} does not say what comes out")
    terms = inputs.split(",")
    hidden = [rank - len(term.replace("...", "")) for rank, term in zip(ranks, terms, strict=True)]
    filler = "".join(chr(0x3B1 + index) for index in range(max(hidden)))
    terms = [term.replace("...", filler[len(filler) - count :]) for term, count in zip(terms, hidden, strict=True)]
    return terms, output.replace("...", filler)


def _met_with_most(axes: Sequence[tuple[tuple[int, int], TensorAxis]]) -> TensorAxis:
    """Axes that meet, of tensors that have so much of the image: those of less have no place beside those of more."""
    most = max(extent for extent, _ in axes)
    return met([axis if extent == most else placeless(axis.length) for extent, axis in axes])


def _extent(place: Place) -> tuple[int, int]:
    """How many axes of the image a tensor has, and how many cells."""
    lines = place.lines()
    return len(lines), math.prod(line.cells.length for line in lines.values())


def _seen_over(axis: TensorAxis, left: Place) -> dict[int, float]:
    """How many pixels a sum over an axis sees, by axis of the image; not where it only made blocks of cells."""
    seen: dict[int, float] = {}
    remaining = {atom.line for atom in left.atoms}
    for line in {atom.line for atom in axis.atoms if atom.line is not None}:
        steps = sum((atom.length - 1) * atom.step for atom in axis.atoms if atom.line == line)
        if line in remaining or line.image_axis not in {number for other in left.axes for number in other.lines}:
            seen[line.image_axis] = abs(line.cells.stride) * steps + line.cells.field
    return seen


def _seeing(place: Place, seen: Mapping[int, float]) -> Place:
    """The place whose cells see at least so many pixels along each axis of the image."""

    def see(atom: Atom) -> Atom:
        line = atom.line
        if line is None or line.image_axis not in seen:
            return atom
        return replace(atom, line=replace(line, cells=widened(line.cells, seen[line.image_axis])))

    return Place(tuple(replace(axis, atoms=tuple(map(see, axis.atoms))) for axis in place.axes))


def einsum_layer(call: Call) -> Place:
    """`EinsumDense`."""
    kernel = Place(tuple(placeless(length) for length in call.operation.kernel.shape))
    return einsum(call.operation.equation, [call.place, kernel])


def einsum_operation(call: Call) -> Place:
    """`ops.einsum`."""
    return einsum(call.operation.subscripts, [as_place(tensor) for tensor in call.tensors])


def _factors(call: Call) -> tuple[Place, Place]:
    return as_place(call.argument(0, "x1")), as_place(call.argument(1, "x2"))


def matmul(call: Call) -> Place:
    """`ops.matmul`."""
    first, second = _factors(call)
    if len(second.axes) == 1:
        return einsum("...k,k->...", [first, second])
    if len(first.axes) == 1:
        return einsum("k,...kn->...n", [first, second])
    return einsum("...mk,...kn->...mn", [first, second])


def dot(call: Call) -> Place:
    """`ops.dot`: over the last axis of the first and the last but one of the second."""
    first, second = _factors(call)
    return _tensordot(first, second, [(-1, -1 if len(second.axes) == 1 else -2)])


def tensordot(call: Call) -> Place:
    """`ops.tensordot`."""
    first, second = _factors(call)
    axes = call.operation.axes
    if isinstance(axes, int):
        return _tensordot(first, second, [(index - axes, index) for index in range(axes)])
    return _tensordot(first, second, list(zip(as_tuple(axes[0]), as_tuple(axes[1]), strict=True)))


def dot_layer(call: Call) -> Place:
    """`Dot`: over one axis of each, image by image."""
    first, second = (as_place(tensor) for tensor in call.tensors)
    axes = as_tuple(call.operation.axes)
    return _tensordot(first, second, [(axes[0], axes[-1])], by_image=True)


def _tensordot(first: Place, second: Place, pairs: Sequence[tuple[int, int]], by_image: bool = False) -> Place:
    """The product over pairs of axes; the batch, where both have it, stays once."""
    left, right = list("abcdefgh"[: len(first.axes)]), list("mnopqrst"[: len(second.axes)])
    right[0] = left[0] if by_image else right[0]
    for axis, partner in pairs:
        right[partner] = left[axis]
    summed = {left[axis] for axis, _ in pairs}
    output = [letter for letter in [*left, *right[by_image:]] if letter not in summed]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(output)}", [first, second])


# Attention.


def multi_head_attention(call: Call) -> Place | list[Place | None] | None:
    """`MultiHeadAttention` and the like."""
    query = as_tensor(call.argument(0, "query"))
    output_shape = getattr(call.operation, "_output_shape", None)
    return _attended(call, query, output_shape[-1] if output_shape else as_place(query).shape[-1])


def attention_layer(call: Call) -> Place | list[Place | None] | None:
    """`Attention` and `AdditiveAttention`, which are called on a list."""
    query, value, *_ = call.args[0]
    return _attended(call, as_tensor(query), as_place(value).shape[-1])


def attention_operation(call: Call) -> Place | list[Place | None] | None:
    """`ops.dot_product_attention`."""
    return _attended(call, as_tensor(call.argument(0, "query")), as_place(call.argument(2, "value")).shape[-1])


def _attended(call: Call, query: Place | Constant, width: int) -> Place | list[Place | None] | None:
    """Attention keeps the place of its queries; what it reads, it reads everywhere. Its scores are not followed."""
    if not isinstance(query, Place):
        return None
    kept = contracted(query, len(query.axes) - 1, placeless(int(width)))
    seen: dict[int, float] = {}
    for axis in kept.axes:
        seen |= _seen_over(axis, kept)
    place = _seeing(kept, seen)
    return [place, None] if call.kwargs.get("return_attention_scores") else place
