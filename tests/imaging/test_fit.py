"""Pictures brought to a model's size and maps brought back, by hand and for any size."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from keras_cam import InvalidOptionError, explain
from keras_cam.imaging.fit import FITS, fit_image, placement, visible_region

layers = keras.layers
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def test_by_hand():
    picture = np.arange(8.0).reshape(2, 4, 1)
    assert fit_image(picture, (2, 2), "crop")[..., 0].tolist() == [[1, 2], [5, 6]]
    assert fit_image(picture, (4, 4), "pad")[..., 0].tolist() == [[0] * 4, [0, 1, 2, 3], [4, 5, 6, 7], [0] * 4]
    assert fit_image(picture, (2, 2), "stretch")[..., 0].tolist() == [[0.5, 2.5], [4.5, 6.5]]
    assert placement((2, 4), (4, 4), "pad") == ((1.0, -1.0), (1.0, 0.0))
    assert placement((20, 40), (10, 10), "stretch") == ((2.0, 0.0), (4.0, 0.0))
    assert visible_region((100, 200), (50, 50), "crop") == (slice(0, 100), slice(50, 150))


@given(SIZES, SIZES, st.sampled_from(FITS))
def test_any_picture_fits_any_frame_and_points_go_back(picture, size, fit):
    """A picture whose pixels are their own rows and columns, looked up at the frame's pixels."""
    rows, columns = np.indices(picture).astype(float) + 0.5
    frame = fit_image(np.stack([rows, columns], axis=-1), size, fit)
    assert frame.shape == (*size, 2)
    inside = frame.min(axis=-1) > 0
    for axis, (scale, shift) in enumerate(placement(picture, size, fit)):
        expected = np.clip(scale * (np.arange(size[axis]) + 0.5) + shift, 0.5, picture[axis] - 0.5)
        found = frame[..., axis]
        wanted = np.broadcast_to(expected[:, None] if axis == 0 else expected[None], size)
        assert_allclose(found[inside], wanted[inside], atol=max(0.51, scale / 2))
    if fit != "pad":
        assert inside.all()


def spotter(size):
    """A network of one averaging window a cell: the map is the picture, eight times smaller."""
    inputs = keras.Input((*size, 1))
    x = layers.AveragePooling2D(8)(inputs)
    return keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("fit", FITS)
def test_heat_comes_back_to_where_the_light_was(fit):
    picture = np.zeros((90, 160, 1), np.uint8)
    picture[30:60, 60:100] = 255
    result = explain(spotter((64, 64)), picture, fit=fit)
    heat = result.heatmaps()[0][0]
    assert heat.shape == (90, 160)
    middle = [(np.arange(length) * heat.sum(axis=1 - axis)).sum() / heat.sum() for axis, length in enumerate((90, 160))]
    assert_allclose(middle, [44.5, 79.5], atol=4)


def test_what_was_cut_off_is_no_evidence():
    picture = np.full((40, 160, 1), 200, np.uint8)
    heat = explain(spotter((64, 64)), picture, fit="crop").heatmaps()[0][0]
    assert_array_equal(heat[:, :60], 0)
    assert_array_equal(heat[:, 100:], 0)
    assert heat[:, 62:98].min() > 0.9


@pytest.mark.parametrize("mode", ["minmax", (-1.0, 1.0), "image", "batch"])
def test_what_was_cut_off_is_drawn_without_heat_on_every_scale(mode):
    """Evidence against the class is the low end of "minmax": zero, which stands for what was not seen, is above it."""
    model = spotter((64, 64))
    model.layers[-1].set_weights([np.full((1, 1), -1.0), np.zeros(1)])
    picture = np.zeros((40, 160, 1), np.uint8)
    picture[:, 60:80] = 200
    result = explain(model, picture, fit="crop", classes=[0], preprocess=lambda batch: batch / 255 + 0.1)
    (heat,) = result.heatmaps(mode)[0]
    assert not heat[:, :60].any() and not heat[:, 100:].any()
    if mode == "minmax":
        assert heat[:, 60:100].min() == 0 and heat[:, 60:100].max() == 1
        assert result.plot(normalize=mode).axes[2].get_ylim()[1] < 0
    drawn, panel, figure = (
        result.overlays(normalize=mode)[0][0],
        result.panels(normalize=mode),
        result.plot(normalize=mode),
    )
    for picture in (drawn, panel[0][0][:, :240], figure.axes[3].images[0].get_array()):
        unseen = picture[5:35, : picture.shape[1] // 4]  # with the picture's own gray, and no other colour
        assert (unseen == unseen[..., :1]).all()


def test_a_fit_that_is_none():
    with pytest.raises(InvalidOptionError, match=r"'stretch', 'crop', 'pad'.*'letterbox'"):
        explain(spotter((64, 64)), np.ones((9, 9, 1)), fit="letterbox")
