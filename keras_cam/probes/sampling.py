"""Choose a few images that are spread over the classes, from all at once or from a stream."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np

from keras_cam.errors import CAMWarning

MAX_READ = 4096  # images, or batches without any, read of a data set that may never end
FEWEST = 3  # maps of a class that can agree by more than chance


def drawn(
    labels: np.ndarray | None,
    count: int,
    num_probes: int,
    generator: np.random.Generator,
    *,
    num_more: int = 0,
    preferred: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw indices of images: one of each class in turn until there are enough, the classes in a drawn order.

    Args:
        labels: class of each image, or None.
        count: how many images there are.
        num_probes: how many to draw.
        generator: draws.
        num_more: how many more to draw, of few enough classes to have `FEWEST` of each, those of the probes first.
        preferred: bool (count,): which images come first within their class.

    Returns:
        Indices of the probes in the order of their classes, and of the further images.
    """
    shuffled = generator.permutation(count)
    if preferred is not None:
        shuffled = shuffled[np.argsort(~preferred[shuffled], kind="stable")]
    if labels is None:
        return np.sort(shuffled[:num_probes]), shuffled[num_probes : num_probes + num_more]
    _, classes, class_sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    turns = np.empty(count, np.int64)
    turns[by_class] = np.concatenate([np.arange(size) for size in class_sizes])
    place_in_turn = generator.permutation(len(class_sizes))
    in_turn = np.lexsort((place_in_turn[classes], turns))
    chosen, rest = in_turn[:num_probes], in_turn[num_probes:]
    most_classes = max(num_probes, (num_probes + num_more) // FEWEST)
    more = rest[place_in_turn[classes[rest]] < most_classes][:num_more]
    return chosen[np.lexsort((chosen, labels[chosen]))], more


def first_spread(
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
        kept.append((sample[0].copy(), sample[1]))  # of its own, or the batch that it came in would stay
        counts[sample[1]] += 1
        if len(kept) == num_probes and _is_spread(counts, num_probes, num_classes):
            break
    return kept


def spread_of(labels: list[int | None], num_probes: int) -> list[int]:
    """Which of some samples to take so that they are spread over the classes, the first ones of each class."""
    numbered = ((np.array(index), label) for index, label in enumerate(labels))
    return [int(index) for index, _ in first_spread(numbered, num_probes, None)]


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
        f"{len(kept)} images chosen are of the classes {classes}{of_all}. If others are wanted, shuffle the data set "
        f"or give arrays (x, y).",
        CAMWarning,
        stacklevel=2,
    )
