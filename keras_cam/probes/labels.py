"""Labels in any form that a data set has them in, as class indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.validation import to_numpy


def class_labels(labels: Any, count: int) -> np.ndarray:
    """Turn the labels of `count` images into int64 class indices (count,).

    Args:
        labels: whole numbers (count,) or (count, 1), or rows (count, num_classes) that sum to one.
        count: how many images they are for.

    Raises:
        InvalidDataError: anything else.

    >>> class_labels([[0.0, 1.0], [0.9, 0.1]], 2)
    array([1, 0])
    """
    # What no label can be, whatever its values.
    array = to_numpy(labels)
    words = f"labels of shape {array.shape} and type {array.dtype}"
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf" or 0 in array.shape:
        raise InvalidDataError(labels_wanted(words))
    if len(array) != count:
        raise InvalidDataError(f"Each image needs one label. Received: {count} images and {len(array)} labels.")
    # Rows of probabilities: one-hot, smoothed or soft labels, the likeliest class of each.
    if array.ndim == 2 and array.shape[1] > 1:
        if not ((array >= 0).all() and np.allclose(array.sum(axis=1, dtype=np.float64), 1, atol=1e-2)):
            raise InvalidDataError(labels_wanted(f"{words} whose rows do not sum to one"))
        return array.argmax(axis=1)
    # Class indices; floats too, as binary_crossentropy wants them.
    column = array.reshape(count)
    if not (np.isfinite(column).all() and (column >= 0).all() and (column == np.floor(column)).all()):
        raise InvalidDataError(labels_wanted(f"{words} with values from {column.min():g} to {column.max():g}"))
    return column.astype(np.int64)


def check_labels(labels: np.ndarray | None, num_classes: int) -> None:
    """Raise `InvalidDataError` where a label is none of the model's classes."""
    if labels is not None and labels.max(initial=0) >= num_classes:
        raise InvalidDataError(
            f"Labels must lie in 0..{num_classes - 1}, for the model tells {num_classes} classes apart. "
            f"Received: label {labels.max()} in the data given to CAMCallback."
        )


def labels_wanted(received: str) -> str:
    """What to say where labels are something else than classes."""
    return (
        "Probes are spread over the classes by their labels: whole numbers (n,) or (n, 1), or one-hot rows "
        f"(n, num_classes). Received: {received}. For any other task give the images alone."
    )
