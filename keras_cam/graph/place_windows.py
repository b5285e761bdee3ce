"""Rules of places for windows that move over an image: convolutions, pooling, padding, resizing, patches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keras_cam.graph.place import Line, Place, TensorAxis, contracted, line_axis, placeless
from keras_cam.graph.place_call import (
    Call,
    UnknownPlaceError,
    as_tuple,
    at,
    channel_axis,
    spatial_axes,
)
from keras_cam.graph.place_products import reduced
from keras_cam.graph.receptive_field import Axis, resized, shifted, transposed_window, window

ChangeOfCells = Callable[[Axis, int], Axis]  # cells along a spatial axis, and its number among them


def _by_axis(call: Call, change: ChangeOfCells, channels: int | None = None) -> Place:
    """Each spatial axis changed; `channels` gives the channel axis a new length."""
    place = call.place
    if channels is not None:
        place = contracted(place, channel_axis(call), placeless(channels))
    for number, axis in enumerate(spatial_axes(call)):
        place = _changed(place, axis, change, number, call.name)
    return place


def _changed(place: Place, axis: int, change: ChangeOfCells, number: int, name: str) -> Place:
    """One axis, of this number among the spatial ones, changed: its cells where it has some, else its length."""
    line = _line_of(place.axes[axis], name)
    if line is None:
        return place.replaced(axis, placeless(change(Axis(place.axes[axis].length), number).length))
    cells = change(line.cells, number)
    if line.roll and cells != line.cells:
        raise UnknownPlaceError(f"{name} reads across the edge of a rolled image")
    return place.replaced(axis, line_axis(replace(line, cells=cells)))


def _line_of(axis: TensorAxis, name: str) -> Line | None:
    """The line that an axis is, so that windows can move over it; None where it has no place.

    A line with several entries for each cell (a depth-to-space, a repetition) has as many cells.

    Raises:
        UnknownPlaceError: the axis has cells and is no line.
    """
    if not axis.lines or axis.line is not None:
        return axis.line
    line = replace(axis, atoms=axis.atoms[:1]).line
    if line is not None and all(atom.line is None for atom in axis.atoms[1:]):
        entries = axis.length // line.cells.length
        return replace(line, cells=resized(line.cells, axis.length), roll=line.roll * entries)
    raise UnknownPlaceError(f"{name} reads an axis in which rows and columns are joined")


# Convolutions and pooling.


def _window_of_kernel(layer: Any) -> ChangeOfCells:
    def change(axis: Axis, number: int) -> Axis:
        return window(axis, _reach(layer, number), at(layer.strides, number), layer.padding)

    return change


def _reach(layer: Any, number: int) -> int:
    """How many cells a dilated kernel spans along an axis."""
    return int((at(layer.kernel_size, number) - 1) * at(layer.dilation_rate, number) + 1)


def convolution(call: Call) -> Place:
    """A layer that convolves."""
    layer = call.operation
    if _keeps_tokens(call):
        return contracted(call.place, channel_axis(call), placeless(_filters(call)))
    return _by_axis(call, _window_of_kernel(layer), _filters(call))


def _keeps_tokens(call: Call) -> bool:
    """Whether a window of one cell moves over tokens one by one, in whatever order they lie."""
    is_one_cell = {*as_tuple(call.operation.kernel_size), *as_tuple(call.operation.strides)} == {1}
    return is_one_cell and any(call.place.axes[axis].line is None for axis in spatial_axes(call))


def _filters(call: Call) -> int:
    filters = getattr(call.operation, "filters", None)
    if filters is not None:
        return int(filters)
    return int(call.place.axes[channel_axis(call)].length * call.operation.depth_multiplier)


def transposed_convolution(call: Call) -> Place:
    """A layer that convolves backwards."""
    layer = call.operation
    if any(value is not None for value in as_tuple(layer.output_padding)):
        raise UnknownPlaceError(f"{call.name} has output_padding")

    def change(axis: Axis, number: int) -> Axis:
        return transposed_window(axis, _reach(layer, number), at(layer.strides, number), layer.padding)

    return _by_axis(call, change, layer.filters)


def convolution_operation(call: Call) -> Place:
    """`ops.conv`, `ops.depthwise_conv` and `ops.separable_conv`."""
    op, kernel, pointwise = call.operation, call.argument(1, "kernel"), call.argument(2, "pointwise_kernel")
    if not isinstance(call.argument(0, "inputs"), Place) or isinstance(kernel, Place):
        raise UnknownPlaceError(f"{call.name} convolves with a kernel that is made from the image")
    *sizes, before, after = (int(length or 1) for length in kernel.shape)
    filters = after if type(op).__name__ == "Conv" else before * after

    def change(axis: Axis, number: int) -> Axis:
        size = (sizes[number] - 1) * at(op.dilation_rate, number) + 1
        return window(axis, size, at(op.strides, number), op.padding)

    return _by_axis(call, change, filters if pointwise is None else int(pointwise.shape[-1]))


def recurrent_convolution(call: Call) -> Place:
    """A recurrent convolution over time: windows over the image, the time kept or summed up."""
    layer, place = call.operation, call.place
    is_first = layer.data_format == "channels_first"
    last = len(place.axes) - 1
    for number, axis in enumerate(range(3, last + 1) if is_first else range(2, last)):
        place = _changed(place, axis, _window_of_kernel(layer), number, call.name)
    place = place.replaced(2 if is_first else last, placeless(layer.filters))
    return place if layer.return_sequences else reduced(place, [1], False)


def pooling(call: Call) -> Place:
    """Pooling of windows."""
    layer = call.operation
    steps = layer.strides or layer.pool_size
    return _by_axis(
        call, lambda axis, number: window(axis, at(layer.pool_size, number), at(steps, number), layer.padding)
    )


def adaptive_pooling(call: Call) -> Place:
    """Pooling to a size; windows of one length only."""

    def change(axis: Axis, number: int) -> Axis:
        length = at(call.operation.output_size, number)
        if axis.length % length:
            raise UnknownPlaceError(f"{call.name} pools windows of different length")
        return window(axis, axis.length // length, axis.length // length, "valid")

    return _by_axis(call, change)


def global_pooling(call: Call) -> Place:
    """Pooling of all cells."""
    return reduced(call.place, spatial_axes(call), call.operation.keepdims)


# Patches.


def extract_patches(call: Call) -> Place:
    """`ops.image.extract_patches`."""
    op = call.operation
    sizes = op.size if isinstance(op.size, (tuple, list)) else (op.size,) * len(spatial_axes(call))
    steps = sizes if op.strides is None else op.strides

    def change(axis: Axis, number: int) -> Axis:
        return window(axis, (sizes[number] - 1) * at(op.dilation_rate, number) + 1, at(steps, number), op.padding)

    channels = call.place.axes[channel_axis(call)].length
    for size in sizes:
        channels *= size
    return _by_axis(call, change, channels)


def depth_to_space(call: Call) -> Place:
    """`ops.nn.depth_to_space`."""
    size = call.operation.block_size
    channels = call.place.axes[channel_axis(call)].length // size**2
    place = _by_axis(call, lambda axis, _: resized(axis, axis.length * size))
    return place.replaced(channel_axis(call), placeless(channels))


def space_to_depth(call: Call) -> Place:
    """`ops.nn.space_to_depth`."""
    size = call.operation.block_size
    channels = call.place.axes[channel_axis(call)].length * size**2
    return _by_axis(call, lambda axis, _: window(axis, size, size, "valid"), channels)


# Padding, cropping and other sizes.


def padding(call: Call) -> Place:
    """A layer that pads."""
    pads = call.operation.padding
    pads = [pads] if len(spatial_axes(call)) == 1 else pads
    return _by_axis(call, lambda axis, number: shifted(axis, -pads[number][0], sum(pads[number])))


def padding_operation(call: Call) -> Place:
    """`ops.pad`: what is put round tokens is tokens too."""
    pads = [as_tuple(pair) for pair in call.operation.pad_width]
    pads = [(pair[0], pair[-1]) for pair in pads] * (len(call.place.axes) if len(pads) == 1 else 1)
    place = call.place
    for axis in (axis for axis, pad in enumerate(pads) if any(pad)):
        place = place.replaced(axis, _padded(place.axes[axis], *pads[axis]))
    return place


def _padded(axis: TensorAxis, before: int, after: int) -> TensorAxis:
    line = axis.line
    if line is not None and not line.roll:
        return line_axis(replace(line, cells=shifted(line.cells, -before, before + after)))
    if axis.lines:
        return replace(axis, before=axis.before + before, after=axis.after + after)
    return placeless(axis.length + before + after)


def cropping(call: Call) -> Place:
    """A layer that crops."""
    crops = call.operation.cropping
    crops = [crops] if len(spatial_axes(call)) == 1 else crops
    return _by_axis(call, lambda axis, number: shifted(axis, crops[number][0], -sum(crops[number])))


def center_cropping(call: Call) -> Place:
    """`CenterCrop`, where it crops."""
    wanted = (call.operation.height, call.operation.width)

    def change(axis: Axis, number: int) -> Axis:
        if axis.length < wanted[number]:
            raise UnknownPlaceError(f"{call.name} resizes what is smaller than its crop")
        return shifted(axis, (axis.length - wanted[number]) // 2, wanted[number] - axis.length)

    return _by_axis(call, change)


def upsampling(call: Call) -> Place:
    """A layer that enlarges by whole numbers."""
    layer = call.operation
    interpolation = getattr(layer, "interpolation", "nearest")
    return _by_axis(call, lambda axis, number: resized(axis, axis.length * at(layer.size, number), interpolation))


def resizing(call: Call) -> Place:
    """A layer or operation that resizes to a size; before that, some crop or pad to its aspect ratio."""
    op = call.operation
    size = op.size if hasattr(op, "size") else (op.height, op.width)
    antialias = bool(getattr(op, "antialias", False))
    lengths = [call.place.axes[axis].length for axis in spatial_axes(call)]

    def change(axis: Axis, number: int) -> Axis:
        # How long the axis would be beside the other one, at the aspect ratio of the size.
        wanted = int(lengths[1 - number] * size[number] / size[1 - number])
        if getattr(op, "crop_to_aspect_ratio", False):
            length = max(min(axis.length, wanted), 1)
            axis = shifted(axis, (axis.length - length) // 2, length - axis.length)
        elif getattr(op, "pad_to_aspect_ratio", False):
            before = max(wanted - axis.length, 0) // 2
            axis = shifted(axis, -before, 2 * before)
        return resized(axis, size[number], op.interpolation, antialias=antialias)

    return _by_axis(call, change)
