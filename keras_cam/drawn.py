"""What a result shows: overlays, sheets, figures, and itself in a notebook."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import ceil, sqrt
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.boxes import Box
from keras_cam.errors import InvalidDataError
from keras_cam.heatmap import common_mode, limits_of
from keras_cam.located import Located
from keras_cam.manners import PICTURES, Manner, manner_of
from keras_cam.notebook import html
from keras_cam.panel import draw_boxes
from keras_cam.render import caption, checked_text_size, contact_sheet, encode_png, fitted, overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawn"]

PAPERS_THRESHOLD = 0.2
NOTEBOOK_MAPS = 24


class Drawn(Located):
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
    def _manner(self) -> Manner:
        return manner_of(self.images)

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
        boxes: float | None = None,
        truth: Any = None,
    ) -> list[list[np.ndarray]]:
        """Draw the maps over their pictures.

        Args:
            signed: True draws what speaks against the class too.
            colormap: a colour map that `keras_cam.overlay` knows.
            alpha: opacity where the map is hottest, in [0, 1]; the line of a signal is drawn opaque.
            normalize: as for `heatmaps`.
            align: as for `heatmaps`.
            boxes: threshold of boxes to draw; default: none.
            truth: true boxes of each image, drawn with the IoU.

        Returns:
            For each image a list of C uint8 RGB (H, W, 3) pictures, at the picture's own size; for signals and volumes
            the panels without titles.
        """
        if not self._pictures:
            options: dict[str, Any] = {"colormap": colormap, "alpha": alpha, "boxes": boxes, "truth": truth}
            return self.panels(normalize=normalize, signed=signed, align=align, titles=False, **options)
        heatmaps = self.heatmaps(normalize, signed=signed, align=align)
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
            boxes: threshold of boxes to draw; default: none.
            truth: true boxes of each image, drawn with the IoU.
            text_size: height of the letters in pixels, at least 6; default: by the width.

        Returns:
            One uint8 RGB picture; `keras_cam.render.save_png(path, sheet)` writes it.
        """
        width = self._manner.width if width is None else width
        size = checked_text_size(text_size, min(max(11, round(width / self._manner.text_share)), 18))
        options: dict[str, Any] = {"width": width, "text_size": size, "colormap": colormap, "signed": signed}
        rows = self.panels(normalize=normalize, boxes=boxes, truth=truth, **options)
        if self._pictures:
            plain = [fitted(picture, width) for picture in self.images]
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
            boxes: as for `sheet`.
            truth: as for `sheet`.
            titles: whether to write class and probability below.
            **options: `width`, `colormap` and `text_size`, as for `sheet`, and `alpha`, as for `overlays`.

        Returns:
            For each image a list of C uint8 RGB pictures.
        """
        placed = self.heatmaps(None, align=align)
        found, true = self._found(boxes, truth, align), self._true(truth)
        spans = self._spans(placed, normalize, signed)
        drawn: list[list[np.ndarray]] = []
        for image, maps in enumerate(placed):
            drawn.append([])
            for slot, heat in enumerate(maps):
                span = spans[image][slot]
                heat = self._framed(heat, image, span, signed)
                lines = [self._line(image, slot, span)] if titles else []
                marks = {"boxes": found[image][slot], "truth": true[image]}
                drawn[-1].append(
                    self._manner.draw(self.images[image], heat, span, lines, signed=signed, **marks, **options)
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
        placed = self.heatmaps(None, align=align, interpolation=interpolation)
        found, true = self._found(boxes, truth, align), self._true(truth)
        spans = self._spans(placed, normalize, signed)
        rows = [(image, slot) for image in range(len(placed)) for slot in range(len(placed[image]))]
        marks = {"boxes": [found[image][slot] for image, slot in rows], "truth": [true[image] for image, _ in rows]}
        return self._manner.figure(
            [self.images[image] for image, _ in rows],
            [self._framed(placed[image][slot], image, spans[image][slot], signed) for image, slot in rows],
            [self._line(image, slot, spans[image][slot]) for image, slot in rows],
            limits=[spans[image][slot] for image, slot in rows],
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
        rows, width = [], self._manner.notebook_width
        spans = some._spans(some.heatmaps(None), "image", signed=False)
        for image, panels in enumerate(some.panels(width=width, titles=False)):
            plain = [(encode_png(fitted(self.images[image], width)), f"image {image}")] if self._pictures else []
            lines = [self._line(image, slot, span).replace("\t", " ") for slot, span in enumerate(spans[image])]
            rows.append(plain + [(encode_png(drawn), line) for drawn, line in zip(panels, lines, strict=True)])
        rest = len(self.images) - len(rows)
        more = [f"and {rest} more images: result.sheet(), result.plot()"] if rest else []
        return html(repr(self), rows, [*more, *(finding.words for finding in self.diagnosis)])

    def _line(self, image: int, slot: int, limits: tuple[float, float]) -> str:
        """The caption of a map; after a tab what is not to be cut off where a long name is shortened."""
        which = "" if self._pictures or len(self.images) == 1 else f"image {image}: "
        title = "\t".join(self.title(image, slot).rsplit(" ", 1))
        return which + title + ("" if limits[0] < limits[1] else " (empty map)")

    def _spans(
        self, placed: Sequence[np.ndarray], normalize: str | tuple[float, float], signed: bool
    ) -> list[list[tuple[float, float]]]:
        """What the ends of the colour bar of each map stand for."""
        rows = [maps[self._seen(image)].reshape(len(maps), 1, -1) for image, maps in enumerate(placed)]
        mode = common_mode(rows, normalize, signed=signed)
        ends = [limits_of(maps, mode, signed=signed) for maps in rows]
        return [list(zip(low.ravel().tolist(), high.ravel().tolist(), strict=True)) for low, high in ends]

    def _framed(self, heat: np.ndarray, image: int, span: tuple[float, float], signed: bool) -> np.ndarray:
        """A map whose colours begin where the picture was not seen."""
        shown = np.full_like(heat, 0 if signed else span[0])
        shown[self._seen(image)] = heat[self._seen(image)]
        return shown

    def _found(
        self, threshold: float | None, truth: Any, align: str = "receptive_field"
    ) -> Sequence[Sequence[Sequence[Box]]]:
        """The boxes to draw of each map."""
        if threshold is None and truth is None:
            return [[[]] * self.class_indices.shape[1]] * len(self.images)
        return self.boxes(PAPERS_THRESHOLD if threshold is None else threshold, align=align)

    def _true(self, truth: Any) -> Sequence[Any]:
        """The true boxes of each image."""
        if truth is None:
            return [None] * len(self.images)
        if len(self.images) == 1 and (isinstance(truth, Box) or (len(truth) == 4 and isinstance(truth[0], Real))):
            return [truth]
        if isinstance(truth, Box) or len(truth) != len(self.images):
            count = 1 if isinstance(truth, Box) else len(truth)
            raise InvalidDataError(
                f"truth holds None, a box (left, top, right, bottom) or several boxes for each of {len(self.images)} "
                f"images. Received: {count} entries."
            )
        return list(truth)
