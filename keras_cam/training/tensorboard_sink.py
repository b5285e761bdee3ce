"""Where looks at the probes go: TensorBoard, picture files."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from keras_cam.classes import ClassNames
from keras_cam.drawing.encode import encode_jpeg, encode_png
from keras_cam.drawing.layout import scale_to_width as scaled_to
from keras_cam.imaging.fit import placement
from keras_cam.tensorboard.records import (
    EPOCHS,
    EPOCHS_TAG,
    MAPS,
    PICTURES,
    MapsRecord,
    encode_epoch,
    encode_maps,
    probe_id,
    tag_of,
)
from keras_cam.tensorboard.summary_writer import SummaryWriter
from keras_cam.training.look import Look
from keras_cam.training.measures import ABOUT, INSIDE

logger = logging.getLogger("keras_cam")

LONGEST_SIDE = 512
TOP = 5  # classes whose probability is stored, whether they are mapped or not
PICTURE = (
    "Left the picture, then where the model finds evidence for the class that it predicts, and, where that is wrong, "
    "for the true class. The numbers beside the colours are in units of the class's score before softmax or sigmoid."
)


class TensorBoardSink:
    """Writes looks into a directory of event files: scalars, the records of the CAM tab, and cards.

    Args:
        directory: the run's directory.
        image_format: "jpeg" or "png".
    """

    def __init__(self, directory: str, image_format: str = "jpeg") -> None:
        self._writer = SummaryWriter(directory)
        self._encode = encode_jpeg if image_format == "jpeg" else encode_png
        self._shown: dict[int, tuple[str, int]] = {}  # what the CAM tab has a picture of, and since which step

    def __call__(self, look: Look) -> None:
        """Write a look."""
        if self._writer.is_gone:  # and with it the pictures that were in it
            self.end()
        try:
            self._scalars(look)
            if look.step >= 0:
                self._record(look)
            self._writer.flush()
        except BaseException:
            self._shown = {}  # the file may have ended before they were in it
            raise
        self._cards(look)  # last: what goes wrong in drawing costs nothing else
        self._writer.flush()

    def end(self) -> None:
        """Close the event file."""
        self._shown = {}
        self._writer.close()

    def __getstate__(self) -> dict[str, Any]:
        """What can be copied: all but an open file."""
        return {**self.__dict__, "_writer": SummaryWriter(self._writer.directory), "_shown": {}}

    def _scalars(self, look: Look) -> None:
        names = ClassNames(look.result.class_names, look.result.logits.shape[1])
        for name, value in look.means.items():
            self._writer.scalar(f"cam/{name}", value, step=look.step, description=ABOUT[name])
        for name in INSIDE:
            for label, rows in look.by_class().items() if name in look.numbers else ():
                values = look.numbers[name][rows]
                if label >= 0 and not np.isnan(values).all():
                    tag = f"cam_by_class/{name}/{names.tag_of(label)}"
                    self._writer.scalar(tag, float(np.nanmean(values)), step=look.step, description=ABOUT[name])

    def _cards(self, look: Look) -> None:
        for row, card in enumerate(look.cards):
            height, width = card.shape[:2]
            tag, encoded = f"cam/{probe_id(row)}", self._encode(card)
            self._writer.image(tag, encoded, width=width, height=height, step=look.step, description=PICTURE)

    def _record(self, look: Look) -> None:
        """Write what the CAM tab draws from."""
        result = look.result
        summaries = []
        for row, picture in enumerate(result.images):
            shown = picture
            if max(picture.shape[:2]) > LONGEST_SIDE:
                shown = scaled_to(picture, round(picture.shape[1] * LONGEST_SIDE / max(picture.shape[:2])))
            probe, slots = probe_id(row), look.slots(row)
            mark = look.watched.marks[row]
            if row not in self._shown or self._shown[row][0] != mark:
                self._writer.record(tag_of(probe, PICTURES), PICTURES, [self._encode(shown)], step=look.step)
                self._shown[row] = mark, look.step
            record = _maps_record(look, row, slots, shown.shape[:2])
            self._writer.record(tag_of(probe, MAPS), MAPS, encode_maps(record), step=look.step)
            summary = _summary(look, row, slots, shown.shape[1] / picture.shape[1])
            summaries.append({**summary, "picture": self._shown[row][1]})
        self._writer.record(EPOCHS_TAG, EPOCHS, encode_epoch(look.step, summaries, look.unit), step=look.step)


def _maps_record(look: Look, row: int, slots: list[int], size: tuple[int, ...]) -> MapsRecord:
    result = look.result
    maps = result.maps[row, slots]
    field: tuple[float, ...] = (0, 0)
    pairs = [(length / cells / 2 - 0.5, length / cells) for length, cells in zip(size, maps.shape[1:], strict=True)]
    grid = result.grid_at(row)
    if grid is not None:
        scales = placement((size[0], size[1]), (grid.image[0], grid.image[1]), result.fit)
        pairs = list(grid.cells_in(scales))
        field = tuple(axis.field * scale for axis, (scale, _) in zip(grid.axes, scales, strict=True))
    classes = tuple(int(result.class_indices[row, slot]) for slot in slots)
    return MapsRecord(maps, classes, (pairs[0], pairs[1]), (field[0], field[1]), (int(size[0]), int(size[1])))


def _summary(look: Look, row: int, slots: list[int], scale: float) -> dict[str, Any]:
    """What the CAM tab knows of a probe without its maps; boxes in pixels of the stored picture."""
    result, label, predicted = look.result, look.watched.labels[row], look.predicted(row)
    classes = [int(result.class_indices[row, slot]) for slot in slots]
    p = result.probabilities[row]
    top = np.argsort(-p, kind="stable")[:TOP].tolist()
    named = {*classes, *top, predicted, *([] if label is None else [label])}
    truth = look.watched.truths[row]
    return {
        "probe": probe_id(row),
        "group": look.watched.groups[row],
        "name": f"image {row}",
        "image": look.watched.marks[row],
        "true": label,
        "predicted": predicted,
        "classes": classes,
        "names": {str(index): result.class_name(index) for index in sorted(named)},
        "p": [_short(p[index]) for index in classes],
        "p_true": None if label is None else _short(p[label]),
        "top": [[index, _short(p[index])] for index in dict.fromkeys([*top, predicted])],
        "boxes": [] if truth is None else [[edge * scale for edge in box] for box in truth.boxes],
        "numbers": {name: _short(each[row]) for name, each in look.numbers.items() if np.isfinite(each[row])},
        "heat_of": classes[0],
        "inside_of": None if truth is None else int(result.class_indices[row, look.measured(row)]),
    }


def _short(value: float) -> float:
    """A number with as many digits as a float32 has, for a short record."""
    return float(f"{value:.7g}")
