"""Maps of several grids added up: what of a coarse cell comes to which fine one, by hand, and where it is drawn."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cam import explain
from keras_cam.attribution.multiscale import add_on_finest_grid
from keras_cam.model.cut import cut


def two_scales(fine, coarse, size):
    """Two pooled maps beside each other, each of one channel; nothing of what they are made of matters."""
    inputs = keras.Input((size, 4, 1))
    pools = [layers.GlobalAveragePooling2D()(branch(inputs)) for branch in (fine, coarse)]
    return keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.Concatenate()(pools)))


def rows_of_sum(model, fine, coarse):
    """What becomes of a fine and a coarse map that hold these numbers in their rows."""
    found = cut(model)
    lengths = [found.program.shape(feature.slot)[1] for feature in found.features]
    rows = [fine if length == max(lengths) else coarse for length in lengths]
    maps = [np.repeat(np.array(one, "float32")[None, None, :, None], 4, axis=3) for one in rows]
    total = keras.ops.convert_to_numpy(add_on_finest_grid([*map(keras.ops.convert_to_tensor, maps)], found))
    assert total.mean() == pytest.approx(sum(np.mean(one) for one in (fine, coarse)))
    return total[0, 0, :, 0].tolist()


def test_a_coarse_map_is_added_where_its_cells_lie():
    """Padded as in ResNet, cells of 8 pixels lie at -0.5, 7.5 and 15.5; fine ones of 4 at 1.5, 5.5, 9.5 and 13.5."""
    coarse = keras.Sequential([layers.ZeroPadding2D(((4, 4), (0, 0))), layers.AveragePooling2D((8, 1))])
    model = two_scales(layers.AveragePooling2D((4, 1)), coarse, 16)
    # Of the second coarse cell, from 3.5 to 11.5, the fine ones are all; the first ends where the first fine one does.
    assert rows_of_sum(model, [0] * 4, [3, 0, 0]) == pytest.approx([4, 0, 0, 0])
    assert rows_of_sum(model, [1, 2, 3, 4], [0, 3, 0]) == pytest.approx([1, 2 + 2, 3 + 2, 4])


def test_a_coarse_cell_beyond_all_fine_ones_goes_to_the_nearest():
    model = two_scales(layers.Cropping2D(((6, 6), (0, 0))), layers.AveragePooling2D((8, 1), strides=(4, 1)), 16)
    # The fine cells lie at 6 to 9, the coarse ones at 3.5, 7.5 and 11.5: all the fine ones are in the middle one.
    assert rows_of_sum(model, [0] * 4, [3, 0, 0]) == pytest.approx([4, 0, 0, 0])
    assert rows_of_sum(model, [0] * 4, [0, 3, 0]) == pytest.approx([1] * 4)


def test_scales_of_any_size_share_their_length():
    """Sizes that only the images say: the coarse map is stretched, as where a layer is not known."""
    model = two_scales(layers.AveragePooling2D((4, 1)), layers.AveragePooling2D((8, 1)), None)
    maps = [keras.ops.reshape(keras.ops.array(one, "float32"), (1, 1, -1, 1)) for one in ([0] * 4, [2, 4])]
    total = keras.ops.convert_to_numpy(add_on_finest_grid(maps, cut(model)))
    assert total[0, 0, :, 0].tolist() == [2, 2, 4, 4]


def test_two_scales_are_drawn_where_either_alone_would_be():
    """A dot at 60..69 seen by cells of stride 32 that lie at 0, 32, ...: stretched they would be 12 pixels off."""

    def halved(x):
        weights = {"kernel_initializer": keras.initializers.Constant(1 / 9), "use_bias": False}
        return layers.Conv2D(1, 3, 2, **weights)(layers.ZeroPadding2D(1)(x))

    inputs = keras.Input((128, 128, 1))
    fine = halved(halved(inputs))
    pools = [layers.GlobalAveragePooling2D()(maps) for maps in (fine, halved(halved(halved(fine))))]
    both = keras.Model(inputs, layers.Dense(1, use_bias=False)(layers.Concatenate()(pools)))
    both.layers[-1].set_weights([np.array([[0], [1]])])
    picture = np.zeros((128, 128, 1), "float32")
    picture[60:69, 60:69] = 1
    centres = []
    for model in (both, keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(pools[1]))):
        result = explain(model, picture, value_range=(0, 1))
        assert result.completeness == pytest.approx(1, abs=1e-5)
        centres.append(np.average(np.arange(128), weights=result.heatmaps()[0][0].sum(axis=1)))
    assert centres == pytest.approx([65, 66.5], abs=0.2)
