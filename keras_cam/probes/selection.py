"""Images that were selected from some data, and what is said where none can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_cam.errors import InvalidDataError

WANTED = (
    "Give images x of shape (n, height, width, channels), a tuple (x, y), or a tf.data.Dataset, "
    "keras.utils.PyDataset or other iterable (one that can be read again) of such images or tuples, or a directory "
    "with a subdirectory of pictures for each class."
)


@dataclass(frozen=True)
class Selection:
    """Images of a data set, as the model takes them, and their classes.

    Attributes:
        images: arrays (height, width, channels) in the data's own dtype, none of them a view of the data; comparison
            images of a directory are paths.
        labels: int64 class of each image, or None where the data have none.
        indices: which of the data each image is, for data in memory; None for a data set that is read from its start.
    """

    images: list[Any]
    labels: np.ndarray | None
    indices: np.ndarray | None = None


def split_labels(element: Any) -> tuple[Any, Any]:
    """Split what Keras would take as one batch.

    Args:
        element: images, or a tuple (x,), (x, y) or (x, y, sample_weight).

    Returns:
        The images, and their labels or None.

    Raises:
        InvalidDataError: a tuple of another length.
    """
    if isinstance(element, tuple | list) and not 1 <= len(element) <= 3:
        raise no_probes_in(f"{len(element)} things at once")
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(element)
    return images, labels


def no_probes_in(received: str) -> InvalidDataError:
    """The error for data that hold no images to take probes from."""
    return InvalidDataError(f"No probes can be taken from {received}. {WANTED}")


def type_and_shape(images: Any) -> str:
    """What some data are, in words for an error."""
    shape = getattr(images, "shape", None)
    return f"an object of type {type(images).__name__}" + ("" if shape is None else f" and shape {tuple(shape)}")
