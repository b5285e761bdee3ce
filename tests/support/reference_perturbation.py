"""Score-CAM and its kin from their papers: what the class' logit becomes when the picture is masked by a channel.

One image (height, width, channels) as the model takes it, one class; `score_of(image)` gives the logit. Maps are on the
layer's own grid (h, w), before the last ReLU. All float64.
"""

import numpy as np
from support.reference import upsample, weighted_sum


def masks(activations, size):
    """Each channel upsampled to `size`, then stretched to [0, 1]: (*size, K); a constant channel has mask 0."""
    result = np.zeros((*size, activations.shape[-1]))
    for k in range(activations.shape[-1]):
        large = upsample(activations[..., k], size)
        if np.ptp(activations[..., k]) > 0:
            result[..., k] = (large - large.min()) / (large.max() - large.min())
    return result


def softmax(values):
    """Softmax of a vector."""
    odds = np.exp(np.asarray(values) - np.max(values))
    return odds / odds.sum()


def masked_score(score_of, image, mask, baseline=0.0):
    """y(X_b + mask * (X - X_b)) - y(X_b): what the picture seen through the mask adds to the score of nothing, X_b.

    The papers have X_b = 0; other baselines are ours, for pictures whose nothing is not 0.
    """
    empty = np.zeros_like(image) + baseline
    return score_of(empty + mask[..., None] * (image - empty)) - score_of(empty)


def widest_channels(activations, max_channels):
    """The channels that vary most over the cells (standard deviation), ties by index: Faster-Score-CAM's choice."""
    spread = [activations[..., k].std() for k in range(activations.shape[-1])]
    return sorted(range(len(spread)), key=lambda k: (-spread[k], k))[:max_channels]


def score_cam(score_of, image, activations, *, max_channels=None, baseline=0.0):
    """Score-CAM (Wang et al. 2020, arXiv 1910.01279), the paper's algorithm: softmax over the channels of their scores.

    The official code takes the class' probability of the masked input instead, without baseline or softmax; the paper
    is followed here. max_channels: only the channels of `widest_channels`, the softmax over those.
    """
    chosen = widest_channels(activations, max_channels or activations.shape[-1])
    mask = masks(activations, image.shape[:2])
    weights = softmax([masked_score(score_of, image, mask[..., k], baseline) for k in chosen])
    return weighted_sum(weights, activations[..., chosen])


def ss_cam(score_of, image, activations, noise, baseline=0.0):
    """SS-CAM (Wang et al. 2020, arXiv 2006.14255), the variant with noise on the masks.

    noise (steps, height, width, K) is added to the masks, which are not clipped again; the softmax over the channels is
    taken of the mean score. The paper's text could not be had: after torch-cam, whose noise is normal with deviation 2
    (35 steps; a review of the paper says 10).
    """
    mask = masks(activations, image.shape[:2])
    means = []
    for k in range(activations.shape[-1]):
        scores = [masked_score(score_of, image, mask[..., k] + one[..., k], baseline) for one in noise]
        means.append(np.mean(scores))
    return weighted_sum(softmax(means), activations)


def is_cam(score_of, image, activations, num_steps=10, baseline=0.0):
    """IS-CAM (Naidu et al. 2020, arXiv 2010.03023): the score averaged over masks of strength 1/N, 2/N, ..., 1.

    The paper's text could not be had. torch-cam adds the strengths up as it goes (1/N, 3/N, 6/N, ...), which leaves the
    picture's range; an integral over the strength, as the name and the abstract have it, does not.
    """
    mask = masks(activations, image.shape[:2])
    means = []
    for k in range(activations.shape[-1]):
        strengths = [step / num_steps for step in range(1, num_steps + 1)]
        scores = [masked_score(score_of, image, strength * mask[..., k], baseline) for strength in strengths]
        means.append(np.mean(scores))
    return weighted_sum(softmax(means), activations)
