"""Maps from the gradient of the score at the feature map; A the features, G = d score / d A.

Every map is the sum in the paper's formula before its last ReLU: what speaks against the class stays, as a negative
number, and is left out when the map is drawn. G costs one backward pass for all classes, through the head alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_cam.attribution.class_activation_map import weighted_sum
from keras_cam.errors import InvalidOptionError
from keras_cam.methods.view import View
from keras_cam.validation import finite_number, whole_number

Tensor = Any
FINER_REFERENCES = 3


def grad_cam(view: View) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): `w_k = mean_ij G_k`, `M = sum_k w_k A_k`.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    return weighted(view.features, _mean(view.gradients(per_cell=False)))


def grad_cam_plus_plus(view: View) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063): positive gradients, each cell by its own share.

    As the authors' code: `a = G^2 / (2 G^2 + G^3 sum_ab A)` where G is positive, divided by its sum for each channel;
    `w_k = sum_ij a G` there. The factor e^score of the code's gradients scales the whole map and is left out.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    gradients = view.gradients(per_cell=False)
    return weighted(view.features, _plus_plus(view.features, gradients, None, gradients))


def smooth_grad_cam_plus_plus(view: View, *, samples: int = 25, noise: float = 0.15, seed: int = 0) -> Tensor:
    """Smooth Grad-CAM++ (Omeiza et al. 2019, arXiv 1908.01224): Grad-CAM++ with gradients averaged over noisy images.

    The gradients, their squares and their cubes are averaged; the features are those of the image itself.

    Args:
        view: what to explain.
        samples: how many noisy images.
        noise: standard deviation of the noise, as a share of the range of each image.
        seed: of the noise: `np.random.default_rng(seed).normal(size=(H, W, K))`, once for each noisy image.

    Returns:
        (N, C, *grid).
    """
    # Means of the gradients' powers, (N, C, *grid, K).
    first: Any = 0.0
    second: Any = 0.0
    third: Any = 0.0
    for images in noisy_images(view, samples, noise, seed):
        gradients = view.at(images).gradients(per_cell=False)
        first, second, third = first + gradients, second + gradients**2, third + gradients**3
    first, second, third = (power / float(samples) for power in (first, second, third))
    return weighted(view.features, _plus_plus(view.features, second, third, first))


def hires_cam(view: View) -> Tensor:
    """HiResCAM (Draelos and Carin 2020, arXiv 2011.08891): `M = sum_k G_k A_k`, cell by cell, nothing averaged.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    return _cell_by_cell(view.gradients(per_cell=False), view.features)


def layer_cam(view: View) -> Tensor:
    """LayerCAM (Jiang et al. 2021, TIP): `M = sum_k ReLU(G_k) A_k`, which also works in shallow layers.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    return _cell_by_cell(ops.relu(view.gradients(per_cell=False)), view.features)


def xgrad_cam(view: View) -> Tensor:
    """XGrad-CAM (Fu et al. 2020, arXiv 2008.02312): `w_k = sum_ij G_k A_k / sum_ij A_k`.

    As the authors' code, which adds 1e-6 to the sum; a channel whose sum is then zero has no weight.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    axes, gradients = _grid_axes(view.features), view.gradients(per_cell=False)
    # Both sums over the cells, (N, C, K); features have no class axis, and their axes come one earlier.
    sums = ops.expand_dims(ops.sum(view.features, axis=tuple(axis - 1 for axis in axes)), 1)
    if _same_for_all_cells(gradients):
        products = _mean(gradients) * sums
    else:
        products = ops.sum(gradients * ops.expand_dims(view.features, 1), axis=axes)
    return weighted(view.features, _quotient(products, sums + 1e-6))


def shapley_cam(view: View) -> Tensor:
    """ShapleyCAM (Cai 2025, arXiv 2501.06261): `w_k = mean_ij (G - H A / 2)_k`, H the Hessian of the score.

    Where the head is made of Dense and ReLU layers H is zero, and this is Grad-CAM; `target=keras_cam.targets.rest()`
    is the paper's own target, for which it is not.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    # What the score loses without the features, by its Taylor series to second order: G A - A H A / 2.
    gradients, products = view.hessian_products()
    return weighted(view.features, _mean(gradients - products / 2))


def finer_cam(
    view: View,
    *,
    references: int = FINER_REFERENCES,
    strength: float = 1.0,
    against: int | Sequence[int] | None = None,
) -> Tensor:
    """Finer-CAM (Zhang et al. 2025, arXiv 2501.11309): what tells a class from those most like it, or from those named.

    Grad-CAM of the score minus `strength` times the mean of the scores nearest to it.

    Args:
        view: what to explain.
        references: how many classes to tell it from: those whose scores are nearest.
        strength: how much of their scores is taken away.
        against: the classes to tell it from, by index, one or several, instead of the nearest. The class itself is left
            out of them; told from nothing else, its map is zero.

    Returns:
        (N, C, *grid).

    Raises:
        InvalidOptionError: fewer than two classes, no reference, or a class that the model does not have.
    """
    references, strength = whole_number("references", references), finite_number("strength", strength)
    scores = view.all_scores
    count = scores.shape[-1]
    if count < 2:
        raise InvalidOptionError("finer_cam tells a class from others, and needs two classes. Received: one score.")
    chosen = ops.one_hot(view.class_indices, count, dtype="float32")

    # The references of each class, as 1 among all classes: the nearest scores, or the classes that are named.
    if against is None:
        distances = ops.abs(ops.expand_dims(scores, 1) - ops.expand_dims(view.scores, -1))
        nearest = ops.argsort(ops.where(chosen > 0, np.inf, distances), axis=-1)[..., : min(references, count - 1)]
        told_from = ops.sum(ops.one_hot(nearest, count, dtype="float32"), axis=-2)
    else:
        told_from = ops.where(chosen > 0, 0.0, ops.convert_to_tensor(_named(against, count)))

    # Grad-CAM of the class less the mean of its references.
    num_references = ops.sum(told_from, axis=-1, keepdims=True)
    difference = chosen - strength * told_from / ops.maximum(num_references, 1.0)
    weights = ops.where(num_references > 0, difference, 0.0)
    return weighted(view.features, _mean(view.gradients(weights, per_cell=False)))


def weighted(features: Tensor, weights: Tensor) -> Tensor:
    """`sum_k w_k A_k` of features (N, *grid, K) and weights (N, C, K), as (N, C, *grid)."""
    return ops.moveaxis(weighted_sum(features, ops.swapaxes(weights, 1, 2), per_image=True), -1, 1)


def noisy_images(view: View, samples: int, noise: float, seed: int) -> Any:
    """Yield copies of the images with normal noise, `noise` times the range of each image.

    Every image gets the same noise before that, so that its map does not depend on what else is in its batch.
    """
    samples, seed = whole_number("samples", samples), whole_number("seed", seed, 0)
    noise = finite_number("noise", noise, 0)
    # One drawing for all images of the batch, scaled to the range of each.
    images = ops.convert_to_numpy(view.images)
    axes = tuple(range(1, images.ndim))
    spread = noise * np.ptp(images, axis=axes, keepdims=True)
    rng = np.random.default_rng(seed)
    for _ in view.steps(samples):
        yield ops.convert_to_tensor((images + spread * rng.normal(size=images.shape[1:])).astype("float32"))


def _named(against: Any, count: int) -> np.ndarray:
    """Which of so many classes are named, float32 (count,)."""
    named = [whole_number("against", index, 0) for index in np.atleast_1d(np.asarray(against, object))]
    if not named or max(named) >= count:
        raise InvalidOptionError(
            f"against must name one or more of the model's {count} classes, 0 to {count - 1}. Received: {against!r}."
        )
    return np.isin(np.arange(count), named).astype("float32")


def _plus_plus(features: Tensor, second: Tensor, third: Tensor | None, first: Tensor) -> Tensor:
    """The weights of Grad-CAM++; without `third`, `second` is the gradient itself and its powers are cancelled."""
    axes = _grid_axes(features)
    sums = ops.sum(features, axis=tuple(axis - 1 for axis in axes), keepdims=True)
    sums = ops.expand_dims(sums, 1)
    # The share of each cell, of all cells of a channel where the gradient is positive.
    if third is None:  # G^2 and G^3 of small gradients would be lost to rounding
        shares = _quotient(ops.ones_like(second), 2 + second * sums)
    else:
        shares = _quotient(second, 2 * second + third * sums)
    shares = ops.where(first > 0, shares, ops.zeros_like(shares))
    shares = _quotient(shares, ops.sum(shares, axis=axes, keepdims=True))
    return ops.sum(shares * ops.relu(first), axis=axes)


def _quotient(dividend: Tensor, divisor: Tensor) -> Tensor:
    """One number over another; where the divisor is 0, the dividend."""
    return dividend / ops.where(divisor == 0, ops.ones_like(divisor), divisor)


def _mean(gradients: Tensor) -> Tensor:
    """The mean over the cells of gradients (N, C, *grid, K), as (N, C, K)."""
    return ops.mean(gradients, axis=_grid_axes(gradients[:, 0]))


def _cell_by_cell(gradients: Tensor, features: Tensor) -> Tensor:
    """`sum_k G_k A_k` of gradients (N, C, *grid, K), as (N, C, *grid)."""
    if _same_for_all_cells(gradients):  # then it is Grad-CAM, without a product for each cell and class
        return weighted(features, _mean(gradients))
    return ops.sum(gradients * ops.expand_dims(features, 1), axis=-1)


def _same_for_all_cells(gradients: Tensor) -> bool:
    """Whether gradients of `View.gradients(per_cell=False)` are one for all cells."""
    return all(length == 1 for length in gradients.shape[2:-1])


def _grid_axes(features: Tensor) -> tuple[int, ...]:
    """The spatial axes of what has a class axis beside the features' own."""
    return tuple(range(2, len(features.shape)))
