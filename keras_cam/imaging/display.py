"""Pictures to show: uint8 RGB, kept apart from what a model is fed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import cv2
import numpy as np

from keras_cam.errors import InvalidImageError
from keras_cam.imaging.load import Images, with_channels
from keras_cam.validation import checked_range

COMMON_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
RANGE_SLACK = 0.05  # a [0, 1] picture that overshot to 1.02 when it was resized is still a [0, 1] picture


def value_range_of(images: Images) -> tuple[float, float]:
    """Say which values are black and white, by a rule and over all images together.

    Where any image is of an integer type, (0, 255) is tried; for floats the first of (0, 1), (-1, 1) and (0, 255)
    that holds every value, with 0.05 to spare on each side. Where none does: the smallest and the largest value. A
    `value_range` argument overrides the rule wherever there is one.

    Args:
        images: arrays of any shape, or a batch of them as one array.

    Returns:
        (black, white).

    >>> value_range_of([np.array([[[0.2]]]), np.array([[[-0.7]]])])
    (-1.0, 1.0)
    """
    return ValueRange.of(images).black_and_white


class ValueRange(NamedTuple):
    """The lowest and the highest value of some images, and whether any of them is of an integer type."""

    low: float
    high: float
    any_integers: bool

    @classmethod
    def of(cls, images: Images) -> ValueRange:
        """Of all images together; of bytes what there can be."""
        parts = [images] if isinstance(images, np.ndarray) else images
        if all(part.dtype == np.uint8 for part in parts):
            return cls(0.0, 255.0, True)  # whatever they are, this is their range: no look at the pixels
        any_integers = any(np.issubdtype(part.dtype, np.integer) for part in parts)
        return cls(min(float(part.min()) for part in parts), max(float(part.max()) for part in parts), any_integers)

    def __or__(self, other: ValueRange) -> ValueRange:
        """Of both together."""
        return ValueRange(min(self.low, other.low), max(self.high, other.high), self.any_integers or other.any_integers)

    @property
    def black_and_white(self) -> tuple[float, float]:
        """Which values are black and white, as `value_range_of` says."""
        for black, white in COMMON_RANGES[-1:] if self.any_integers else COMMON_RANGES:
            if black - RANGE_SLACK <= self.low and self.high <= white + RANGE_SLACK:
                return black, white
        # No common range holds them. A constant image has one end only: zero is made the other.
        return (self.low, self.high) if self.low < self.high else (min(self.low, 0.0), max(self.high, 0.0))


def to_display(image: np.ndarray, value_range: Any, *, lies_within: bool = False, copy: bool = True) -> np.ndarray:
    """Make the picture to show: uint8 RGB (height, width, 3), `value_range` stretched to 0..255 and clipped.

    Args:
        image: (height, width, channels), or a batch of them.
        value_range: (black, white).
        lies_within: True says that no value is far outside of it, which saves a look.
        copy: False gives an image back that is such a picture already.

    Returns:
        An array of the same shape, but for its channels; a new one unless `copy` is False.

    Raises:
        InvalidOptionError: `value_range` is not two finite numbers, the first smaller than the second.

    >>> to_display(np.array([[[-1.0], [0.0], [1.0]]]), (-1, 1))[0, :, 0].tolist()
    [0, 128, 255]
    """
    low, high = checked_range(value_range, "value_range")
    image = with_channels(image, 3, "the image")
    if image.dtype == np.uint8 and (low, high) == (0, 255):
        return np.array(image) if copy else image
    scale = 255 / (high - low)
    # Clipped before it is scaled: OpenCV wraps products that are too large for an integer.
    floats = image.astype(image.dtype if image.dtype in (np.float32, np.float64) else np.float64, copy=False)
    flat = (floats if lies_within else np.clip(floats, low, high)).reshape(-1, image.shape[-2] * 3)
    # One pass for scale, shift and rounding; the second picture, with a weight of 0, is a formality.
    return cv2.addWeighted(flat, scale, flat, 0, -low * scale, dtype=cv2.CV_8U).reshape(image.shape)


class DisplayImages(NamedTuple):
    """What to draw on: pictures, and the values that they were made from where their range was found in these."""

    pictures: tuple[np.ndarray, ...]
    value_range: ValueRange | None = None


def make_display_images(images: Images, value_range: tuple[float, float] | None) -> DisplayImages:
    """Make the pictures to show of several, by the value range given, or by the one that the rule finds."""
    measured = None if value_range is not None else ValueRange.of(images)
    # What a range was measured of lies within it, and need not be clipped.
    limits, lies_within = (value_range, False) if measured is None else (measured.black_and_white, True)
    if isinstance(images, np.ndarray):
        return DisplayImages(tuple(to_display(images, limits, lies_within=lies_within)), measured)
    return DisplayImages(tuple(to_display(image, limits, lies_within=lies_within) for image in images), measured)


def merge_display_images(parts: Sequence[DisplayImages]) -> tuple[np.ndarray, ...]:
    """The pictures of all parts; where the rule found other ranges in some, all by the one that holds every value.

    >>> dark, bright = (make_display_images(np.full((1, 1, 1, 1), value), None) for value in (0.5, -1.0))
    >>> [picture[0, 0, 0].item() for picture in merge_display_images([dark, bright])]
    [192, 0]
    """
    measured = [part.value_range for part in parts if part.value_range is not None]
    limits = reduce(or_, measured).black_and_white if measured else None
    merged: list[np.ndarray] = []
    for pictures, value_range in parts:
        if value_range is None or value_range.black_and_white == limits:
            merged += pictures
        else:  # made by a narrower range: each of the 256 shades is looked up in the common one
            shades = to_display(np.linspace(*value_range.black_and_white, 256).reshape(1, 256, 1), limits)[0, :, 0]
            merged += [shades[picture] for picture in pictures]
    return tuple(merged)


def checked_picture(picture: Any) -> np.ndarray:
    """The picture, or an error where it is not uint8 RGB."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or array.size == 0:
        raise InvalidImageError(
            f"A picture to draw on is uint8 RGB of shape (height, width, 3). Received: dtype {array.dtype}, "
            f"shape {array.shape}. keras_cam.imaging.to_display makes one."
        )
    return array
