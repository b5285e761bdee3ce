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
    return _by_scores(view, channels, view.rescore(_masked, channels, _same_for_all(view, baseline)))


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
    samples, seed, noise = (
        whole_number("samples", samples),
        whole_number("seed", seed, 0),
        finite_number("noise", noise, 0),
    )
    size, channels = view.images.shape[1:-1], strongest(view, max_channels)

    def draw(step: int, some: np.ndarray) -> np.ndarray:  # one seed for each, whatever else is in the batch
        return noise * np.stack([np.random.default_rng((seed, step, channel)).normal(size=size) for channel in some])

    scores = view.rescore(_noisy, channels, _same_for_all(view, baseline), draw, samples=samples)
    return _by_scores(view, channels, scores)


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

    def share(step: int, some: np.ndarray) -> np.ndarray:
        return np.full(len(some), (step + 1) / samples)

    scores = view.rescore(_faded, channels, _same_for_all(view, baseline), share, samples=samples)
    return _by_scores(view, channels, scores)


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
    scores = ops.convert_to_numpy(view.scores)[:, :, None]
    drops = (scores - view.ablate(channels)) / np.where(scores == 0, 1, np.abs(scores))
    return weighted(view.features, ops.convert_to_tensor(_spread(drops, channels, view.features.shape[-1])))


def strongest(view: View, max_channels: int | None) -> np.ndarray:
    """The channels of each image to look at, int (N, k): all, or those that vary most over the cells, in order."""
    count = view.features.shape[-1]
    if max_channels is None or whole_number("max_channels", max_channels) >= count:
        return np.tile(np.arange(count), (len(view.features), 1))
    features = ops.convert_to_numpy(view.features)
    varies = features.std(axis=tuple(range(1, features.ndim - 1)))
    return np.sort(np.argsort(-varies, axis=1, kind="stable")[:, :max_channels], axis=1)


def _same_for_all(view: View, baseline: Any) -> Callable[[int, np.ndarray], np.ndarray]:
    """The empty image for each of a batch, as `View.rescore` asks for it."""
    empty = empty_image(baseline, view.images)
    return lambda step, some: np.broadcast_to(empty, (len(some), *empty.shape[1:]))


def _by_scores(view: View, channels: np.ndarray, scores: np.ndarray) -> Tensor:
    """Channels weighted by the softmax of their scores (N, C, k)."""
    scaled = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return weighted(view.features, ops.convert_to_tensor(_spread(scaled, channels, view.features.shape[-1])))


def _spread(weights: np.ndarray, channels: np.ndarray, count: int) -> np.ndarray:
    """Weights (N, C, k) of some channels (N, k) among all, (N, C, count)."""
    every = np.zeros((*weights.shape[:2], count), "float32")
    np.put_along_axis(every, channels[:, None], weights.astype("float32"), axis=2)
    return every


def _masked(images: Tensor, channel: Tensor, empty: Tensor) -> Tensor:
    return empty + ops.expand_dims(_mask(images, channel), -1) * (images - empty)


def _noisy(images: Tensor, channel: Tensor, empty: Tensor, noise: Tensor) -> Tensor:
    return empty + ops.expand_dims(_mask(images, channel) + noise, -1) * (images - empty)


def _faded(images: Tensor, channel: Tensor, empty: Tensor, share: Tensor) -> Tensor:
    strength = ops.reshape(share, (-1, *[1] * (len(images.shape) - 1)))
    return empty + strength * ops.expand_dims(_mask(images, channel), -1) * (images - empty)


def _mask(images: Tensor, channel: Tensor) -> Tensor:
    """A channel (B, *grid) stretched over the image and scaled to [0, 1]; a constant one is 0."""
    axes = tuple(range(1, len(channel.shape)))
    constant = ops.max(channel, axis=axes, keepdims=True) == ops.min(channel, axis=axes, keepdims=True)
    spread = stretch(channel, [ops.shape(images)[axis] for axis in range(1, len(images.shape) - 1)], 1)
    low, high = ops.min(spread, axis=axes, keepdims=True), ops.max(spread, axis=axes, keepdims=True)
    constant = ops.logical_or(constant, high == low)
    return ops.where(constant, 0.0, (spread - low) / ops.where(constant, ops.ones_like(high), high - low))
