"""Pictures with boxes: scenes drawn from keras_cam.shapes, and photographs of animals from a folder."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from keras_cam.imaging.load import load_images, resize
from keras_cam.shapes import make_shapes

SIZE = 128  # of all pictures, in pixels a side
DRAWN_SIZES = (64, 96, 128, 160)  # of the pictures whose objects are pasted into scenes: boxes of 20 to 100 pixels


class Pictures(NamedTuple):
    """Pictures of one size: uint8 (N, H, W, 3), labels (N,), and boxes (M, 4) for each where they are known."""

    images: np.ndarray
    labels: np.ndarray
    boxes: list[np.ndarray]

    def take(self, chosen: np.ndarray) -> Pictures:
        """Those that a bool (N,) picks."""
        return Pictures(
            self.images[chosen], self.labels[chosen], [self.boxes[index] for index in np.flatnonzero(chosen)]
        )


@cache
def draw_scenes(count: int, seed: int) -> Pictures:
    """Draw `count` scenes (a multiple of 16) of one object each, of many sizes, anywhere before a clouded ground."""
    random = np.random.default_rng([seed, 2])
    images, labels, boxes = [], [], []
    for part, drawn_size in enumerate(DRAWN_SIZES):
        shapes = make_shapes(count // len(DRAWN_SIZES), drawn_size, len(DRAWN_SIZES) * seed + part)
        for image, label, mask, box in zip(shapes.images, shapes.labels, shapes.masks, shapes.boxes, strict=True):
            inside = (slice(box[1], box[3]), slice(box[0], box[2]))
            left, top = corner = random.integers(SIZE - (box[2:] - box[:2]), endpoint=True)
            scene = _clouds(random)
            seen = scene[top : top + box[3] - box[1], left : left + box[2] - box[0]]
            seen[mask[inside]] = image[inside][mask[inside]]
            images.append(scene)
            labels.append(label)
            boxes.append((box - np.tile(box[:2] - corner, 2))[np.newaxis])
    return Pictures(np.stack(images), np.array(labels), boxes)


def _clouds(random: np.random.Generator) -> np.ndarray:
    """A dark ground for an object, of any hue, uint8 (SIZE, SIZE, 3)."""
    shades = random.uniform(30, 120, size=3) + random.normal(0, 20, size=(random.integers(4, 17),) * 2 + (3,))
    ground = cv2.resize(shades, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) + random.normal(0, 8, (SIZE, SIZE, 3))
    return np.clip(np.rint(ground), 0, 255).astype(np.uint8)


@cache
def load_photos(folder: Path) -> Pictures:
    """Read the photographs that `boxes.csv` in the folder lists, with all boxes of each, stretched to one size.

    A photograph that the folder holds twice is taken once: or one may be learned and the other held out.
    """
    rows = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["file"]].append(row)
    names = sorted({row["class"] for listed in rows.values() for row in listed})
    images, labels, boxes, thumbnails = [], [], [], []
    for file, listed in sorted(rows.items()):
        (image,), _ = load_images(folder / file)
        thumbnail = resize(image[..., :3], (8, 8)).astype(np.int64)
        if any(np.abs(thumbnail - seen).mean() < 2 for seen in thumbnails):
            continue
        thumbnails.append(thumbnail)
        scale = SIZE / np.array(image.shape[1::-1] * 2)
        corners = np.array([[int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")] for row in listed])
        images.append(resize(image[..., :3], (SIZE, SIZE)))
        labels.append(names.index(listed[0]["class"]))
        boxes.append(np.rint(corners * scale).astype(np.int64))
    return Pictures(np.stack(images), np.array(labels), boxes)


@cache
def load_small_photos(folder: Path, most: int) -> Pictures:
    """Read photographs from folders named by class, doubled in size; `most` of them, in equal shares, no boxes."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    share = most // len(classes)
    files = [(file, label) for label, path in enumerate(classes) for file in sorted(path.iterdir())[:share]]
    photos = [load_images(file)[0][0] for file, _ in files]
    images = [resize(photo, (2 * photo.shape[0], 2 * photo.shape[1])) for photo in photos]
    return Pictures(np.stack(images), np.array([label for _, label in files]), [])
