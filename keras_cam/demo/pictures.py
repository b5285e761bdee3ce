"""The pictures of the demo: a filmstrip of the training, and where the trained network looks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_cam.demo.box_energy import energy_in_boxes
from keras_cam.drawing.layout import beside, caption, contact_sheet, filmstrip
from keras_cam.drawing.overlay import overlay
from keras_cam.explainer.explainer import Explainer
from keras_cam.imaging.load import resize
from keras_cam.shapes import CLASS_NAMES, TAGGED_CLASS, Shapes

NUM_ROWS = 3
THUMBNAIL, PICTURE, BORDER = 112, 224, 3  # pixels
WHITE, RED = (255, 255, 255), (214, 39, 40)


class Frames(keras.callbacks.Callback):
    """Keeps a small picture of every probe at every epoch, for the filmstrip.

    Args:
        images: uint8 (n, H, W, 3).
        labels: int (n,).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        super().__init__()
        self.images, self.labels = images, labels
        self._epochs: list[list[np.ndarray]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepare for the model."""
        self._explainer = Explainer(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw the map of the true class over every probe."""
        result = self._explainer(self.images, classes=self.labels)
        frames = [WHITE if is_right else RED for is_right in result.logits.argmax(axis=1) == self.labels]
        parts = zip(self.images, result.heatmaps(), frames, strict=True)
        self._epochs.append([_thumbnail(image, heat[0], frame) for image, heat, frame in parts])

    def filmstrip(self) -> np.ndarray:
        """Draw the probes by epochs, class by class, each row beginning with the picture itself."""
        order = np.argsort(self.labels, kind="stable")
        blank = np.zeros(self.images.shape[1:3])  # a map without heat leaves the picture as it is
        rows = [
            [_thumbnail(self.images[probe], blank, WHITE), *(epoch[probe] for epoch in self._epochs)] for probe in order
        ]
        columns = ["picture", *(f"epoch {epoch}" for epoch in range(len(self._epochs)))]
        strip = filmstrip(rows, [CLASS_NAMES[self.labels[probe]] for probe in order], columns)
        title = _line("Evidence for the true class, epoch by epoch", min(900, strip.shape[1]))
        legend = _line("Red frame: taken for another class then.", min(600, strip.shape[1]))
        return contact_sheet([title, strip, legend], 1)


def draw_looks(explainer: Explainer, tagged: Shapes, untagged: Shapes, title: str) -> np.ndarray:
    """Draw pictures of the tagged class with their tag and without: where the network looks, and what it says.

    Args:
        explainer: of the trained network.
        tagged: pictures of which some carry the tag.
        untagged: the same pictures without it.
        title: written above.

    Returns:
        uint8 RGB.
    """
    chosen = np.flatnonzero(tagged.tagged)[:NUM_ROWS]
    with_tag, without = _cards(explainer, tagged, chosen), _cards(explainer, untagged, chosen)
    width = with_tag[0].shape[1]
    # A row for each picture: with its tag on the left, the same without it on the right.
    heads = [_line(f"{TAGGED_CLASS}s with the tag", width), _line("the same pictures without it", width)]
    cards = [card for pair in zip(with_tag, without, strict=True) for card in pair]
    return contact_sheet([_line(title, 2 * width), contact_sheet([*heads, *cards], 2, gap=12)], 1)


def _cards(explainer: Explainer, shapes: Shapes, chosen: np.ndarray) -> list[np.ndarray]:
    """Each picture beside its map, with the class that it is taken for and where the map lies below."""
    result = explainer(shapes.images[chosen])
    placed = np.stack([maps[0] for maps in result.heatmaps(None)])
    # Below each picture where the map lies, in words; at the tag where there is one.
    on_object = energy_in_boxes(placed, shapes.boxes[chosen])
    on_tag = energy_in_boxes(placed, shapes.tag_boxes[chosen])
    cards = []
    for index, heatmaps in enumerate(result.heatmaps()):
        picture = resize(result.images[index], (PICTURE, PICTURE))
        looks = f"looks: {on_object[index]:.0%} at the {TAGGED_CLASS}"
        if shapes.tagged[chosen[index]]:
            looks += f", {on_tag[index]:.0%} at the tag"
        lines = [f"says: {result.title(index)}", looks]
        cards.append(caption(beside([picture, overlay(picture, heatmaps[0])]), lines))
    return cards


def _thumbnail(image: np.ndarray, heat: np.ndarray, frame: tuple[int, int, int]) -> np.ndarray:
    """A picture under its map, in a coloured frame."""
    drawn = overlay(resize(image, (THUMBNAIL, THUMBNAIL)), heat)
    framed = np.full((THUMBNAIL + 2 * BORDER, THUMBNAIL + 2 * BORDER, 3), frame, np.uint8)
    framed[BORDER:-BORDER, BORDER:-BORDER] = drawn
    return framed


def _line(text: str, width: int) -> np.ndarray:
    """A line of text as a picture; the wider, the larger its letters."""
    return caption(np.full((1, width, 3), 255, np.uint8), [text])
