"""Volumes under their heat maps: a montage of slices, the hottest among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.drawing.colorbar import GAP, frame_drawing
from keras_cam.drawing.figure import FIGURE_INCHES, check_rows, limits_of_rows, write_title
from keras_cam.drawing.layout import caption, contact_sheet, scale_to_width
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import Title, panel_text_size
from keras_cam.errors import InvalidImageError
from keras_cam.imaging.display import to_display, value_range_of
from keras_cam.imaging.normalize import checked_maps, scaled_to_limits
from keras_cam.imaging.resample import place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST_SLICES = 12
VOLUME_TEXT_SHARE = 36  # how many times wider a montage is than its letters are high
DOTS = 100  # pixels an inch


def montage(
    volume: np.ndarray,
    heatmap: np.ndarray,
    limits: tuple[float, float],
    lines: Sequence[str | Title],
    *,
    width: int = 480,
    colormap: str | None = None,
    signed: bool = False,
    alpha: float = 0.6,
    text_size: int | None = None,
) -> np.ndarray:
    """Draw slices of a volume under its heat map, numbered, beside them one colour bar for all, below them text.

    The slices lie evenly along the depth, but for one in place of its neighbour: that with the hottest cell is always
    among them.

    Args:
        volume: (depth, height, width, channels) or (depth, height, width). Three channels are drawn as RGB, as the
            frames of a film are; of other numbers of channels the first is drawn in gray. Black and white are as for
            pictures: 0..255 for integers, for floats the first of (0, 1), (-1, 1), (0, 255) that holds all, else the
            smallest and the largest value of the volume.
        heatmap: (depth, height, width), in the units that the colour bar shall show; stretched where its size differs.
        limits: what the colour bar's ends stand for.
        lines: the caption.
        width: of all slices together, in pixels.
        colormap: as for `keras_cam.overlay`.
        signed: True draws what speaks against the class in another colour.
        alpha: opacity where the map is hottest, in [0, 1].
        text_size: height of the letters in pixels, at least 6; default: 1/36 of the width, 11 to 18.

    Returns:
        uint8 RGB.

    Raises:
        InvalidImageError: a volume or a heat map of another rank, or one that is not finite.
        InvalidOptionError: an unknown colour map, an impossible alpha, or letters that are too small.

    >>> montage(np.zeros((5, 8, 8)), np.ones((5, 8, 8)), (0.0, 1.0), ["a ball"]).shape[2]
    3
    """
    pictures = _pictures(volume)
    heat = _checked_heat(heatmap, pictures.shape[:3])
    text_size = panel_text_size(text_size, width, VOLUME_TEXT_SHARE)
    shares = scaled_to_limits(heat, limits, signed=signed)
    # Which slices, in how many columns of which width.
    chosen = slices_of(heat, signed=signed)
    columns = _columns(len(chosen), pictures.shape[1] / pictures.shape[2])
    across = max(1, (width - GAP * (columns - 1)) // columns)
    cells = []
    for index in chosen:
        picture = scale_to_width(pictures[index], across)
        laid_over = place(shares[index], picture.shape[:2])
        drawn = overlay(picture, laid_over, colormap=colormap, signed=signed, alpha=alpha)
        cells.append(caption(drawn, [f"slice {index}"], text_size=text_size))
    sheet = contact_sheet(cells, columns, gap=GAP)
    return frame_drawing(sheet, limits, lines, colormap=colormap, signed=signed, text_size=text_size)


def slices_of(heatmap: np.ndarray, *, signed: bool = False) -> list[int]:
    """Choose slices along the depth: evenly spread, and the one with the hottest cell in place of its neighbour.

    Args:
        heatmap: (depth, height, width).
        signed: whether what is hottest is of the largest magnitude, of either sign.

    Returns:
        At most 12 indices, in order.

    >>> heatmap = np.zeros((100, 2, 2))
    >>> heatmap[40] = 1
    >>> slices_of(heatmap)
    [0, 9, 18, 27, 40, 45, 54, 63, 72, 81, 90, 99]
    """
    # The slice that is next to the hottest makes room for it.
    depth = len(heatmap)
    chosen = np.rint(np.linspace(0, depth - 1, min(depth, MOST_SLICES))).astype(int)
    hottest = int((np.abs(heatmap) if signed else heatmap).max(axis=(1, 2)).argmax())
    chosen[np.abs(chosen - hottest).argmin()] = hottest
    return [int(index) for index in chosen]


def volume_figure(
    volumes: Sequence[np.ndarray],
    heatmaps: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    limits: Sequence[tuple[float, float]] | None = None,
    colormap: str | None = None,
    signed: bool = False,
    text_size: float = 12,
) -> Figure:
    """Draw the montage of each map as a row of a figure, under its title.

    Args:
        volumes: as for `montage`, one for each row.
        heatmaps: as for `montage`, one for each row.
        titles: one string for each row.
        limits: (low, high) of the colour bar of each row; default: zero and the map's maximum, for `signed` the
            largest magnitude on both sides.
        colormap: as for `montage`.
        signed: as for `montage`.
        text_size: of the titles, in points.

    Returns:
        A `matplotlib.figure.Figure`, outside pyplot: nothing to close. Save it with `.savefig(path)`.

    Raises:
        InvalidImageError: a volume or a heat map of another rank, or one that is not finite.
        InvalidOptionError: no rows or not one of everything for each, or an unknown colour map.

    >>> drawing = volume_figure([np.zeros((5, 8, 8))], [np.ones((5, 8, 8))], ["a ball"])
    >>> drawing.texts[0].get_text(), len(drawing.axes)
    ('a ball', 1)
    """
    from matplotlib.figure import Figure

    check_rows("a volume", volumes, heatmaps, titles, limits)
    row_limits = limits_of_rows([checked_maps(heatmap, 3) for heatmap in heatmaps], limits, signed)
    width = round(0.9 * FIGURE_INCHES * DOTS)
    pictures = [
        montage(volume, heatmap, ends, [], width=width, colormap=colormap, signed=signed, text_size=14)
        for volume, heatmap, ends in zip(volumes, heatmaps, row_limits, strict=True)
    ]
    # From the top down, in inches: a title, and a picture dot by dot.
    above = text_size / 72 * 2
    total = sum(picture.shape[0] / DOTS + above for picture in pictures) + 0.1
    drawing = Figure(figsize=(FIGURE_INCHES, total), dpi=DOTS)
    top = total
    for picture, title in zip(pictures, titles, strict=True):
        tall, wide = (pixels / DOTS for pixels in picture.shape[:2])
        top -= above
        write_title(drawing, 0.01, (top + above / 4) / total, title, text_size)
        top -= tall
        axes = drawing.add_axes((0.01, top / total, wide / FIGURE_INCHES, tall / total))
        axes.imshow(picture)
        axes.set_axis_off()
    return drawing


def _columns(count: int, tallness: float) -> int:
    """How many slices in a row make a montage that is about 4 wide and 3 high and has few holes in its last row."""

    def cost(columns: int) -> float:
        rows = -(-count // columns)
        return abs(math.log(columns / (rows * tallness) * 3 / 4)) + (rows * columns - count) / count

    return min(range(1, count + 1), key=cost)


def _pictures(volume: Any) -> np.ndarray:
    """The slices as uint8 RGB (depth, height, width, 3), or an error."""
    array = np.asarray(volume)
    array = array[..., np.newaxis] if array.ndim == 3 else array
    if array.ndim != 4 or array.size == 0 or not np.abs(array.astype(np.float64)).max() <= np.finfo(np.float32).max:
        raise InvalidImageError(
            f"A volume to draw has shape (depth, height, width, channels) and is finite in float32. Received: shape "
            f"{array.shape}, dtype {array.dtype}."
        )
    # Frames of a film have colours; of a scan the first channel is drawn. Black and white are those of all slices.
    slices = array if array.shape[-1] == 3 else array[..., :1]
    return to_display(slices, value_range_of([slices]))


def _checked_heat(heatmap: Any, size: tuple[int, ...]) -> np.ndarray:
    """The heat of each voxel, (depth, height, width), or an error."""
    heat = checked_maps(heatmap, 3)
    if heat.ndim != 3:
        raise InvalidImageError(
            f"A volume's heat map has shape (depth, height, width). Received: shape {heat.shape}. Pick one map."
        )
    return heat if heat.shape == size else place(heat, size)
