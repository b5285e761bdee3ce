"""Looks at the probes in TensorBoard: scalars, the records of the CAM tab, and cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cam.classes import ClassNames
from keras_cam.drawing.encode import encode_jpeg, encode_png
from keras_cam.drawing.layout import scale_to_width
from keras_cam.imaging.fit import placement
from keras_cam.tensorboard.records import (
    EPOCHS,
    EPOCHS_TAG,
    MAPS,
    OBJECT_MAP,
    PICTURES,
    MapsRecord,
    encode_epoch,
    encode_maps,
    probe_id,
    tag_of,
)
from keras_cam.tensorboard.summary_writer import SummaryWriter
from keras_cam.training.look import Look
from keras_cam.training.measures import MEASURES, Measure

LONGEST_SIDE = 512
TOP = 5  # classes whose probability is stored, whether they are mapped or not
CARD = (
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
        self._pictures: dict[int, tuple[str, int]] = {}  # by probe: the fingerprint of its last record, and its step

    def __call__(self, look: Look) -> None:
        """Write a look."""
        if self._writer.is_gone:  # and with it the pictures that were in it
            self.end()
        try:
            self._scalars(look)
            if look.step >= 0:
                self._records(look)
            self._writer.flush()
        except BaseException:
            self._pictures = {}  # the file may have ended before they were in it
            raise
        self._cards(look)  # last: what goes wrong in drawing costs nothing else
        self._writer.flush()

    def end(self) -> None:
        """Close the event file."""
        self._pictures = {}
        self._writer.close()

    def __getstate__(self) -> dict[str, Any]:
        """What can be copied: all but an open file."""
        return {**self.__dict__, "_writer": SummaryWriter(self._writer.directory), "_pictures": {}}

    def _scalars(self, look: Look) -> None:
        for name, measure in MEASURES.items():
            if name in look.means:
                self._writer.scalar(f"cam/{name}", look.means[name], step=look.step, description=measure.words)
            if name in look.numbers and measure.about == OBJECT_MAP:
                self._scalars_by_class(look, measure)

    def _scalars_by_class(self, look: Look, measure: Measure) -> None:
        names = ClassNames(look.result.class_names, look.result.logits.shape[1])
        # Probes without a label are under no class, and classes without a number have no scalar.
        for label, probes in look.rows_by_label().items():
            numbers = look.numbers[measure.name][probes]
            if label >= 0 and not np.isnan(numbers).all():
                tag = f"cam_by_class/{measure.name}/{names.tag_of(label)}"
                self._writer.scalar(tag, float(np.nanmean(numbers)), step=look.step, description=measure.words)

    def _cards(self, look: Look) -> None:
        for row, card in enumerate(look.cards):
            height, width = card.shape[:2]
            tag, encoded = f"cam/{probe_id(row)}", self._encode(card)
            self._writer.image(tag, encoded, width=width, height=height, step=look.step, description=CARD)

    def _records(self, look: Look) -> None:
        """Write what the CAM tab draws from: a picture where it is a new one, maps, and a summary of all probes."""
        probes = []
        for row, picture in enumerate(look.result.images):
            # The page asks for pictures and maps of one probe, and for the summaries of all.
            stored = _small_enough(picture)
            self._picture_record(look, row, stored)
            maps = _maps_record(look, row, stored.shape[:2])
            self._writer.record(tag_of(probe_id(row), MAPS), MAPS, encode_maps(maps), step=look.step)
            probe = _probe(look, row, scale=stored.shape[1] / picture.shape[1])
            probes.append({**probe, "picture": self._pictures[row][1]})
        # The numbers bring their labels along: whoever reads the log may know another table.
        measures = {name: {"label": MEASURES[name].label, "about": MEASURES[name].about} for name in look.numbers}
        summary = encode_epoch(look.step, probes, look.unit, measures)
        self._writer.record(EPOCHS_TAG, EPOCHS, summary, step=look.step)

    def _picture_record(self, look: Look, row: int, picture: np.ndarray) -> None:
        fingerprint = look.probes.fingerprints[row]
        if row not in self._pictures or self._pictures[row][0] != fingerprint:
            self._writer.record(tag_of(probe_id(row), PICTURES), PICTURES, [self._encode(picture)], step=look.step)
            self._pictures[row] = fingerprint, look.step


def _small_enough(picture: np.ndarray) -> np.ndarray:
    """The picture, no side of it longer than `LONGEST_SIDE`."""
    longest = max(picture.shape[:2])
    if longest <= LONGEST_SIDE:
        return picture
    return scale_to_width(picture, round(picture.shape[1] * LONGEST_SIDE / longest))


def _maps_record(look: Look, row: int, size: Sequence[int]) -> MapsRecord:
    """The maps of a probe, and where their cells lie in a picture of `size`."""
    result, slots = look.result, look.slots(row)
    maps, height, width = result.maps[row, slots], int(size[0]), int(size[1])
    classes = tuple(int(result.class_indices[row, slot]) for slot in slots)
    grid = result.grid_at(row)
    if grid is None:  # the cells share the picture evenly, and what each sees is not known
        rows, columns = (
            (length / cells / 2 - 0.5, length / cells)
            for length, cells in zip((height, width), maps.shape[1:], strict=True)
        )
        return MapsRecord(maps, classes, (rows, columns), (0, 0), (height, width))
    scales = placement((height, width), (grid.image[0], grid.image[1]), result.fit)
    rows, columns = grid.cells_in(scales)
    field = [axis.field * scale for axis, (scale, _) in zip(grid.axes, scales, strict=True)]
    return MapsRecord(maps, classes, (rows, columns), (field[0], field[1]), (height, width))


def _probe(look: Look, row: int, scale: float) -> dict[str, Any]:
    """What the CAM tab knows of a probe without its maps; boxes in pixels of the stored picture."""
    result, label, predicted = look.result, look.probes.labels[row], look.predicted(row)
    classes = [int(result.class_indices[row, slot]) for slot in look.slots(row)]
    p = result.probabilities[row]
    top = np.argsort(-p, kind="stable")[:TOP].tolist()
    # Names of all classes that the page may show; a model may have thousands.
    named = {*classes, *top, predicted, *([] if label is None else [label])}
    truth = look.probes.truths[row]
    return {
        "probe": probe_id(row),
        "group": look.probes.groups[row],
        "name": f"image {row}",
        "image": look.probes.fingerprints[row],
        "true": label,
        "predicted": predicted,
        "classes": classes,
        "names": {str(index): result.class_name(index) for index in sorted(named)},
        "p": [_short(p[index]) for index in classes],
        "p_true": None if label is None else _short(p[label]),
        "top": [[index, _short(p[index])] for index in dict.fromkeys([*top, predicted])],
        "boxes": [] if truth is None else [[edge * scale for edge in box] for box in truth.boxes],
        "numbers": {name: _short(values[row]) for name, values in look.numbers.items() if np.isfinite(values[row])},
        # Which classes' maps the numbers are about, by what `Measure.about` says of each.
        "heat_of": classes[0],
        "inside_of": None if truth is None else int(result.class_indices[row, look.truth_slot(row)]),
    }


def _short(value: float) -> float:
    """A number with as many digits as a float32 has, for a short record."""
    return float(f"{value:.7g}")
