"""Where the cells of a feature map lie in the image: offset, stride and field of view, read from the graph.

A cell's centre in input pixels is `offset + stride * index`. Walking from the image, a window of size k (dilation
included) and stride s with p pixels of padding before it moves `offset += stride * ((k - 1) / 2 - p)` and then
`stride *= s`; where branches meet and differ, the mean is taken and the spread kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from keras_cam.graph.operations import is_layer
from keras_cam.graph.program import Program, Step
from keras_cam.graph.spatial import grid_slot
from keras_cam.graph.trace import open_layer
from keras_cam.model.cut import Cut, image_shape
from keras_cam.model.feature_maps import FeatureMap
from keras_cam.model.receptive_field import Axis, UnknownLayerError, propagate


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
    except UnknownLayerError as unknown:
        return even_grid(shape, image, str(unknown))
    if axes is None:
        return even_grid(shape, image, f"where the cells of {feature.layer!r} lie is hidden in a layer of its own kind")
    found = tuple(axis.length for axis in axes)
    if found != tuple(shape):
        return even_grid(shape, image, f"the layers are read as {found} cells, the map has {tuple(shape)}")
    return Grid(axes, tuple(image))


def grids_of(cut: Cut) -> list[Grid | None]:
    """Where the cells of each feature map lie in a model's images; None where a size is open or a layer unknown."""
    image = tuple(length or 0 for length in image_shape(cut))
    grids = []
    for feature in cut.features:
        spec = cut.program.shape(feature.slot)
        shape = feature.tokens[1:] if feature.tokens else spec[2:] if feature.channels_first else spec[1:-1]
        cells = tuple(length or 0 for length in shape)
        known = len(cells) == len(image) and 0 not in (*cells, *image)
        grid = grid_of(cut, feature, image, cells) if known else None
        grids.append(None if grid is None or grid.source != "graph" else grid)
    return grids


def strides_of(cut: Cut) -> dict[int, tuple[float, ...]]:
    """Stride of every slot with a known place; for open sizes as in an image of 256 pixels."""
    image = tuple(length or 256 for length in image_shape(cut))
    reached: dict[int, tuple[Axis, ...]] = {}
    with suppress(UnknownLayerError):
        _walk(cut, image, reached)
    return {slot: tuple(axis.stride for axis in axes) for slot, axes in reached.items()}


def _walk(
    cut: Cut, image: tuple[int, ...], reached: dict[int, tuple[Axis, ...]] | None = None
) -> dict[int, tuple[Axis, ...]]:
    """The axes of every slot with a place that the feature maps are made from; `reached` is filled on the way."""
    program = cut.program
    source = program.inputs[cut.image_input]
    places = {} if reached is None else reached
    places[source] = tuple(Axis(length) for length in image)
    for step in _on_the_way(cut, program):
        if is_layer(step.operation, {"Lambda"}):
            program = open_layer(program, step) or program
    for step in _on_the_way(cut, program):
        inputs = [places[slot] for slot in step.inputs if slot in places]
        sides = [axes for axes in inputs if any(axis.length != 1 for axis in axes)] or inputs
        if not sides:
            continue
        axes = propagate(step, program, sides)
        if axes is not None:
            places.update(dict.fromkeys(step.outputs, axes))
    return places


def _on_the_way(cut: Cut, program: Program) -> list[Step]:
    """The steps from the image to the feature maps, in order."""
    source = program.inputs[cut.image_input]
    targets = [feature.slot for feature in cut.features]
    wanted = {id(step) for target in targets for step in program.steps_between([source], target)}
    return [step for step in program.steps if id(step) in wanted]
