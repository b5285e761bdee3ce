"""The images of a data set on which a network is most confidently wrong."""

from __future__ import annotations

import heapq
import itertools

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.explainer.explainer import Explainer
from keras_cam.probes.labels import check_labels
from keras_cam.probes.source import Probes, ProbeSource

AT_ONCE = 32


def most_wrong(explainer: Explainer, source: ProbeSource, count: int, *, seed: int = 0) -> Probes:
    """Choose the images whose true class a network holds least likely, beside the class that it takes them for.

    The data are read once, `MAX_READ` images at most, and no more than `AT_ONCE` and those chosen are kept.

    Args:
        explainer: explains the network as it is now.
        source: labelled data.
        count: how many images.
        seed: of the order of a PyDataset's batches.

    Returns:
        The images, the worst first. Where fewer are wrong, right ones that the network is least sure of follow.

    Raises:
        InvalidDataError: data without labels.
    """
    kept: list[tuple[float, int, np.ndarray, int, int | None]] = []
    number = itertools.count()
    for batch in _batches(source, seed):
        labels = [label for _, label, _ in batch]
        if None in labels:
            raise InvalidDataError("probes='worst' looks for wrong predictions. Give labelled data: (x, y).")
        check_labels(np.array(labels), explainer.num_classes)
        result = explainer([image for image, _, _ in batch])
        for row, (image, label, index) in enumerate(batch):
            probabilities, true = result.probabilities[row], int(label or 0)
            lead = float(np.delete(probabilities, true).max(initial=-np.inf) - probabilities[true])
            place = (lead, -next(number))
            if len(kept) < count or place > kept[0][:2]:
                entry = (*place, image.copy(), true, index)  # of its own: the batch can go
                (heapq.heappushpop if len(kept) == count else heapq.heappush)(kept, entry)
    if not kept:
        raise InvalidDataError("probes='worst' found no image in the data.")
    worst = sorted(kept, key=lambda entry: entry[:2], reverse=True)
    indices = [index for *_, index in worst]
    return Probes(
        [image for _, _, image, _, _ in worst],
        np.array([label for _, _, _, label, _ in worst], np.int64),
        None if None in indices else np.array(indices),
    )


def _batches(source: ProbeSource, seed: int) -> list[list[tuple[np.ndarray, int | None, int | None]]]:
    samples = source.samples(seed)
    return iter(lambda: list(itertools.islice(samples, AT_ONCE)), [])  # type: ignore[return-value]
