"""Choose a few images of a data set to look at again and again: the probes of `CAMCallback`."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_cam.errors import CAMWarning, InvalidDataError
from keras_cam.images import load_images

__all__ = ["MAX_READ", "ProbeSource", "Probes", "class_labels"]

MAX_READ = 4096  # images, or batches without any, read of a data set at most: it may never end
WANTED = (
    "Give images x of shape (n, height, width, channels), a tuple (x, y), or a tf.data.Dataset, "
    "keras.utils.PyDataset or other iterable (one that can be read again) of such images or tuples."
)


@dataclasses.dataclass(frozen=True)
class Probes:
    """The images chosen, as the model takes them, and their classes.

    Attributes:
        images: arrays (height, width, channels) in the data's own dtype.
        labels: int64 class of each, or None where the data have none.
    """

    images: list[np.ndarray]
    labels: np.ndarray | None


class ProbeSource:
    """Data to take probes from; what is wrong with it is said at construction, as far as it shows without reading.

    Args:
        data: images (n, height, width, channels); a tuple `(x, y)` or `(x, y, sample_weight)`; or a data set of these,
            in batches or image by image. Labels may be integers (n,), a column (n, 1), or one row of probabilities
            per image (n, num_classes), as one-hot labels are.

    Attributes:
        in_memory: True for arrays, from which probes can be chosen at once; False for what has to be read.

    Raises:
        InvalidDataError: data that no probes can be taken from.

    Example:
        >>> images, labels = np.zeros((6, 8, 8, 3)), [0, 0, 0, 0, 1, 2]
        >>> ProbeSource((images, labels)).choose(3).labels
        array([0, 1, 2])
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._is_pydataset = _is_instance(data, "keras", "utils.PyDataset")
        self.in_memory = not self._is_pydataset and (isinstance(data, tuple) or hasattr(data, "shape"))
        if self.in_memory:
            images, labels = _split(data)
            shape = tuple(getattr(images, "shape", ()))
            if len(shape) != 4 or shape[0] == 0:
                raise InvalidDataError(f"No probes can be taken from {_words(images)}. {WANTED}")
            self._labels = None if labels is None else class_labels(labels, shape[0])
        elif _is_instance(data, "tensorflow", "data.Dataset"):
            images, labels = _split(data.element_spec)
            rank = getattr(getattr(images, "shape", ()), "rank", 0)
            if rank not in (None, 3, 4):
                raise InvalidDataError(f"No probes can be taken from a tf.data.Dataset of {_words(images)}. {WANTED}")
            if isinstance(labels, dict | list | tuple):
                raise InvalidDataError(_labels_wanted(f"a {type(labels).__name__} of labels"))
        elif not self._is_pydataset and (
            isinstance(data, str | list | dict) or not hasattr(data, "__iter__") or hasattr(data, "__next__")
        ):
            raise InvalidDataError(f"No probes can be taken from {_words(data)}. {WANTED}")

    def choose(self, num_probes: int, *, seed: int = 0, num_classes: int | None = None) -> Probes:
        """Take probes, as equally many of each class as can be, in the order of their classes.

        From arrays they are drawn from all images. A data set is read from its start (a PyDataset in an order of
        batches drawn by `seed`) until the probes are spread over all classes, at most `MAX_READ` images far.

        Args:
            num_probes: how many; fewer come where the data have fewer.
            seed: the same seed gives the same probes. No global random state is touched.
            num_classes: how many classes there are; without it a labelled data set is read as far as allowed.

        Raises:
            InvalidDataError: the data set is empty, or what it gives is not images with class labels.
            InvalidImageError: an image that cannot be fed, such as one with NaN.
        """
        generator = np.random.default_rng(seed)
        if self.in_memory:
            images, _ = _split(self._data)
            chosen = _drawn(self._labels, len(images), num_probes, generator)
            arrays, _ = load_images([images[int(index)] for index in chosen])
            return Probes(arrays, None if self._labels is None else self._labels[chosen])
        with _global_random_state_kept():
            samples = _first_spread(self._samples(generator), num_probes, num_classes)
        if not samples:
            raise InvalidDataError(f"No probes can be taken from a data set without images. {WANTED}")
        samples = sorted(samples, key=lambda sample: -1 if sample[1] is None else sample[1])
        labels = [label for _, label in samples if label is not None]
        return Probes([np.array(image) for image, _ in samples], np.array(labels, np.int64) if labels else None)

    def _samples(self, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, int | None] | None]:
        """Go through a data set image by image; None for a batch without any."""
        for element in self._elements(generator):
            images, labels = _split(element)
            if len(getattr(images, "shape", ())) not in (3, 4):
                raise InvalidDataError(f"No probes can be taken from a data set of {_words(images)}. {WANTED}")
            if 0 in images.shape:
                yield None
                continue
            arrays, single = load_images(images)
            if labels is None:
                yield from ((array, None) for array in arrays)
            else:
                classes = class_labels(_to_numpy(labels)[np.newaxis] if single else labels, len(arrays))
                yield from zip(arrays, classes.tolist(), strict=True)

    def _elements(self, generator: np.random.Generator) -> Iterator[Any]:
        if not self._is_pydataset:
            yield from self._data
            return
        try:
            number = self._data.num_batches
        except NotImplementedError:  # as Keras has it: no word on the end means that there is none
            number = None
        order = itertools.count() if number is None else generator.permutation(number).tolist()
        yield from (self._data[index] for index in order)


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
    array = _to_numpy(labels)
    words = f"labels of shape {array.shape} and type {array.dtype}"
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf" or 0 in array.shape:
        raise InvalidDataError(_labels_wanted(words))
    if len(array) != count:
        raise InvalidDataError(f"Each image needs one label. Received: {count} images and {len(array)} labels.")
    if array.ndim == 2 and array.shape[1] > 1:
        if not ((array >= 0).all() and np.allclose(array.sum(axis=1, dtype=np.float64), 1, atol=1e-2)):
            raise InvalidDataError(_labels_wanted(f"{words} whose rows do not sum to one"))
        return array.argmax(axis=1)
    column = array.reshape(count)
    if not (np.isfinite(column).all() and (column >= 0).all() and (column == np.floor(column)).all()):
        raise InvalidDataError(_labels_wanted(f"{words} with values from {column.min():g} to {column.max():g}"))
    return column.astype(np.int64)


def _drawn(labels: np.ndarray | None, count: int, num_probes: int, generator: np.random.Generator) -> np.ndarray:
    """Draw indices of images: one of each class in turn until there are enough, the classes in a drawn order."""
    shuffled = generator.permutation(count)
    if labels is None:
        return np.sort(shuffled[:num_probes])
    _, classes, class_sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    turns = np.empty(count, np.int64)
    turns[by_class] = np.concatenate([np.arange(size) for size in class_sizes])
    place_in_turn = generator.permutation(len(class_sizes))
    chosen = np.lexsort((place_in_turn[classes], turns))[:num_probes]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def _first_spread(
    samples: Iterator[tuple[np.ndarray, int | None] | None], num_probes: int, num_classes: int | None
) -> list[tuple[np.ndarray, int | None]]:
    """Keep the first samples that spread over the classes; never more than `num_probes` at a time."""
    kept: list[tuple[np.ndarray, int | None]] = []
    for read, sample in enumerate(samples):
        if read == MAX_READ:
            _warn_not_spread(kept, num_classes)
            break
        if sample is None:
            continue
        counts = Counter(label for _, label in kept)
        if len(kept) == num_probes:
            most, number = counts.most_common(1)[0]
            if counts[sample[1]] + 1 >= number:
                continue
            last = max(index for index, (_, label) in enumerate(kept) if label == most)
            counts[most] -= 1
            del kept[last]
        kept.append(sample)
        counts[sample[1]] += 1
        if len(kept) == num_probes and _is_spread(counts, num_probes, num_classes):
            break
    return kept


def _is_spread(counts: Counter[int | None], num_probes: int, num_classes: int | None) -> bool:
    """Say whether more reading could not make the classes more equal."""
    if None in counts:
        return True
    if num_classes is None:
        return False
    numbers = [number for number in counts.values() if number]
    return len(numbers) >= min(num_classes, num_probes) and max(numbers) - min(numbers) <= 1


def _warn_not_spread(kept: list[tuple[np.ndarray, int | None]], num_classes: int | None) -> None:
    classes = sorted({label for _, label in kept if label is not None})
    of_all = "" if num_classes is None else f" of {num_classes}"
    warnings.warn(
        f"CAMCallback read {MAX_READ} images without coming to the end of the data set, and stopped there. The "
        f"{len(kept)} probes chosen are of the classes {classes}{of_all}. If others are wanted, shuffle the data set "
        f"or give arrays (x, y).",
        CAMWarning,
        stacklevel=2,
    )


def _split(element: Any) -> tuple[Any, Any]:
    """Images and labels of what Keras would take as one batch."""
    if isinstance(element, tuple | list):
        if not 1 <= len(element) <= 3:
            raise InvalidDataError(f"No probes can be taken from {len(element)} things at once. {WANTED}")
        return element[0], element[1] if len(element) > 1 else None
    return element, None


def _to_numpy(labels: Any) -> np.ndarray:
    if hasattr(labels, "detach"):  # torch: off the graph and off the accelerator first
        labels = labels.detach().cpu()
    return np.asarray(labels)


def _labels_wanted(received: str) -> str:
    return (
        "Probes are spread over the classes by their labels: whole numbers (n,) or (n, 1), or one-hot rows "
        f"(n, num_classes). Received: {received}. For any other task give the images alone."
    )


def _words(images: Any) -> str:
    shape = getattr(images, "shape", None)
    return f"an object of type {type(images).__name__}" + ("" if shape is None else f" and shape {tuple(shape)}")


def _is_instance(data: Any, module: str, name: str) -> bool:
    """Test the type without importing its module: data of that type can only exist where it was imported."""
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    return kind is not None and isinstance(data, kind)


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Undo what a data set that augments with NumPy's or Python's global generator draws while it is read."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
