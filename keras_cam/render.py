"""Colour, blend, caption and lay out: arrays in, uint8 RGB pictures out."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import PIL.Image

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.heatmap import checked_maps, normalize, place
from keras_cam.images import load_images, resize, to_display, value_range_of
from keras_cam.text import PAPER, text_picture, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORMAPS", "DEFAULT_COLORMAP", "beside", "caption", "colorize", "contact_sheet", "encode_jpeg"]
__all__ += ["figure", "filmstrip", "overlay", "save_png"]

COLORMAPS = {name[9:].lower(): getattr(cv2, name) for name in sorted(dir(cv2)) if name.startswith("COLORMAP_")}
DEFAULT_COLORMAP = "plasma"  # tells its ends apart for colour-blind eyes, and stands out on grass, fur and skin
PANEL, TITLE = 3.0, 0.45  # inches
FIGURE_WIDTHS = (PANEL, 0.1, PANEL, 0.1, 0.12, 0.6, PANEL)  # picture, heat map, colour bar, overlay, and gaps


def overlay(
    image: Any,
    heatmap: Any,
    *,
    colormap: str = DEFAULT_COLORMAP,
    alpha: float = 0.6,
    value_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """Draw a heat map over its picture; where there is no heat, the picture stays as it is.

    Opacity rises with the heat up to `alpha` at half heat; from there on the colour alone tells more from less.

    Args:
        image: one image, as an array, tensor, PIL image or path.
        heatmap: (h, w), values in [0, 1]; stretched to the picture's size where it differs.
        colormap: a name from `COLORMAPS`, such as "plasma" (default), "viridis", "turbo" or "jet".
        alpha: opacity where the heat is 0.5 or more, in [0, 1].
        value_range: (black, white) of `image`; default: (0, 255) for integers, for floats the first of (0, 1),
            (-1, 1), (0, 255) that holds them, else their smallest and largest value.

    Returns:
        uint8 RGB (height, width, 3), the picture's size.

    Raises:
        InvalidImageError: more than one image, or a heat map of another rank or outside [0, 1].
        InvalidOptionError: an unknown colour map or an impossible alpha.

    >>> overlay(np.full((2, 2, 3), 9, "uint8"), np.zeros((2, 2)))[0, 0].tolist()
    [9, 9, 9]
    """
    if not 0 <= alpha <= 1:
        raise InvalidOptionError(f"alpha must lie in [0, 1]. Received: {alpha!r}.")
    arrays, _ = load_images(image)
    if len(arrays) != 1:
        raise InvalidImageError(f"overlay draws on one image. Received: {len(arrays)}. Call it once for each.")
    picture = to_display(arrays[0], value_range_of(arrays) if value_range is None else value_range)
    heat = _checked_heat(heatmap)
    if heat.shape != picture.shape[:2]:
        heat = place(heat, picture.shape[:2])
    opacity = alpha * np.minimum(2 * heat, 1)[..., np.newaxis]
    return np.rint((1 - opacity) * picture + opacity * colorize(heat, colormap)).astype(np.uint8)


def colorize(heatmap: Any, colormap: str = DEFAULT_COLORMAP) -> np.ndarray:
    """Turn a heat map (h, w) in [0, 1] into a uint8 RGB picture of the same size.

    >>> colorize([[0.0, 1.0]], "bone").tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    if colormap not in COLORMAPS:
        raise InvalidOptionError(f"colormap must be one of {', '.join(COLORMAPS)}. Received: {colormap!r}.")
    levels = np.rint(_checked_heat(heatmap) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, COLORMAPS[colormap]), cv2.COLOR_BGR2RGB)


def caption(image: np.ndarray, lines: Sequence[str], *, width: int | None = None) -> np.ndarray:
    """Write lines of text under a picture, sized to be read when the result is shown 350 pixels wide.

    Args:
        image: uint8 RGB (height, width, 3).
        lines: one string for each line; one that is too long ends in an ellipsis.
        width: width to scale the picture to first, its proportions kept; default: as it is. Pictures narrower than
            about 200 pixels need it, or little text fits.

    Returns:
        uint8 RGB, `width` wide, the caption below the picture.
    """
    picture = _checked_picture(image)
    if width is not None:
        picture = resize(picture, (max(1, round(picture.shape[0] * width / picture.shape[1])), width))
    return np.concatenate([picture, text_picture(lines, max(11, round(picture.shape[1] / 25)), picture.shape[1])])


def beside(pictures: Sequence[np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Put uint8 RGB pictures side by side on white, `gap` pixels apart, each centred in the height of the tallest."""
    return _grid([pictures], gap)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int, *, gap: int = 4) -> np.ndarray:
    """Put uint8 RGB pictures in rows of `columns` on white, each centred in its row and column."""
    if columns < 1:
        raise InvalidOptionError(f"columns must be at least 1. Received: {columns!r}.")
    return _grid([pictures[start : start + columns] for start in range(0, len(pictures), columns)], gap)


def filmstrip(
    rows: Sequence[Sequence[np.ndarray]], row_labels: Sequence[str], column_labels: Sequence[str], *, gap: int = 4
) -> np.ndarray:
    r"""Put rows of uint8 RGB pictures under labelled columns, as in probes by epochs.

    Args:
        rows: the pictures of each row; rows may be of different lengths.
        row_labels: one for each row, written to its left; "\n" starts a new line.
        column_labels: one for each column, written at the head of it.
        gap: pixels of white between pictures.

    Returns:
        One uint8 RGB picture. Rows and columns grow where a label needs more room than the pictures.
    """
    if not any(map(len, rows)) or len(row_labels) != len(rows) or len(column_labels) != max(map(len, rows)):
        raise InvalidOptionError(
            "A filmstrip needs pictures, a label for each row and a label for each column. Received: rows of "
            f"{[len(row) for row in rows]} pictures, {len(row_labels)} row labels, {len(column_labels)} column labels."
        )
    text_size = max(12, round(max(picture.shape[1] for row in rows for picture in row) / 9))
    lines = [label.split("\n") for label in row_labels]
    label_width = max(text_width(label, text_size) for label in lines)  # one width for all, so that they align left
    labels = [text_picture(label, text_size, label_width) for label in lines]
    heads = [text_picture([label], text_size) for label in column_labels]
    labelled = [[label, *row] for label, row in zip(labels, rows, strict=True)]
    return _grid([[_paper(1, 1), *heads], *labelled], gap)


def figure(
    images: Sequence[np.ndarray],
    heatmaps: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    limits: Sequence[tuple[float, float]] | None = None,
    colormap: str = DEFAULT_COLORMAP,
    alpha: float = 0.6,
) -> Figure:
    """Draw one row for each map: picture, heat map with a numbered colour bar, and overlay, under its title.

    Args:
        images: uint8 RGB pictures, one for each row (repeat a picture to show several classes of it).
        heatmaps: (h, w) each, in the units that the colour bar shall show; any size.
        titles: one string for each row, such as the class and its probability.
        limits: (low, high) of the colour bar of each row; default: zero and the map's maximum.
        colormap: a name from `COLORMAPS`.
        alpha: opacity of the overlay where it is hottest, in [0, 1].

    Returns:
        A `matplotlib.figure.Figure`, outside pyplot: nothing to close. Save it with `.savefig(path)`.
    """
    from matplotlib.figure import Figure

    if not len(images) == len(heatmaps) == len(titles) == len(heatmaps if limits is None else limits) > 0:
        raise InvalidOptionError(
            "A figure needs rows, and an image, a heat map, a title and a pair of limits for each. Received: "
            f"{len(images)} images, {len(heatmaps)} heat maps, {len(titles)} titles, limits {limits!r}."
        )
    pictures = [_checked_picture(image) for image in images]
    heights = [PANEL * min(max(picture.shape[0] / picture.shape[1], 0.3), 2) for picture in pictures]
    drawing = Figure(figsize=(sum(FIGURE_WIDTHS) + 0.2, sum(heights) + TITLE * len(heights) + 0.1))
    grid = drawing.add_gridspec(
        nrows=2 * len(heights),
        ncols=len(FIGURE_WIDTHS),
        width_ratios=FIGURE_WIDTHS,
        height_ratios=[inches for height in heights for inches in (TITLE, height)],
        **{"left": 0.01, "right": 0.99, "top": 1, "bottom": 0.1 / drawing.get_figheight(), "wspace": 0, "hspace": 0},
    )
    for index, picture in enumerate(pictures):
        heat = checked_maps(heatmaps[index])
        span = (0.0, max(float(heat.max()), 0.0) or 1.0) if limits is None else limits[index]
        axes = [drawing.add_subplot(grid[2 * index + 1, column]) for column in (0, 2, 4, 6)]
        above = grid[2 * index, 0].get_position(drawing)
        line = textwrap.shorten(titles[index], 90, placeholder="…")
        drawing.text(above.x0, above.y0 + above.height / 4, line, size=12, parse_math=False)
        _draw_row(axes, picture, heat, span, colormap, alpha)
    return drawing


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Encode a uint8 RGB picture as JPEG; `quality` from 1 to 100."""
    if not 1 <= quality <= 100:
        raise InvalidOptionError(f"quality must lie in 1..100. Received: {quality!r}.")
    picture = cv2.cvtColor(_checked_picture(image), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidImageError(f"A JPEG has at most 65500 pixels a side. Received: {picture.shape}. Make it smaller.")
    return encoded.tobytes()


def save_png(path: str | os.PathLike[str], image: np.ndarray) -> Path:
    """Write a uint8 RGB picture as PNG, making the folder where it is missing, and return the path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(_checked_picture(image)).save(target, format="PNG")
    return target


def _draw_row(
    axes: Sequence[Any], picture: np.ndarray, heat: np.ndarray, span: tuple[float, float], colormap: str, alpha: float
) -> None:
    """Picture, heat map, colour bar and overlay, on axes in that order."""
    from matplotlib.colors import ListedColormap

    height, width = picture.shape[:2]
    colors = ListedColormap(colorize(np.linspace(0, 1, 256)[np.newaxis], colormap)[0] / 255)
    shown = axes[1].imshow(heat, colors, vmin=span[0], vmax=span[1], extent=(0, width, height, 0))
    axes[0].figure.colorbar(shown, cax=axes[2])
    axes[0].imshow(picture)
    axes[3].imshow(overlay(picture, normalize(place(heat, (height, width)), span), colormap=colormap, alpha=alpha))
    for panel in (axes[0], axes[1], axes[3]):
        panel.set_axis_off()


def _grid(rows: Sequence[Sequence[np.ndarray]], gap: int) -> np.ndarray:
    """Rows of pictures on white, each in the middle of its cell; rows are as high and columns as wide as need be."""
    rows = [[_checked_picture(picture) for picture in row] for row in rows]
    if not any(rows):
        raise InvalidImageError("No picture to lay out. Received: none. Give at least one uint8 RGB picture.")
    heights = [max((picture.shape[0] for picture in row), default=1) for row in rows]
    widths = [max(row[index].shape[1] for row in rows if index < len(row)) for index in range(max(map(len, rows)))]
    sheet = _paper(sum(heights) + gap * (len(heights) - 1), sum(widths) + gap * (len(widths) - 1))
    for row_index, row in enumerate(rows):
        top = sum(heights[:row_index]) + gap * row_index
        for column_index, picture in enumerate(row):
            left = sum(widths[:column_index]) + gap * column_index
            _paste(sheet[top : top + heights[row_index], left : left + widths[column_index]], picture)
    return sheet


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _paste(cell: np.ndarray, picture: np.ndarray) -> None:
    """Write the picture into the middle of the cell, a view of the sheet."""
    top, left = ((cell.shape[axis] - picture.shape[axis]) // 2 for axis in (0, 1))
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _checked_picture(picture: Any) -> np.ndarray:
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or array.size == 0:
        raise InvalidImageError(
            f"A picture to draw on is uint8 RGB of shape (height, width, 3). Received: dtype {array.dtype}, "
            f"shape {array.shape}. keras_cam.images.to_display makes one."
        )
    return array


def _checked_heat(heatmap: Any) -> np.ndarray:
    """One (h, w) map in [0, 1], or an error."""
    heat = checked_maps(heatmap)
    if heat.ndim != 2:
        raise InvalidImageError(f"A heat map has shape (height, width). Received: shape {heat.shape}. Pick one map.")
    low, high = float(heat.min()), float(heat.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise InvalidImageError(
            f"A heat map lies in [0, 1]. Received: values from {low:g} to {high:g}. "
            "Scale it first with keras_cam.heatmap.normalize."
        )
    return heat.clip(0, 1)
