"""Choose a few images that are spread over the classes, from all at once or from a stream."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np

from keras_cam.errors import CAMWarning

MAX_READ = 4096  # images, or batches without any, read of a data set that may never end
FEWEST = 3  # maps of a class that can agree by more than chance

Sample = tuple[np.ndarray, int | None]  # an image and its class


def draw_indices(
    labels: np.ndarray | None,
    count: int,
    num_probes: int,
    generator: np.random.Generator,
    *,
    num_comparison: int = 0,
    preferred: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw indices of images: one of each class in turn until there are enough, the classes in a drawn order.

    Args:
        labels: class of each image, or None.
        count: how many images there are.
        num_probes: how many to draw.
        generator: draws.
        num_comparison: how many comparison images to draw besides, of few enough classes to have `FEWEST` of each,
            those of the probes first.
        preferred: bool (count,): which images come first within their class.

    Returns:
        Indices of the probes in the order of their classes, and of the comparison images.
    """
    # All images in a drawn order, the preferred ones first: within a class this order counts.
    shuffled = generator.permutation(count)
    if preferred is not None:
        shuffled = shuffled[np.argsort(~preferred[shuffled], kind="stable")]
    if labels is None:
        return np.sort(shuffled[:num_probes]), shuffled[num_probes : num_probes + num_comparison]
    # An image's turn is its rank within its class: in each turn every class gives one image.
    _, classes, class_sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    turns = np.empty(count, np.int64)
    turns[by_class] = np.concatenate([np.arange(size) for size in class_sizes])
    place_in_turn = generator.permutation(len(class_sizes))
    in_turn = np.lexsort((place_in_turn[classes], turns))
    probes, remaining = in_turn[:num_probes], in_turn[num_probes:]
    # Comparison images are of few classes, for maps are compared within a class.
    most_classes = max(num_probes, (num_probes + num_comparison) // FEWEST)
    comparison = remaining[place_in_turn[classes[remaining]] < most_classes][:num_comparison]
    return probes[np.lexsort((probes, labels[probes]))], comparison


def first_spread(samples: Iterator[Sample | None], count: int, num_classes: int | None) -> list[Sample]:
    """Keep the first samples that are spread over the classes.

    Args:
        samples: read one by one, `MAX_READ` of them at most; None stands for a batch without images.
        count: how many samples to keep; never are there more at a time.
        num_classes: how many classes there are; None where that is not known, and all have to be read.

    Returns:
        Copies of the samples kept, in the order of the stream.
    """
    kept: list[Sample] = []
    counts: Counter[int | None] = Counter()
    for number, sample in enumerate(samples):
        if number == MAX_READ:
            _warn_not_spread(kept, num_classes)
            break
        if sample is None:
            continue
        image, label = sample
        if len(kept) == count and not _make_room(kept, counts, label):
            continue
        kept.append((image.copy(), label))  # a view would keep the batch that it came in
        counts[label] += 1
        if len(kept) == count and _is_spread(counts, count, num_classes):
            break
    return kept


def spread_indices(labels: list[int | None], count: int) -> list[int]:
    """Which of some samples to take so that they are spread over the classes, the first ones of each class."""
    numbered = ((np.array(index), label) for index, label in enumerate(labels))
    return [int(index) for index, _ in first_spread(numbered, count, None)]


def _make_room(kept: list[Sample], counts: Counter[int | None], label: int | None) -> bool:
    """Drop the last sample of the largest class, if one of class `label` in its place makes the classes more equal."""
    # It must be two images ahead, or the swap would only turn the inequality round.
    largest, size = max(counts.items(), key=lambda item: item[1])
    if counts[label] + 1 >= size:
        return False
    del kept[max(index for index, (_, kept_label) in enumerate(kept) if kept_label == largest)]
    counts[largest] -= 1
    return True


def _is_spread(counts: Counter[int | None], count: int, num_classes: int | None) -> bool:
    """Say whether more reading could not make the classes more equal."""
    if None in counts:
        return True
    if num_classes is None:
        return False
    sizes = [size for size in counts.values() if size]
    return len(sizes) >= min(num_classes, count) and max(sizes) - min(sizes) <= 1


def _warn_not_spread(kept: list[Sample], num_classes: int | None) -> None:
    classes = sorted({label for _, label in kept if label is not None})
    of_all = "" if num_classes is None else f" of {num_classes}"
    warnings.warn(
        f"CAMCallback read {MAX_READ} images without coming to the end of the data set, and stopped there. The "
        f"{len(kept)} images chosen are of the classes {classes}{of_all}. If others are wanted, shuffle the data set "
        f"or give arrays (x, y).",
        CAMWarning,
        stacklevel=2,
    )
