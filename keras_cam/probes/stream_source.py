"""Take probes from a data set that is read from its start, and may never end."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_cam.errors import CAMWarning, InvalidDataError
from keras_cam.explainer.datasets import is_instance_of, is_pydataset, num_batches_of
from keras_cam.imaging.load import load_images
from keras_cam.probes.labels import class_labels, labels_wanted
from keras_cam.probes.sampling import MAX_READ, Sample, first_spread, spread_indices
from keras_cam.probes.selection import Selection, no_probes_in, split_labels, type_and_shape
from keras_cam.validation import to_numpy

NOT_READ_WHOLE = (
    f"CAMCallback looks for the worst among the first {MAX_READ} images only: the data set does not say that it ends. "
    "Give one that does, such as arrays (x, y), or a tf.data.Dataset after "
    "apply(tf.data.experimental.assert_cardinality(n))."
)


class StreamSource:
    """A data set that is read from its start, batch by batch or image by image.

    Args:
        data: a `tf.data.Dataset`, a `keras.utils.PyDataset`, or another iterable that can be read again; of images, or
            of tuples of images and labels, in the forms that `ArraySource` takes them in.

    Attributes:
        class_names: None.

    Raises:
        InvalidDataError: data that no probes can be taken from, as far as it shows without reading.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(self, data: Any) -> None:
        self._data = data
        self._has_warned = False
        self._is_pydataset = is_pydataset(data)
        if is_instance_of(data, "tensorflow", "data.Dataset"):
            _check_specification(data.element_spec)
        elif not self._is_pydataset and not _can_be_read_again(data):
            raise no_probes_in(type_and_shape(data))

    def select(
        self, num_probes: int, num_comparison: int, *, seed: int = 0, num_classes: int | None = None
    ) -> tuple[Selection, Selection]:
        """Take probes, as equally many of each class as can be, and comparison images.

        The data set is read from its start until the images are spread over all classes, at most `MAX_READ` images far.

        Args:
            num_probes: how many probes; fewer come where the data have fewer.
            num_comparison: how many comparison images, at most.
            seed: of the order in which the batches of a PyDataset are read. No global random state is touched.
            num_classes: how many classes there are; without it a labelled data set is read as far as allowed.

        Returns:
            The probes, in the order of their classes, and the comparison images.

        Raises:
            InvalidDataError: the data set is empty, or what it gives is not images with class labels.
            InvalidImageError: an image that cannot be fed, such as one with NaN.
        """
        # All images are read together, spread over the classes; the probes are spread among them once more.
        with _global_random_state_kept():
            generator = np.random.default_rng(seed)
            samples = first_spread(self._samples(generator), num_probes + num_comparison, num_classes)
        if not samples:
            raise no_probes_in("a data set without images")
        probes = spread_indices([label for _, label in samples], num_probes)
        comparison = [index for index in range(len(samples)) if index not in probes]
        return _selection([samples[index] for index in probes]), _selection([samples[index] for index in comparison])

    @property
    def ends(self) -> bool:
        """Whether the data set is known to come to an end."""
        if self._is_pydataset:
            return num_batches_of(self._data) is not None
        try:
            return len(self._data) >= 0
        except (TypeError, NotImplementedError):  # an endless tf.data.Dataset, or one that does not know
            return False

    def samples(self, seed: int = 0) -> Iterator[tuple[np.ndarray, int | None, int | None]]:
        """Go through the data set image by image, to its end, or `MAX_READ` far where none is known.

        Args:
            seed: of the order of a PyDataset's batches.

        Yields:
            The image, its class or None, and None for an index that it does not have.
        """
        with _global_random_state_kept():
            for number, sample in enumerate(self._samples(np.random.default_rng(seed))):
                if number == MAX_READ and not self.ends:
                    self._warn_not_read_whole()
                    break
                if sample is not None:
                    yield *sample, None

    def _warn_not_read_whole(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(NOT_READ_WHOLE, CAMWarning, stacklevel=2)

    def _samples(self, generator: np.random.Generator) -> Iterator[Sample | None]:
        """Go through the data set image by image; None for a batch without any."""
        for batch in self._batches(generator):
            # One image alone has three axes, a batch of them four.
            images, labels = split_labels(batch)
            if len(getattr(images, "shape", ())) not in (3, 4):
                raise no_probes_in(f"a data set of {type_and_shape(images)}")
            if 0 in images.shape:
                yield None  # counts as read, or a data set of empty batches would be read for ever
                continue
            arrays, is_single = load_images(images)
            if labels is None:
                yield from ((array, None) for array in arrays)
            else:
                classes = class_labels(to_numpy(labels)[np.newaxis] if is_single else labels, len(arrays))
                yield from zip(arrays, classes.tolist(), strict=True)

    def _batches(self, generator: np.random.Generator) -> Iterator[Any]:
        if not self._is_pydataset:
            yield from self._data
            return
        count = num_batches_of(self._data)
        # Its batches in an order of our own: `fit` shuffles them too.
        order = itertools.count() if count is None else generator.permutation(count).tolist()
        yield from (self._data[index] for index in order)


def _check_specification(element: Any) -> None:
    """Raise where a `tf.data.Dataset` says that its elements are no images with class labels."""
    images, labels = split_labels(element)
    rank = getattr(getattr(images, "shape", ()), "rank", 0)
    if rank not in (None, 3, 4):
        raise no_probes_in(f"a tf.data.Dataset of {type_and_shape(images)}")
    if isinstance(labels, dict | list | tuple):
        raise InvalidDataError(labels_wanted(f"a {type(labels).__name__} of labels"))


def _can_be_read_again(data: Any) -> bool:
    """Whether it is an iterable of batches that starts anew each time: no list of images, no iterator."""
    return not isinstance(data, list | dict) and hasattr(data, "__iter__") and not hasattr(data, "__next__")


def _selection(samples: list[Sample]) -> Selection:
    # In the order of their classes, as for arrays.
    samples = sorted(samples, key=lambda sample: -1 if sample[1] is None else sample[1])
    labels = [label for _, label in samples if label is not None]
    return Selection([np.array(image) for image, _ in samples], np.array(labels, np.int64) if labels else None)


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Undo what a data set that augments with NumPy's or Python's global generator draws while it is read."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
