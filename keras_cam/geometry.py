"""Where the cells of a feature map lie in the image: offset, stride and field of view, read from the graph.

A cell's centre in input pixels is `offset + stride * index`. Walking from the image, a window of size k (dilation
included) and stride s with p pixels of padding before it moves `offset += stride * ((k - 1) / 2 - p)` and then
`stride *= s`; where branches meet and differ, the mean is taken and the spread kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from keras_cam.graph import Cut, FeatureMap, image_shape
from keras_cam.operations import is_layer, is_operation
from keras_cam.places import channels_first, grid_slot, spatial_shape
from keras_cam.program import Program, Step

CONVOLUTIONS = {
    *("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
}
TRANSPOSED = {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}
POOLING = {f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)}
PADDING = {"ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"}
CROPPING = {"Cropping1D", "Cropping2D", "Cropping3D"}
UPSAMPLING = {"UpSampling1D", "UpSampling2D", "UpSampling3D"}


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


@dataclass(frozen=True)
class Grid:
    """Where the cells of a feature map lie in the image that the model is fed.

    Attributes:
        axes: one `Axis` per spatial axis.
        image: size of that image, per axis.
        source: "graph" (read from the layers) or "even" (the cells share the image evenly: a guess).
        note: why it is a guess; empty where it is none.
    """

    axes: tuple[Axis, ...]
    image: tuple[int, ...]
    source: str = "graph"
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells per axis."""
        return tuple(axis.length for axis in self.axes)

    def cells_in(self, placement: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        """(offset, stride) per axis in the pixels of a picture, given (scale, shift) from the image to it per axis."""
        pairs = zip(self.axes, placement, strict=True)
        return tuple(((axis.offset + 0.5) * scale + shift - 0.5, axis.stride * scale) for axis, (scale, shift) in pairs)


def even_grid(shape: Sequence[int], image: Sequence[int], note: str = "") -> Grid:
    """The grid that stretching a map over the image stands for: the cells share the image evenly."""
    strides = [pixels / cells for pixels, cells in zip(image, shape, strict=True)]
    axes = (Axis(cells, (step - 1) / 2, step, step) for cells, step in zip(shape, strides, strict=True))
    return Grid(tuple(axes), tuple(image), "even", note)


def grid_of(cut: Cut, feature: FeatureMap, image: Sequence[int], shape: Sequence[int]) -> Grid:
    """Where the cells of a feature map lie.

    Args:
        cut: the model, cut.
        feature: one of its feature maps.
        image: size (height, width) of the image that the model is fed.
        shape: rows and columns of the map.

    Returns:
        The grid; by "even" sharing, with a note, where a layer on the way is not known.
    """
    slot = feature.slot if feature.tokens is None else grid_slot(cut.program, feature.slot)
    try:
        axes = _walk(cut, tuple(image)).get(slot)
    except _UnknownLayerError as unknown:
        return even_grid(shape, image, str(unknown))
    if axes is None:
        return even_grid(shape, image, f"where the cells of {feature.layer!r} lie is hidden in a layer of its own kind")
    found = tuple(axis.length for axis in axes)
    if found != tuple(shape):
        return even_grid(shape, image, f"the layers are read as {found} cells, the map has {tuple(shape)}")
    return Grid(axes, tuple(image))


def strides_of(cut: Cut) -> dict[int, tuple[float, ...]]:
    """Stride of every slot with a known place; for open sizes as in an image of 256 pixels."""
    image = tuple(length or 256 for length in image_shape(cut))
    reached: dict[int, tuple[Axis, ...]] = {}
    with suppress(_UnknownLayerError):
        _walk(cut, image, reached)
    return {slot: tuple(axis.stride for axis in axes) for slot, axes in reached.items()}


class _UnknownLayerError(Exception):
    """A layer that moves space in a way that is not known."""


def _walk(
    cut: Cut, image: tuple[int, ...], reached: dict[int, tuple[Axis, ...]] | None = None
) -> dict[int, tuple[Axis, ...]]:
    """The axes of every slot with a place that the feature maps are made from; `reached` is filled on the way."""
    program = cut.program
    source = program.inputs[cut.image_input]
    places = {} if reached is None else reached
    places[source] = tuple(Axis(length) for length in image)
    targets = [feature.slot for feature in cut.features]
    wanted = {id(step) for target in targets for step in program.steps_between([source], target)}
    for step in program.steps:
        if id(step) not in wanted:
            continue
        inputs = [places[slot] for slot in step.inputs if slot in places]
        sides = [axes for axes in inputs if any(axis.length != 1 for axis in axes)] or inputs
        if not sides:
            continue
        moved = _moved(step, program, sides)
        if moved is not None:
            places.update(dict.fromkeys(step.outputs, moved))
    return places


def _moved(step: Step, program: Program, inputs: list[tuple[Axis, ...]]) -> tuple[Axis, ...] | None:
    """The axes after a step; None for an output that has no place (pooled to one cell, flattened)."""
    operation, axes = step.operation, inputs[0]
    for names, move in _MOVES:
        if is_layer(operation, names):
            return move(operation, axes)
    shape = program.shape(step.outputs[0])
    if len(shape) != len(axes) + 2:
        return None
    spatial = spatial_shape(program, step.outputs[0])
    if is_operation(operation, {"Pad"}):
        pads = [tuple(pair) for pair in operation.pad_width]
        pads = pads[2:] if channels_first(program, step.outputs[0]) else pads[1:-1]
        return _shifted(axes, [(-before, before + after) for before, after in pads])
    if all(length == 1 for length in spatial) and not all(axis.length == 1 for axis in axes):
        return None
    if all(length in (None, axis.length) for length, axis in zip(spatial, axes, strict=True)):
        return _merged(inputs)
    raise _UnknownLayerError(f"{step.path!r} ({type(operation).__name__}) moves space in a way that is not known")


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


def _transposed(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The way back of the window that would make these axes of those that come out."""
    if any(value is not None for value in _each(layer.output_padding, axes)):
        raise _UnknownLayerError(f"{layer.name!r} has output_padding")
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
        raise _UnknownLayerError(f"{layer.name!r} resizes what is smaller than its crop")
    pairs = zip(axes, wanted, strict=True)
    return _shifted(axes, [((axis.length - length) // 2, length - axis.length) for axis, length in pairs])


def _shifted(axes: tuple[Axis, ...], moves: Sequence[tuple[int, int]]) -> tuple[Axis, ...]:
    return tuple(
        replace(axis, length=axis.length + more, offset=axis.offset + axis.stride * first)
        for axis, (first, more) in zip(axes, moves, strict=True)
    )


def _scaled(axes: tuple[Axis, ...], lengths: Sequence[int]) -> tuple[Axis, ...]:
    """Resized to other lengths, half-pixel centres."""
    moved = []
    for axis, length in zip(axes, lengths, strict=True):
        share = axis.length / length
        offset = axis.offset + axis.stride * (share - 1) / 2
        moved.append(replace(axis, length=length, offset=offset, stride=axis.stride * share))
    return tuple(moved)


def _upsampled(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return _scaled(axes, [axis.length * factor for axis, factor in zip(axes, _each(layer.size, axes), strict=True)])


def _resized(layer: Any, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    if getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False):
        raise _UnknownLayerError(f"{layer.name!r} crops or pads to an aspect ratio")
    return _scaled(axes, (layer.height, layer.width))


def _merged(inputs: list[tuple[Axis, ...]]) -> tuple[Axis, ...]:
    """Branches that meet: the mean of their places, and how far these are apart."""
    if any(len(axes) != len(inputs[0]) for axes in inputs):
        raise _UnknownLayerError("branches of different rank meet")
    return tuple(
        Axis(
            length=max(axis.length for axis in branch),
            offset=sum(axis.offset for axis in branch) / len(branch),
            stride=sum(axis.stride for axis in branch) / len(branch),
            field=max(axis.field for axis in branch),
            spread=max(
                max(axis.offset for axis in branch) - min(axis.offset for axis in branch),
                max(axis.spread for axis in branch),
            ),
        )
        for branch in zip(*inputs, strict=True)
    )


def _each(value: Any, axes: tuple[Axis, ...]) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(axes)


_MOVES: tuple[tuple[set[str], Callable[[Any, tuple[Axis, ...]], tuple[Axis, ...]]], ...] = (
    (CONVOLUTIONS, _convolved),
    (POOLING, _pooled),
    (TRANSPOSED, _transposed),
    (PADDING, _padded),
    (CROPPING, _cropped),
    (UPSAMPLING, _upsampled),
    ({"Resizing"}, _resized),
    ({"CenterCrop"}, _center_cropped),
)
