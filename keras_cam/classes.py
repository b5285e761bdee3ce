"""Which classes to explain: from what the user says to class indices."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cam.errors import InvalidClassError

TOP = re.compile(r"top[-_ ]?([1-9][0-9]*)", re.IGNORECASE)


def resolve_classes(
    classes: Any, num_images: int, num_classes: int, class_names: Sequence[str] | None = None
) -> np.ndarray | None:
    """Turn what the user asked for into an index per image and map.

    Args:
        classes: a class index, a class name, "top1" / "top3" / "topK" (the K most probable of each image), "all", a
            list or tuple of these (the same for every image), or an integer array: (N,) one class per image, (N, C)
            several. A list may hold arrays (N,) too: ["top1", labels]. What a masked array hides is "top1".
        num_images: N.
        num_classes: how many classes the model tells apart.
        class_names: their names, in order; needed to ask by name.

    Returns:
        int32 (N, C): class indices, or -1, -2, ... for the most probable class of that image, the second, ...
        None stands for all classes.

    Raises:
        InvalidClassError: an index out of range, an unknown name, or an array of the wrong shape.

    Example:
        >>> resolve_classes(["cat", "top2"], 1, 3, ["dog", "cat", "horse"]).tolist()
        [[1, -1, -2]]
    """
    if isinstance(classes, str) and classes.lower() == "all":
        return None
    if not isinstance(classes, (str, list, tuple, range)) and getattr(classes, "shape", ()) != ():
        return _per_image(np.asanyarray(classes), num_images, num_classes)
    asked = list(classes) if isinstance(classes, (list, tuple, range)) else [classes]
    if not asked:
        raise InvalidClassError("No class to explain. Received: an empty list. Name at least one, or pass 'top1'.")
    columns = []
    for one in asked:
        if getattr(one, "ndim", 0) == 1:
            columns.append(_per_image(np.asanyarray(one), num_images, num_classes))
        else:
            indices = _resolve_one(one, num_classes, class_names)
            columns.append(np.tile(np.asarray(indices, "int32"), (num_images, 1)))
    return np.concatenate(columns, axis=1)


def adds_an_axis(classes: Any) -> bool:
    """Whether what the user asked for is several classes of one image ("top1", a name or an index is one)."""
    if isinstance(classes, str):
        top = TOP.fullmatch(classes)
        return classes.lower() == "all" or (top is not None and top[1] != "1")
    return isinstance(classes, (list, tuple, range)) or len(getattr(classes, "shape", ())) == 2


def _resolve_one(one: Any, num_classes: int, class_names: Sequence[str] | None) -> list[int]:
    if isinstance(one, str):
        top = TOP.fullmatch(one)
        if top and one not in (class_names or ()):
            count = int(top[1])
            if count > num_classes:
                raise InvalidClassError(f"Cannot show {one!r}: the model has {num_classes} classes.")
            return [-rank for rank in range(1, count + 1)]
        if class_names is None:
            raise InvalidClassError(
                f"Cannot look up class {one!r} without names. Pass class_names=[...], in the order of the model's "
                "outputs, or a class index."
            )
        matches = [index for index, name in enumerate(class_names) if name == one]
        if len(matches) != 1:
            known = ", ".join(map(repr, class_names[:10])) + (", ..." if len(class_names) > 10 else "")
            found = "no class" if not matches else f"{len(matches)} classes"
            raise InvalidClassError(f"{found} of the name {one!r}. The class names are {known}.")
        return matches
    try:
        index = operator.index(one.item() if getattr(one, "shape", None) == () and hasattr(one, "item") else one)
    except TypeError:
        raise InvalidClassError(
            f"A class is an index, a name, 'top1', 'top3' or 'all'. Received: {one!r} ({type(one).__name__})."
        ) from None
    _check_range(np.asarray([index]), num_classes)
    return [index]


def _per_image(indices: np.ndarray, num_images: int, num_classes: int) -> np.ndarray:
    if indices.dtype.kind not in "iu":
        raise InvalidClassError(f"Classes per image must be integers. Received: an array of {indices.dtype}.")
    if indices.ndim not in (1, 2) or indices.shape[0] != num_images or indices.size == 0:
        raise InvalidClassError(
            f"An array of classes is one row per image: wanted ({num_images},) or ({num_images}, C). Received: shape "
            f"{indices.shape}. Pass a list for classes that hold for every image."
        )
    hidden = np.ma.getmaskarray(indices)
    _check_range(np.asarray(indices)[~hidden], num_classes)
    return np.where(hidden, -1, np.asarray(indices)).reshape(num_images, -1).astype("int32")


def _check_range(indices: np.ndarray, num_classes: int) -> None:
    wrong = indices[(indices < 0) | (indices >= num_classes)]
    if wrong.size:
        raise InvalidClassError(
            f"Class index {int(wrong[0])} is out of range: the model has {num_classes} classes, 0 to {num_classes - 1}."
        )
