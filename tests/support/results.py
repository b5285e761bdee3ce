"""Results made by hand: two pictures of different sizes, and one thing of any number of axes."""

import keras
import numpy as np

from keras_cam import Explanation

MAPS = np.array([[[[1, 3], [-2, -2]], [[0, 2], [8, 14]]], [[[4, 4], [4, 4]], [[-1, -1], [-1, -1]]]], np.float32)
SIZES = [(2, 2), (4, 6)]


def two_pictures():
    """Two pictures of different sizes, classes 2 and 0 of the first, 1 and 2 of the second, of three."""
    generator = np.random.default_rng(0)
    return Explanation(
        maps=MAPS,
        class_indices=np.array([[2, 0], [1, 2]]),
        logits=np.array([[5, -10, 0.5], [2, 4, -1]], np.float32),
        probabilities=np.array([[0.1, 0.2, 0.7], [0.25, 0.5, 0.25]], np.float32),
        bias=np.array([[0.5, -1], [0.5, 0]], np.float32),
        images=tuple(generator.integers(0, 256, (*size, 3), np.uint8) for size in SIZES),
        method="cam",
        layer="backbone/conv",
        class_names=("cat", "dog", "horse"),
    )


def of_rank(rank, shape, maps, grid=None):
    """Two classes of one thing of so many axes: `maps` and what speaks against it."""
    maps = np.stack([maps, -np.asarray(maps)])[np.newaxis].astype(np.float32)
    assert maps.ndim == rank + 2
    return Explanation(
        maps=maps,
        class_indices=np.array([[1, 0]]),
        logits=np.zeros((1, 2), np.float32),
        probabilities=np.array([[0.25, 0.75]], np.float32),
        bias=np.zeros((1, 2), np.float32),
        images=(np.random.default_rng(0).normal(size=shape).astype(np.float32),),
        method="cam",
        layer="conv",
        grid=grid,
    )


def network(*steps):
    """A model of two classes that ends in the steps given."""
    return keras.Sequential([*steps, keras.layers.Dense(2)])
