"""How a feature map lies in its tensor: the way to (N, *grid, K), in the order of the image's axes, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_cam.graph.descent import Places
from keras_cam.graph.place import BATCH, TensorAxis

Tensor = Any
IMAGES, CHANNELS = -1, -2  # in place of an axis of the image


@dataclass(frozen=True)
class Part:
    """A factor of an axis of the tensor: of the batch, of the channels, or cells along one axis of the image.

    Attributes:
        length: how many; None where that is known at the call only.
        image_axis: of cells, which axis of the image; `IMAGES` or `CHANNELS` of what is no cells.
        step: how many cells from one to the next.
    """

    length: int | None
    image_axis: int
    step: int = 1


@dataclass(frozen=True)
class Layout:
    """How a tensor holds a feature map.

    Attributes:
        axes: the parts of each axis of the tensor.
        before: how many tokens without a place come first, for each axis.
        after: how many come last.
        mirrored: of each axis of the image, whether its cells run backwards.
        rolls: of each axis of the image, by how many cells they were rolled.
    """

    axes: tuple[tuple[Part, ...], ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    mirrored: tuple[bool, ...]
    rolls: tuple[int, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the tensor is (N, *grid, K) as it is."""
        order = [parts[0].image_axis for parts in self.axes if len(parts) == 1]
        rank = len(self.mirrored)
        is_in_order = len(order) == len(self.axes) and order == [IMAGES, *range(rank), CHANNELS]
        return is_in_order and not self.num_tokens and not any(self.mirrored) and not any(self.rolls)

    @property
    def has_one_channel_axis(self) -> bool:
        """Whether the average over all axes but the batch and one is the average over the cells."""
        with_channels = [parts for parts in self.axes if any(part.image_axis == CHANNELS for part in parts)]
        several = [parts for parts in with_channels if any(part.length != 1 for part in parts)]
        return len(several) <= 1 and not self.num_tokens

    @property
    def num_tokens(self) -> int:
        """How many tokens without a place there are."""
        return sum(self.before) + sum(self.after)

    def to_grid(self, tensor: Tensor) -> Tensor:
        """The feature map, or a gradient by it, as float32 (N, *grid, K), without tokens that have no place."""
        return ops.cast(self.rearranged(tensor), "float32")

    def rearranged(self, tensor: Tensor) -> Tensor:
        """As `to_grid`, in the tensor's own dtype."""
        if self.is_plain:
            return tensor
        tensor = self._cells(tensor)
        parts, lengths = self._parts(ops.shape(tensor))
        if len(parts) > len(self.axes):
            tensor = ops.reshape(tensor, lengths)
        tensor = ops.transpose(tensor, [index for _, index in self._sorted(parts)])
        if len(parts) != len(self.mirrored) + 2:
            tensor = ops.reshape(tensor, self._grid_shape(parts, lengths))
        for axis, (mirrored, roll) in enumerate(zip(self.mirrored, self.rolls, strict=True), start=1):
            tensor = ops.roll(tensor, -roll, axis=axis) if roll else tensor
            tensor = ops.flip(tensor, axis=axis) if mirrored else tensor
        return tensor

    def from_grid(self, grid: Tensor, like: Tensor) -> Tensor:
        """The way back of `to_grid`, into the layout and dtype of the tensor `like`, whose tokens are kept."""
        if self.is_plain:
            return ops.cast(grid, like.dtype)
        for axis, (mirrored, roll) in enumerate(zip(self.mirrored, self.rolls, strict=True), start=1):
            grid = ops.flip(grid, axis=axis) if mirrored else grid
            grid = ops.roll(grid, roll, axis=axis) if roll else grid
        cells = self._cells(like)
        parts, lengths = self._parts(ops.shape(cells))
        order = [index for _, index in self._sorted(parts)]
        grid = ops.transpose(ops.reshape(grid, [lengths[index] for index in order]), _inverse(order))
        grid = ops.cast(ops.reshape(grid, ops.shape(cells)), like.dtype)
        for axis, before, after in reversed(self._ends(like)):
            grid = ops.concatenate([end for end in (before, grid, after) if end is not None], axis)
        return grid

    def tokens(self, tensor: Tensor) -> list[Tensor]:
        """The tokens that have no place, those before the cells and those after them."""
        return [end for _, *ends in self._ends(tensor) for end in ends if end is not None]

    def _ends(self, tensor: Tensor) -> list[tuple[int, Tensor | None, Tensor | None]]:
        """What is before and after the cells along each axis that has tokens, where the axes before it have cells."""
        found: list[tuple[int, Tensor | None, Tensor | None]] = []
        for axis, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            first = _slice(tensor, axis, 0, before) if before else None
            last = _slice(tensor, axis, -after, None) if after else None
            if before or after:
                found.append((axis, first, last))
                tensor = _slice(tensor, axis, before, -after or None)
        return found

    def _cells(self, tensor: Tensor) -> Tensor:
        for axis, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            tensor = _slice(tensor, axis, before, -after or None) if before or after else tensor
        return tensor

    def _parts(self, shape: Sequence[Any]) -> tuple[list[Part], list[Any]]:
        """The parts of all axes, in order, and their lengths in a tensor of this shape; -1 where it is symbolic."""
        parts, lengths = [], []
        for axis_parts, whole in zip(self.axes, shape, strict=True):
            known = math.prod(part.length or 1 for part in axis_parts)
            for part in axis_parts:
                left = -1 if whole is None else whole if len(axis_parts) == 1 else whole // known
                parts.append(part)
                lengths.append(left if part.length is None or len(axis_parts) == 1 else part.length)
        return parts, lengths

    def _sorted(self, parts: Sequence[Part]) -> list[tuple[Part, int]]:
        """Parts with where they are now: the batch, the cells of each axis of the image, the channels."""
        rank = len(self.mirrored)

        def place(item: tuple[int, Part]) -> tuple[int, int, int]:
            index, part = item
            order = {IMAGES: -1, CHANNELS: rank}.get(part.image_axis, part.image_axis)
            return order, -part.step if part.image_axis >= 0 else 0, index

        return [(part, index) for index, part in sorted(enumerate(parts), key=place)]

    def _grid_shape(self, parts: Sequence[Part], lengths: Sequence[Any]) -> list[Any]:
        def product(image_axis: int) -> Any:
            return math.prod(
                length for part, length in zip(parts, lengths, strict=True) if part.image_axis == image_axis
            )

        return [product(IMAGES), *map(product, range(len(self.mirrored))), product(CHANNELS)]


def layout_in(places: Places, slot: int, shape: Sequence[int | None]) -> Layout:
    """The layout of a spatial tensor.

    Args:
        places: where the tensors of the model lie in the image.
        slot: which tensor.
        shape: its static shape, None where open: so are the cells of such an axis.
    """
    rank = len(places.image)
    place, lines = places.by_slot.get(slot), places.lines(slot)
    if place is None or lines is None:  # of the shape of a map, and not placed
        spatial: list[tuple[Part, ...]] = [(Part(None, axis),) for axis in range(rank)]
        channels: list[tuple[Part, ...]] = [(Part(None, CHANNELS),)]
        axes = [(Part(None, IMAGES),), *(channels + spatial if places.channels_first else spatial + channels)]
        nothing = (0,) * len(axes)
        return Layout(tuple(axes), nothing, nothing, (False,) * rank, (0,) * rank)
    return Layout(
        axes=tuple(_parts_of(axis, length) for axis, length in zip(place.axes, shape, strict=True)),
        before=tuple(axis.before for axis in place.axes),
        after=tuple(axis.after for axis in place.axes),
        mirrored=tuple(line.cells.stride < 0 for line in lines),
        rolls=tuple(line.roll for line in lines),
    )


def _parts_of(axis: TensorAxis, length: int | None) -> tuple[Part, ...]:
    is_open = length is None and len(axis.atoms) == 1
    parts = []
    for atom in axis.atoms:
        if atom.line is not None:
            parts.append(Part(None if is_open else atom.length, atom.line.image_axis, atom.step))
        elif atom.length == BATCH:
            parts.append(Part(None, IMAGES))
        else:
            parts.append(Part(None if is_open else atom.length, CHANNELS))
    return tuple(parts) or (Part(1, CHANNELS),)


def _slice(tensor: Tensor, axis: int, start: Any, stop: Any) -> Tensor:
    return tensor[(*[slice(None)] * axis, slice(start, stop))]


def _inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(index) for index in range(len(order))]
