"""What in a program is spatial: feature maps, their layout, and tokens that were a map once."""

from __future__ import annotations

import math
import weakref

import keras

from keras_cam.graph.operations import Trait, has_trait
from keras_cam.graph.program import Program, Step, ancestors_of

MOST_PREFIX_TOKENS = 8


def find_feature_slots(program: Program, target: int) -> list[int]:
    """The slots of the feature maps behind `target`: the last tensors on the way to it that have a place.

    Walking back from `target`, a tensor has a place if it is one of `spatial_slots`, or if a global pooling layer reads
    it (a 1x1 map, say). Inputs without a place (a table beside the image) are passed over, and a map that was only
    reshaped to a row of tokens is taken before that.

    Returns:
        Slots in order, one per feature map: two where two pooled scales meet.
    """
    found: set[int] = set()
    seen: set[int] = set()
    spatial = spatial_slots(program)
    stack = [target]
    while stack:
        slot = stack.pop()
        if slot in seen:
            continue
        seen.add(slot)
        step = program.producer(slot)
        if slot in spatial:
            found.add(_before_pooling(program, slot))
        elif step is not None and has_trait(step.operation, Trait.GLOBAL_AVERAGE, Trait.GLOBAL_MAXIMUM):
            found.update(step.inputs)
        elif step is not None:
            stack.extend(step.inputs)
    return sorted(found)


_SPATIAL_SLOTS: weakref.WeakKeyDictionary[Program, frozenset[int]] = weakref.WeakKeyDictionary()


def spatial_slots(program: Program) -> frozenset[int]:
    """The slots that have a place in the image: of a shape that has one, and no descendant of a place that was lost.

    A vector of pooled features that is reshaped to a row of groups has no place again, nor have the averages of the
    rows, in which the columns are gone.
    """
    if program not in _SPATIAL_SLOTS:
        _SPATIAL_SLOTS[program] = _find_spatial_slots(program)
    return _SPATIAL_SLOTS[program]


def _find_spatial_slots(program: Program) -> frozenset[int]:
    spatial = {slot for slot in program.inputs if is_spatial(program, slot)}
    lost: set[int] = set()
    for step in program.steps:
        keeps = bool(spatial.intersection(step.inputs)) and not _mixes_places(program, step)
        for slot in step.outputs:
            if is_spatial(program, slot) and (keeps or not (spatial | lost).intersection(step.inputs)):
                spatial.add(slot)
            elif (spatial | lost).intersection(step.inputs):
                lost.add(slot)
    return frozenset(spatial)


def _mixes_places(program: Program, step: Step) -> bool:
    """Whether a step makes of a map (N, h, w, K) something with one spatial axis that is no row of its cells."""
    if not step.inputs:
        return False
    before, after = program.shape(step.inputs[0]), program.shape(step.outputs[0])
    if not len(before) > len(after) == 3:
        return False
    if type(step.operation).__name__ == "Reshape":
        cells = math.prod(length or 0 for length in spatial_shape(program, step.inputs[0]))  # 0: open
        return bool(cells) and after[1] not in (None, cells)
    return has_trait(step.operation, Trait.REDUCTION)


def is_spatial(program: Program, slot: int) -> bool:
    """Whether a tensor has the shape of a map: a spatial axis that is longer than one, or open."""
    return len(program.shape(slot)) > 2 and any(length != 1 for length in spatial_shape(program, slot))


def spatial_shape(program: Program, slot: int) -> tuple[int | None, ...]:
    """The spatial axes of a tensor's shape, without batch and channels."""
    shape = program.shape(slot)
    return shape[2:] if channels_first(program, slot) else shape[1:-1]


def channels_first(program: Program, slot: int) -> bool:
    """Whether a tensor has its channels before its spatial axes, as the last layer before it that says so does."""
    while (step := program.producer(slot)) is not None:
        data_format = getattr(step.operation, "data_format", None)
        if data_format is not None:
            return bool(data_format == "channels_first")
        if not step.inputs:
            break
        slot = step.inputs[0]
    return keras.config.image_data_format() == "channels_first" and len(program.shape(slot)) > 3


def _before_pooling(program: Program, slot: int) -> int:
    """The map before what belongs to its pooling: a reshape to a row of tokens, the power of a generalised mean."""
    step = program.producer(slot)
    while step is not None and has_trait(step.operation, Trait.POOLING_MATH) and len(step.inputs) == 1:
        slot, step = step.inputs[0], program.producer(step.inputs[0])
    return before_reshape(program, slot)


def before_reshape(program: Program, slot: int) -> int:
    """The map that a row of tokens was reshaped from, where that is all that happened; else the slot itself."""
    step = program.producer(slot)
    if step is None or type(step.operation).__name__ != "Reshape" or len(program.shape(slot)) != 3:
        return slot
    before, after = program.shape(step.inputs[0]), program.shape(slot)
    return step.inputs[0] if len(before) > 3 and before[-1] == after[-1] else slot


def tokens_of(program: Program, slot: int) -> tuple[int, int, int] | None:
    """How the tokens (N, T, K) in a slot lie in the image: how many have no place, and the rows and columns."""
    count = program.shape(slot)[1] if len(program.shape(slot)) == 3 else None
    if count is None:
        return None
    source = grid_slot(program, slot)
    if source != slot:
        rows, columns = _grid(program, source)
        return count - (rows or 0) * (columns or 0), rows or 0, columns or 0
    image = next((slot for slot in program.inputs if len(program.shape(slot)) == 4), None)
    return None if image is None else _patches_of(count, *_grid(program, image))


def _patches_of(count: int, height: int | None, width: int | None) -> tuple[int, int, int] | None:
    """As `tokens_of`, where a layer of its own kind has cut an image into square patches."""
    height, width = height or 0, width or 0  # 0: open
    for prefix in range(min(MOST_PREFIX_TOKENS, count - 2) + 1):
        pixels, left = divmod(height * width, count - prefix)
        side = math.isqrt(pixels)
        if side and (left, pixels) == (0, side * side) and height % side == width % side == 0:
            return prefix, height // side, width // side
    side = math.isqrt(count)
    return (0, side, side) if side * side == count else None


def grid_slot(program: Program, slot: int) -> int:
    """The last map (N, h, w, K) before a row of tokens that has a cell for each but a few; else the slot itself."""
    count = program.shape(slot)[1]
    for step in reversed(ancestors_of([slot], program.steps)):
        rows, columns = _grid(program, step.outputs[0])
        if (
            count is not None
            and rows
            and columns
            and rows * columns > 1
            and 0 <= count - rows * columns <= MOST_PREFIX_TOKENS
        ):
            return step.outputs[0]
    return slot


def _grid(program: Program, slot: int) -> tuple[int | None, int | None]:
    """Rows and columns of a two-dimensional map; None where they are open or the tensor is none."""
    if len(program.shape(slot)) != 4:
        return None, None
    rows, columns = spatial_shape(program, slot)
    return rows, columns
