"""Choose a few images of a data set to look at again and again: the probes of `CAMCallback`."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_cam.errors import CAMWarning, InvalidDataError
from keras_cam.explainer.datasets import is_instance_of, is_pydataset, num_batches_of
from keras_cam.imaging.load import load_images
from keras_cam.probes.directory import PictureDirectory, find_pictures
from keras_cam.probes.labels import class_labels, labels_wanted
from keras_cam.probes.sampling import MAX_READ, drawn, first_spread, spread_of
from keras_cam.validation import to_numpy

WANTED = (
    "Give images x of shape (n, height, width, channels), a tuple (x, y), or a tf.data.Dataset, "
    "keras.utils.PyDataset or other iterable (one that can be read again) of such images or tuples, or a directory "
    "with a subdirectory of pictures for each class."
)


@dataclasses.dataclass(frozen=True)
class Probes:
    """The images chosen, as the model takes them, and their classes.

    Attributes:
        images: arrays (height, width, channels) in the data's own dtype, each of its own; of further images of a
            directory the paths.
        labels: int64 class of each, or None where the data have none.
        indices: which of the data each is, for data in memory; None for a data set that is read from its start.
    """

    images: list[Any]
    labels: np.ndarray | None
    indices: np.ndarray | None = None


class ProbeSource:
    """Data to take probes from; what is wrong with it is said at construction, as far as it shows without reading.

    Args:
        data: images (n, height, width, channels); a tuple `(x, y)` or `(x, y, sample_weight)`; a data set of these,
            in batches or image by image; or a directory with a subdirectory of pictures for each class. Labels may be
            integers (n,), a column (n, 1), or one row of probabilities per image (n, num_classes), as one-hot labels
            are.

    Attributes:
        in_memory: True for arrays and directories, from which probes can be chosen at once; False for what has to be
            read from its start.
        class_names: names of the subdirectories of a directory, in order; else None.

    Raises:
        InvalidDataError: data that no probes can be taken from.

    Example:
        >>> images, labels = np.zeros((6, 8, 8, 3)), [0, 0, 0, 0, 1, 2]
        >>> ProbeSource((images, labels)).choose(3).labels
        array([0, 1, 2])
    """

    def __init__(self, data: Any) -> None:
        self.class_names: tuple[str, ...] | None = None
        if isinstance(data, (str, os.PathLike)):
            files = find_pictures(data)
            self.class_names = files.class_names
            data = (files, files.labels)
        self._data = data
        self._is_said = False
        self._is_pydataset = is_pydataset(data)
        self.in_memory = not self._is_pydataset and (isinstance(data, tuple) or hasattr(data, "shape"))
        if self.in_memory:
            images, labels = _split(data)
            shape = tuple(getattr(images, "shape", ()))
            if not isinstance(images, PictureDirectory) and (len(shape) != 4 or shape[0] == 0):
                raise InvalidDataError(f"No probes can be taken from {_words(images)}. {WANTED}")
            self._labels = None if labels is None else class_labels(labels, len(images))
        elif is_instance_of(data, "tensorflow", "data.Dataset"):
            images, labels = _split(data.element_spec)
            rank = getattr(getattr(images, "shape", ()), "rank", 0)
            if rank not in (None, 3, 4):
                raise InvalidDataError(f"No probes can be taken from a tf.data.Dataset of {_words(images)}. {WANTED}")
            if isinstance(labels, dict | list | tuple):
                raise InvalidDataError(labels_wanted(f"a {type(labels).__name__} of labels"))
        elif not self._is_pydataset and (
            isinstance(data, list | dict) or not hasattr(data, "__iter__") or hasattr(data, "__next__")
        ):
            raise InvalidDataError(f"No probes can be taken from {_words(data)}. {WANTED}")

    def __len__(self) -> int:
        """How many images there are, of data in memory."""
        return len(_split(self._data)[0])

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
        return self.choose_with_more(num_probes, 0, seed=seed, num_classes=num_classes)[0]

    def choose_with_more(
        self,
        num_probes: int,
        num_more: int,
        *,
        seed: int = 0,
        num_classes: int | None = None,
        preferred: np.ndarray | None = None,
    ) -> tuple[Probes, Probes]:
        """Take probes as `choose` does, and further images of the same classes.

        Args:
            num_probes: how many probes.
            num_more: how many further images, at most.
            seed: as for `choose`, and so the rest.
            num_classes: how many classes there are.
            preferred: bool, which of the images in memory come first within their class.

        Returns:
            The probes, and the further images.
        """
        generator = np.random.default_rng(seed)
        if self.in_memory:
            images, _ = _split(self._data)
            options: Any = {"num_more": num_more, "preferred": preferred}
            chosen, more = drawn(self._labels, len(images), num_probes, generator, **options)
            # Of their own: a view would hold all of the data.
            probes = [np.array(array) for array in load_images([images[int(index)] for index in chosen])[0]]
            others = [images[int(index)] for index in more]
            if not isinstance(images, PictureDirectory):
                others = [np.array(to_numpy(image)) for image in others]
            return tuple(
                Probes(arrays, None if self._labels is None else self._labels[indices], indices)
                for arrays, indices in ((probes, chosen), (others, more))
            )  # type: ignore[return-value]
        with _global_random_state_kept():
            samples = first_spread(self._samples(generator), num_probes + num_more, num_classes)
        if not samples:
            raise InvalidDataError(f"No probes can be taken from a data set without images. {WANTED}")
        first = spread_of([label for _, label in samples], num_probes)
        rest = [index for index in range(len(samples)) if index not in first]
        return _of_samples([samples[index] for index in first]), _of_samples([samples[index] for index in rest])

    @property
    def ends(self) -> bool:
        """Whether the data are known to come to an end."""
        if self.in_memory or self._is_pydataset:
            return self.in_memory or num_batches_of(self._data) is not None
        try:
            return len(self._data) >= 0
        except (TypeError, NotImplementedError):  # an endless tf.data.Dataset, or one that does not know
            return False

    def samples(self, seed: int) -> Iterator[tuple[np.ndarray, int | None, int | None]]:
        """Go through the data image by image, to their end, or `MAX_READ` far where none is known.

        Args:
            seed: of the order of a PyDataset's batches.

        Yields:
            The image, its class or None, and its index among data in memory or None.
        """
        if self.in_memory:
            images, _ = _split(self._data)
            for index in range(len(images)):
                (array,), _ = load_images([images[index]])
                yield array, None if self._labels is None else int(self._labels[index]), index
            return
        with _global_random_state_kept():
            for read, sample in enumerate(self._samples(np.random.default_rng(seed))):
                if read == MAX_READ and not self.ends:
                    self._say_cut()
                    break
                if sample is not None:
                    yield *sample, None

    def _say_cut(self) -> None:
        if not self._is_said:
            self._is_said = True
            warnings.warn(
                f"CAMCallback looks for the worst among the first {MAX_READ} images only: the data set does not say "
                "that it ends. Give one that does, such as arrays (x, y), or a tf.data.Dataset after "
                "apply(tf.data.experimental.assert_cardinality(n)).",
                CAMWarning,
                stacklevel=2,
            )

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
                classes = class_labels(to_numpy(labels)[np.newaxis] if single else labels, len(arrays))
                yield from zip(arrays, classes.tolist(), strict=True)

    def _elements(self, generator: np.random.Generator) -> Iterator[Any]:
        if not self._is_pydataset:
            yield from self._data
            return
        number = num_batches_of(self._data)
        order = itertools.count() if number is None else generator.permutation(number).tolist()
        yield from (self._data[index] for index in order)


def _of_samples(samples: list[tuple[np.ndarray, int | None]]) -> Probes:
    samples = sorted(samples, key=lambda sample: -1 if sample[1] is None else sample[1])
    labels = [label for _, label in samples if label is not None]
    return Probes([np.array(image) for image, _ in samples], np.array(labels, np.int64) if labels else None)


def _split(element: Any) -> tuple[Any, Any]:
    """Images and labels of what Keras would take as one batch."""
    if isinstance(element, tuple | list) and not 1 <= len(element) <= 3:
        raise InvalidDataError(f"No probes can be taken from {len(element)} things at once. {WANTED}")
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(element)
    return images, labels


def _words(images: Any) -> str:
    shape = getattr(images, "shape", None)
    return f"an object of type {type(images).__name__}" + ("" if shape is None else f" and shape {tuple(shape)}")


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Undo what a data set that augments with NumPy's or Python's global generator draws while it is read."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
