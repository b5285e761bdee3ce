"""What a result shows: overlays, sheets, figures, and itself in a notebook."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.encode import encode_png
from keras_cam.drawing.layout import caption, contact_sheet, scale_to_width
from keras_cam.drawing.modalities import PICTURES, Modality, modality_of
from keras_cam.drawing.notebook import html
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import Title, checked_text_size
from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.normalize import common_mode, limits_of
from keras_cam.results.localization import Localized

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NOTEBOOK_MAPS = 24


class Row(NamedTuple):
    """One map, ready to be drawn: what of which image, in which limits of the colour bar, with which boxes."""

    image: int
    slot: int
    heat: np.ndarray
    span: tuple[float, float]
    boxes: Sequence[Any]
    truth: Any


class Drawn(Localized):
    """Maps (N, C) over N pictures, signals or volumes, drawn: signals as coloured lines, volumes as slices.

    Options that mean the same everywhere: `signed=True` draws what speaks against a class too, in another colour, zero
    transparent; `normalize` and `align` are those of `heatmaps`; `boxes=0.2` draws the box of the largest part above
    that share of the maximum; `truth` (for each image None, a box (left, top, right, bottom) or several) draws the true
    boxes, dashed, and the IoU with them, and brings `boxes=0.2` with it.
    """

    maps: np.ndarray
    images: tuple[np.ndarray, ...]
    diagnosis: tuple[Any, ...]

    @property
    def _drawable(self) -> bool:
        """Whether there are images that the maps lie on, axis by axis."""
        return bool(self.images) and all(image.ndim == self.maps.ndim - 1 for image in self.images)

    @property
    def _manner(self) -> Modality:
        return modality_of(self.images)

    @property
    def _pictures(self) -> bool:
        """Whether it is pictures that are drawn on: what has pixels, boxes, and a look of its own beside its map."""
        return self._manner is PICTURES

    @abstractmethod
    def title(self, image: int, slot: int = 0) -> str:
        """Class and probability of one map."""

    @abstractmethod
    def _seen(self, image: int) -> tuple[Any, ...]:
        """Where in its maps, laid over it, a picture was fed to the model: all of it, unless it was cropped."""

    @abstractmethod
    def first(self, count: int) -> Drawn:
        """The same for the first few images."""

    def overlays(
        self,
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
        placing: dict[str, Any] = {"signed": signed, "align": align, "interpolation": interpolation}
        if not self._pictures:
            options: dict[str, Any] = {"colormap": colormap, "alpha": alpha, "boxes": boxes, "truth": truth}
            return self.panels(normalize=normalize, titles=False, **placing, **options)
        heatmaps = self.heatmaps(_scale(normalize), **placing)
        found, true = self._found(boxes, truth, align), self._true(truth)
        drawn = []
        for image, (picture, heats) in enumerate(zip(self.images, heatmaps, strict=True)):
            layers = [overlay(picture, heat, colormap=colormap, alpha=alpha, signed=signed) for heat in heats]
            drawn.append(
                [draw_boxes(layer, found[image][slot], truth=true[image]) for slot, layer in enumerate(layers)]
            )
        return drawn

    def sheet(
        self,
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
            One uint8 RGB picture; `keras_cam.drawing.encode.save_png(path, sheet)` writes it.
        """
        width = self._manner.width if width is None else width
        size = checked_text_size(text_size, min(max(11, round(width / self._manner.text_share)), 18))
        options: dict[str, Any] = {"width": width, "text_size": size, "colormap": colormap, "signed": signed}
        options |= {"align": align, "interpolation": interpolation, "boxes": boxes, "truth": truth}
        rows = self.panels(normalize=normalize, **options)
        if self._pictures:
            plain = [scale_to_width(picture, width) for picture in self.images]
            rows = [[caption(plain[row], [f"image {row}"], text_size=size), *rows[row]] for row in range(len(rows))]
        if columns is None:
            columns = 1 if self.class_indices.shape[1] > 1 else ceil(sqrt(len(self.images) / 2))
        drawn = contact_sheet([cell for row in rows for cell in row], columns * len(rows[0]), gap=size // 2)
        return np.pad(drawn, ((size, size), (size, size), (0, 0)), constant_values=255)

    def panels(
        self,
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
        drawn: list[list[np.ndarray]] = [[] for _ in self.images]
        for row in self._rows(normalize, signed, align, interpolation, boxes, truth):
            lines = [self._line(row)] if titles else []
            marks = {"boxes": row.boxes, "truth": row.truth, "signed": signed}
            drawn[row.image].append(
                self._manner.draw(self.images[row.image], row.heat, row.span, lines, **marks, **options)
            )
        return drawn

    def plot(
        self,
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
        rows = list(self._rows(normalize, signed, align, interpolation, boxes, truth))
        marks = {"boxes": [row.boxes for row in rows], "truth": [row.truth for row in rows]}
        return self._manner.figure(
            [self.images[row.image] for row in rows],
            [row.heat for row in rows],
            [self._line(row) for row in rows],
            limits=[row.span for row in rows],
            colormap=colormap,
            signed=signed,
            text_size=text_size,
            **(marks if self._pictures else {}),
        )

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the pictures and their maps; None, and so the line of text, where there are none."""
        if not self._drawable:
            return None
        some = self.first(max(1, NOTEBOOK_MAPS // self.class_indices.shape[1]))
        width = self._manner.notebook_width
        lines = [str(self._line(row)) for row in some._rows()]
        rows = []
        for image, panels in enumerate(some.panels(width=width, titles=False)):
            plain = (
                [(encode_png(scale_to_width(self.images[image], width)), f"image {image}")] if self._pictures else []
            )
            rows.append(plain + [(encode_png(drawn), lines.pop(0)) for drawn in panels])
        rest = len(self.images) - len(rows)
        more = [f"and {rest} more images: result.sheet(), result.plot()"] if rest else []
        return html(repr(self), rows, [*more, *(finding.words for finding in self.diagnosis)])

    def _line(self, row: Row) -> Title:
        """The caption of a map."""
        which = "" if self._pictures or len(self.images) == 1 else f"image {row.image}: "
        name, _, value = self.title(row.image, row.slot).rpartition(" ")
        return Title(which + name, value + ("" if row.span[0] < row.span[1] else " (empty map)"))

    def _rows(
        self,
        normalize: str | tuple[float, float] = "image",
        signed: bool = False,
        align: str = "receptive_field",
        interpolation: str = "bilinear",
        boxes: float | None = None,
        truth: Any = None,
    ) -> Iterator[Row]:
        """The maps of all images, in order; where the picture was not seen, their colours begin."""
        placed = self.heatmaps(None, align=align, interpolation=interpolation)
        found, true = self._found(boxes, truth, align), self._true(truth)
        parts = [maps[self._seen(image)].reshape(len(maps), 1, -1) for image, maps in enumerate(placed)]
        mode = common_mode(parts, _scale(normalize), signed=signed)
        for image, (maps, part) in enumerate(zip(placed, parts, strict=True)):
            low, high = (end.ravel().tolist() for end in limits_of(part, mode, signed=signed))
            for slot, span in enumerate(zip(low, high, strict=True)):
                heat = np.full_like(maps[slot], 0 if signed else span[0])
                heat[self._seen(image)] = maps[slot][self._seen(image)]
                yield Row(image, slot, heat, span, found[image][slot], true[image])


def _scale(normalize: Any) -> str | tuple[float, float]:
    """What maps are scaled by to be drawn, or an error."""
    if normalize is None:
        raise InvalidOptionError(
            "normalize=None leaves maps in logit units, which have no colours. Received: normalize=None to draw with. "
            "Use 'image', 'batch', 'minmax' or a range (low, high); heatmaps(None) gives the numbers."
        )
    scale: str | tuple[float, float] = normalize
    return scale
