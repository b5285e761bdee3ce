"""Colour, blend, caption and lay out: arrays in, uint8 RGB pictures out."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.heatmap import checked_maps, normalize, place
from keras_cam.images import load_images, resize, to_display, value_range_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLORMAPS",
    "DEFAULT_COLORMAP",
    "beside",
    "caption",
    "colorize",
    "contact_sheet",
    "encode_jpeg",
    "figure",
    "filmstrip",
    "overlay",
    "save_png",
]

COLORMAPS = {name[9:].lower(): getattr(cv2, name) for name in sorted(dir(cv2)) if name.startswith("COLORMAP_")}
DEFAULT_COLORMAP = "plasma"
PAPER, INK = (255, 255, 255), (20, 20, 20)


def overlay(image: Any, heatmap: Any, *, colormap: str = DEFAULT_COLORMAP, alpha: float = 0.6) -> np.ndarray:
    """Draw a heat map over its picture; where there is no heat, the picture stays as it is.

    Opacity rises with the heat up to `alpha` at half heat; from there on the colour alone tells more from less.

    Args:
        image: one image, as an array, tensor, PIL image or path. Floats are shown by the rule of
            `keras_cam.images.value_range_of`.
        heatmap: (h, w), values in [0, 1]; stretched to the picture's size where it differs.
        colormap: a name from `COLORMAPS`, such as "plasma" (default), "viridis", "turbo" or "jet".
        alpha: opacity where the heat is 0.5 or more, in [0, 1].

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
    picture = to_display(arrays[0], value_range_of(arrays))
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
    return np.concatenate([picture, _text_block(lines, picture.shape[1])])


def beside(pictures: Sequence[np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Put uint8 RGB pictures side by side on white, `gap` pixels apart, each centred in the height of the tallest."""
    return _grid([pictures], gap)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int, *, gap: int = 4) -> np.ndarray:
    """Put uint8 RGB pictures in rows of `columns` on white, all cells as large as the largest picture."""
    if columns < 1:
        raise InvalidOptionError(f"columns must be at least 1. Received: {columns!r}.")
    return _grid([pictures[start : start + columns] for start in range(0, len(pictures), columns)], gap)


def filmstrip(
    rows: Sequence[Sequence[np.ndarray]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    gap: int = 4,
) -> np.ndarray:
    """Put rows of uint8 RGB pictures under labelled columns, as in probes by epochs.

    Args:
        rows: the pictures of each row; rows may be of different lengths.
        row_labels: one for each row, written to its left; "\\n" starts a new line.
        column_labels: one for each column, written at the head of it.
        gap: pixels of white between pictures.

    Returns:
        One uint8 RGB picture. Cells grow where a label needs more room than the pictures.
    """
    if len(row_labels) != len(rows) or len(column_labels) != max(map(len, rows), default=0):
        raise InvalidOptionError(
            f"A filmstrip needs one label for each row and column. Received: {len(row_labels)} and "
            f"{len(column_labels)} labels for {len(rows)} rows of {sorted({len(row) for row in rows})} pictures."
        )
    text_size = max(12, round(max(picture.shape[1] for row in rows for picture in row) / 9))
    font, line_height = _font(text_size), _line_height(text_size)
    labels = [[_shortened(line, font, 20 * text_size) for line in label.split("\n")] for label in row_labels]
    left = max(_text_width(line, font) for lines in labels for line in lines) + 2 * gap
    narrowest = max(_text_width(label, font) for label in column_labels)
    sheet = _grid(rows, gap, at_least=(line_height * max(map(len, labels)), narrowest))
    paper = PIL.Image.new("RGB", (left + sheet.shape[1], line_height + sheet.shape[0]), PAPER)
    paper.paste(PIL.Image.fromarray(sheet), (left, line_height))
    draw = PIL.ImageDraw.Draw(paper)
    for index, label in enumerate(column_labels):
        middle = left + (2 * index + 1) * (sheet.shape[1] + gap) / (2 * len(column_labels)) - gap / 2
        draw.text((middle, line_height / 2), label, INK, font, anchor="mm")
    for index, lines in enumerate(labels):
        top = line_height + (2 * index + 1) * (sheet.shape[0] + gap) / (2 * len(rows)) - gap / 2
        top -= (len(lines) - 1) * line_height / 2
        for line_index, line in enumerate(lines):
            draw.text((gap, top + line_index * line_height), line, INK, font, anchor="lm")
    return np.asarray(paper)


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
            "A figure needs one image, heat map, title and pair of limits for each row, and at least one row. Received: "
            f"{len(images)} images, {len(heatmaps)} heat maps, {len(titles)} titles, limits {limits!r}."
        )
    tallest = max(image.shape[0] / image.shape[1] for image in images)
    row_height = 0.6 + 3 * min(max(tallest, 0.4), 2)
    drawing = Figure(figsize=(10, row_height * len(images)), layout="constrained")
    rows = drawing.subfigures(len(images), 1, squeeze=False)[:, 0]
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        heat = checked_maps(heatmaps[index])
        low, high = (0, max(float(heat.max()), 0) or 1) if limits is None else limits[index]
        row.suptitle(textwrap.fill(title, 90), fontsize=12)
        _draw_row(row, images[index], heat, (low, high), colormap, alpha)
    return drawing


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Encode a uint8 RGB picture as JPEG; `quality` from 1 to 100."""
    if not 1 <= quality <= 100:
        raise InvalidOptionError(f"quality must lie in 1..100. Received: {quality!r}.")
    picture = cv2.cvtColor(_checked_picture(image), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def save_png(path: str | os.PathLike[str], image: np.ndarray) -> Path:
    """Write a uint8 RGB picture as PNG, making the folder where it is missing, and return the path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(_checked_picture(image)).save(target, format="PNG")
    return target


def _draw_row(
    row: Any, image: np.ndarray, heatmap: np.ndarray, limits: tuple[float, float], colormap: str, alpha: float
) -> None:
    from matplotlib.colors import ListedColormap

    height, width = image.shape[:2]
    colors = ListedColormap(colorize(np.linspace(0, 1, 256)[np.newaxis], colormap)[0] / 255)
    heat = normalize(place(heatmap, (height, width)), limits)
    left, middle, right = row.subplots(1, 3)
    left.imshow(image)
    shown = middle.imshow(heatmap, colors, vmin=limits[0], vmax=limits[1], extent=(0, width, height, 0))
    row.colorbar(shown, ax=middle, shrink=0.8)
    right.imshow(overlay(image, heat, colormap=colormap, alpha=alpha))
    for axes in (left, middle, right):
        axes.set_axis_off()


def _grid(rows: Sequence[Sequence[np.ndarray]], gap: int, at_least: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Rows of pictures on white; every cell is as large as the largest picture, and each lies in its middle."""
    pictures = [_checked_picture(picture) for row in rows for picture in row]
    if not pictures:
        raise InvalidImageError("No picture to lay out. Received: none. Give at least one uint8 RGB picture.")
    height, width = (max(at_least[axis], *(picture.shape[axis] for picture in pictures)) for axis in (0, 1))
    columns = max(len(row) for row in rows)
    sheet = _paper(len(rows) * (height + gap) - gap, columns * (width + gap) - gap)
    for row_index, row in enumerate(rows):
        for column_index, picture in enumerate(row):
            top = row_index * (height + gap) + (height - picture.shape[0]) // 2
            left = column_index * (width + gap) + (width - picture.shape[1]) // 2
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _line_height(text_size: int) -> int:
    return round(text_size * 1.35)


def _text_width(line: str, font: PIL.ImageFont.FreeTypeFont) -> int:
    return ceil(font.getlength(line))


def _text_block(lines: Sequence[str], width: int) -> np.ndarray:
    """Dark lines on white, 14 pixels high when shown 350 wide and never less than 11, shortened where too long."""
    text_size = max(11, round(width * 14 / 350))
    font = _font(text_size)
    margin = text_size // 3
    line_height = _line_height(text_size)
    paper = PIL.Image.new("RGB", (width, line_height * len(lines) + 2 * margin), PAPER)
    draw = PIL.ImageDraw.Draw(paper)
    for index, line in enumerate(lines):
        draw.text((margin, margin + index * line_height), _shortened(line, font, width - 2 * margin), INK, font)
    return np.asarray(paper)


def _shortened(line: str, font: PIL.ImageFont.FreeTypeFont, width: int) -> str:
    """The line if it fits in `width` pixels, else as much of it as does, and an ellipsis."""
    text = " ".join(str(line).split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"


@lru_cache(maxsize=8)
def _font(size: int) -> PIL.ImageFont.FreeTypeFont:
    """DejaVu Sans, which ships with matplotlib."""
    import matplotlib

    return PIL.ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


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
