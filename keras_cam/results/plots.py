"""What a result shows: overlays, sheets, figures, and itself in a notebook."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.encode import encode_png
from keras_cam.drawing.layout import caption, contact_sheet, scale_to_width
from keras_cam.drawing.modalities import modality_of
from keras_cam.drawing.notebook import html
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import panel_text_size
from keras_cam.results.heatmaps import is_drawable
from keras_cam.results.localization import boxes_to_draw, true_boxes_to_draw
from keras_cam.results.result import Result
from keras_cam.results.rows import DrawOptions, draw_row, is_on_pictures, rows_of, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NOTEBOOK_MAPS = 24  # more make a page heavy


class Plots:
    """The part of `Explanation` that draws: on pictures, on signals as coloured lines, on volumes as slices.

    Options that mean the same everywhere: `signed=True` draws what speaks against a class too, in another colour, zero
    transparent; `normalize` and `align` are those of `heatmaps`; `boxes=0.2` draws the box of the largest part above
    that share of the maximum; `truth` (for each image None, a box (left, top, right, bottom) or several) draws the true
    boxes, dashed, and the IoU with them, and brings `boxes=0.2` with it.
    """

    def overlays(
        self: Result,
        *,
        signed: bool = False,
        colormap: str | None = None,
        alpha: float = 0.6,
        normalize: str | tuple[float, float] = "image",
        align: str = "receptive_field",
        interpolation: str = "bilinear",
        boxes: float | None = None,
        truth: Any = None,
    ) -> list[list[np.ndarray]]:
        """Draw the maps over their pictures.

        Args:
            signed: True draws what speaks against the class too.
            colormap: a colour map that `keras_cam.overlay` knows.
            alpha: opacity where the map is hottest, in [0, 1]; the line of a signal is drawn opaque.
            normalize: as for `heatmaps`, but for None.
            align: as for `heatmaps`.
            interpolation: as for `heatmaps`.
            boxes: threshold of boxes to draw; default: none.
            truth: true boxes of each image, drawn with the IoU where there is room for it.

        Returns:
            For each image a list of C uint8 RGB (H, W, 3) pictures, at the picture's own size; for signals and volumes
            the panels without titles.
        """
        options = DrawOptions(signed, normalize, align, interpolation, boxes, truth, colormap=colormap, alpha=alpha)
        return draw_overlays(self, options) if is_on_pictures(self) else draw_panels(self, options, titles=False)

    def sheet(
        self: Result,
        *,
        columns: int | None = None,
        width: int | None = None,
        signed: bool = False,
        colormap: str | None = None,
        normalize: str | tuple[float, float] = "image",
        align: str = "receptive_field",
        interpolation: str = "bilinear",
        boxes: float | None = None,
        truth: Any = None,
        text_size: int | None = None,
    ) -> np.ndarray:
        """Draw all on one sheet: each picture, beside it each of its maps with a colour bar in logit units and a title.

        Signals and volumes are drawn under each of their maps only.

        Args:
            columns: pictures (with their maps) in a row; default: 1 where there are several classes, else so that
                the sheet is about square.
            width: of a picture, in pixels; default: 240, of a signal or a volume 480.
            signed: True draws what speaks against the class too.
            colormap: a colour map that `keras_cam.overlay` knows.
            normalize: "image" (default: each map by its own maximum), "batch" (all by one, to be compared), "minmax" or
                a range (low, high) in logit units.
            align: as for `heatmaps`.
            interpolation: as for `heatmaps`.
            boxes: threshold of boxes to draw; default: none.
            truth: true boxes of each image, drawn with the IoU.
            text_size: height of the letters in pixels, at least 6; default: by the width.

        Returns:
            One uint8 RGB picture; `keras_cam.drawing.save_png(path, sheet)` writes it.
        """
        sizes: dict[str, Any] = {"width": width, "text_size": text_size}
        options = DrawOptions(signed, normalize, align, interpolation, boxes, truth, colormap=colormap, **sizes)
        return draw_sheet(self, options, columns)

    def panels(
        self: Result,
        *,
        normalize: str | tuple[float, float] = "image",
        signed: bool = False,
        align: str = "receptive_field",
        interpolation: str = "bilinear",
        boxes: float | None = None,
        truth: Any = None,
        titles: bool = True,
        **options: Any,
    ) -> list[list[np.ndarray]]:
        """Draw each map as a picture of its own, with its colour bar and title.

        Args:
            normalize: as for `sheet`.
            signed: as for `sheet`.
            align: as for `heatmaps`.
            interpolation: as for `heatmaps`.
            boxes: as for `sheet`.
            truth: as for `sheet`.
            titles: whether to write class and probability below.
            **options: `width`, `colormap` and `text_size`, as for `sheet`, and `alpha`, as for `overlays`.

        Returns:
            For each image a list of C uint8 RGB pictures.
        """
        choices = DrawOptions(signed, normalize, align, interpolation, boxes, truth, **options)
        return draw_panels(self, choices, titles=titles)

    def plot(
        self: Result,
        *,
        signed: bool = False,
        colormap: str | None = None,
        normalize: str | tuple[float, float] = "image",
        align: str = "receptive_field",
        interpolation: str = "bilinear",
        boxes: float | None = None,
        truth: Any = None,
        text_size: float = 12,
    ) -> Figure:
        """Draw every map: picture, heat map with a colour bar in logit units, overlay; class and probability above.

        Signals are drawn as lines in the colours of their heat, volumes as slices.

        Args:
            signed: True draws what speaks against the class too, zero in the middle of the colour bar.
            colormap: a colour map that `keras_cam.overlay` knows.
            normalize: as for `sheet`.
            align: as for `heatmaps`.
            interpolation: as for `heatmaps`; "nearest" shows the cells.
            boxes: threshold of boxes to draw; default: none.
            truth: true boxes of each image, drawn with the IoU.
            text_size: of the titles, in points.

        Returns:
            A `matplotlib.figure.Figure`; in a notebook it shows itself, elsewhere call `.savefig(path)`.
        """
        options = DrawOptions(signed, normalize, align, interpolation, boxes, truth, colormap=colormap)
        return draw_figure(self, options, text_size)

    def _repr_html_(self: Result) -> str | None:
        """What a notebook shows: the pictures and their maps; None, and so the line of text, where there are none."""
        return notebook_html(self) if is_drawable(self) else None


def draw_overlays(result: Result, options: DrawOptions) -> list[list[np.ndarray]]:
    """As `Explanation.overlays`, of pictures."""
    # Heat in [0, 1] at the pictures' own sizes, and what is drawn on it.
    placing: dict[str, Any] = {"align": options.align, "interpolation": options.interpolation}
    heatmaps = result.heatmaps(options.normalize, signed=options.signed, **placing)
    boxes = boxes_to_draw(result, options.boxes, options.truth, options.align)
    truth = true_boxes_to_draw(options.truth, len(result.class_indices))
    colors: dict[str, Any] = {"colormap": options.colormap, "alpha": options.alpha, "signed": options.signed}
    # Colours first, boxes on top.
    drawn = []
    for image, (picture, maps) in enumerate(zip(result.images, heatmaps, strict=True)):
        layers = [overlay(picture, heat, **colors) for heat in maps]
        drawn.append([draw_boxes(layer, boxes[image][slot], truth=truth[image]) for slot, layer in enumerate(layers)])
    return drawn


def draw_panels(result: Result, options: DrawOptions, *, titles: bool = True) -> list[list[np.ndarray]]:
    """As `Explanation.panels`."""
    panels: list[list[np.ndarray]] = [[] for _ in result.images]
    for row in rows_of(result, options):
        lines = [title_of(result, row)] if titles else []
        panels[row.image].append(draw_row(result, row, options, lines))
    return panels


def draw_sheet(result: Result, options: DrawOptions, columns: int | None) -> np.ndarray:
    """As `Explanation.sheet`."""
    modality = modality_of(result.images)
    width = modality.width if options.width is None else options.width
    size = panel_text_size(options.text_size, width, modality.text_share)
    rows = draw_panels(result, options)
    # Beside the maps of a picture the picture itself, at the same width.
    if is_on_pictures(result):
        for image, row in enumerate(rows):
            row.insert(0, caption(scale_to_width(result.images[image], width), [f"image {image}"], text_size=size))
    # Several classes of an image fill a row; of one class each, about as many rows as columns.
    if columns is None:
        columns = 1 if result.class_indices.shape[1] > 1 else ceil(sqrt(len(result.images) / 2))
    # All on white, with a margin as wide as the letters are high.
    cells = [cell for row in rows for cell in row]
    drawn = contact_sheet(cells, columns * len(rows[0]), gap=size // 2)
    return np.pad(drawn, ((size, size), (size, size), (0, 0)), constant_values=255)


def draw_figure(result: Result, options: DrawOptions, text_size: float) -> Figure:
    """As `Explanation.plot`; its letters are in points."""
    rows = list(rows_of(result, options))
    # Only pictures have boxes.
    marks = {"boxes": [row.boxes for row in rows], "truth": [row.truth for row in rows]}
    return modality_of(result.images).figure(
        [result.images[row.image] for row in rows],
        [row.heat for row in rows],
        [title_of(result, row) for row in rows],
        limits=[row.limits for row in rows],
        colormap=options.colormap,
        signed=options.signed,
        text_size=text_size,
        **(marks if is_on_pictures(result) else {}),
    )


def notebook_html(result: Result) -> str:
    """The first pictures and their maps, in HTML that needs nothing from outside."""
    # As many images as make a few dozen maps, however many classes each has.
    first = result.first(max(1, NOTEBOOK_MAPS // result.class_indices.shape[1]))
    width = modality_of(result.images).notebook_width
    options = DrawOptions(width=width)
    rows: list[list[tuple[bytes, str]]] = [[] for _ in first.images]
    # Each picture, then its maps.
    if is_on_pictures(result):
        for image, picture in enumerate(first.images):
            rows[image].append((encode_png(scale_to_width(picture, width)), f"image {image}"))
    for row in rows_of(first, options):
        title = str(title_of(result, row))
        rows[row.image].append((encode_png(draw_row(first, row, options, [])), title))
    # Below them what is left out, and what makes the result of little use.
    left_out = len(result.images) - len(rows)
    more = [f"and {left_out} more images: result.sheet(), result.plot()"] if left_out else []
    return html(repr(result), rows, [*more, *(finding.words for finding in result.diagnosis)])
