"""Does a model answer to what a map marks? Insertion and deletion (RISE), average drop and increase (Score-CAM).

Insertion and deletion (Petsiuk et al. 2018, arXiv 1806.07421): pixels change place with those of another picture, the
ones that the map ranks highest first; the score is the area under the probability of the class. Average drop and
increase (Chattopadhay et al. 2018, as in Wang et al. 2020, arXiv 1910.01279): what is left of the probability where the
picture is multiplied with its map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]  # pictures (M, H, W, 3) to the probabilities (M,) of one class
BLUR = 12.0  # standard deviation in pixels: of the small pictures of these benchmarks, nothing can be told any more


def ranked_pixels(heatmap: np.ndarray, seed: int = 0) -> np.ndarray:
    """Flat positions of a signed map (H, W), the highest first, equal ones in an order that is drawn."""
    drawn = np.random.default_rng(seed).random(heatmap.size)
    return np.lexsort((drawn, -heatmap.ravel()))


def exchanged(start: np.ndarray, end: np.ndarray, order: np.ndarray, steps: int) -> np.ndarray:
    """Pictures on the way from one to another, (steps + 1, H, W, 3), the same number of pixels more in each.

    Args:
        start: (H, W, 3), the first.
        end: (H, W, 3), the last.
        order: (H * W,) flat positions, in the order in which they change.
        steps: how many changes.
    """
    when = np.empty(len(order))
    when[order] = np.arange(len(order)) / len(order) * steps
    changed = when.reshape(1, *start.shape[:2], 1) < np.arange(steps + 1).reshape(-1, 1, 1, 1)
    return np.where(changed, end, start)


def area(shares: np.ndarray) -> float:
    """Area under values at equal distances from 0 to 1."""
    return float((shares[:-1] + shares[1:]).mean() / 2)


def insertion(predict: Predict, image: np.ndarray, heatmap: np.ndarray, steps: int) -> float:
    """Area under the probability while the picture comes out of its blur; the higher, the sooner it is known again."""
    blurred = cv2.GaussianBlur(image, (0, 0), BLUR)
    return area(predict(exchanged(blurred, image, ranked_pixels(heatmap), steps)))


def deletion(predict: Predict, image: np.ndarray, heatmap: np.ndarray, steps: int) -> float:
    """Area under the probability while pixels take the picture's mean colour; the lower, the sooner it is lost."""
    gray = np.broadcast_to(np.rint(image.mean(axis=(0, 1))).astype(image.dtype), image.shape)
    return area(predict(exchanged(image, gray, ranked_pixels(heatmap), steps)))


def drop_and_increase(whole: Sequence[float], masked: Sequence[float]) -> tuple[float, float]:
    """Average drop and increase in percent, of the probabilities of whole pictures and of those times their maps."""
    before, after = np.asarray(whole, np.float64), np.asarray(masked, np.float64)
    return float(100 * (np.maximum(before - after, 0) / before).mean()), float(100 * (before < after).mean())
