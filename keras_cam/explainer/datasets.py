"""Data sets of any kind, as batches of what a model takes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from keras_cam.errors import InvalidDataError


def is_data_set(images: Any) -> bool:
    """Whether it is read batch by batch: a `tf.data.Dataset`, `PyDataset`, `DataLoader` or another iterable.

    Arrays, tensors, lists, dicts and paths are not.

    >>> is_data_set(iter([])), is_data_set([])
    (True, False)
    """
    if is_pydataset(images):
        return True
    # Arrays and tensors can be iterated over too, as can lists of images.
    is_array = hasattr(images, "shape") or hasattr(images, "__array__")
    return not is_array and not isinstance(images, (list, tuple, dict, str, bytes)) and hasattr(images, "__iter__")


def batches_of(data: Any) -> Iterator[Any]:
    """What the model is fed of each batch of a data set, as `model.predict` reads it: x of x, (x, y) or (x, y, weight).

    Args:
        data: a data set, once through.

    Yields:
        Images, or where the model has several inputs what it takes.

    Raises:
        InvalidDataError: a data set that never ends, or that has no batch.
    """
    element = None
    for element in _once_through(data):
        # By hand: `keras.utils.unpack_x_y_sample_weight` does not take tuples of more than three.
        yield element[0] if isinstance(element, (tuple, list)) else element
    if element is None:
        raise InvalidDataError("There is nothing to explain: the data set has no batch.")


def _once_through(data: Any) -> Iterable[Any]:
    if is_pydataset(data):
        count = num_batches_of(data)
        if count is None:
            raise InvalidDataError("The PyDataset has no end: its num_batches is None. Give one that says how many.")
        return (data[index] for index in range(count))
    if is_instance_of(data, "tensorflow", "data.Dataset") and int(data.cardinality()) == -1:
        raise InvalidDataError("The tf.data.Dataset never ends (repeat()). Say how much of it: data.take(100).")
    return data


def is_pydataset(data: Any) -> bool:
    """Whether data are a `keras.utils.PyDataset`, which is read by index."""
    return is_instance_of(data, "keras", "utils.PyDataset")


def num_batches_of(data: Any) -> int | None:
    """How many batches a `keras.utils.PyDataset` has; None where it never ends."""
    try:
        count: int | None = data.num_batches
    except NotImplementedError:  # as Keras has it: no word on the end means that there is none
        return None
    return count


def is_instance_of(data: Any, module: str, name: str) -> bool:
    """Test the type without importing its module: data of that type can only exist where it was imported."""
    # Where the module was never imported, nothing is of its types.
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    return kind is not None and isinstance(data, kind)
