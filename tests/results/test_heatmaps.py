"""Heat maps at the sizes of their pictures, signals and volumes, by hand."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_array_equal
from support.results import MAPS, SIGNED_MAPS, SIZES, network, of_rank, two_grey_pictures, two_pictures

import keras_cam
from keras_cam import explain, overlay
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.graph.receptive_field import Axis
from keras_cam.imaging.fit import visible_region
from keras_cam.imaging.resample import place
from keras_cam.model.grid import Grid


@pytest.fixture(scope="module")
def result():
    return two_pictures()


def test_heat_maps_by_hand(result):
    first, second = result.heatmaps()
    assert (first.shape, second.shape) == ((2, 2, 2), (2, 4, 6)) and first.dtype == second.dtype == np.float32
    np.testing.assert_allclose(first, [[[1 / 3, 1], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], rtol=1e-6)
    assert second[0].tolist() == np.ones((4, 6)).tolist() and second[1].tolist() == np.zeros((4, 6)).tolist()


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        (None, MAPS[0], (4, -1)),
        ("image", [[[1 / 3, 1], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], (1, 0)),
        ("minmax", [[[0.6, 1], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], (0, 0)),
        ("batch", [[[1 / 14, 3 / 14], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], (4 / 14, 0)),
        ((-2, 8), [[[0.3, 0.5], [0, 0]], [[0.2, 0.4], [1, 1]]], (0.6, 0.1)),
    ],
    ids=str,
)
def test_heat_maps_of_every_scale(result, mode, first, second):
    found = result.heatmaps(mode)
    np.testing.assert_allclose(found[0], first, rtol=1e-6)
    for heatmap, value in zip(found[1], second, strict=True):
        np.testing.assert_allclose(heatmap, np.full(SIZES[1], value), rtol=1e-6)


@pytest.mark.parametrize("mode", ["image", "batch", "minmax"])
def test_maps_without_anything_positive_are_zero_and_not_nan(result, mode):
    for value in (0, -3):
        nothing = dataclasses.replace(result, maps=np.full_like(MAPS, value))
        assert [heatmap.any() for heatmap in nothing.heatmaps(mode)] == [False, False]


@pytest.mark.parametrize("mode", ["softmax", (1, 0), (1, np.nan), (0, np.nan), (0, -1), 3], ids=str)
def test_a_scale_that_is_none(result, mode):
    with pytest.raises(InvalidOptionError) as caught:
        result.heatmaps(mode)
    assert str(mode) in str(caught.value).replace("np.float64(nan)", "nan")


# over signals and volumes


def test_heat_maps_of_signals_and_volumes_by_hand():
    signal = of_rank(1, (4, 3), [0, 4])
    assert signal.heatmaps(None)[0].tolist() == [[0, 1, 3, 4], [0, -1, -3, -4]]
    assert signal.heatmaps()[0].tolist() == [[0, 0.25, 0.75, 1], [0, 0, 0, 0]]
    assert signal.heatmaps(signed=True)[0].tolist() == [[0, 0.25, 0.75, 1], [0, -0.25, -0.75, -1]]
    assert signal.heatmaps("minmax")[0].tolist() == [[0, 0.25, 0.75, 1], [1, 0.75, 0.25, 0]]
    volume = of_rank(3, (2, 4, 1, 1), [[[0], [4]], [[8], [12]]])
    assert volume.heatmaps("batch")[0].shape == (2, 2, 4, 1)
    np.testing.assert_allclose(volume.heatmaps(None)[0][0, ..., 0], [[0, 1, 3, 4], [8, 9, 11, 12]])


def test_the_grid_says_where_the_cells_of_a_signal_lie():
    signal = of_rank(1, (6, 1), [0, 4], Grid((Axis(2, offset=1, stride=2),), (6,)))
    assert signal.heatmaps(None)[0][0].tolist() == [0, 0, 2, 4, 4, 4]
    np.testing.assert_allclose(signal.heatmaps(None, align="stretch")[0][0], np.interp(range(6), [1, 4], [0, 4]))


def filled(shape, at):
    """Nothing but one large value."""
    signal = np.zeros((1, *shape, 1), np.float32)
    signal[(0, *at, 0)] = 5
    return signal


@pytest.mark.parametrize(
    ("kind", "shape", "at", "cell"),
    [("1D", (60,), (30,), (30,)), ("3D", (12, 22, 17), (6, 14, 10), (6, 14, 10))],
    ids=["signal", "volume"],
)
def test_heat_lies_over_what_the_cell_sees(kind, shape, at, cell):
    """Windows of 5 every 4, none before the start: cell i sees 4i..4i+4, and its centre is 4i+2."""
    layers = keras.layers
    sum_up = {"kernel_initializer": "ones", "bias_initializer": "zeros"}
    model = keras.Sequential(
        [
            keras.Input((*shape, 1)),
            getattr(layers, f"Conv{kind}")(1, 5, strides=4, **sum_up),
            getattr(layers, f"GlobalAveragePooling{kind}")(),
            layers.Dense(2, **sum_up),
        ]
    )
    given = filled(shape, at)
    result = keras_cam.explain(model, given, classes=[0], preprocess=lambda batch: batch * 2, fit="pad")
    assert result.images[0].dtype == np.float32 and result.fit == "stretch"
    np.testing.assert_array_equal(result.images[0], given[0])
    (heat,) = result.heatmaps(None)[0]
    assert heat.shape == shape and np.unravel_index(heat.argmax(), shape) == cell
    assert heat.max() == 10 and heat[tuple(place - 2 for place in cell)] > 0
    assert heat[tuple(place - 4 for place in cell)] == 0 == heat[tuple(place + 4 for place in cell)]
    np.testing.assert_array_equal(keras_cam.compute_cam(model, given[0], 0), heat / heat.max())


def test_maps_that_lie_on_nothing(result):
    fold, convolve = keras.layers.Reshape((9, 3, 1)), keras.layers.Conv2D(2, 2)
    folded = network(keras.Input((9, 3)), fold, convolve, keras.layers.GlobalAveragePooling2D())
    along = keras_cam.explain(folded, np.ones((1, 9, 3)))
    assert along.maps.shape == (1, 1, 8) and along.heatmaps()[0].shape == (1, 9)  # what was folded are channels
    nowhere = dataclasses.replace(along, maps=np.ones((1, 1, 8, 2), "float32"))
    with pytest.raises(
        InvalidDataError, match=r"\(1, 1, 8, 2\) lie on no picture.*\[\(9, 3\)\] to draw on.*result\.maps"
    ):
        nowhere.heatmaps()
    assert nowhere._repr_html_() is None
    assert keras_cam.explain(folded, np.ones((1, 9, 3)), method="saliency").heatmaps()[0].shape == (1, 9)
    with pytest.raises(InvalidDataError, match=r"Received: \[\(2, 2\), \(2, 2\)\]"):
        dataclasses.replace(result, images=(np.zeros((2, 2)),) * 2).sheet()


def test_maps_that_can_be_compared():
    """Report 28 of docs/reports.md: raw values, one scale for all pictures, and signs."""
    result = two_grey_pictures()
    assert [maps.min() for maps in result.heatmaps(None)] == [-8, 0]
    assert [maps.max() for maps in result.heatmaps("batch")] == [1, 0.5]
    signed = result.heatmaps("batch", signed=True)
    assert [float(maps.min()) for maps in signed] == [-1, 0] and [float(maps.max()) for maps in signed] == [0.5, 0.25]
    assert_array_equal(result.heatmaps((0, 16), signed=True)[1], place(SIGNED_MAPS[1], (40, 40)) / 16)


# over pictures that were fitted to the model


def averages(*paddings, size):
    """A network whose map is the picture, averaged in windows of 3 with stride 2, one after the other."""
    inputs = x = keras.Input((*size, 1))
    for padding in paddings:
        if padding == "resnet":
            x, padding = layers.ZeroPadding2D(1)(x), "valid"
        x = layers.Conv2D(1, 3, 2, padding, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 9))(x)
    return keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("padding", ["same", "resnet"])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_heat_lies_over_the_dot(fit, padding):
    """Cells are 16 to 32 pixels of the picture long. The middle of the heat is off by 4 at most, and to no side."""
    model = averages(padding, padding, padding, size=(64, 64))
    off = {"receptive_field": [], "stretch": []}
    for dot in ((40, 100), (70, 130), (100, 160), (60, 90), (51, 141)):
        picture = np.zeros((128, 256, 1), "uint8")
        picture[dot[0] - 8 : dot[0] + 8, dot[1] - 8 : dot[1] + 8] = 255
        result = explain(model, picture, classes=0, fit=fit, value_range=(0, 255))
        for align, found in off.items():
            heat = result.heatmaps(align=align)[0][0]
            middle = [np.average(indices + 0.5, weights=heat) for indices in np.indices(heat.shape)]
            found.append(np.subtract(middle, dot))
    assert np.abs(off["receptive_field"]).max() <= 4
    assert np.abs(np.mean(off["receptive_field"], axis=0)).max() <= 1.5
    assert np.abs(np.mean(off["stretch"], axis=0)).min() >= 6  # what others draw


def test_nearest_shows_the_cells_as_blocks():
    """Cells of 4 x 4 pixels, the middle of the first at pixel 3: its block goes from the edge to pixel 4."""
    picture = np.random.default_rng(5).uniform(size=(40, 48, 1)).astype("float32")
    result = explain(averages("same", "same", size=(40, 48)), picture, classes=0)
    assert [(axis.length, axis.offset, axis.stride) for axis in result.grid.axes] == [(10, 3, 4), (12, 3, 4)]
    heat = result.heatmaps(None, interpolation="nearest")[0][0]
    blocks = np.kron(result.maps[0, 0], np.ones((4, 4)))
    np.testing.assert_allclose(heat[1:, 1:], blocks[:-1, :-1], rtol=1e-6)
    np.testing.assert_array_equal(heat[0], heat[1])
    np.testing.assert_array_equal(heat[:, 0], heat[:, 1])
    assert len(np.unique(heat)) == result.maps.size  # and no value that no cell has


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(33, 47), (200, 90), (9, 7)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_constant_map_is_constant_up_to_the_edges(interpolation, size, fit):
    """No bright or dark frame: beyond the outermost cells their values go on, and not zeros."""
    model = keras.Sequential(
        [
            keras.Input((32, 48, 1)),
            layers.Conv2D(1, 3, 4, padding="same", kernel_initializer="zeros", bias_initializer="ones"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, kernel_initializer=keras.initializers.Constant(2.5)),
        ]
    )
    picture = np.full((*size, 1), 0.5, "float32")
    result = explain(model, picture, classes=0, fit=fit, value_range=(0, 1))
    for align in ("receptive_field", "stretch"):
        heat = result.heatmaps(None, interpolation=interpolation, align=align)[0][0]
        rows, columns = visible_region(size, (32, 48), fit)
        np.testing.assert_allclose(heat[rows, columns], 2.5, rtol=1e-5)
        assert fit == "crop" or heat.shape == heat[rows, columns].shape  # all of the picture, but for what is cut off
        drawn = overlay(result.images[0], heat[rows, columns] / heat.max())
        assert np.ptp(drawn[:, :, 0]) == np.ptp(drawn[:, :, 1]) == np.ptp(drawn[:, :, 2]) == 0
