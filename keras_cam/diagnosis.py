"""Say in words what makes a result of little use, instead of a black picture."""

from __future__ import annotations

import numpy as np

from keras_cam.explanation import Explanation

WARN_SLACK = 10  # a warning is for what is left out of a score, not for the last digit of a bfloat16


def diagnose(result: Explanation, tolerance: float) -> list[str]:
    """What is wrong with a result, in words.

    Args:
        result: the explanation.
        tolerance: how far map and bias may be from the score by rounding, as a share of the largest score.

    Returns:
        One sentence or two for each thing found; empty where all is well.
    """
    found = []
    spatial = tuple(range(2, result.maps.ndim))
    silent = np.flatnonzero(~result.maps.any(axis=(1, *spatial)))
    if silent.size:
        found.append(
            f"The map of image {silent[0]} is zero everywhere: the features of {result.layer!r} or their weights are "
            f"all zero (a dead ReLU, say), and the score is the bias alone. So it is for {silent.size} of "
            f"{len(result)} images."
        )
    # Measured against what is summed up, since rounding is: a logit may be a small difference of large sums.
    summed = np.abs(result.maps).mean(axis=spatial) + np.abs(result.bias)
    largest = np.abs(result.logits).max(axis=1, keepdims=True)
    error = (1 - result.completeness) * largest
    if (error > WARN_SLACK * tolerance * np.maximum(largest, summed)).any():
        found.append(
            f"The maps account for {result.completeness.min():.1%} of the score on the worst image and class: the head "
            f"is {result.head}. See result.completeness."
        )
    return found
