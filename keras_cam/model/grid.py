"""Where the cells of a feature map lie in the image: offset, stride and field of view, read from the graph.

A cell's centre in input pixels is `offset + stride * index`. Walking from the image, a window of size k (dilation
included) and stride s with p pixels of padding before it moves `offset += stride * ((k - 1) / 2 - p)` and then
`stride *= s`; where branches meet and differ, the mean is taken and the spread kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keras_cam.graph.receptive_field import Axis
from keras_cam.model.cut import Cut, image_shape
from keras_cam.model.feature_maps import FeatureMap


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
    places = cut.places(image)
    lines = places.lines(feature.slot)
    if lines is None:
        note = f"where the cells of {feature.layer!r} lie is hidden in a layer of its own kind"
        return even_grid(shape, image, places.unknown.get(feature.slot, note))
    axes = tuple(_upright(line.cells) for line in lines)
    found = tuple(axis.length for axis in axes)
    if found != tuple(shape):
        return even_grid(shape, image, f"the layers are read as {found} cells, the map has {tuple(shape)}")
    return Grid(axes, tuple(image))


def _upright(axis: Axis) -> Axis:
    """The axis of a map that is mirrored back where the model mirrors its image."""
    if axis.stride > 0:
        return axis
    return replace(axis, offset=axis.offset + axis.stride * (axis.length - 1), stride=-axis.stride)


def grids_of(cut: Cut) -> list[Grid | None]:
    """Where the cells of each feature map lie in a model's images; None where a size is open or a layer unknown."""
    image = image_shape(cut)
    if None in image:
        return [None] * len(cut.features)
    places = cut.places()
    every = [places.lines(feature.slot) for feature in cut.features]
    return [
        None if lines is None else Grid(tuple(_upright(line.cells) for line in lines), places.image) for lines in every
    ]
