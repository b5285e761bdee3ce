"""From the layout of a feature map's tensor to a grid of cells and back: channels last, tokens in rows and columns."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_cam.model.feature_maps import FeatureMap

Tensor = Any


def channels_last(feature: FeatureMap, tensor: Tensor) -> Tensor:
    """A feature map as float32 with its channels last."""
    return ops.cast(ops.moveaxis(tensor, 1, -1) if feature.channels_first else tensor, "float32")


def to_grid(feature: FeatureMap, tensor: Tensor) -> Tensor:
    """A feature map, or a gradient by it, as float32 (N, *grid, K): tokens in rows and columns, without prefix."""
    tensor = channels_last(feature, tensor)
    if feature.tokens is None:
        return tensor
    prefix, rows, columns = feature.tokens
    return ops.reshape(tensor[:, prefix:], (-1, rows, columns, tensor.shape[-1]))


def from_grid(feature: FeatureMap, features: Tensor, like: Tensor) -> Tensor:
    """The way back of `to_grid`, into the layout and dtype of the feature map `like`, whose prefix tokens are kept."""
    features = ops.cast(features, like.dtype)
    if feature.tokens is not None:  # the prefix has no place in the grid, and stays as it was
        prefix, rows, columns = feature.tokens
        tokens = ops.reshape(features, (-1, rows * columns, like.shape[-1]))
        return ops.concatenate([like[:, :prefix], tokens], axis=1)
    return ops.moveaxis(features, -1, 1) if feature.channels_first else features


def map_to_grid(feature: FeatureMap, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of tokens (N, C, T) as rows and columns, and what the prefix tokens add to the scores.

    Args:
        feature: the feature map.
        maps: (N, C, ...) in logit units, whose mean over all positions is what they add to the score.

    Returns:
        `(maps, prefix)`: (N, C, *grid), the mean of which and the prefix (N, C) together are what they add; maps that
        are not of tokens as they are, and 0.
    """
    if feature.tokens is None:
        return maps, 0.0
    prefix, rows, columns = feature.tokens
    # The mean is now over the tokens of the grid alone, which are fewer than all: hence the factor.
    num_tokens = prefix + rows * columns
    of_prefix = ops.sum(maps[:, :, :prefix], axis=-1) / num_tokens
    images, classes = ops.shape(maps)[:2]
    on_grid = ops.reshape(maps[:, :, prefix:], (images, classes, rows, columns)) * (rows * columns / num_tokens)
    return on_grid, of_prefix
