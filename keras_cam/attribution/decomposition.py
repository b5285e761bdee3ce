"""The score of any head taken apart into a map and a bias: gradient times features, non-linearities frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from keras_cam.attribution.class_activation_map import weighted_sum
from keras_cam.attribution.feature_layout import channels_last, map_to_grid
from keras_cam.attribution.multiscale import add_on_finest_grid
from keras_cam.backend import gradient
from keras_cam.model.feature_maps import FeatureMap
from keras_cam.model.head import Head
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

    # Each feature map's part of the score, and what its prefix tokens add.
    maps = []
    for feature, tensor, by_input in zip(head.cut.features, features, gradients, strict=True):
        on_grid, of_prefix = map_to_grid(feature, _gradient_times_features(feature, tensor, by_input, shape))
        maps.append(on_grid)
        bias = bias + of_prefix
    return add_on_finest_grid(maps, head.cut), bias


def _gradient_times_features(feature: FeatureMap, tensor: Tensor, by_input: Tensor, shape: Any) -> Tensor:
    """One feature map's part of the scores, (N, C, ...) over all its positions, of which the mean is that part.

    Args:
        feature: the feature map.
        tensor: the feature map as the model makes it.
        by_input: gradient of the scores by where the head begins for it, (N * C, ...).
        shape: (N, C).
    """
    images, classes = shape[0], shape[1]
    features = channels_last(feature, tensor)
    if feature.pooled:  # the same gradient for every position: a sum weighted by channels
        weights = ops.reshape(ops.cast(by_input, "float32"), (images, classes, features.shape[-1]))
        return ops.moveaxis(weighted_sum(features, ops.swapaxes(weights, 1, 2), per_image=True), -1, 1)
    # Cell by cell, times the number of positions, since it is the mean that is to be the part.
    by_input = channels_last(feature, by_input)
    *positions, channels = ops.shape(features)[1:]
    by_input = ops.reshape(by_input, (images, classes, *positions, channels))
    num_positions = ops.cast(ops.prod(ops.convert_to_tensor(positions, dtype="int32")), "float32")
    return ops.sum(by_input * ops.expand_dims(features, 1), axis=-1) * num_positions
