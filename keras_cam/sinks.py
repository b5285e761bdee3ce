"""Where looks at the probes go: TensorBoard, picture files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from keras_cam.card import CARD_WIDTH, probe_card
from keras_cam.fitting import placement
from keras_cam.heatmap import limits_of
from keras_cam.images import load_images
from keras_cam.looks import ABOUT, INSIDE, Look
from keras_cam.manners import manner_of
from keras_cam.render import contact_sheet, encode_jpeg, encode_png, save_gif, save_png
from keras_cam.render import fitted as scaled_to
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
from keras_cam.tensorboard.writer import SummaryWriter

__all__ = ["FileSink", "TensorBoardSink", "draw_card"]

LONGEST_SIDE = 512
FILM_WIDTH = 350
FRAMES = 200  # of a film at most: of more, as many are taken evenly
PICTURE = (
    "Left the picture, then where the model finds evidence for the class that it predicts, and, where that is wrong, "
    "for the true class. The numbers beside the colours are in units of the class's score before softmax or sigmoid."
)


class TensorBoardSink:
    """Writes looks into a directory of event files: cards, scalars, and the records of the CAM tab.

    Args:
        directory: the run's directory.
        image_format: "jpeg" or "png".
    """

    def __init__(self, directory: str, image_format: str = "jpeg") -> None:
        self._writer = SummaryWriter(directory)
        self._encode = encode_jpeg if image_format == "jpeg" else encode_png
        self._shown: dict[int, tuple[np.ndarray, int]] = {}  # what the CAM tab has a picture of, and since which step

    def __call__(self, look: Look) -> None:
        """Write a look."""
        if self._writer.is_gone:  # and with it the pictures that were in it
            self.end()
        try:
            self._write(look)
        except BaseException:
            self._shown = {}  # the file may have ended before they were in it
            raise

    def _write(self, look: Look) -> None:
        heatmaps = look.result.heatmaps(None) if look.result.images else []
        for row, maps in enumerate(heatmaps):
            card = draw_card(look, row, maps[look.slots(row)])
            height, width = card.shape[:2]
            tag, encoded = f"cam/{probe_id(row)}", self._encode(card)
            self._writer.image(tag, encoded, width=width, height=height, step=look.step, description=PICTURE)
        for name, value in look.means.items():
            self._writer.scalar(f"cam/{name}", value, step=look.step, description=ABOUT[name])
        for name in INSIDE:
            for label, rows in look.by_class().items() if name in look.numbers else ():
                values = look.numbers[name][rows]
                if label >= 0 and not np.isnan(values).all():
                    tag = f"cam_by_class/{name}/{label}_{_tame(look.result.class_name(label))}"
                    self._writer.scalar(tag, float(np.nanmean(values)), step=look.step, description=ABOUT[name])
        if look.step >= 0 and look.result.images and look.result.images[0].ndim == 3:
            self._record(look)
        self._writer.flush()

    def end(self) -> None:
        """Close the event file."""
        self._shown = {}
        self._writer.close()

    def __getstate__(self) -> dict[str, Any]:
        """What can be copied: all but an open file."""
        return {**self.__dict__, "_writer": SummaryWriter(self._writer.directory), "_shown": {}}

    def _record(self, look: Look) -> None:
        """Write what the CAM tab draws from."""
        result = look.result
        summaries = []
        for row, picture in enumerate(result.images):
            shown = picture
            if max(picture.shape[:2]) > LONGEST_SIDE:
                shown = scaled_to(picture, round(picture.shape[1] * LONGEST_SIDE / max(picture.shape[:2])))
            probe, slots = probe_id(row), look.slots(row)
            image = look.watched.images[row]
            if row not in self._shown or not np.array_equal(self._shown[row][0], image):
                self._writer.record(tag_of(probe, PICTURES), PICTURES, [self._encode(shown)], step=look.step)
                self._shown[row] = image, look.step
            record = _maps_record(look, row, slots, shown.shape[:2])
            self._writer.record(tag_of(probe, MAPS), MAPS, encode_maps(record), step=look.step)
            summary = _summary(look, row, slots, shown.shape[1] / picture.shape[1])
            summaries.append({**summary, "picture": self._shown[row][1]})
        self._writer.record(EPOCHS_TAG, EPOCHS, encode_epoch(look.step, summaries, look.unit), step=look.step)


class FileSink:
    """Writes each probe's card as a PNG at each look, and a strip and an animation of them at the end.

    Args:
        directory: where to; each probe has a subdirectory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._written: dict[int, list[Path]] = {}

    def __call__(self, look: Look) -> None:
        """Write a look."""
        for row, maps in enumerate(look.result.heatmaps(None) if look.result.images else []):
            card = draw_card(look, row, maps[look.slots(row)])
            path = self._directory / probe_id(row) / f"{look.unit}_{look.step:06d}.png"
            self._written.setdefault(row, []).append(save_png(path, card))

    def end(self) -> None:
        """Write the films of all looks since the last end."""
        written, self._written = self._written, {}
        for row, every in written.items():
            paths = [
                every[index] for index in np.linspace(0, len(every) - 1, min(len(every), FRAMES)).round().astype(int)
            ]
            frames = [scaled_to(load_images(path)[0][0], FILM_WIDTH) for path in paths]
            save_gif(self._directory / f"{probe_id(row)}.gif", frames)
            save_png(self._directory / f"{probe_id(row)}.png", contact_sheet(frames, min(len(frames), 4)))


def draw_card(look: Look, row: int, maps: np.ndarray) -> np.ndarray:
    """Draw one probe: the picture beside its maps, and a caption.

    Args:
        look: the look.
        row: which probe.
        maps: (C, height, width), over the picture; those to show.

    Returns:
        uint8 RGB, `CARD_WIDTH` pixels wide.
    """
    thing, lines, label = look.result.images[row], caption_lines(look, row), look.watched.labels[row]
    low, high = (float(end.item()) for end in limits_of(maps.reshape(1, -1)))
    if thing.ndim == 3:
        wrong = label is not None and label != predicted_class(look, row)
        return probe_card(thing, maps, (low, high), lines, wrong=wrong)
    return manner_of([thing]).draw(thing, maps[0], (low, high), lines, width=CARD_WIDTH)


def predicted_class(look: Look, row: int) -> int:
    """The most probable class of a probe."""
    return int(look.result.logits[row].argmax())


def caption_lines(look: Look, row: int) -> list[str]:
    """Say what stands below a probe: when, true class, predicted class, probability, and whether the map is empty."""
    result, label, predicted = look.result, look.watched.labels[row], predicted_class(look, row)
    group = look.watched.groups[row]
    first = f"{look.unit} {look.step}" + (f", {group}" if group else "")
    second = f"predicted: {_with_value(look, row, predicted)}"
    if label is not None:
        first += f", true: {_with_value(look, row, label)}"
        second = f"{'✓' if label == predicted else '✗'} {second}"
    shown = [int(result.class_indices[row, slot]) for slot in look.slots(row)]
    maps = [] if shown == [predicted] else ["maps: " + ", ".join(map(result.class_name, shown))]
    empty = np.isnan(look.shares[row]).any()
    return [first, second, *maps, *(["empty map: nothing in the picture speaks for it"] if empty else [])]


def _with_value(look: Look, row: int, index: int) -> str:
    """A class with its probability, or with its value where the model gives none."""
    value, name = look.result.probabilities[row, index], look.result.class_name(index)
    return f"{name}: {value:.4g}" if look.result.activation == "linear" else f"{name} {value:.1%}"


def _maps_record(look: Look, row: int, slots: list[int], size: tuple[int, ...]) -> MapsRecord:
    result = look.result
    maps = result.maps[row, slots]
    field: tuple[float, ...] = (0, 0)
    pairs = [(length / cells / 2 - 0.5, length / cells) for length, cells in zip(size, maps.shape[1:], strict=True)]
    if result.grid is not None:
        image = (result.grid.image[0], result.grid.image[1])
        scales = placement((size[0], size[1]), image, result.fit)
        pairs = list(result.grid.cells_in(scales))
        field = tuple(axis.field * scale for axis, (scale, _) in zip(result.grid.axes, scales, strict=True))
    classes = tuple(int(result.class_indices[row, slot]) for slot in slots)
    return MapsRecord(maps, classes, (pairs[0], pairs[1]), (field[0], field[1]), (int(size[0]), int(size[1])))


def _summary(look: Look, row: int, slots: list[int], scale: float) -> dict[str, Any]:
    """What the CAM tab knows of a probe without its maps; boxes in pixels of the stored picture."""
    result, label, predicted = look.result, look.watched.labels[row], predicted_class(look, row)
    classes = [int(result.class_indices[row, slot]) for slot in slots]
    named = {*classes, predicted, *([] if label is None else [label])}
    truth = look.watched.truths[row]
    return {
        "probe": probe_id(row),
        "group": look.watched.groups[row],
        "name": f"image {row}",
        "true": label,
        "predicted": predicted,
        "classes": classes,
        "names": {str(index): result.class_name(index) for index in sorted(named)},
        "p": [result.probabilities[row, index] for index in classes],
        "p_true": None if label is None else result.probabilities[row, label],
        "boxes": [] if truth is None else [[edge * scale for edge in box] for box in truth.boxes],
        "numbers": {name: float(each[row]) for name, each in look.numbers.items() if np.isfinite(each[row])},
    }


def _tame(name: str) -> str:
    """A class name as part of a tag: letters, digits, and a few signs; at most 60."""
    return re.sub(r"[^\w .-]", "_", name)[:60]
