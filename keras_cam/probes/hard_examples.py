"""The hardest images of a data set for a network: those that it is most confidently wrong about."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.explainer.explainer import Explainer
from keras_cam.probes.labels import check_labels
from keras_cam.probes.selection import Selection
from keras_cam.probes.source import ProbeSource

AT_ONCE = 32  # images explained together


class Example(NamedTuple):
    """An image, by how hard it is: of two that are equally hard the earlier one is the greater tuple."""

    margin: float  # of the most probable wrong class over the true one
    earliness: int
    image: np.ndarray
    label: int
    data_index: int | None


def hard_examples(explainer: Explainer, source: ProbeSource, count: int, *, seed: int = 0) -> Selection:
    """Choose the images whose true class a network holds least likely, beside the class that it takes them for.

    The data are read once, `MAX_READ` images at most, and no more than `AT_ONCE` and those chosen are kept.

    Args:
        explainer: explains the network as it is now.
        source: labelled data.
        count: how many images.
        seed: of the order of a PyDataset's batches.

    Returns:
        The images, the hardest first. Where fewer are wrong, right ones that the network is least sure of follow.

    Raises:
        InvalidDataError: data without labels.
    """
    hardest: list[Example] = []  # a heap: the least hard of them is its first
    for example in _examples(explainer, source, seed):
        if len(hardest) < count:
            heapq.heappush(hardest, _copied(example))
        elif example[:2] > hardest[0][:2]:
            heapq.heapreplace(hardest, _copied(example))
    if not hardest:
        raise InvalidDataError("probes='worst' found no image in the data.")
    hardest.sort(key=lambda example: example[:2], reverse=True)
    indices = [example.data_index for example in hardest]
    return Selection(
        [example.image for example in hardest],
        np.array([example.label for example in hardest], np.int64),
        None if None in indices else np.array(indices),
    )


def _examples(explainer: Explainer, source: ProbeSource, seed: int) -> Iterator[Example]:
    """All images of the data, and how hard each is."""
    order = itertools.count()
    for batch in _batches(source, seed):
        images, labels, indices = zip(*batch, strict=True)
        if None in labels:
            raise InvalidDataError("probes='worst' looks for wrong predictions. Give labelled data: (x, y).")
        check_labels(np.array(labels), explainer.num_classes)
        result = explainer(list(images))
        # How much likelier than the true class the network holds the likeliest of the others.
        for row, probabilities in enumerate(result.probabilities):
            label = labels[row]
            margin = float(np.delete(probabilities, label).max(initial=-np.inf) - probabilities[label])
            yield Example(margin, -next(order), images[row], label, indices[row])


def _batches(source: ProbeSource, seed: int) -> Iterator[list[Any]]:
    samples = source.samples(seed)
    # Until a batch comes out empty.
    return iter(lambda: list(itertools.islice(samples, AT_ONCE)), [])


def _copied(example: Example) -> Example:
    """The example without a hold on the batch that its image is a view of."""
    return example._replace(image=example.image.copy())
