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
PARTS = (0, 2, 4, 6)  # columns that are no gaps
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

    Raises:
        InvalidDataError: boxes that are none.
        InvalidImageError: something that is not a picture, or a heat map that is not finite.
        InvalidOptionError: no rows or not one of everything for each, an unknown colour map, or an impossible alpha.

    >>> drawing = figure([np.zeros((40, 60, 3), "uint8")], [np.ones((4, 6))], ["fox 98%"])
    >>> drawing.texts[0].get_text(), len(drawing.axes)
    ('fox 98%', 4)
    """
    check_rows("an image", images, heatmaps, titles, limits)
    pictures = [checked_picture(image) for image in images]
    heats = [checked_maps(heatmap) for heatmap in heatmaps]
    row_limits = limits_of_rows(heats, limits, signed)
    found_boxes, true_boxes = ([None] * len(pictures) if given is None else given for given in (boxes, truth))
    drawing, grid = _lay_out(pictures, text_size)
    for index, (picture, heat) in enumerate(zip(pictures, heats, strict=True)):
        # The title, at the foot of the line that is left for it.
        above = grid[2 * index, 0].get_position(drawing)
        write_title(drawing, above.x0, above.y0 + above.height / 4, titles[index], text_size)
        # The overlay by the limits of the bar, with its boxes.
        span, colors, ticks = _bar_of(row_limits[index], colormap, signed)
        laid_over = heat if heat.shape == picture.shape[:2] else place(heat, picture.shape[:2])
        shares = normalize(laid_over, span, signed=signed)
        drawn = overlay(picture, shares, colormap=colormap, signed=signed, alpha=alpha)
        letters = max(6, picture.shape[1] // 16)
        drawn = draw_boxes(drawn, found_boxes[index], truth=true_boxes[index], text_size=letters)
        axes = [drawing.add_subplot(grid[2 * index + 1, column]) for column in PARTS]
        _draw_row(axes, picture, heat, span, drawn, colors, ticks)
    return drawing


def check_rows(
    kind: str, images: Sequence[Any], heatmaps: Sequence[Any], titles: Sequence[str], limits: Sequence[Any] | None
) -> None:
    """Raise where a figure has no rows, or not one of everything for each; `kind` is drawn on, such as "an image"."""
    if not len(images) == len(heatmaps) == len(titles) == len(heatmaps if limits is None else limits) > 0:
        raise InvalidOptionError(
            f"A figure needs rows, and {kind}, a heat map, a title and a pair of limits for each. Received: "
            f"{len(images)} {kind.split()[1]}s, {len(heatmaps)} heat maps, {len(titles)} titles, limits {limits!r}."
        )


def limits_of_rows(
    heats: Sequence[np.ndarray], limits: Sequence[tuple[float, float]] | None, signed: bool
) -> Sequence[tuple[float, float]]:
    """What the ends of each row's colour bar stand for: as given, else by the heat map, (...) of any rank, itself."""
    if limits is not None:
        return limits
    ends = [limits_of(heat.reshape(1, -1), signed=signed) for heat in heats]
    return [(low.item(), high.item()) for low, high in ends]


def _lay_out(pictures: Sequence[np.ndarray], text_size: float) -> tuple[Figure, Any]:
    """A figure with room for a title and for the parts of each row, and its grid: for each row two lines."""
    from matplotlib.figure import Figure

    # Titles are as high as their letters want, pictures as their proportions, within bounds.
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
    return drawing, grid


def _bar_of(
    limits: tuple[float, float], colormap: str | None, signed: bool
) -> tuple[tuple[float, float], Any, Sequence[float] | None]:
    """What the heat is drawn between, its colours, and where the bar has numbers; None: where matplotlib likes."""
    (low, high), colors = limits, colors_of(colormap, signed)
    if high > low:
        return (low, high), colors, None
    # Nothing to draw: a bar of one colour and one number.
    return ((-1.0, 1.0) if signed else (low, low + 1.0)), neutral(colors, signed), [low or 0.0]


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
    # The cells of a coarser map share the picture's area.
    heat_image = axes[1].imshow(heat, colors, vmin=span[0], vmax=span[1], extent=(0, width, height, 0))
    axes[0].figure.colorbar(heat_image, cax=axes[2], ticks=ticks)
    axes[0].imshow(picture)
    axes[3].imshow(drawn)
    for part in (axes[0], axes[1], axes[3]):
        part.set_axis_off()


def colors_of(colormap: str | None, signed: bool) -> Any:
    """A colour map of ours as matplotlib's, its middle zero where `signed`."""
    from matplotlib.colors import ListedColormap

    # As many colours as `colorize` tells apart.
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

    # About ninety letters of twelve points are as wide as a figure.
    room = round(90 * 12 / text_size * drawing.get_figwidth() / FIGURE_INCHES)
    start, end = halves(title)
    line = start + end if len(start + end) <= room else start[: max(room - 1 - len(end), 0)].rstrip() + "…" + end
    # matplotlib finds fonts by their families, once it knows the files.
    families = []
    for path in fonts_for(line):
        families.append(FontProperties(fname=path).get_name())
        if all(entry.fname != path for entry in fontManager.ttflist):
            fontManager.addfont(path)
    drawing.text(left, bottom, line, size=text_size, parse_math=False, family=families)
