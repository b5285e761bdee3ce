"""Weights of resampling in a compiled graph: the same as in NumPy, and by hand."""

import keras
import numpy as np
import pytest

from keras_cam.attribution.resample import area_weights, linear_weights, resample_axis, stretch
from keras_cam.imaging.resample import place

SIZES = [(3, 3), (3, 7), (4, 8), (1, 5), (6, 13)]


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_stretching_is_what_drawing_does(before, after):
    maps = np.random.default_rng(0).normal(size=(2, 3, before, before + 1)).astype("float32")
    found = stretch(keras.ops.convert_to_tensor(maps), (after, 2 * after), 2)
    np.testing.assert_allclose(array(found), place(maps, (after, 2 * after)), rtol=0, atol=1e-5)


def test_linear_weights_by_hand():
    """Half-pixel centres, edges repeated: old samples at 0.5 and 2.5 of 4, new ones at 0.5, 1.5, 2.5 and 3.5."""
    np.testing.assert_allclose(linear_weights(2, 4), [[1, 0.75, 0.25, 0], [0, 0.25, 0.75, 1]])


def test_area_weights_by_hand():
    np.testing.assert_allclose(area_weights(2, 4), [[1, 1, 0, 0], [0, 0, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(area_weights(2, 3), [[1, 0.5, 0], [0, 0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("weights", [linear_weights, area_weights])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_every_new_sample_is_a_mean_of_old_ones(before, after, weights):
    found = array(weights(before, after))
    assert found.shape == (before, after) and found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)


def test_one_axis_alone():
    maps = keras.ops.convert_to_tensor(np.arange(6, dtype="float32").reshape(1, 2, 3))
    found = array(resample_axis(maps, keras.ops.convert_to_tensor(np.array([[1.0], [1.0]], "float32")), 1))
    assert found.tolist() == [[[3, 5, 7]]]
