"""Pictures at the door: load whatever came, make the tensor to feed, and keep apart the picture to show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from keras_cam.errors import InvalidImageError, InvalidOptionError

__all__ = ["load_images", "resize", "to_display", "to_input", "value_range_of"]

COMMON_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
RANGE_SLACK = 0.05  # a [0, 1] picture that overshot to 1.02 when it was resized is still a [0, 1] picture
MIXED_TYPES = "a path, a PIL image, an array or tensor, or a list of these"


def load_images(images: Any) -> tuple[list[np.ndarray], bool]:
    """Turn whatever the caller has into a list of (height, width, channels) arrays, values and dtype untouched.

    Files and PIL images come out as uint8, upright (EXIF), gray (1 channel) or RGB without transparency. Arrays are
    not copied. Booleans become float32 0 and 1.

    Args:
        images: a path, a PIL image, an array or tensor of rank 2 (gray), 3 (one image, channels last) or 4 (a batch),
            or a list or tuple of single images, which may differ in size.

    Returns:
        The list of arrays, each with 1, 3 or 4 channels, and whether `images` was one single image.

    Raises:
        InvalidImageError: nothing in it, no such file, wrong rank or channel count, NaN or infinity.

    >>> arrays, single = load_images(np.zeros((4, 6), "uint8"))
    >>> arrays[0].shape, single
    ((4, 6, 1), True)
    >>> arrays, single = load_images([np.zeros((4, 6, 3)), np.zeros((8, 8, 3))])
    >>> len(arrays), single
    (2, False)
    """
    if isinstance(images, list | tuple):
        if not images:
            raise InvalidImageError(f"No image given. Received: an empty {type(images).__name__}. Give {MIXED_TYPES}.")
        return [_load_one(image, f"image {index}") for index, image in enumerate(images)], False
    if _is_path(images) or isinstance(images, PIL.Image.Image):
        return [_load_one(images, "the image")], True
    array = _as_array(images, "the image")
    if array.ndim != 4:
        return [_checked(array, "the image")], True
    if len(array) == 0:
        raise InvalidImageError(f"No image given. Received: a batch of shape {array.shape}. Give {MIXED_TYPES}.")
    return [_checked(image, f"image {index}") for index, image in enumerate(array)], False


def to_input(
    images: Sequence[np.ndarray], *, size: tuple[int, int] | None = None, channels: int | None = None
) -> list[np.ndarray]:
    """Make what a model is fed: float32 copies at the wanted size and channel count, values never rescaled.

    The results share no memory with `images`, because `keras.applications` preprocessing writes into its argument.

    Args:
        images: arrays from `load_images`.
        size: (height, width) wanted, or None to leave each as it is.
        channels: channel count wanted, or None to leave each as it is. Gray is repeated to 3, alpha is dropped.

    Returns:
        One float32 array (height, width, channels) for each image.

    Raises:
        InvalidImageError: an image whose channels cannot be turned into those wanted.

    >>> to_input([np.full((4, 4, 1), 200, "uint8")], size=(2, 3), channels=3)[0].shape
    (2, 3, 3)
    """
    inputs = []
    for index, image in enumerate(images):
        array = _with_channels(image, channels, f"image {index}").astype(np.float32)
        inputs.append(array if size is None else resize(array, size))
    return inputs


def value_range_of(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Say which values are black and white, by a rule and over all images together.

    Where any image is of an integer type, (0, 255) is tried; for floats the first of (0, 1), (-1, 1) and (0, 255)
    that holds every value, with 0.05 to spare on each side. Where none does: the smallest and the largest value. A
    `value_range` argument overrides the rule wherever there is one.

    >>> value_range_of([np.array([[[0.2]]]), np.array([[[-0.7]]])])
    (-1.0, 1.0)
    """
    low = min(float(image.min()) for image in images)
    high = max(float(image.max()) for image in images)
    any_integers = any(np.issubdtype(image.dtype, np.integer) for image in images)
    for black, white in COMMON_RANGES[-1:] if any_integers else COMMON_RANGES:
        if black - RANGE_SLACK <= low and high <= white + RANGE_SLACK:
            return black, white
    return (low, high) if low < high else (min(low, 0.0), max(high, 0.0))


def to_display(image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Make the picture to show: uint8 RGB (height, width, 3), `value_range` stretched to 0..255 and clipped.

    Raises:
        InvalidOptionError: `value_range` is not two finite numbers, the first smaller than the second.

    >>> to_display(np.array([[[-1.0], [0.0], [1.0]]]), (-1, 1))[0, :, 0].tolist()
    [0, 128, 255]
    """
    low, high = checked_range(value_range, "value_range")
    image = _with_channels(image, 3, "the image")
    if image.dtype == np.uint8 and (low, high) == (0, 255):
        return np.array(image)
    stretched = (image.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(stretched, 0, 255)).astype(np.uint8)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a (height, width) or (height, width, channels) array to `size` = (height, width).

    An axis that shrinks is averaged over the pixels it covers, then one that grows is interpolated linearly, with
    pixel centres at half-integers. A new array, except that one of the asked size is returned as it is.

    >>> resize(np.array([[0.0, 1.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    height, width = image.shape[:2]
    wanted = checked_size(size)
    smaller = (min(height, wanted[0]), min(width, wanted[1]))
    resized = image
    if smaller != (height, width):
        resized = cv2.resize(resized, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != wanted:
        resized = cv2.resize(resized, wanted[::-1], interpolation=cv2.INTER_LINEAR)
    return resized.reshape(*wanted, *image.shape[2:])  # OpenCV drops a last axis of length 1


def checked_size(size: Any) -> tuple[int, int]:
    """Give `size` back as two positive integers, or say what is wrong with it."""
    try:
        height, width = (int(length) for length in size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InvalidOptionError(f"A size is two positive whole numbers, (height, width). Received: {size!r}.")
    return height, width


def checked_range(value_range: Any, name: str) -> tuple[float, float]:
    """Give a (low, high) pair back as two floats, or say what is wrong with it."""
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise InvalidOptionError(f"{name} is two finite numbers (low, high), low < high. Received: {value_range!r}.")
    return low, high


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
    if image.mode.startswith("I"):
        return np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8)
    if image.mode == "F":
        return np.asarray(image)
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))
    if image.mode == "P":
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _as_array(image: Any, name: str) -> np.ndarray:
    """A NumPy array of numbers, from anything that can be one."""
    if hasattr(image, "detach"):  # torch: off the graph and off the accelerator first
        image = image.detach().cpu()
        if str(getattr(image, "dtype", None)) == "torch.bfloat16":  # which NumPy does not know
            image = image.float()
    if isinstance(image, list | tuple) or not (hasattr(image, "__array__") or hasattr(image, "numpy")):
        raise InvalidImageError(f"An image is {MIXED_TYPES}. Received for {name}: {type(image).__name__}.")
    array = np.asarray(image if hasattr(image, "__array__") else image.numpy())
    if array.dtype == bool or array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise InvalidImageError(f"An image holds real numbers. Received for {name}: an array of dtype {array.dtype}.")
    return array


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    """One image as (height, width, channels), or an error that says what it is instead."""
    image = array[..., np.newaxis] if array.ndim == 2 else array
    if image.ndim != 3:
        raise InvalidImageError(
            f"One image has shape (height, width) or (height, width, channels). Received for {name}: shape "
            f"{array.shape}. Several images: one batch of shape (N, height, width, channels), or a list of images."
        )
    if 0 in image.shape:
        raise InvalidImageError(f"An image needs at least one pixel. Received for {name}: shape {array.shape}.")
    if image.shape[-1] not in (1, 3, 4):
        hint = "A batch of gray images has shape (N, height, width, 1): use images[..., np.newaxis]."
        if image.shape[0] in (1, 3, 4):
            hint = "Channels come last: use np.moveaxis(image, 0, -1)."
        raise InvalidImageError(
            f"An image has 1, 3 or 4 channels, on the last axis. Received for {name}: shape {array.shape}. {hint}"
        )
    if image.dtype.kind == "f" and not np.abs(image).max() <= np.finfo(np.float32).max:
        bad = int(np.count_nonzero(~np.isfinite(image)))
        raise InvalidImageError(
            f"An image must be finite in float32. Received for {name}: {bad} NaN or infinite values of {image.size}. "
            "Check what was done to it before, such as a division by zero."
        )
    return image


def _with_channels(image: np.ndarray, channels: int | None, name: str) -> np.ndarray:
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
