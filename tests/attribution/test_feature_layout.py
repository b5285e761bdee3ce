"""Feature maps in every layout on a grid and back, by hand."""

import keras
import numpy as np
import pytest

from keras_cam.attribution.feature_layout import channels_last, from_grid, map_to_grid, to_grid
from keras_cam.model.feature_maps import FeatureMap


def feature_map(*, channels_first=False, tokens=None):
    return FeatureMap(0, 0, "layer", channels_first, tokens)


LAYOUTS = {  # feature map, shape of its tensor, shape on the grid
    "channels last": (feature_map(), (2, 3, 4, 5), (2, 3, 4, 5)),
    "channels first": (feature_map(channels_first=True), (2, 5, 3, 4), (2, 3, 4, 5)),
    "tokens": (feature_map(tokens=(0, 3, 4)), (2, 12, 5), (2, 3, 4, 5)),
    "tokens behind a prefix": (feature_map(tokens=(2, 3, 4)), (2, 14, 5), (2, 3, 4, 5)),
}


def numbers(shape, dtype="float32"):
    return keras.ops.reshape(keras.ops.arange(int(np.prod(shape)), dtype=dtype), shape)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_to_a_grid_and_back(layout):
    """What comes back has the prefix tokens of the tensor that it is to be like."""
    feature, shape, grid = LAYOUTS[layout]
    tensor = numbers(shape)
    on_grid = to_grid(feature, tensor)
    assert tuple(on_grid.shape) == grid
    back = keras.ops.convert_to_numpy(from_grid(feature, on_grid, tensor))
    np.testing.assert_array_equal(back, keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_way_back_keeps_the_dtype(layout):
    feature, shape, _ = LAYOUTS[layout]
    tensor = numbers(shape, "float16")
    on_grid = to_grid(feature, tensor)
    assert keras.backend.standardize_dtype(on_grid.dtype) == "float32"
    assert keras.backend.standardize_dtype(from_grid(feature, on_grid, tensor).dtype) == "float16"


def test_channels_last_by_hand():
    tensor = keras.ops.convert_to_tensor([[[1.0, 2.0], [3.0, 4.0]]])  # two channels of two cells
    found = keras.ops.convert_to_numpy(channels_last(feature_map(channels_first=True), tensor))
    assert found.tolist() == [[[1, 3], [2, 4]]]


def test_what_prefix_tokens_add_by_hand():
    """The mean over three tokens is 4: one third of 2 of the prefix, and of 3 and 7 on the grid the rest."""
    maps, prefix = map_to_grid(feature_map(tokens=(1, 1, 2)), keras.ops.convert_to_tensor([[[2.0, 3.0, 7.0]]]))
    np.testing.assert_allclose(prefix, [[2 / 3]])
    np.testing.assert_allclose(maps, [[[[2.0, 14 / 3]]]])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(maps).mean(axis=(2, 3)) + np.asarray(prefix), [[4.0]])


def test_maps_that_are_not_of_tokens_stay():
    maps = numbers((2, 3, 4, 5))
    on_grid, prefix = map_to_grid(feature_map(), maps)
    assert on_grid is maps and prefix == 0
