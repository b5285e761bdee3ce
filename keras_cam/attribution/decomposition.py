"""Maps of any head: gradient times features, the head's non-linearities frozen, on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_cam.attribution.class_activation_map import weighted_sum
from keras_cam.backend import gradient
from keras_cam.graph.receptive_field import Axis
from keras_cam.model.cut import Cut
from keras_cam.model.feature_maps import FeatureMap
from keras_cam.model.grid import grids_of
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

    One backward pass through the head for all classes: the head_inputs are repeated once per class.

    Args:
        head: the head.
        features: the feature maps, as the model makes them.
        head_inputs: where the head begins for each of them: their averages, or the maps themselves.
        side_inputs: what the head reads besides, by slot.
        class_indices: int32 (N, C).

    Returns:
        `(maps, bias)`: float32 (N, C, h, w), whose mean over the cells plus the bias (N, C) is the score.
    """
    count = ops.shape(class_indices)[1]

    def repeated(tensor: Tensor) -> Tensor:
        return ops.repeat(tensor, count, axis=0)

    slots = [feature.head_input for feature in head.cut.features]
    values = {slot: repeated(side) for slot, side in side_inputs.items()}
    points = [repeated(head_input) for head_input in head_inputs]
    chosen = ops.reshape(class_indices, (-1, 1))

    def scores_of(points: list[Tensor], frozen: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        logits, used = run_linearized(head.cut, {**values, **dict(zip(slots, points, strict=True))}, frozen)
        return ops.take_along_axis(head.scores(logits), chosen, axis=-1), used

    def total(points: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        scores, frozen = scores_of(points)
        return ops.sum(scores), frozen

    gradients, frozen = gradient(total, points, head.gradient_scale)
    bias = ops.reshape(scores_of([ops.zeros_like(point) for point in points], frozen)[0], ops.shape(class_indices))
    maps = []
    for feature, tensor, by_feature in zip(head.cut.features, features, gradients, strict=True):
        placed, placeless = _map_of(feature, tensor, by_feature, ops.shape(class_indices))
        maps.append(placed)
        bias = bias + placeless
    return add_on_finest_grid(maps, head.cut), bias


def add_on_finest_grid(maps: Sequence[Tensor], cut: Cut | None = None) -> Tensor:
    """Add maps (N, C, h, w) of several grids on the finest of them, keeping every mean.

    A cell of the sum takes from another map what it covers of its cells.

    Args:
        maps: one for each feature map.
        cut: the model, whose geometry says where cells lie; without it, and where that is not known, all maps are
            laid over the same length.

    Returns:
        The sum.
    """
    if len(maps) == 1:
        return maps[0]
    chosen = max(range(len(maps)), key=lambda index: _known_size(maps[index].shape[2:]))
    grids = [None] * len(maps) if cut is None else grids_of(cut)
    total, target = maps[chosen], grids[chosen]
    for index, (one, grid) in enumerate(zip(maps, grids, strict=True)):
        if index == chosen:
            continue
        for axis in range(2, len(total.shape)):
            if grid is None or target is None:
                share = _overlap(ops.shape(one)[axis], ops.shape(total)[axis])
            else:
                share = ops.convert_to_tensor(_shares(grid.axes[axis - 2], target.axes[axis - 2]))
            one = ops.moveaxis(ops.tensordot(one, share, axes=[[axis], [0]]), -1, axis)
        total = total + one
    return total


def _map_of(feature: FeatureMap, tensor: Tensor, by_feature: Tensor, shape: Any) -> tuple[Tensor, Tensor]:
    """One feature map's part of the scores as (N, C, h, w), and what of it has no place (N, C)."""
    images, classes = shape[0], shape[1]
    layout = feature.layout
    features = layout.to_grid(tensor)
    if feature.pooled:
        weights = ops.reshape(ops.cast(by_feature, "float32"), (images, classes, features.shape[-1]))
        maps = ops.moveaxis(weighted_sum(features, ops.swapaxes(weights, 1, 2), per_image=True), -1, 1)
        return maps, 0.0
    spatial = tuple(ops.shape(features)[axis] for axis in range(1, len(features.shape)))
    gradients = ops.reshape(layout.to_grid(by_feature), (images, classes, *spatial))
    cells = ops.cast(ops.prod(ops.convert_to_tensor(spatial[:-1], dtype="int32")), "float32")
    maps = ops.sum(gradients * ops.expand_dims(features, 1), axis=-1) * cells
    return maps, _part_of_tokens(layout, tensor, by_feature, (images, classes))


def _part_of_tokens(layout: Layout, tensor: Tensor, by_feature: Tensor, shape: tuple[Any, Any]) -> Tensor:
    """What tokens without a place add to the scores (N, C)."""
    total: Tensor = 0.0
    for token, gradients in zip(layout.split(tensor)[1], layout.split(by_feature)[1], strict=True):
        rest = [ops.shape(token)[axis] for axis in range(1, len(token.shape))]
        gradients = ops.reshape(ops.cast(gradients, "float32"), (*shape, *rest))
        products = gradients * ops.expand_dims(ops.cast(token, "float32"), 1)
        total = total + ops.sum(products, axis=tuple(range(2, len(products.shape))))
    return total


def _overlap(coarse: Any, fine: Any) -> Tensor:
    """(coarse, fine): which share of each fine cell lies in each coarse cell, both laid over the same length."""
    edges = ops.arange(fine, dtype="float32")[None] / ops.cast(fine, "float32")
    borders = ops.arange(coarse, dtype="float32")[:, None] / ops.cast(coarse, "float32")
    ends = ops.minimum(edges + 1 / ops.cast(fine, "float32"), borders + 1 / ops.cast(coarse, "float32"))
    return ops.maximum(ends - ops.maximum(edges, borders), 0.0) * ops.cast(fine, "float32")


def _shares(coarse: Axis, fine: Axis) -> np.ndarray:
    """(coarse, fine): which share of each fine cell lies in each coarse cell, by their places; the outermost go on.

    Every row has the same sum, so that means are kept; a coarse cell that covers no fine one goes to the nearest.
    """
    places, lows, highs = _extents(coarse)
    centres, starts, ends = _extents(fine)
    lows[0], highs[-1] = -np.inf, np.inf
    shares = np.maximum(np.minimum(highs[:, None], ends) - np.maximum(lows[:, None], starts), 0)
    missed = np.flatnonzero(~shares.any(axis=1))
    shares[missed, np.abs(places[missed, None] - centres).argmin(axis=1)] = 1
    return (shares / shares.sum(axis=1, keepdims=True) * (fine.length / coarse.length)).astype("float32")


def _extents(axis: Axis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, beginnings and ends of the cells of an axis."""
    centres = axis.offset + axis.stride * np.arange(axis.length)
    return centres, centres - axis.stride / 2, centres + axis.stride / 2


def _known_size(spatial: Sequence[int | None]) -> int:
    size = 1
    for length in spatial:
        size *= length or 1
    return size
