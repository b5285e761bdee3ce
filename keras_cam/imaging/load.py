"""Pictures at the door: load whatever came, and make the tensor to feed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from keras_cam.errors import InvalidImageError
from keras_cam.validation import checked_size, to_numpy

Images = Sequence[np.ndarray] | np.ndarray  # arrays (height, width, channels), or a batch of them as one array

MIXED_TYPES = "a path, a PIL image, an array or tensor, or a list of these"


def load_images(images: Any) -> tuple[Images, bool]:
    """Turn whatever the caller has into (height, width, channels) arrays, values and dtype untouched.

    Files and PIL images come out as uint8, upright (EXIF), gray (1 channel) or RGB without transparency. Arrays are
    not copied, and a batch stays one array. Booleans become float32 0 and 1.

    Args:
        images: a path, a PIL image, an array or tensor of rank 2 (gray), 3 (one image, channels last) or 4 (a batch),
            or a list or tuple of single images, which may differ in size.

    Returns:
        The arrays, each with 1, 3 or 4 channels: a list, or for a batch one array (N, height, width, channels); and
        whether `images` was one single image.

    Raises:
        InvalidImageError: nothing in it, no such file, wrong rank or channel count, NaN or infinity.

    >>> arrays, single = load_images(np.zeros((4, 6), "uint8"))
    >>> arrays[0].shape, single
    ((4, 6, 1), True)
    >>> arrays, single = load_images([np.zeros((4, 6, 3)), np.zeros((8, 8, 3))])
    >>> len(arrays), single
    (2, False)
    """
    # Several images in a list are loaded one by one.
    if isinstance(images, list | tuple):
        if not images:
            raise InvalidImageError(f"No image given. Received: an empty {type(images).__name__}. Give {MIXED_TYPES}.")
        return [_load_one(image, f"image {index}") for index, image in enumerate(images)], False
    if _is_path(images) or isinstance(images, PIL.Image.Image):
        return [_load_one(images, "the image")], True
    array = _as_array(images, "the image")
    if array.ndim != 4:
        return [_checked(array, "the image")], True
    # A batch is checked as a whole; the images are looked at one by one only to name the one that is amiss.
    if len(array) == 0:
        raise InvalidImageError(f"No image given. Received: a batch of shape {array.shape}. Give {MIXED_TYPES}.")
    _in_shape(array[0], "image 0")
    if not _is_finite(array):
        for index, image in enumerate(array):
            _checked(image, f"image {index}")
    return array, False


def to_input(images: Images, *, channels: int | None = None) -> Images:
    """Make what a model is fed: float32 arrays with the wanted channel count, values never rescaled.

    Args:
        images: arrays from `load_images`.
        channels: channel count wanted, or None to leave each as it is. Gray is repeated to 3, alpha is dropped.

    Returns:
        The images in float32, a batch as one array; those that are so already are not copied.

    Raises:
        InvalidImageError: an image whose channels cannot be turned into those wanted.

    >>> to_input([np.full((4, 4, 1), 200, "uint8")], channels=3)[0].shape
    (4, 4, 3)
    """
    if isinstance(images, np.ndarray):
        return with_channels(images, channels, "image 0").astype(np.float32, copy=False)
    named = ((image, f"image {index}") for index, image in enumerate(images))
    return [with_channels(image, channels, name).astype(np.float32, copy=False) for image, name in named]


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture: axes that shrink are averaged, those that grow interpolated linearly.

    Pixels are averaged over the area that they cover, and interpolated between their centres, at half-integers.

    Args:
        image: (height, width) or (height, width, channels), of any real type that OpenCV resizes.
        size: (height, width) wanted.

    Returns:
        A new array; one that has this size already is given back as it is.

    Raises:
        InvalidOptionError: `size` is not two positive whole numbers.

    >>> resize(np.array([[0.0, 1.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    height, width = image.shape[:2]
    wanted = checked_size(size)
    # First the axes that shrink, then those that grow: OpenCV has no one interpolation for both.
    smaller = (min(height, wanted[0]), min(width, wanted[1]))
    resized = image
    if smaller != (height, width):
        resized = cv2.resize(resized, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != wanted:
        resized = cv2.resize(resized, wanted[::-1], interpolation=cv2.INTER_LINEAR)
    return resized.reshape(*wanted, *image.shape[2:])  # OpenCV drops a last axis of length 1


def _is_path(image: Any) -> bool:
    return isinstance(image, str | os.PathLike)


def _load_one(image: Any, name: str) -> np.ndarray:
    if _is_path(image):
        return _checked(_read_file(image), f"file {os.fspath(image)!r}")
    if isinstance(image, PIL.Image.Image):
        return _checked(_from_pil(image), name)
    return _checked(_as_array(image, name), name)


def _read_file(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        with PIL.Image.open(path) as image:
            return _from_pil(image)
    except FileNotFoundError as error:
        raise InvalidImageError(f"No such image file. Received: {os.fspath(path)!r}. Check the path.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidImageError(
            f"The file cannot be read as a picture. Received: {os.fspath(path)!r} ({error}). "
            "Give a whole JPEG, PNG or other file that Pillow reads."
        ) from error


def _from_pil(image: PIL.Image.Image) -> np.ndarray:
    """Upright pixels: gray stays one channel, 16-bit gray is brought to 8 bits, all else becomes RGB."""
    image = PIL.ImageOps.exif_transpose(image)
    # Modes of one number a pixel: 16 bits, floats, gray.
    if image.mode.startswith("I"):
        return np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8)
    if image.mode == "F":
        return np.asarray(image)
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette may hold transparency, which RGB alone would warn of
    return np.asarray(image.convert("RGB"))


def _as_array(image: Any, name: str) -> np.ndarray:
    """A NumPy array of numbers, from anything that can be one."""
    if isinstance(image, list | tuple) or not (hasattr(image, "__array__") or hasattr(image, "numpy")):
        raise InvalidImageError(f"An image is {MIXED_TYPES}. Received for {name}: {type(image).__name__}.")
    array = to_numpy(image)
    # Types that OpenCV and NumPy's arithmetic take badly.
    if array.dtype == bool or array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise InvalidImageError(f"An image holds real numbers. Received for {name}: an array of dtype {array.dtype}.")
    return array


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    """One image as (height, width, channels), all of it finite, or an error that says what it is instead."""
    image = _in_shape(array, name)
    if not _is_finite(image):
        bad = int(np.count_nonzero(~np.isfinite(image)))
        raise InvalidImageError(
            f"An image must be finite in float32. Received for {name}: {bad} NaN or infinite values of {image.size}. "
            "Check what was done to it before, such as a division by zero."
        )
    return image


def _in_shape(array: np.ndarray, name: str) -> np.ndarray:
    """One image as (height, width, channels), or an error that says what it is instead."""
    image = array[..., np.newaxis] if array.ndim == 2 else array
    if image.ndim != 3:
        raise InvalidImageError(
            f"One image has shape (height, width) or (height, width, channels). Received for {name}: shape "
            f"{array.shape}. Several images: one batch of shape (N, height, width, channels), or a list of images."
        )
    if 0 in image.shape:
        raise InvalidImageError(f"An image needs at least one pixel. Received for {name}: shape {array.shape}.")
    # What is wrong is guessed by where the channels seem to be.
    if image.shape[-1] not in (1, 3, 4):
        hint = "A batch of gray images has shape (N, height, width, 1): use images[..., np.newaxis]."
        if image.shape[0] in (1, 3, 4):
            hint = "Channels come last: use np.moveaxis(image, 0, -1)."
        raise InvalidImageError(
            f"An image has 1, 3 or 4 channels, on the last axis. Received for {name}: shape {array.shape}. {hint}"
        )
    return image


def _is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite in float32 (a NaN is in no range)."""
    most = np.finfo(np.float32).max
    return array.dtype.kind != "f" or bool(array.min() >= -most and array.max() <= most)


def with_channels(image: np.ndarray, channels: int | None, name: str) -> np.ndarray:
    """An image, or a batch, with this many channels: gray is repeated, alpha is dropped; None leaves it as it is."""
    have = image.shape[-1]
    if channels is None or have == channels:
        return image
    if channels == 3 and have == 1:
        return np.repeat(image, 3, axis=-1)
    if channels == 3 and have == 4:
        return image[..., :3]
    raise InvalidImageError(
        f"{name} has {have} channels where {channels} are wanted. Received: shape {image.shape}. "
        f"Convert it first, such as with PIL's convert({'L' if channels == 1 else 'RGB'!r})."
    )
