"""Maps that weigh the feature map as it is: CAM, principal components, and a baseline that knows nothing."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_cam.methods.gradient import weighted
from keras_cam.methods.view import View
from keras_cam.validation import whole_number

Tensor = Any


def cam(view: View) -> tuple[Tensor, Tensor]:
    """CAM (Zhou et al. 2016, arXiv 1512.04150): the features weighted by the class's weights in the affine head.

    Args:
        view: what to explain, by a model whose head is affine.

    Returns:
        Maps (N, C, *grid) and biases (N, C): mean(map) + bias is the score.
    """
    return view.decomposition()


def eigen_cam(view: View) -> Tensor:
    """Eigen-CAM (Muhammad and Yeasin 2020, arXiv 2008.00299): the features along their first principal direction.

    The same map for every class. Not centred, as in the paper; the sign is chosen so that the map's sum is positive.

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    features = view.features
    maps = first_component(features)
    maps = _turned_towards(maps, ops.ones_like(maps))
    count = ops.shape(view.class_indices)[1]
    return ops.repeat(ops.expand_dims(maps, 1), count, axis=1)


def eigen_grad_cam(view: View) -> Tensor:
    """Eigen-Grad-CAM (pytorch-grad-cam): features times gradients along their first principal direction.

    The sign is chosen so that the map agrees with the sum of features times gradients (HiResCAM).

    Args:
        view: what to explain.

    Returns:
        (N, C, *grid).
    """
    products = view.gradients(per_cell=False) * ops.expand_dims(view.features, 1)
    grid = ops.shape(products)[2:-1]
    flat = ops.reshape(products, (-1, *grid, products.shape[-1]))  # images and classes in one axis
    maps = _turned_towards(first_component(flat), ops.sum(flat, axis=-1))
    return ops.reshape(maps, (-1, ops.shape(view.class_indices)[1], *grid))


def random_cam(view: View, *, seed: int = 0) -> Tensor:
    """A baseline that knows nothing of the class: the features weighted by numbers drawn from -1 to 1.

    What a method must beat: it shows where features are strong, and no more.

    Args:
        view: what to explain.
        seed: of the weights, one for each class and channel, the same for every image.

    Returns:
        (N, C, *grid).
    """
    seed = whole_number("seed", seed, 0)
    # One row for each class of the model, of which the chosen ones are taken.
    shape = (view.all_scores.shape[-1], view.features.shape[-1])
    weights = keras.random.uniform(shape, -1.0, 1.0, dtype="float32", seed=seed)
    return weighted(view.features, ops.take(weights, view.class_indices, axis=0))


def first_component(features: Tensor) -> Tensor:
    """Features (M, *grid, K) as positions x channels, projected on their first right singular vector, (M, *grid)."""
    images, *grid, _ = ops.shape(features)
    channels = features.shape[-1]
    matrix = ops.reshape(features, (images, -1, channels))
    # Scaled to 1 before they are squared, so that neither large nor small features are lost.
    largest = ops.max(ops.abs(matrix), axis=(1, 2), keepdims=True)
    scaled = matrix / ops.where(largest > 0, largest, ops.ones_like(largest))
    # Eigenvectors of the smaller of the two symmetric matrices, positions x positions or channels x channels.
    known = None not in features.shape[1:-1]
    if known and math.prod(features.shape[1:-1]) <= channels:
        # The projection is the eigenvector itself, as long as the singular value.
        values, vectors = ops.linalg.eigh(ops.matmul(scaled, ops.swapaxes(scaled, 1, 2)))
        lengths = ops.sqrt(ops.maximum(values[:, -1], 0.0))
        maps = vectors[:, :, -1] * lengths[:, None] * largest[:, :, 0]
    else:
        _, vectors = ops.linalg.eigh(ops.matmul(ops.swapaxes(scaled, 1, 2), scaled))
        maps = ops.matmul(matrix, vectors[:, :, -1:])
    return ops.reshape(maps, (-1, *grid))


def _turned_towards(maps: Tensor, guide: Tensor) -> Tensor:
    """Maps (M, *grid), each turned so that it agrees with its guide: the sign of a principal direction is open."""
    axes = tuple(range(1, len(maps.shape)))
    agreement = ops.sum(maps * guide, axis=axes, keepdims=True)
    return ops.where(agreement < 0, -maps, maps)
