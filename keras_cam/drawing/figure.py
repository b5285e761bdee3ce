"""Maps as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import Title, fonts_for, halves
from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.colormaps import colorize
from keras_cam.imaging.display import checked_picture
from keras_cam.imaging.normalize import checked_maps, limits_of, normalize
from keras_cam.imaging.resample import place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PANEL = 3.0  # inches
FIGURE_WIDTHS = (PANEL, 0.1, PANEL, 0.1, 0.12, 0.6, PANEL)  # picture, heat map, colour bar, overlay, and gaps
FIGURE_INCHES = sum(FIGURE_WIDTHS) + 0.2


def figure(
    images: Sequence[np.ndarray],
    heatmaps: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    limits: Sequence[tuple[float, float]] | None = None,
    colormap: str | None = None,
    signed: bool = False,
    alpha: float = 0.6,
    boxes: Sequence[Any] | None = None,
    truth: Sequence[Any] | None = None,
    text_size: float = 12,
) -> Figure:
    """Draw one row for each map: picture, heat map with a numbered colour bar, and overlay, under its title.

    Args:
        images: uint8 RGB pictures, one for each row (repeat a picture to show several classes of it).
        heatmaps: (h, w) each, in the units that the colour bar shall show; any size.
        titles: one string for each row, such as the class and its probability.
        limits: (low, high) of the colour bar of each row; default: zero and the map's maximum, for `signed` the
            largest magnitude on both sides.
        colormap: as for `overlay`.
        signed: as for `overlay`.
        alpha: opacity of the overlay where it is hottest, in [0, 1].
        boxes: for each row the boxes found, to draw on the overlay.
        truth: for each row the true boxes, to draw there too, with the IoU.
        text_size: of the titles, in points.

    Returns:
        A `matplotlib.figure.Figure`, outside pyplot: nothing to close. Save it with `.savefig(path)`.
    """
    from matplotlib.figure import Figure

    check_rows("an image", images, heatmaps, titles, limits)
    pictures = [checked_picture(image) for image in images]
    title_height = max(0.45, text_size / 72 * 2)
    heights = [PANEL * min(max(picture.shape[0] / picture.shape[1], 0.3), 2) for picture in pictures]
    drawing = Figure(figsize=(FIGURE_INCHES, sum(heights) + title_height * len(heights) + 0.1))
    grid = drawing.add_gridspec(
        nrows=2 * len(heights),
        ncols=len(FIGURE_WIDTHS),
        width_ratios=FIGURE_WIDTHS,
        height_ratios=[inches for height in heights for inches in (title_height, height)],
        **{"left": 0.01, "right": 0.99, "top": 1, "bottom": 0.1 / drawing.get_figheight(), "wspace": 0, "hspace": 0},
    )
    for index, picture in enumerate(pictures):
        heat, colors, ticks = checked_maps(heatmaps[index]), colors_of(colormap, signed), None
        low, high = [end.item() for end in limits_of(heat, signed=signed)] if limits is None else limits[index]
        span = (low, high)
        if high <= low:  # nothing to draw: a bar of one colour and one number
            colors, ticks = neutral(colors, signed), [low or 0.0]
            span = (-1.0, 1.0) if signed else (low, low + 1.0)
        axes = [drawing.add_subplot(grid[2 * index + 1, column]) for column in (0, 2, 4, 6)]
        above = grid[2 * index, 0].get_position(drawing)
        write_title(drawing, above.x0, above.y0 + above.height / 4, titles[index], text_size)
        size = picture.shape[:2]
        shares = normalize(heat if heat.shape == size else place(heat, size), span, signed=signed)
        drawn = overlay(picture, shares, colormap=colormap, signed=signed, alpha=alpha)
        found, true = (None if some is None else some[index] for some in (boxes, truth))
        drawn = draw_boxes(drawn, found, truth=true, text_size=max(6, size[1] // 16))
        _draw_row(axes, picture, heat, span, drawn, colors, ticks)
    return drawing


def check_rows(
    what: str, things: Sequence[Any], heatmaps: Sequence[Any], titles: Sequence[str], limits: Sequence[Any] | None
) -> None:
    """Raise where a figure has no rows, or not one of everything for each; `what` is drawn on, such as "an image"."""
    if not len(things) == len(heatmaps) == len(titles) == len(heatmaps if limits is None else limits) > 0:
        raise InvalidOptionError(
            f"A figure needs rows, and {what}, a heat map, a title and a pair of limits for each. Received: "
            f"{len(things)} {what.split()[1]}s, {len(heatmaps)} heat maps, {len(titles)} titles, limits {limits!r}."
        )


def _draw_row(
    axes: Sequence[Any],
    picture: np.ndarray,
    heat: np.ndarray,
    span: tuple[float, float],
    drawn: np.ndarray,
    colors: Any,
    ticks: Sequence[float] | None,
) -> None:
    """Picture, heat map, colour bar and overlay, on axes in that order."""
    height, width = picture.shape[:2]
    shown = axes[1].imshow(heat, colors, vmin=span[0], vmax=span[1], extent=(0, width, height, 0))
    axes[0].figure.colorbar(shown, cax=axes[2], ticks=ticks)
    axes[0].imshow(picture)
    axes[3].imshow(drawn)
    for part in (axes[0], axes[1], axes[3]):
        part.set_axis_off()


def colors_of(colormap: str | None, signed: bool) -> Any:
    """A colour map of ours as matplotlib's, its middle zero where `signed`."""
    from matplotlib.colors import ListedColormap

    levels = np.linspace(-1 if signed else 0, 1, 511 if signed else 256)
    return ListedColormap(colorize(levels[np.newaxis], colormap, signed=signed)[0] / 255)


def neutral(colors: Any, signed: bool) -> Any:
    """A colour map of nothing but the colour of zero."""
    from matplotlib.colors import ListedColormap

    return ListedColormap([colors(0.5 if signed else 0.0)])


def write_title(drawing: Figure, left: float, bottom: float, title: str | Title, text_size: float) -> None:
    """Write a title into a figure, in fonts that have its letters, as many of them as have room.

    Args:
        drawing: the figure.
        left: where it starts, as a share of the figure's width.
        bottom: where its foot is, as a share of the figure's height.
        title: the words.
        text_size: in points.
    """
    from matplotlib.font_manager import FontProperties, fontManager

    room = round(90 * 12 / text_size * drawing.get_figwidth() / FIGURE_INCHES)
    start, end = halves(title)
    line = start + end if len(start + end) <= room else start[: max(room - 1 - len(end), 0)].rstrip() + "…" + end
    families = []
    for path in fonts_for(line):
        families.append(FontProperties(fname=path).get_name())
        if all(entry.fname != path for entry in fontManager.ttflist):
            fontManager.addfont(path)
    drawing.text(left, bottom, line, size=text_size, parse_math=False, family=families)
