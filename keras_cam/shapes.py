"""Drawn pictures of textured shapes whose boxes and masks are known, with a source tag that a network can cheat by."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from keras_cam.errors import InvalidOptionError
from keras_cam.validation import whole_number

__all__ = ["CLASS_NAMES", "TAGGED_CLASS", "Shapes", "make_shapes"]

CLASS_NAMES = ("circle", "square", "triangle", "star")
TAGGED_CLASS = "circle"
SMALLEST_SIZE = 48

# Corners, and the radius of every other corner: chosen so that no class is much larger than another.
OUTLINES = {
    "circle": (64, 0.95, 0.95),
    "square": (4, 1.1, 1.1),
    "triangle": (3, 1.25, 1.25),
    "star": (10, 1.25, 0.52),
}

# Five letters of three by five pixels: "PHOTO", the mark of an imaginary picture agency.
LETTERS = {
    "P": ("###", "#.#", "###", "#..", "#.."),
    "H": ("#.#", "#.#", "###", "#.#", "#.#"),
    "O": ("###", "#.#", "#.#", "#.#", "###"),
    "T": ("###", ".#.", ".#.", ".#.", ".#."),
}
TAG_TEXT = "PHOTO"
TAG_REACH = 3  # pixels between the tag and the picture's corner, at most


@dataclass(frozen=True)
class Shapes:
    """A drawn data set: pictures, what is in them and where.

    Boxes are (left, top, right, bottom) in pixels, right and bottom not included.

    Attributes:
        images: uint8 (N, size, size, 3), RGB.
        labels: int64 (N,), an index into `class_names`.
        boxes: int64 (N, 4), the box of the object.
        masks: bool (N, size, size), the pixels of the object.
        tag_boxes: int64 (N, 4), the box of the source tag; all zero where a picture has none.
        class_names: the names of the classes.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    tag_boxes: np.ndarray
    class_names: tuple[str, ...] = CLASS_NAMES

    @property
    def tagged(self) -> np.ndarray:
        """Which pictures carry the source tag, bool (N,)."""
        return self.tag_boxes[:, 2] > 0

    def __len__(self) -> int:
        return len(self.labels)


def make_shapes(
    num_images: int,
    size: int = 64,
    seed: int = 0,
    *,
    tag_share: float = 0.0,
    tagged_class: str | None = TAGGED_CLASS,
) -> Shapes:
    """Draw textured shapes on textured backgrounds, some with a source tag in the lower left corner.

    Classes take turns, so every run of four pictures holds each class once. Picture `i` depends on `seed`, `size` and
    `i` alone, and a tag changes no pixel outside its box: the same call with another `tag_share` gives the same
    pictures with more or fewer tags. The object never reaches into the tag's corner, whether there is a tag or not.

    Args:
        num_images: how many pictures, at least 1.
        size: side of the square pictures in pixels, at least 48.
        seed: any whole number from 0.
        tag_share: share of the pictures of `tagged_class` that carry the tag, 0 to 1.
        tagged_class: one of `CLASS_NAMES`; None tags pictures of every class.

    Returns:
        Shapes with `num_images` pictures.

    Raises:
        InvalidOptionError: an argument is outside its range.

    Example:
        >>> shapes = make_shapes(8, tag_share=1.0)
        >>> shapes.images.shape, int(shapes.tagged.sum())
        ((8, 64, 64, 3), 2)
    """
    _check(num_images, size, seed, tag_share, tagged_class)
    drawn = [_draw_picture(index, size, seed, tag_share, tagged_class) for index in range(num_images)]
    images, masks, tag_boxes = (np.stack(part) for part in zip(*drawn, strict=True))
    return Shapes(
        images=images,
        labels=np.arange(num_images) % len(CLASS_NAMES),
        boxes=np.stack([_box_of(mask) for mask in masks]),
        masks=masks,
        tag_boxes=tag_boxes,
    )


def _check(num_images: int, size: int, seed: int, tag_share: float, tagged_class: str | None) -> None:
    for name, value, smallest in (("num_images", num_images, 1), ("size", size, SMALLEST_SIZE), ("seed", seed, 0)):
        whole_number(name, value, smallest)
    if not 0 <= tag_share <= 1:
        raise InvalidOptionError(f"tag_share must lie between 0 and 1. Received: tag_share={tag_share!r}.")
    if tagged_class not in (*CLASS_NAMES, None):
        raise InvalidOptionError(
            f"tagged_class must be one of {CLASS_NAMES}, or None for every class. Received: {tagged_class!r}."
        )


def _draw_picture(
    index: int, size: int, seed: int, tag_share: float, tagged_class: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    class_name = CLASS_NAMES[index % len(CLASS_NAMES)]
    picture_random = np.random.default_rng([seed, index, 0])
    tag_random = np.random.default_rng([seed, index, 1])  # its own, so that a tag leaves the rest of the picture alone
    cover = _draw_cover(class_name, size, picture_random)
    background, surface = _two_colors(picture_random)
    ground = _texture(background, size, picture_random)
    canvas = ground * (1 - cover) + _texture(surface, size, picture_random) * cover
    canvas += picture_random.normal(0, 8, canvas.shape)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    tag_box = np.zeros(4, dtype=np.int64)
    has_tag = tag_random.random() < tag_share
    if has_tag and tagged_class in (class_name, None):
        tag_box = _stamp_tag(image, tag_random)
    return image, cover[..., 0] >= 0.5, tag_box


def _outline(class_name: str) -> np.ndarray:
    """Corners of a shape around the origin, (corners, 2)."""
    corners, outer, inner = OUTLINES[class_name]
    angle = np.arange(corners) * 2 * np.pi / corners
    radius = np.where(np.arange(corners) % 2 == 0, outer, inner)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _draw_cover(class_name: str, size: int, random: np.random.Generator) -> np.ndarray:
    """How much of each pixel the object covers, float (size, size, 1), clear of the tag's corner."""
    unit = _outline(class_name)
    tag_height, tag_width = _tag(size).shape
    while True:
        radius = size * random.uniform(0.18, 0.26)
        reach = radius * OUTLINES[class_name][1] + 1
        center = random.uniform(reach, size - reach, size=2)
        turn = random.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = center + radius * unit @ rotation.T
        left, bottom = points[:, 0].min(), points[:, 1].max()
        if left > tag_width + TAG_REACH + 1 or bottom < size - tag_height - TAG_REACH - 1:
            break
    finer = 8  # supersampling: one pixel of the cover is the mean of 8 x 8 drawn ones
    drawn = np.zeros((size * finer, size * finer), dtype=np.uint8)
    cv2.fillPoly(drawn, [np.rint(points * finer).astype(np.int32)], 255)
    return (cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA) / 255.0)[..., np.newaxis]


def _two_colors(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A darker colour for the background and a lighter one for the object, of any hue."""
    return random.uniform(30, 120, size=3), random.uniform(140, 230, size=3)


def _texture(color: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Stripes, checks, dots or clouds in shades of one colour, float (size, size, 3)."""
    row, column = np.mgrid[:size, :size] * (64 / size)
    turn, period = random.uniform(0, np.pi), random.uniform(5, 11)
    across = np.cos(turn) * column + np.sin(turn) * row
    along = np.cos(turn) * row - np.sin(turn) * column
    wave, other_wave = np.sin(2 * np.pi * across / period), np.sin(2 * np.pi * along / period)
    coarse = random.normal(0, 1, size=(8, 8))
    pattern = (
        np.sign(wave),
        np.sign(wave * other_wave),
        np.where(wave + other_wave > 0.9, 1.0, -0.5),
        cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC),
    )[random.integers(4)]
    shade = random.uniform(-1, 1, size=3)
    shade *= random.uniform(12, 30) / np.linalg.norm(shade)
    return color + pattern[..., np.newaxis] * shade * np.sqrt(3)


def _tag(size: int) -> np.ndarray:
    """Which pixels of the tag are ink, bool; a margin around the letters included."""
    rows = ["".join(LETTERS[letter][line] + "." for letter in TAG_TEXT)[:-1] for line in range(5)]
    ink = np.array([[mark == "#" for mark in row] for row in rows])
    scale = size // SMALLEST_SIZE
    return np.pad(ink, 1).repeat(scale, axis=0).repeat(scale, axis=1)


def _stamp_tag(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Write the source tag into the lower left corner of the image, in place; returns its box."""
    ink = _tag(len(image))
    height, width = ink.shape
    left, from_bottom = random.integers(1, TAG_REACH, size=2, endpoint=True)
    top = len(image) - height - from_bottom
    image[top : top + height, left : left + width] = np.where(ink[..., np.newaxis], 245, 25)
    return np.array([left, top, left + width, top + height], dtype=np.int64)


def _box_of(mask: np.ndarray) -> np.ndarray:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.int64)
