"""From maps to heat maps: laid over their images, scaled together, empty where the model was fed nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.imaging.fit import placement, visible_region
from keras_cam.imaging.normalize import common_mode, scaled
from keras_cam.imaging.resample import place
from keras_cam.model.grid import even_grid
from keras_cam.results.result import Result
from keras_cam.validation import one_of

ALIGNMENTS = ("receptive_field", "stretch")


def is_drawable(result: Result) -> bool:
    """Whether there are images that the maps lie on, axis by axis."""
    return bool(result.images) and all(image.ndim == result.maps.ndim - 1 for image in result.images)


def check_drawable(result: Result) -> None:
    """Raise where there is nothing that the maps lie on."""
    if not is_drawable(result):
        raise InvalidDataError(
            f"The maps {result.maps.shape} lie on no picture, signal or volume of as many axes. Received: "
            f"{[image.shape for image in result.images[:3]] or 'no images'} to draw on. Use result.maps."
        )


def lay_over_images(result: Result, align: str, interpolation: str) -> list[np.ndarray]:
    """The maps at the size of their images, in stacks (n, C, *size): all in one, or one for each image.

    Args:
        result: the maps and their images.
        align: as for `Explanation.heatmaps`.
        interpolation: as for `Explanation.heatmaps`.

    Returns:
        One stack where the images are of one size, for it is much faster to lay all maps over them at once.
    """
    one_of("align", align, ALIGNMENTS)
    one_size = len({image.shape[:-1] for image in result.images}) == 1
    # Each stack lies over its first image.
    stacks = [result.maps] if one_size else [maps[np.newaxis] for maps in result.maps]
    return [_lay_over(result, image, stack, align, interpolation) for image, stack in enumerate(stacks)]


def _lay_over(result: Result, image: int, maps: np.ndarray, align: str, interpolation: str) -> np.ndarray:
    """Maps (n, C, *cells) over images of one size: through the grid, and back through what brought them to it."""
    size, grid = result.images[image].shape[:-1], result.grid_at(image)
    # Where nothing is known of the cells, they share the image evenly.
    if grid is None:
        return place(maps, size, interpolation=interpolation)
    # From the cells to the pixels that the model was fed.
    fed = grid.image
    grid = grid if align == "receptive_field" else even_grid(grid.shape, fed)
    # From these to the pixels of the image: a picture was stretched, cropped or padded.
    if len(size) == 2:
        back = placement((size[0], size[1]), (fed[0], fed[1]), result.fit)
    else:  # signals and volumes are fed as they are
        back = tuple((length / fed_length, 0.0) for length, fed_length in zip(size, fed, strict=True))
    return place(maps, size, cells=grid.cells_in(back), interpolation=interpolation)


def visible_slices(result: Result, image: int) -> tuple[Any, ...]:
    """Where in its maps, laid over it, an image was fed to the model: all of it, unless it was cropped."""
    size, grid = result.images[image].shape[:-1], result.grid_at(image)
    if result.fit != "crop" or grid is None:
        return (...,)
    return (..., *visible_region((size[0], size[1]), (grid.image[0], grid.image[1]), result.fit))


def scale_together(
    stacks: Sequence[np.ndarray], normalize: str | tuple[float, float] | None, signed: bool
) -> list[np.ndarray]:
    """Stacks of maps (n, C, *size) scaled, in place where they can be; None leaves them as they are."""
    if normalize is None:
        return list(stacks)
    # What is scaled has the axes of pictures: signals and volumes are made rows of one line.
    rows = [stack.reshape(*stack.shape[:2], 1, -1) for stack in stacks]
    mode = common_mode(rows, normalize, signed=signed)
    # Written over where that can be: nobody else reads these numbers.
    pairs = zip(rows, stacks, strict=True)
    return [scaled(row, mode, signed=signed, out=row).reshape(stack.shape) for row, stack in pairs]


def frame_visible(visible: np.ndarray, whole: np.ndarray, region: tuple[Any, ...]) -> np.ndarray:
    """The heat of what the model was fed, and zeros where it was fed nothing, at the size of the whole stack."""
    framed = np.zeros_like(whole)
    framed[region] = visible
    return framed
