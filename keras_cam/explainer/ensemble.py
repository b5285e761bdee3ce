"""Maps of a batch by one layer or several (layer fusion), of the image or also of others made of it (augmentation).

Both bring maps from one grid of cells to another by where the cells lie in the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_cam.errors import InvalidOptionError
from keras_cam.explainer.map_function import MapFunction, Maps, map_function_of
from keras_cam.imaging.resample import linear_weights
from keras_cam.methods.registry import Method
from keras_cam.model.cut import reads_channels_first
from keras_cam.model.grid import Grid
from keras_cam.model.head import Head

SHARPENING = 2.0  # LayerCAM: tanh(2 M / max M) for a shallow layer
SCALES = (0.75, 1.25)
Augmentation = str | float  # "flip" (mirrored), or a scale
AxisTransform = tuple[float, float]  # (scale, shift): a pixel p of the image lies at scale * p + shift when transformed


class MapEnsemble:
    """Makes the maps of batches by one method.

    Args:
        model: the Keras model.
        method: how to make maps.
        method_options: what the method is called with.
        layers: path or name of the layer to map or itself, None for the last that is spatial; several are fused.
        augment: as for `Explainer`.
        batch_size: how many changed images a method may run at once.
        verbose: 1 shows the progress of methods that take long.
        **choices: `output`, `image_input`, `target`, as for `keras_cam.model.cut.cut`.
    """

    def __init__(
        self,
        model: keras.Model,
        method: Method,
        method_options: Mapping[str, Any],
        layers: Sequence[str | keras.layers.Layer | None],
        augment: Any,
        batch_size: int,
        verbose: int,
        **choices: Any,
    ) -> None:
        if not layers:
            raise InvalidOptionError("layer must name a layer, or several. Received: an empty list.")
        if method.at_pixels and len(layers) > 1:
            raise InvalidOptionError(
                "Maps of several layers are fused cell by cell, and this method maps the pixels of the image. Name one "
                f"layer, or none. Received: layer={list(layers)!r}."
            )
        # Shallow first: all but the last are sharpened.
        self.functions = _by_depth(
            [map_function_of(model, method, method_options, layer=layer, **choices) for layer in layers]
        )
        self._augmentations = () if augment is None else checked_augmentations(augment)
        self._batch_size, self._verbose = batch_size, verbose

    @property
    def head(self) -> Head:
        """The cut and the head of the model, at the deepest layer."""
        return self.functions[-1].head

    @property
    def layer(self) -> str:
        """What the maps are made at; several are joined by " + "."""
        if self.functions[0].method.at_pixels:
            return self.head.cut.program.specs[self.head.cut.program.inputs[self.head.cut.image_input]].name
        return " + ".join(function.head.layer for function in self.functions)

    def refresh(self) -> None:
        """See to it that the model is cut as it is now."""
        self.functions = [function.refresh() for function in self.functions]

    def __call__(self, batch: Sequence[np.ndarray], class_indices: np.ndarray | None) -> tuple[Maps, Grid | None]:
        """The maps of a batch, and where their cells lie in its images.

        Args:
            batch: one array per input of the model, as the model wants them.
            class_indices: int32 (N, C), -1 for an image's most probable class, ...; None: all classes.

        Returns:
            `(maps, grid)`; no grid where the maps have another rank than the images.
        """
        found, grid = self._fused(batch, class_indices)
        if not self._augmentations:
            return found, grid
        if grid is None:
            raise InvalidOptionError(
                f"augment needs maps that lie in the image. Received: maps {found.maps.shape} at {self.layer!r}."
            )
        # The mean over the image and its augmentations; of a cell, over those that it lies inside of.
        total, count = found.maps.copy(), np.ones(grid.shape, "float32")
        for augmentation in self._augmentations:
            changed, transform = self._augmented(batch, augmentation)
            maps, covered = regrid(self._fused(changed, found.class_indices)[0].maps, grid, grid, transform)
            total += maps * covered
            count += covered
        return found._replace(maps=total / count, bias=np.full_like(found.bias, np.nan)), grid

    def _augmented(
        self, batch: Sequence[np.ndarray], augmentation: Augmentation
    ) -> tuple[list[np.ndarray], list[AxisTransform]]:
        """A batch with its images augmented, and where their pixels have gone."""
        index, channels_first = self.head.cut.image_input, reads_channels_first(self.head.cut)
        images = np.moveaxis(batch[index], 1, -1) if channels_first else batch[index]
        transform = _transform_of(augmentation, images.shape[1:-1])
        transformed = transform_images(images, transform).astype(images.dtype)
        changed = [*batch]
        changed[index] = np.moveaxis(transformed, -1, 1) if channels_first else transformed
        return changed, transform

    def _fused(self, batch: Sequence[np.ndarray], class_indices: np.ndarray | None) -> tuple[Maps, Grid | None]:
        """The maps of one layer as they are; of several the largest, on the finest grid, shallow ones sharpened."""
        # The first one says which classes are the most probable, the same for all.
        found: list[Maps] = []
        for function in self.functions:
            found.append(function(batch, class_indices, self._batch_size, self._verbose))
            class_indices = found[0].class_indices

        # Where the cells of each lie in the image.
        shape = batch[self.head.cut.image_input].shape
        image = shape[2:] if reads_channels_first(self.head.cut) else shape[1:-1]
        if any(of_layer.maps.ndim != len(image) + 2 for of_layer in found):
            return self._without_grid(found)
        pairs = zip(self.functions, found, strict=True)
        grids = [function.grid(image, of_layer.maps.shape[2:]) for function, of_layer in pairs]
        if len(found) == 1:
            return found[0], grids[0]
        maps, grid = _fuse([of_layer.maps for of_layer in found], grids)
        return found[-1]._replace(maps=maps, bias=np.full_like(found[-1].bias, np.nan)), grid

    @staticmethod
    def _without_grid(found: Sequence[Maps]) -> tuple[Maps, None]:
        """Maps that do not lie in the image, of one layer."""
        if len(found) > 1:
            shapes = ", ".join(str(of_layer.maps.shape) for of_layer in found)
            raise InvalidOptionError(f"Layers are fused where their maps lie in the image. Received: maps {shapes}.")
        return found[0], None


# layer fusion


def _by_depth(functions: list[MapFunction]) -> list[MapFunction]:
    """The map functions of layers, in the order in which the model makes their feature maps."""
    programs = [[f"{step.path}/" for step in function.head.cut.program.steps] for function in functions]
    whole = max(programs, key=len)  # of custom layers, what is cut first has most of them taken apart

    # The last step inside of the layer.
    def depth(function: MapFunction) -> int:
        layer = f"{function.head.cut.features[-1].layer}/"
        return max((index for index, path in enumerate(whole) if path.startswith(layer)), default=len(whole))

    return sorted(functions, key=depth)


def _fuse(maps: Sequence[np.ndarray], grids: Sequence[Grid]) -> tuple[np.ndarray, Grid]:
    """The largest of each cell of maps by depth, each scaled to its maximum, on the finest of their grids."""
    finest = max(grids, key=lambda grid: int(np.prod(grid.shape)))
    deepest = len(maps) - 1
    scaled = [_sharpened(of_layer, shallow=index < deepest) for index, of_layer in enumerate(maps)]
    on_finest = [regrid(of_layer, grid, finest)[0] for of_layer, grid in zip(scaled, grids, strict=True)]
    return np.max(on_finest, axis=0), finest


def _sharpened(maps: np.ndarray, shallow: bool) -> np.ndarray:
    """The positive part of maps (N, C, *grid) over its maximum, through LayerCAM's tanh for a shallow layer."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=tuple(range(2, maps.ndim)), keepdims=True)
    share = positive / np.where(highest > 0, highest, 1)
    return np.tanh(SHARPENING * share) if shallow else share


# test-time augmentation


def checked_augmentations(augment: Any) -> tuple[Augmentation, ...]:
    """What to average the maps over, besides the image itself.

    Args:
        augment: "flip", "scale", a scale such as 1.25, or several of these.

    Returns:
        "flip" and scales.

    Raises:
        InvalidOptionError: anything else.
    """
    several = augment if isinstance(augment, Iterable) and not isinstance(augment, str) else [augment]
    augmentations: list[Augmentation] = []
    for value in several:
        if value == "flip":
            augmentations.append("flip")
        elif value == "scale":
            augmentations.extend(SCALES)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0.1 <= value <= 10:
            augmentations.append(float(value))
        else:
            raise InvalidOptionError(
                f"augment must be 'flip', 'scale', a scale from 0.1 to 10, or several of these. Received: {value!r}."
            )
    return tuple(augmentations)


def _transform_of(augmentation: Augmentation, image: Sequence[int]) -> list[AxisTransform]:
    """Where the pixels of an image go: mirrored along the last axis, or scaled about the middle."""
    if augmentation == "flip":
        return [*((1.0, 0.0) for _ in image[:-1]), (-1.0, image[-1] - 1.0)]
    scale = float(augmentation)
    return [(scale, (1 - scale) * (length - 1) / 2) for length in image]


def transform_images(images: np.ndarray, transform: Sequence[AxisTransform]) -> np.ndarray:
    """Images (N, *spatial, K) transformed: linearly, edges repeated."""
    for axis, (scale, shift) in enumerate(transform, start=1):
        if (scale, shift) == (1.0, 0.0):
            continue
        # The way back: which position of the image a pixel of the transformed one comes from.
        length = images.shape[axis]
        positions = (np.arange(length) - shift) / scale
        images = np.moveaxis(np.tensordot(images, linear_weights(positions, length), axes=(axis, 0)), -1, axis)
    return images


# one grid from another


def regrid(
    maps: np.ndarray, source: Grid, target: Grid, transform: Sequence[AxisTransform] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read maps at the centres of another grid's cells: linearly, edges repeated.

    Args:
        maps: (..., *grid) on the source grid.
        source: where the cells of the maps lie, in the transformed image if there is a transform.
        target: where to read them, in the image.
        transform: per axis, where the pixels of the image have gone; default: they are where they were.

    Returns:
        `(maps, covered)`: (..., *grid) on the target grid, and which of its cells (*grid) lie inside the transformed
        image.
    """
    covered = np.ones((), bool)
    axes = zip(source.axes, target.axes, transform or [(1.0, 0.0)] * len(source.axes), source.image, strict=True)
    for axis, (before, after, (scale, shift), length) in enumerate(axes, start=maps.ndim - len(source.axes)):
        # Where the centres of the target's cells are now; what has left the image is not covered.
        positions = scale * (after.offset + after.stride * np.arange(after.length)) + shift
        maps = np.moveaxis(
            np.tensordot(maps, linear_weights(positions, before.length, before.offset, before.stride), axes=(axis, 0)),
            -1,
            axis,
        )
        inside = (positions > -1) & (positions < length) if transform is not None else np.ones(len(positions), bool)
        covered = covered[..., None] & inside
    return maps.astype("float32"), covered
