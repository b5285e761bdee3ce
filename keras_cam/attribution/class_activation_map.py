"""The class activation map itself: feature maps weighted by class weights, compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import keras
from keras import ops

from keras_cam.backend import Compiled, full_precision, is_eager
from keras_cam.errors import InvalidOptionError

Tensor = Any


def class_activation_map(features: Any, class_weights: Any, *, per_image: bool | None = None) -> Tensor:
    """Weight feature maps by class weights: `M_c[i, j] = sum_k w_k^c A_k[i, j]` (Zhou et al. 2016, arXiv 1512.04150).

    Compiled with `tf.function` on the TensorFlow backend (one trace for any batch size, spatial size and number of
    classes), free of host operations and Python side effects, so that it also runs inside your own `tf.function`,
    under `jit_compile=True` and in `strategy.run`, on CPU, GPU and TPU. Half-precision input is summed in float32.

    Args:
        features: feature maps (N, h, w, K), or (N, t, K), or (N, d, h, w, K): channels last, any float dtype.
        class_weights: (K, C), the same classes for every image, or per image (N, K) for one class each or
            (N, K, C) for several.
        per_image: how to read a matrix. None (default) reads (K, C) where the first axis is K, else (N, K); say
            which where both fit (N images, N == K == C).

    Returns:
        float32 maps: (N, h, w, C) for (K, C) and (N, K, C) weights, (N, h, w) for (N, K) weights.

    Raises:
        InvalidOptionError: shapes that do not go together, or a matrix that can be read both ways.

    Example:
        >>> import numpy as np
        >>> from keras_cam import class_activation_map
        >>> features = np.array([[[[1.0, 2.0]], [[0.0, 1.0]]]])  # one image, 2 x 1 cells, 2 channels
        >>> weights = np.array([[10.0], [1.0]])  # one class
        >>> np.asarray(class_activation_map(features, weights))[0, :, 0, 0].tolist()
        [12.0, 1.0]
    """
    features, class_weights = ops.convert_to_tensor(features), ops.convert_to_tensor(class_weights)
    per_image = _checked_per_image(tuple(features.shape), tuple(class_weights.shape), per_image)
    if not is_eager():  # inside the caller's own graph: part of that
        return weighted_sum(features, class_weights, per_image=per_image)
    # Compiled for ranks and dtypes alone: any size goes through the same trace.
    dtypes = (keras.backend.standardize_dtype(features.dtype), keras.backend.standardize_dtype(class_weights.dtype))
    return _compiled(len(features.shape), len(class_weights.shape), dtypes, per_image, keras.backend.backend())(
        features, class_weights
    )


def weighted_sum(features: Tensor, class_weights: Tensor, *, per_image: bool) -> Tensor:
    """The sum as it stands, for use inside a compiled function; arguments as for `class_activation_map`, checked."""
    features, class_weights = ops.cast(features, "float32"), ops.cast(class_weights, "float32")
    # As products of matrices: `ops.einsum` takes up to twice as long for the few classes that are usual.
    with full_precision():
        if not per_image:
            return ops.tensordot(features, class_weights, axes=1)
        # Per image: one product (cells, K) x (K, C) for each.
        images, *grid, channels = ops.shape(features)
        lines = ops.reshape(features, (images, prod(grid), channels))
        if len(class_weights.shape) == 2:
            return ops.reshape(ops.matmul(lines, ops.expand_dims(class_weights, -1)), (images, *grid))
        return ops.reshape(ops.matmul(lines, class_weights), (images, *grid, ops.shape(class_weights)[-1]))


@cache
def _compiled(
    feature_rank: int, weight_rank: int, dtypes: tuple[str, str], per_image: bool, backend: str
) -> Callable[..., Tensor]:
    """The sum, compiled once for tensors of these ranks and dtypes, of any size."""
    del backend  # part of the key only
    signature = [((None,) * feature_rank, dtypes[0]), ((None,) * weight_rank, dtypes[1])]
    return Compiled(lambda features, weights: weighted_sum(features, weights, per_image=per_image), signature)


Shape = tuple[int | None, ...]  # None where a length is only known when it runs


def _checked_per_image(features: Shape, weights: Shape, per_image: bool | None) -> bool:
    """Whether the weights are per image, after every check that static shapes allow."""
    received = f"Received: features {features}, class_weights {weights}."
    if len(features) < 3:
        raise InvalidOptionError(f"features must be (N, ..., K) with at least one spatial axis. {received}")
    if len(weights) not in (2, 3):
        raise InvalidOptionError(f"class_weights must be (K, C), (N, K) or (N, K, C). {received}")
    images, channels = features[0], features[-1]
    fits_all = len(weights) == 2 and _may_be_equal(weights[0], channels)
    fits_per_image = _may_be_equal(weights[0], images) and _may_be_equal(weights[1], channels)

    # Without a word from the caller the shapes decide, where they can.
    if per_image is None:
        known = None not in (images, channels, *weights[:2])
        if fits_all and fits_per_image and known:
            raise InvalidOptionError(
                f"class_weights can be read as (K, C) and as (N, K). {received} Pass per_image=False or per_image=True."
            )
        per_image = not fits_all
    if not (fits_per_image if per_image else fits_all):
        wanted = f"(N={images}, K={channels}) or (N, K, C)" if per_image else f"(K={channels}, C)"
        raise InvalidOptionError(
            f"class_weights do not fit the features: wanted {wanted}. {received} "
            "The number of channels K is the last axis of the features and the rows of a Dense kernel."
        )
    return per_image


def _may_be_equal(length: int | None, wanted: int | None) -> bool:
    """Whether two lengths are equal, as far as they are known."""
    return length is None or wanted is None or length == wanted
