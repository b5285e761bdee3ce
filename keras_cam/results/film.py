"""How the maps of the same pictures change from one result to the next: a strip, or an animation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from math import ceil, sqrt
from pathlib import Path

import numpy as np

from keras_cam.drawing.encode import save_gif, save_png
from keras_cam.drawing.layout import caption, contact_sheet, filmstrip, scale_to_width
from keras_cam.drawing.modalities import IMAGE, modality_of
from keras_cam.drawing.text import panel_text_size, text_picture
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.imaging.normalize import common_mode
from keras_cam.results.explanation import Explanation
from keras_cam.results.plots import draw_panels
from keras_cam.results.rows import DrawOptions, is_on_pictures

PICTURE_WIDTH = 160  # a strip of many epochs is wide enough


def save_film(
    path: str | os.PathLike[str],
    results: Sequence[Explanation],
    labels: Sequence[str] | None = None,
    *,
    width: int | None = None,
    signed: bool = False,
    colormap: str | None = None,
    normalize: str | tuple[float, float] = "image",
    text_size: int | None = None,
    seconds: float = 0.5,
) -> Path:
    """Draw how the maps of the same pictures change, such as over the epochs of a training.

    Args:
        path: ending in ".png": a strip, one column for each result; in ".gif": an animation, one frame for each.
        results: explanations of the same pictures and number of classes, in order; `Explanation.load` reads saved ones.
        labels: one for each result; default: "epoch 0", "epoch 1", ...
        width: of a picture, in pixels; default: 160, of a signal or a volume 480.
        signed: True draws what speaks against the class too.
        colormap: a colour map that `keras_cam.overlay` knows.
        normalize: "image" (default): each map by its own maximum, which its colour bar tells; "batch": all maps of
            all results by one, to be compared; "minmax" or a range (low, high) in logit units.
        text_size: height of the letters in pixels, at least 6; default: by the width.
        seconds: how long each frame of an animation is shown.

    Returns:
        The path.

    Raises:
        InvalidDataError: no results, results of different pictures, or not one label for each.
        InvalidOptionError: a path that ends in something else.
    """
    # What is drawn, and under which names.
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".gif"):
        raise InvalidOptionError(f"A film is a .png strip or a .gif animation. Received: {os.fspath(path)!r}.")
    names = [f"epoch {index}" for index in range(len(results))] if labels is None else list(labels)
    _check(results, names)
    # A strip of many pictures is wide enough with small ones; signals and volumes need their width.
    modality = modality_of(results[0].images)
    usual_width = PICTURE_WIDTH if modality is IMAGE else modality.width
    width = usual_width if width is None else width
    size = panel_text_size(text_size, width, modality.text_share)
    # All maps of a result make a column, all by one scale where they are to be compared.
    maps = (maps for result in results for maps in result.heatmaps(None))
    mode = common_mode(maps, normalize, signed=signed)
    options = DrawOptions(signed, mode, colormap=colormap, width=width, text_size=size)
    columns = [list(chain.from_iterable(draw_panels(result, options))) for result in results]
    # The columns one after the other, or side by side.
    if suffix == ".gif":
        frames = [_frame(column, name, size) for column, name in zip(columns, names, strict=True)]
        return save_gif(path, frames, seconds=seconds)
    return save_png(path, _strip(results[0], columns, names, width, size))


def _frame(panels: Sequence[np.ndarray], name: str, text_size: int) -> np.ndarray:
    """All maps of one result on a sheet that is about square, under its name."""
    columns = ceil(sqrt(len(panels)))
    sheet = contact_sheet(panels, columns, gap=text_size // 2)
    return np.concatenate([text_picture([name], text_size, sheet.shape[1]), sheet])


def _strip(
    result: Explanation, columns: Sequence[Sequence[np.ndarray]], names: Sequence[str], width: int, text_size: int
) -> np.ndarray:
    """A row for each map, under the names of the results; before the maps of a picture the picture itself."""
    # The results side by side, so that each row holds one map as it changes.
    slots = result.class_indices.shape[1]
    rows = [list(row) for row in zip(*columns, strict=True)]
    row_labels = [f"image {index // slots}" for index in range(len(rows))]
    if is_on_pictures(result):  # the panels of signals and volumes show what they lie on
        names = ["picture", *names]
        for index, row in enumerate(rows):
            row.insert(0, caption(scale_to_width(result.images[index // slots], width), [""], text_size=text_size))
    return filmstrip(rows, row_labels, names, text_size=text_size)


def _check(results: Sequence[Explanation], names: Sequence[str]) -> None:
    """Raise where there is nothing to draw, or not the same pictures and number of classes in all results."""
    if not results or len(names) != len(results):
        raise InvalidDataError(
            f"A film needs results and a label for each. Received: {len(results)} results, {len(names)} labels."
        )
    # Maps follow each other where the images have the same sizes, and as many maps each.
    shapes = {(result.class_indices.shape, tuple(image.shape for image in result.images)) for result in results}
    if len(shapes) > 1 or not results[0].images:
        raise InvalidDataError(
            "A film needs results of the same pictures and number of classes. Received: (images, classes) of "
            f"{sorted({result.class_indices.shape for result in results})}, pictures of "
            f"{sorted({image.shape[:2] for result in results for image in result.images})}."
        )
