"""Maps from what happens to the score when the image or the feature map is changed, one channel at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_cam.attribution.resample import stretch
from keras_cam.methods.baseline import empty_image
from keras_cam.methods.gradient import weighted
from keras_cam.methods.view import View
from keras_cam.validation import finite_number, whole_number

Tensor = Any


def score_cam(view: View, *, max_channels: int | None = None, baseline: Any = 0.0) -> Tensor:
    """Score-CAM (Wang et al. 2020, arXiv 1910.01279): channels by the score of the image seen through them.

    Each channel, stretched over the image and scaled to [0, 1], is a mask M of it: `X_b + M (X - X_b)`; the scores of
    the masked images, through a softmax over the channels, weight the channels. The score of the empty image X_b, which
    the paper subtracts, cancels in the softmax and is not computed. A constant channel masks everything.

    Args:
        view: what to explain.
        max_channels: only so many channels, those that vary most over the cells ("Faster Score-CAM"); default: all.
        baseline: the empty image as the model is fed it: a number, or an array that broadcasts to one image, channels
            last; default: 0, as in the paper. Of a model that rescales 0..255 itself 0 is black, and 127.5 or the
            mean colour the middle.

    Returns:
        (N, C, *grid).
    """
    channels = strongest(view, max_channels)
    return _weighted_by_scores(view, channels, view.rescore(_masked, channels, _empty_images(view, baseline)))


def ss_cam(
    view: View,
    *,
    samples: int = 10,
    noise: float = 2.0,
    max_channels: int | None = None,
    seed: int = 0,
    baseline: Any = 0.0,
) -> Tensor:
    """SS-CAM (Wang et al. 2020, arXiv 2006.14255): Score-CAM, its scores averaged over noisy masks.

    Args:
        view: what to explain.
        samples: how many noisy masks for each channel.
        noise: standard deviation of the noise on the masks, which are in [0, 1].
        max_channels: as for `score_cam`.
        seed: of the noise: `np.random.default_rng((seed, step, channel)).normal(size=(H, W))`.
        baseline: as for `score_cam`.

    Returns:
        (N, C, *grid).
    """
    samples, seed = whole_number("samples", samples), whole_number("seed", seed, 0)
    noise = finite_number("noise", noise, 0)
    size, channels = view.images.shape[1:-1], strongest(view, max_channels)

    def draw(step: int, batch: np.ndarray) -> np.ndarray:  # a seed for each channel, whatever else is in the batch
        return noise * np.stack([np.random.default_rng((seed, step, channel)).normal(size=size) for channel in batch])

    scores = view.rescore(_noisy, channels, _empty_images(view, baseline), draw, samples=samples)
    return _weighted_by_scores(view, channels, scores)


def is_cam(view: View, *, samples: int = 10, max_channels: int | None = None, baseline: Any = 0.0) -> Tensor:
    """IS-CAM (Naidu et al. 2020, arXiv 2010.03023): Score-CAM, its scores averaged over masks that are faded in.

    The strengths are i / samples, i = 1 .. samples.

    Args:
        view: what to explain.
        samples: how many strengths.
        max_channels: as for `score_cam`.
        baseline: as for `score_cam`.

    Returns:
        (N, C, *grid).
    """
    samples, channels = whole_number("samples", samples), strongest(view, max_channels)

    # From faint to full.
    def strength(step: int, batch: np.ndarray) -> np.ndarray:
        return np.full(len(batch), (step + 1) / samples)

    scores = view.rescore(_faded, channels, _empty_images(view, baseline), strength, samples=samples)
    return _weighted_by_scores(view, channels, scores)


def ablation_cam(view: View, *, max_channels: int | None = None) -> Tensor:
    """Ablation-CAM (Desai and Ramaswamy 2020, WACV): `w_k = (y - y_k) / |y|`, y_k the score without channel k.

    The paper divides by y, which turns the map over where the score is negative; hence the magnitude. Where y is 0,
    the difference stands alone. Only what comes after the feature map is run again.

    Args:
        view: what to explain.
        max_channels: as for `score_cam`.

    Returns:
        (N, C, *grid).
    """
    channels = strongest(view, max_channels)
    # What the score loses without each channel, as a share of it.
    scores = ops.convert_to_numpy(view.scores)[:, :, None]
    drops = (scores - view.ablate(channels)) / np.where(scores == 0, 1, np.abs(scores))
    return _weighted_channels(view, channels, drops)


def strongest(view: View, max_channels: int | None) -> np.ndarray:
    """The channels of each image to look at, int (N, k): all, or those that vary most over the cells, in order."""
    count = view.features.shape[-1]
    if max_channels is None or whole_number("max_channels", max_channels) >= count:
        return np.tile(np.arange(count), (len(view.features), 1))
    features = ops.convert_to_numpy(view.features)
    varies = features.std(axis=tuple(range(1, features.ndim - 1)))
    # Sorted stably, so that of equal ones the first are taken, on every machine.
    return np.sort(np.argsort(-varies, axis=1, kind="stable")[:, :max_channels], axis=1)


def _empty_images(view: View, baseline: Any) -> Callable[[int, np.ndarray], np.ndarray]:
    """The empty image for each channel of a batch, as `View.rescore` asks for it."""
    empty = empty_image(baseline, view.images)
    return lambda step, batch: np.broadcast_to(empty, (len(batch), *empty.shape[1:]))


def _weighted_by_scores(view: View, channels: np.ndarray, scores: np.ndarray) -> Tensor:
    """Channels (N, k) weighted by the softmax of their scores (N, C, k)."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))  # less the largest, or they overflow
    return _weighted_channels(view, channels, exponentials / exponentials.sum(axis=-1, keepdims=True))


def _weighted_channels(view: View, channels: np.ndarray, weights: np.ndarray) -> Tensor:
    """Channels (N, k) of the feature map by weights (N, C, k), as (N, C, *grid); all other channels by 0."""
    of_all = np.zeros((*weights.shape[:2], view.features.shape[-1]), "float32")
    np.put_along_axis(of_all, channels[:, None], weights.astype("float32"), axis=2)
    return weighted(view.features, ops.convert_to_tensor(of_all))


# How an image is changed by a channel. `View.rescore` compiles these and caches by the function: hence of the module.


def _masked(images: Tensor, channel: Tensor, empty: Tensor) -> Tensor:
    return empty + ops.expand_dims(_mask(images, channel), -1) * (images - empty)


def _noisy(images: Tensor, channel: Tensor, empty: Tensor, noise: Tensor) -> Tensor:
    return empty + ops.expand_dims(_mask(images, channel) + noise, -1) * (images - empty)


def _faded(images: Tensor, channel: Tensor, empty: Tensor, strength: Tensor) -> Tensor:
    strength = ops.reshape(strength, (-1, *[1] * (len(images.shape) - 1)))
    return empty + strength * ops.expand_dims(_mask(images, channel), -1) * (images - empty)


def _mask(images: Tensor, channel: Tensor) -> Tensor:
    """A channel (B, *grid) stretched over the image and scaled to [0, 1]; a constant one is 0."""
    # Constant by its own cells: stretched, rounding may make it vary.
    axes = tuple(range(1, len(channel.shape)))
    constant = ops.max(channel, axis=axes, keepdims=True) == ops.min(channel, axis=axes, keepdims=True)
    stretched = stretch(channel, ops.shape(images)[1:-1], 1)
    low, high = ops.min(stretched, axis=axes, keepdims=True), ops.max(stretched, axis=axes, keepdims=True)
    # Or so close to constant that nothing of it is left to divide by.
    constant = ops.logical_or(constant, high == low)
    return ops.where(constant, 0.0, (stretched - low) / ops.where(constant, ops.ones_like(high), high - low))
