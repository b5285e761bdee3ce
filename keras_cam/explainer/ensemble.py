"""The maps of a batch as the user asked for them: by one layer or several, of the image or several versions of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_cam.errors import InvalidOptionError
from keras_cam.explainer.map_function import MapFunction, Maps, map_function_of
from keras_cam.explainer.regrid import Move, moved_images, regrid
from keras_cam.methods import Method
from keras_cam.model.cut import reads_channels_first
from keras_cam.model.grid import Grid
from keras_cam.model.head import Head

SHARPENING = 2.0  # LayerCAM: tanh(2 M / max M) for a shallow layer
SCALES = (0.75, 1.25)


class MapEnsemble:
    """Makes the maps of batches by one method.

    Args:
        model: the Keras model.
        method: how to make maps.
        method_options: what the method is called with.
        layers: path or name of the layer to map or itself, None for the last that has a place; several are fused.
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
        self.functions = _by_depth(
            [map_function_of(model, method, method_options, layer=layer, **choices) for layer in layers]
        )
        self._versions = [] if augment is None else checked_versions(augment)
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
        if not self._versions:
            return found, grid
        if grid is None:
            raise InvalidOptionError(
                f"augment needs maps that lie in the image. Received: maps {found.maps.shape} at {self.layer!r}."
            )
        index, first = self.head.cut.image_input, reads_channels_first(self.head.cut)
        images = np.moveaxis(batch[index], 1, -1) if first else batch[index]
        total, weight = found.maps.copy(), np.ones(grid.shape, "float32")
        for version in self._versions:
            moves = _moves(version, images.shape[1:-1])
            moved = moved_images(images, moves).astype(images.dtype)
            changed = [*batch]
            changed[index] = np.moveaxis(moved, -1, 1) if first else moved
            maps, covered = regrid(self._fused(changed, found.class_indices)[0].maps, grid, grid, moves)
            total += maps * covered
            weight += covered
        return found._replace(maps=total / weight, bias=np.full_like(found.bias, np.nan)), grid

    def _fused(self, batch: Sequence[np.ndarray], class_indices: np.ndarray | None) -> tuple[Maps, Grid | None]:
        """The maps of one layer as they are; of several the largest, on the finest grid, shallow ones sharpened."""
        found = []
        for function in self.functions:
            found.append(function(batch, class_indices, self._batch_size, self._verbose))
            class_indices = found[0].class_indices
        first = reads_channels_first(self.head.cut)
        shape = batch[self.head.cut.image_input].shape
        image = shape[2:] if first else shape[1:-1]
        if any(one.maps.ndim != len(image) + 2 for one in found):
            if len(found) == 1:
                return found[0], None
            shapes = ", ".join(str(one.maps.shape) for one in found)
            raise InvalidOptionError(f"Layers are fused where their maps lie in the image. Received: maps {shapes}.")
        grids = [function.grid(image, one.maps.shape[2:]) for function, one in zip(self.functions, found, strict=True)]
        if len(found) == 1:
            return found[0], grids[0]
        finest = max(grids, key=lambda grid: int(np.prod(grid.shape)))
        last = len(found) - 1
        scaled = [_sharpened(one.maps, index < last) for index, one in enumerate(found)]
        fused = np.max([regrid(maps, grid, finest)[0] for maps, grid in zip(scaled, grids, strict=True)], axis=0)
        return found[-1]._replace(maps=fused, bias=np.full_like(found[-1].bias, np.nan)), finest


def _by_depth(functions: list[MapFunction]) -> list[MapFunction]:
    """The paths to maps in the order in which the model makes their feature maps."""
    programs = [[f"{step.path}/" for step in function.head.cut.program.steps] for function in functions]
    whole = max(programs, key=len)  # of custom layers, what is cut first has most of them taken apart

    def place(function: MapFunction) -> int:
        end = f"{function.head.cut.features[-1].layer}/"
        return max((index for index, path in enumerate(whole) if path.startswith(end)), default=len(whole))

    return sorted(functions, key=place)


def checked_versions(augment: Any) -> tuple[str | float, ...]:
    """The versions of the image to average over, besides itself.

    Args:
        augment: "flip", "scale", a scale such as 1.25, or several of these.

    Returns:
        "flip" and scales.

    Raises:
        InvalidOptionError: anything else.
    """
    several = augment if isinstance(augment, Iterable) and not isinstance(augment, str) else [augment]
    versions: list[str | float] = []
    for one in several:
        if one == "flip":
            versions.append("flip")
        elif one == "scale":
            versions.extend(SCALES)
        elif isinstance(one, (int, float)) and not isinstance(one, bool) and 0.1 <= one <= 10:
            versions.append(float(one))
        else:
            raise InvalidOptionError(
                f"augment must be 'flip', 'scale', a scale from 0.1 to 10, or several of these. Received: {one!r}."
            )
    return tuple(versions)


def _moves(version: str | float, image: Sequence[int]) -> list[Move]:
    """Where the pixels of an image go: mirrored along the last axis, or scaled about the middle."""
    if version == "flip":
        return [*((1.0, 0.0) for _ in image[:-1]), (-1.0, image[-1] - 1.0)]
    scale = float(version)
    return [(scale, (1 - scale) * (length - 1) / 2) for length in image]


def _sharpened(maps: np.ndarray, shallow: bool) -> np.ndarray:
    """The positive part of maps (N, C, *grid) over its maximum, through LayerCAM's tanh for a shallow layer."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=tuple(range(2, maps.ndim)), keepdims=True)
    share = positive / np.where(highest > 0, highest, 1)
    return np.tanh(SHARPENING * share) if shallow else share
