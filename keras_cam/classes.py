"""Which classes to explain: from what the user says to class indices."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_cam.errors import InvalidClassError

TOP = re.compile(r"top[-_ ]?([1-9][0-9]*)", re.IGNORECASE)
UNUSUAL = re.compile(r"[^\w .-]")  # what TensorBoard's tags do without
LONGEST_TAG = 60


@dataclass(frozen=True)
class ClassNames:
    """What the classes of a model are called.

    Attributes:
        names: one for each class, in order; None where they have none.
        count: how many classes there are.

    >>> names = ClassNames(("dog", "cat"), 2)
    >>> names.name_of(1), names.index_of("dog"), names.tag_of(0), ClassNames(None, 2).name_of(1)
    ('cat', 0, '0_dog', 'class 1')
    """

    names: tuple[str, ...] | None
    count: int

    @classmethod
    def checked(cls, names: Sequence[str] | None, count: int, model: str) -> ClassNames:
        """The names that a user gives for the classes of a model, or an error where they do not name each."""
        if isinstance(names, str):
            raise InvalidClassError(f"class_names must be a list of names. Received: the string {names!r}.")
        if names is not None and len(names) != count:
            raise InvalidClassError(
                f"class_names must name each of the {count} classes of model {model!r}. Received: {len(names)} names."
            )
        return cls(None if names is None else tuple(map(str, names)), count)

    def name_of(self, index: int) -> str:
        """What a class is called; "class 3" where it has no name."""
        return f"class {index}" if self.names is None else self.names[index]

    def index_of(self, name: str) -> int:
        """The class of a name, or an error where none or several have it."""
        if self.names is None:
            raise InvalidClassError(
                f"Cannot look up class {name!r} without names. Pass class_names=[...], in the order of the model's "
                "outputs, or a class index."
            )
        matches = [index for index, known in enumerate(self.names) if known == name]
        if len(matches) != 1:
            known = ", ".join(map(repr, self.names[:10])) + (", ..." if len(self.names) > 10 else "")
            found = "no class" if not matches else f"{len(matches)} classes"
            raise InvalidClassError(f"{found} of the name {name!r}. The class names are {known}.")
        return matches[0]

    def tag_of(self, index: int) -> str:
        """A class as part of a TensorBoard tag: its index, and of its name letters, digits and a few signs."""
        return f"{index}_{UNUSUAL.sub('_', self.name_of(index))[:LONGEST_TAG]}"


def resolve_classes(classes: Any, num_images: int, names: ClassNames) -> np.ndarray | None:
    """Turn what the user asked for into an index per image and map.

    Args:
        classes: a class index, a class name, "top1" / "top3" / "topK" (the K most probable of each image), "all", a
            list or tuple of these (the same for every image), or an integer array: (N,) one class per image, (N, C)
            several. A list may hold arrays (N,) too: ["top1", labels]. What a masked array hides is "top1".
        num_images: N.
        names: the classes that the model tells apart, and their names.

    Returns:
        int32 (N, C): class indices, or -1, -2, ... for the most probable class of that image, the second, ...
        None stands for all classes.

    Raises:
        InvalidClassError: an index out of range, an unknown name, or an array of the wrong shape.

    Example:
        >>> resolve_classes(["cat", "top2"], 1, ClassNames(("dog", "cat", "horse"), 3)).tolist()
        [[1, -1, -2]]
    """
    if isinstance(classes, str) and classes.lower() == "all":
        return None
    if not isinstance(classes, (str, list, tuple, range)) and getattr(classes, "shape", ()) != ():
        return _per_image(np.asanyarray(classes), num_images, names.count)
    asked = list(classes) if isinstance(classes, (list, tuple, range)) else [classes]
    if not asked:
        raise InvalidClassError("No class to explain. Received: an empty list. Name at least one, or pass 'top1'.")
    columns = []
    for one in asked:
        if getattr(one, "ndim", 0) == 1:
            columns.append(_per_image(np.asanyarray(one), num_images, names.count))
        else:
            indices = _resolve_one(one, names)
            columns.append(np.tile(np.asarray(indices, "int32"), (num_images, 1)))
    return np.concatenate(columns, axis=1)


def adds_an_axis(classes: Any) -> bool:
    """Whether what the user asked for is several classes of one image ("top1", a name or an index is one)."""
    if isinstance(classes, str):
        top = TOP.fullmatch(classes)
        return classes.lower() == "all" or (top is not None and top[1] != "1")
    return isinstance(classes, (list, tuple, range)) or len(getattr(classes, "shape", ())) == 2


def _resolve_one(one: Any, names: ClassNames) -> list[int]:
    if isinstance(one, str):
        top = TOP.fullmatch(one)
        if not top or one in (names.names or ()):
            return [names.index_of(one)]
        count = int(top[1])
        if count > names.count:
            raise InvalidClassError(f"Cannot show {one!r}: the model has {names.count} classes.")
        return [-rank for rank in range(1, count + 1)]
    try:
        index = operator.index(one.item() if getattr(one, "shape", None) == () and hasattr(one, "item") else one)
    except TypeError:
        raise InvalidClassError(
            f"A class is an index, a name, 'top1', 'top3' or 'all'. Received: {one!r} ({type(one).__name__})."
        ) from None
    _check_range(np.asarray([index]), names.count)
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
