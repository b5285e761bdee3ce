"""The score of any head taken apart into a map and a bias: gradient times features, non-linearities frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_cam.attribution.class_activation_map import weighted_sum
from keras_cam.attribution.multiscale import add_on_finest_grid
from keras_cam.backend import gradient
from keras_cam.graph.program import run
from keras_cam.model.feature_maps import FeatureMap
from keras_cam.model.head import Head
from keras_cam.model.layout import Layout
from keras_cam.model.linearize import run_linearized

Tensor = Any


def decompose(
    head: Head,
    features: Sequence[Tensor],
    head_inputs: Sequence[Tensor],
    side_inputs: Mapping[int, Tensor],
    class_indices: Tensor,
) -> tuple[Tensor, Tensor]:
    """Take the score of each image and class apart into a map and a bias.

    One backward pass through the head for all classes: the head's inputs are repeated once per class.

    Args:
        head: the head.
        features: the feature maps, as the model makes them.
        head_inputs: where the head begins for each of them: their averages, or the maps themselves.
        side_inputs: what the head reads besides, by slot.
        class_indices: int32 (N, C).

    Returns:
        `(maps, bias)`: float32 (N, C, h, w), whose mean over the cells plus the bias (N, C) is the score.
    """
    shape = ops.shape(class_indices)

    # All that the head reads, once for each class.
    def repeated(tensor: Tensor) -> Tensor:
        return ops.repeat(tensor, shape[1], axis=0)

    slots = [feature.head_input for feature in head.cut.features]
    values = {slot: repeated(side_input) for slot, side_input in side_inputs.items()}
    points = [repeated(head_input) for head_input in head_inputs]
    chosen = ops.reshape(class_indices, (-1, 1))

    def scores_of(points: list[Tensor], frozen: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        logits, used = run_linearized(head.cut, {**values, **dict(zip(slots, points, strict=True))}, frozen)
        return ops.take_along_axis(head.scores(logits), chosen, axis=-1), used

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        scores, frozen = scores_of(points)
        return ops.sum(scores), frozen

    # What is frozen in the pass at the image is used again at zero, where all that is left of the score is its bias.
    gradients, frozen = gradient(total, points, head.gradient_scale)
    bias = ops.reshape(scores_of([ops.zeros_like(point) for point in points], frozen)[0], shape)
    return _maps_of(head, features, gradients, bias, shape)


def integrate(
    head: Head,
    features: Sequence[Tensor],
    head_inputs: Sequence[Tensor],
    side_inputs: Mapping[int, Tensor],
    class_indices: Tensor,
    num_points: int,
) -> tuple[Tensor, Tensor]:
    """As `decompose`, of a head that nothing is frozen in: its gradient integrated from no features to the image's.

    The gradient is averaged over the way by Gauss-Legendre points, through the head alone (integrated gradients,
    Sundararajan et al. 2017, arXiv 1703.01365, at the feature map). The bias is the head's answer to no features.

    Args:
        head: the head.
        features: as for `decompose`, and so the rest.
        head_inputs: where the head begins for each of them.
        side_inputs: what the head reads besides, by slot.
        class_indices: int32 (N, C).
        num_points: how many points, each a backward pass through the head.

    Returns:
        `(maps, bias)`, as `decompose`.
    """
    shape = ops.shape(class_indices)
    slots = [feature.head_input for feature in head.cut.features]
    values = {slot: ops.repeat(side_input, shape[1], axis=0) for slot, side_input in side_inputs.items()}
    ends = [ops.repeat(head_input, shape[1], axis=0) for head_input in head_inputs]
    chosen = ops.reshape(class_indices, (-1, 1))

    def total(points: list[Tensor]) -> tuple[Tensor, Tensor]:
        logits = run(head.cut.steps, {**values, **dict(zip(slots, points, strict=True))})[head.cut.logits]
        scores = ops.take_along_axis(head.scores(logits), chosen, axis=-1)
        return ops.sum(scores), scores

    # The way from zero to the features, each point with its weight: a loop, so that one backward pass is traced.
    nodes, weights = np.polynomial.legendre.leggauss(num_points)
    on_way, shares = (ops.convert_to_tensor(each.astype("float32")) for each in ((nodes + 1) / 2, weights / 2))

    def with_point(index: Tensor, averages: list[Tensor]) -> list[Tensor]:
        points = [end * ops.cast(ops.take(on_way, index), end.dtype) for end in ends]
        gradients, _ = gradient(total, points, head.gradient_scale)
        share = ops.take(shares, index)
        return [
            average + ops.cast(by_input, "float32") * share
            for average, by_input in zip(averages, gradients, strict=True)
        ]

    start = [ops.zeros_like(end, dtype="float32") for end in ends]
    averages = ops.fori_loop(0, num_points, with_point, start)
    bias = ops.reshape(total([ops.zeros_like(end) for end in ends])[1], shape)
    return _maps_of(head, features, averages, bias, shape)


def _maps_of(
    head: Head, features: Sequence[Tensor], gradients: Sequence[Tensor], bias: Tensor, shape: Any
) -> tuple[Tensor, Tensor]:
    """Each feature map's part of the score on one grid; what its tokens without a place add goes to the bias."""
    maps = []
    for feature, tensor, by_input in zip(head.cut.features, features, gradients, strict=True):
        maps.append(_gradient_times_cells(feature, tensor, by_input, shape))
        bias = bias + _gradient_times_tokens(feature.layout, tensor, by_input, shape)
    return add_on_finest_grid(maps, head.cut), bias


def _gradient_times_cells(feature: FeatureMap, tensor: Tensor, by_input: Tensor, shape: Any) -> Tensor:
    """One feature map's part of the scores, (N, C, *grid), of which the mean is that part.

    Args:
        feature: the feature map.
        tensor: the feature map as the model makes it.
        by_input: gradient of the scores by where the head begins for it, (N * C, ...).
        shape: (N, C).
    """
    images, classes = shape[0], shape[1]
    features = feature.layout.to_grid(tensor)
    if feature.pooled:  # the same gradient for every position: a sum weighted by channels
        weights = ops.reshape(ops.cast(by_input, "float32"), (images, classes, features.shape[-1]))
        return ops.moveaxis(weighted_sum(features, ops.swapaxes(weights, 1, 2), per_image=True), -1, 1)
    # Cell by cell, times the number of cells, since it is the mean that is to be the part.
    *cells, channels = ops.shape(features)[1:]
    by_cell = ops.reshape(feature.layout.to_grid(by_input), (images, classes, *cells, channels))
    num_cells = ops.cast(ops.prod(ops.convert_to_tensor(cells, dtype="int32")), "float32")
    return ops.sum(by_cell * ops.expand_dims(features, 1), axis=-1) * num_cells


def _gradient_times_tokens(layout: Layout, tensor: Tensor, by_input: Tensor, shape: Any) -> Tensor:
    """What the tokens without a place among a feature map's cells add to the scores, (N, C); 0 where there are none."""
    total: Tensor = 0.0
    if not layout.num_tokens:
        return total
    for tokens, by_tokens in zip(layout.tokens(tensor), layout.tokens(by_input), strict=True):
        lengths = [ops.shape(tokens)[axis] for axis in range(1, len(tokens.shape))]
        by_tokens = ops.reshape(ops.cast(by_tokens, "float32"), (shape[0], shape[1], *lengths))
        products = by_tokens * ops.expand_dims(ops.cast(tokens, "float32"), 1)
        total = total + ops.sum(products, axis=tuple(range(2, len(products.shape))))
    return total
