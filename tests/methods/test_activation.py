"""Maps of the features as they are: principal directions by the singular values, and weights that know nothing."""

import keras
import numpy as np
import pytest
from test_methods import BATCH, CLASSES, PICTURES, TOLERANCE, far, known, tiny

from keras_cam import explain
from keras_cam.methods.activation import first_component


@pytest.mark.parametrize("grid", [(2, 3), (5, 6), (7,), (2, 3, 4)])
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
def test_the_first_component_is_that_of_the_singular_values(grid, scale):
    """With fewer positions than channels and with more, and of numbers whose squares float32 does not have."""
    features = np.random.default_rng(0).normal(size=(2, *grid, 8)).astype("float32") * np.float32(scale)
    found = keras.ops.convert_to_numpy(first_component(keras.ops.convert_to_tensor(features)))
    assert found.shape == (2, *grid)
    for image in range(2):
        matrix = features[image].reshape(-1, 8).astype("float64")
        left, values, _ = np.linalg.svd(matrix, full_matrices=False)
        expected = left[:, 0] * values[0]
        actual = found[image].ravel() * np.sign(found[image].ravel() @ expected)  # the sign is open
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_features_of_zeros_have_no_direction():
    found = keras.ops.convert_to_numpy(first_component(keras.ops.zeros((1, 2, 3, 4))))
    assert not found.any() and found.shape == (1, 2, 3)


def test_random_cam_knows_nothing_but_the_features():
    """The same by the same seed, other weights for each class, the same for all images: a weighted sum of channels."""
    _, model = tiny("flatten", 1)
    maps = explain(model, PICTURES, classes="all", method="random_cam", seed=3).maps
    np.testing.assert_array_equal(maps, explain(model, PICTURES, classes="all", method="random_cam", seed=3).maps)
    other = explain(model, PICTURES, classes="all", method="random_cam", seed=4).maps
    assert np.abs(maps - other).max() > 0.1 * np.abs(maps).max()
    features = np.stack([known("flatten", 1, index, 0).features for index in range(BATCH)])
    rows = np.moveaxis(maps, 1, -1).reshape(-1, CLASSES)
    weights, *_ = np.linalg.lstsq(features.reshape(-1, features.shape[-1]), rows, rcond=None)
    assert far(maps, np.moveaxis(features @ weights, -1, 1)) < TOLERANCE
    assert np.abs(weights).max() <= 1 + 1e-5 and np.ptp(weights, axis=1).min() > 1e-2
    alone = explain(model, PICTURES[:1], classes=2, method="random_cam", seed=3).maps
    assert far(alone[0, 0], maps[0, 2]) < TOLERANCE
