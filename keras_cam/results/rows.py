"""Each map of a result ready to be drawn: its heat, the limits of its colour bar, its boxes and its title."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_cam.drawing.modalities import IMAGE, modality_of
from keras_cam.drawing.text import Title
from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.normalize import common_mode, limits_of
from keras_cam.results.heatmaps import visible_slices
from keras_cam.results.localization import boxes_to_draw, true_boxes_to_draw
from keras_cam.results.result import Result


@dataclass(frozen=True)
class DrawOptions:
    """How the maps of a result are drawn, the same in overlays, panels, sheets, figures and films.

    Attributes:
        signed: whether what speaks against the class is drawn too, in another colour, zero transparent.
        normalize: as for `Explanation.heatmaps`, but for None.
        align: as for `Explanation.heatmaps`.
        interpolation: as for `Explanation.heatmaps`.
        boxes: threshold of the boxes to draw, of the largest part of each map; None: none, unless there is a truth.
        truth: for each image None, a box (left, top, right, bottom) or several, drawn dashed, with the IoU.
        colormap: a colour map that `keras_cam.overlay` knows; None: the default.
        alpha: opacity where a map is hottest.
        width: of a panel, in pixels; None: what is usual for images, signals or volumes.
        text_size: height of the letters of a panel in pixels; None: by the width.

    Raises:
        InvalidOptionError: maps in logit units.
    """

    signed: bool = False
    normalize: str | tuple[float, float] = "image"
    align: str = "receptive_field"
    interpolation: str = "bilinear"
    boxes: float | None = None
    truth: Any = None
    _: KW_ONLY
    colormap: str | None = None
    alpha: float = 0.6
    width: int | None = None
    text_size: int | None = None

    def __post_init__(self) -> None:
        # `heatmaps` takes None, so that users try it here as well.
        if self.normalize is None:
            raise InvalidOptionError(
                "normalize=None leaves maps in logit units, which have no colours. Received: normalize=None to draw "
                "with. Use 'image', 'batch', 'minmax' or a range (low, high); heatmaps(None) gives the numbers."
            )


class MapRow(NamedTuple):
    """One map, ready to be drawn: what of which image, in which limits of the colour bar, with which boxes."""

    image: int
    slot: int
    heat: np.ndarray
    limits: tuple[float, float]
    boxes: Sequence[Any]
    truth: Any


def rows_of(result: Result, options: DrawOptions) -> Iterator[MapRow]:
    """The maps of all images, in order, in the units of the maps; where an image was not seen, their colours begin."""
    # Maps over their images, and the boxes of each.
    laid_over = result.heatmaps(None, align=options.align, interpolation=options.interpolation)
    boxes = boxes_to_draw(result, options.boxes, options.truth, options.align)
    truth = true_boxes_to_draw(options.truth, len(result.class_indices))
    # Limits are those of what the model was fed; over several images they may be common.
    regions = [visible_slices(result, image) for image in range(len(laid_over))]
    visible = [maps[region].reshape(len(maps), 1, -1) for maps, region in zip(laid_over, regions, strict=True)]
    mode = common_mode(visible, options.normalize, signed=options.signed)
    # One row for each map, in the colours of its limits.
    for image, maps in enumerate(laid_over):
        low, high = (end.ravel().tolist() for end in limits_of(visible[image], mode, signed=options.signed))
        for slot, limits in enumerate(zip(low, high, strict=True)):
            heat = _fill_around(maps[slot], regions[image], 0 if options.signed else limits[0])
            yield MapRow(image, slot, heat, limits, boxes[image][slot], truth[image])


def _fill_around(heat: np.ndarray, region: tuple[Any, ...], value: float) -> np.ndarray:
    """A map with one value outside of a region; as it is where that is all of it."""
    if region == (...,):
        return heat  # all of it was seen: no copy
    filled = np.full_like(heat, value)
    filled[region] = heat[region]
    return filled


def draw_row(result: Result, row: MapRow, options: DrawOptions, lines: Sequence[str | Title]) -> np.ndarray:
    """One map as a picture of its own, with its colour bar, and lines of text below."""
    choices = {} if options.width is None else {"width": options.width}  # each modality has a width of its own
    return modality_of(result.images).draw(
        result.images[row.image],
        row.heat,
        row.limits,
        lines,
        boxes=row.boxes,
        truth=row.truth,
        signed=options.signed,
        colormap=options.colormap,
        alpha=options.alpha,
        text_size=options.text_size,
        **choices,
    )


def is_on_pictures(result: Result) -> bool:
    """Whether it is pictures that are drawn on: what has pixels, boxes, and a look of its own beside its map."""
    return modality_of(result.images) is IMAGE


def title_of(result: Result, row: MapRow) -> Title:
    """The title of a map: of a long name the value is not cut off."""
    # The rows of signals and volumes are not headed by what they show, so that they name it.
    which = "" if is_on_pictures(result) or len(result.images) == 1 else f"image {row.image}: "
    # The probability is what follows the last space.
    name, _, value = result.title(row.image, row.slot).rpartition(" ")
    low, high = row.limits
    return Title(which + name, value + ("" if low < high else " (empty map)"))
