"""Take probes from images that can be had in any order: arrays in memory, or the files of a directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_cam.imaging.load import load_images
from keras_cam.probes.directory import PictureDirectory
from keras_cam.probes.labels import class_labels
from keras_cam.probes.sampling import draw_indices
from keras_cam.probes.selection import Selection, no_probes_in, split_labels, type_and_shape
from keras_cam.validation import to_numpy


class ArraySource:
    """Images that can be had in any order.

    Args:
        data: images (n, height, width, channels), anything of that shape that takes an index, or a `PictureDirectory`;
            alone or in a tuple `(x, y)` or `(x, y, sample_weight)`. Labels may be integers (n,), a column (n, 1), or
            one row of probabilities per image (n, num_classes), as one-hot labels are.

    Attributes:
        class_names: names of the subdirectories of a directory, in order; else None.
        ends: True.

    Raises:
        InvalidDataError: data that no probes can be taken from.

    Example:
        >>> images, labels = np.zeros((6, 8, 8, 3)), [0, 0, 0, 0, 1, 2]
        >>> probes, comparison = ArraySource((images, labels)).select(3, 2)
        >>> probes.labels, len(comparison.images)
        (array([0, 1, 2]), 2)
    """

    ends = True

    def __init__(self, data: Any) -> None:
        self._images, labels = split_labels(data)
        self._is_directory = isinstance(self._images, PictureDirectory)
        self.class_names: tuple[str, ...] | None = self._images.class_names if self._is_directory else None
        shape = tuple(getattr(self._images, "shape", ()))
        if not self._is_directory and (len(shape) != 4 or shape[0] == 0):
            raise no_probes_in(type_and_shape(self._images))
        self._labels = None if labels is None else class_labels(labels, len(self))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def select(
        self, num_probes: int, num_comparison: int, *, seed: int = 0, preferred: np.ndarray | None = None
    ) -> tuple[Selection, Selection]:
        """Draw probes from all images, as equally many of each class as can be, and comparison images.

        Args:
            num_probes: how many probes; fewer come where there are fewer images.
            num_comparison: how many comparison images, at most; they are of the classes of the probes first.
            seed: the same seed gives the same images. No global random state is touched.
            preferred: bool (n,), which images come first within their class.

        Returns:
            The probes, in the order of their classes, and the comparison images.

        Raises:
            InvalidImageError: an image that cannot be fed, such as one with NaN.
        """
        # Images are read one by one where they are chosen: the data may lie on disk.
        generator = np.random.default_rng(seed)
        drawn, comparison = draw_indices(
            self._labels, len(self), num_probes, generator, num_comparison=num_comparison, preferred=preferred
        )
        # Copies: a view would hold all of the data.
        probes = [np.array(image) for image in load_images(self._at(drawn))[0]]
        # Comparison images of a directory stay paths: those that cannot be read are passed over later.
        compared = self._at(comparison)
        if not self._is_directory:
            compared = [np.array(to_numpy(image)) for image in compared]
        return self._selection(probes, drawn), self._selection(compared, comparison)

    def samples(self, seed: int = 0) -> Iterator[tuple[np.ndarray, int | None, int | None]]:
        """Go through all images.

        Args:
            seed: of no effect: the order is that of the data.

        Yields:
            The image, its class or None, and its index.
        """
        for index in range(len(self)):
            (image,), _ = load_images([self._images[index]])
            yield image, None if self._labels is None else int(self._labels[index]), index

    def _at(self, indices: np.ndarray) -> list[Any]:
        return [self._images[int(index)] for index in indices]

    def _selection(self, images: list[Any], indices: np.ndarray) -> Selection:
        return Selection(images, None if self._labels is None else self._labels[indices], indices)
