"""A heat map over its picture: blends worked by hand, any kind of image, any finite map."""

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from support.pictures import WHITE, flat

from keras_cam.drawing.overlay import overlay
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.colormaps import COLORMAPS, colorize
from keras_cam.imaging.normalize import normalize

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


def test_overlay_by_hand():
    # Opacity is alpha * min(2 * heat, 1); "bone" is white at 1.
    drawn = overlay(flat(1, 3, 100), [[0.0, 0.25, 1.0]], colormap="bone", alpha=0.4)
    quarter = colorize([[0.25]], "bone")[0, 0]
    assert_array_equal(drawn[0, 0], [100] * 3)
    assert_array_equal(drawn[0, 1], np.rint(0.8 * 100 + 0.2 * quarter))
    assert_array_equal(drawn[0, 2], [0.6 * 100 + 0.4 * 255] * 3)


def test_alpha_zero_is_the_picture_and_alpha_one_the_colours():
    rng = np.random.default_rng(0)
    picture, heat = rng.integers(0, 256, (6, 7, 3), np.uint8), rng.uniform(0.5, 1, (6, 7))
    assert_array_equal(overlay(picture, heat, alpha=0), picture)
    assert_array_equal(overlay(picture, heat, alpha=1), colorize(heat))
    assert_array_equal(overlay(picture, np.zeros((6, 7)), alpha=1), picture)


def test_a_small_map_is_stretched_over_the_picture():
    drawn = overlay(flat(4, 4, 0), [[0.0, 1.0]], colormap="bone", alpha=1)
    assert (np.diff(drawn[..., 0].astype(int), axis=1) >= 0).all()
    assert_array_equal(drawn[:, 0], 0)
    assert_array_equal(drawn[:, -1], WHITE)


@pytest.mark.parametrize(
    "image",
    [
        np.full((2, 3), 51, np.uint8),
        np.full((2, 3, 4), 51, np.uint8),
        np.full((1, 2, 3, 3), 0.2, np.float32),
        [np.full((2, 3, 1), 51.0)],
        PIL.Image.new("L", (3, 2), 51),
    ],
)
def test_one_image_of_any_kind(image):
    assert_array_equal(overlay(image, np.zeros((2, 3))), flat(2, 3, 51))


def test_the_value_range_can_be_said():
    image = np.array([[[0.0], [5.0], [10.0]]])
    assert_array_equal(overlay(image, np.zeros((1, 3)), value_range=(0, 10))[0, :, 0], [0, 128, 255])
    assert_array_equal(overlay(image, np.zeros((1, 3)))[0, :, 0], [0, 5, 10])


def test_the_callers_arrays_stay_as_they_are():
    picture, heat = flat(3, 3, 9), np.full((3, 3), 0.7, np.float32)
    overlay(picture, heat)
    assert (picture == 9).all() and (heat == np.float32(0.7)).all()


@pytest.mark.parametrize(
    ("heat", "words"),
    [
        (np.array([[0.0, 3.0]]), "from 0 to 3.*normalize"),
        (np.array([[-0.5, 1.0]]), "from -0.5 to 1"),
        (np.zeros((1, 2, 2)), r"\(1, 2, 2\).*Pick one"),
        (np.array([[np.nan]]), "1 NaN"),
        (np.zeros((0, 2)), "at least one cell"),
    ],
)
def test_a_map_that_is_no_heat_is_named(heat, words):
    with pytest.raises(InvalidImageError, match=f"(?s){words}"):
        overlay(flat(2, 2, 0), heat)


def test_bad_options_are_named():
    with pytest.raises(InvalidOptionError, match=r"alpha must lie in \[0, 1\]. Received: 1.5"):
        overlay(flat(2, 2, 0), np.zeros((2, 2)), alpha=1.5)
    with pytest.raises(InvalidOptionError, match=r"viridis.*'magenta'"):
        overlay(flat(2, 2, 0), np.zeros((2, 2)), colormap="magenta")
    with pytest.raises(InvalidImageError, match=r"one image\. Received: 2"):
        overlay(np.zeros((2, 4, 4, 3)), np.zeros((4, 4)))


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=FINITE),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(sorted(COLORMAPS)),
    st.sampled_from(["image", "minmax", "batch", (-1.0, 1.0)]),
)
def test_any_finite_map_makes_a_picture_of_the_asked_size(heatmap, size, colormap, mode):
    drawn = overlay(flat(*size, 7), normalize(heatmap, mode), colormap=colormap)
    assert drawn.shape == (*size, 3) and drawn.dtype == np.uint8


def test_a_photograph_stays_visible_where_nothing_is(shared_data):
    photograph = shared_data / "animals" / "raccoon" / "raccoon-1.jpg"
    picture = np.asarray(PIL.Image.open(photograph).convert("RGB"))
    heat = np.zeros((7, 7))
    heat[3, 3] = 1
    drawn = overlay(photograph, heat)
    assert drawn.shape == picture.shape
    assert_array_equal(drawn[:100, :100], picture[:100, :100])
    assert np.abs(drawn.astype(int) - picture)[209, 325].max() > 60


def test_where_a_signed_map_is_zero_the_picture_stays():
    drawn = overlay(flat(1, 3), [[-1.0, 0.0, 1.0]], signed=True, alpha=1)
    assert_array_equal(
        drawn[0], [colorize([[-1.0]], signed=True)[0, 0], [90] * 3, colorize([[1.0]], signed=True)[0, 0]]
    )


def test_signs_and_colours_must_fit():
    with pytest.raises(InvalidImageError, match=r"from -1 to 1.*signed=True"):
        overlay(flat(1, 2), [[-1.0, 1.0]])
    with pytest.raises(InvalidOptionError, match=r"signed map must be one of 'blue_orange', 'purple_green'.*'jet'"):
        overlay(flat(1, 2), [[-1.0, 1.0]], signed=True, colormap="jet")
    with pytest.raises(InvalidOptionError, match="'blue_orange'"):
        overlay(flat(1, 2), [[0.0, 1.0]], colormap="blue_orange")


def test_every_colour_map_draws_the_same_places():
    heat = np.array([[0.0, 1.0]])
    for name in COLORMAPS:
        drawn = overlay(flat(1, 2), heat, colormap=name, alpha=1)
        assert_array_equal(drawn[0, 0], [90] * 3)
    assert_allclose(normalize(heat), heat)
