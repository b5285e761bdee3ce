"""What an image is compared with where a method needs a baseline: a number, or an image that holds nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_cam.errors import InvalidOptionError
from keras_cam.validation import to_numpy


def empty_image(baseline: Any, images: Any) -> np.ndarray:
    """A baseline as float32 (1, ...) that every image may be compared with.

    Args:
        baseline: a number; or an array or tensor that broadcasts to one image, channels last.
        images: (N, H, W, K), as the model is fed them.

    Returns:
        An array with as many axes as the images.

    Raises:
        InvalidOptionError: anything else.
    """
    size = tuple(images.shape[1:])
    try:
        array = to_numpy(baseline)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.ndim == len(size) + 1 and len(array) == 1:  # with its batch axis
        array = array[0]
    # As NumPy broadcasts: the last axes against each other, and each as long as the image's or 1.
    pairs = zip(array.shape[::-1], size[::-1], strict=False)
    fits = array.ndim <= len(size) and all(length in (1, wanted) for length, wanted in pairs)
    if array.dtype.kind not in "iuf" or not fits or not np.isfinite(array).all():
        received = f"an array {array.shape}" if array.dtype.kind in "iuf" and array.ndim else repr(baseline)
        raise InvalidOptionError(
            f"baseline must be a finite number, or an array of them that broadcasts to one image as the model is fed "
            f"it, channels last, here {size}. Received: {received}. One baseline serves all images."
        )
    return array.astype("float32").reshape(1, *[1] * (len(size) - array.ndim), *array.shape)
