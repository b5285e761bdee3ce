"""Results made by hand: two pictures of different sizes, two signals or volumes, one thing of any number of axes."""

import keras
import numpy as np
from support.pictures import flat

from keras_cam import Explanation

MAPS = np.array([[[[1, 3], [-2, -2]], [[0, 2], [8, 14]]], [[[4, 4], [4, 4]], [[-1, -1], [-1, -1]]]], np.float32)
SIZES = [(2, 2), (4, 6)]
NAMES = ("袋鼠", "<script>alert(1)</script>", "$x^")
SIGNED_MAPS = np.array([[[[4, 0], [0, -8]], [[-1, -1], [-2, -1]]], [[[2, 2], [2, 2]], [[1, 0], [0, 0]]]], np.float32)
RANKS = {"signal": (30, 2), "volume": (6, 8, 10, 1)}


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


def two_grey_pictures():
    """Two pictures of 20 x 30 and 40 x 40 pixels, two classes each; nothing speaks for the second of the first."""
    return Explanation(
        maps=SIGNED_MAPS,
        class_indices=np.array([[0, 1], [2, 0]]),
        logits=np.array([[1, -1, 0], [0.25, 0, 2]], np.float32),
        probabilities=np.array([[0.5, 0.25, 0.25], [0.2, 0.1, 0.7]], np.float32),
        bias=np.array([[2, 0.25], [0, 0]], np.float32),
        images=(flat(20, 30), flat(40, 40)),
        method="cam",
        layer="conv",
        class_names=NAMES,
    )


def two_of(kind):
    """Two signals, or two volumes, of two classes each; the second class of the first has nothing positive."""
    shape = RANKS[kind]
    maps = np.zeros((2, 2, *(2,) * (len(shape) - 1)), np.float32)
    maps[0, 0, ..., 1], maps[0, 1], maps[1, 0], maps[1, 1, 0] = 4, -1, 2, 8
    generator = np.random.default_rng(0)
    return Explanation(
        maps=maps,
        class_indices=np.array([[0, 1], [2, 0]]),
        logits=np.zeros((2, 3), np.float32),
        probabilities=np.array([[0.5, 0.25, 0.25], [0.2, 0.1, 0.7]], np.float32),
        bias=np.zeros((2, 2), np.float32),
        images=tuple(generator.normal(size=shape).astype(np.float32) for _ in range(2)),
        method="cam",
        layer="conv",
        class_names=NAMES,
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
