"""Pictures to show: the rule for black and white, scaled and rounded by hand, any finite image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.display import to_display, value_range_of
from keras_cam.imaging.load import load_images

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([np.array([0, 1], np.uint8)], (0, 255)),
        ([np.array([0.0, 1.0])], (0, 1)),
        ([np.array([0.0, 1.02])], (0, 1)),  # overshoot of a resize
        ([np.array([-1.0, 1.0])], (-1, 1)),
        ([np.array([0.0, 255.0])], (0, 255)),
        ([np.array([0.5]), np.array([99.0])], (0, 255)),  # one range for all images
        ([np.array([-123.0, 151.0])], (-123, 151)),
        ([np.array([-2.1, 2.6])], (-2.1, 2.6)),  # standardised: (0, 255) would show it black
        ([np.array([-2000, 2000], np.int16)], (-2000, 2000)),
        ([np.array([300.0])], (0, 300)),  # a constant picture still has two ends
        ([np.array([-5.0])], (-5, 0)),
    ],
)
def test_the_rule_for_the_value_range(images, expected):
    assert value_range_of(images) == expected


def test_display_stretches_rounds_and_clips():
    shown = to_display(np.array([[[-9.0], [0.0], [0.5], [1.0], [9.0]]]), (0, 1))
    assert shown.dtype == np.uint8
    assert_array_equal(shown[0], np.repeat([[0], [0], [128], [255], [255]], 3, axis=1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "int32", "uint16"])
def test_display_of_every_type_by_the_formula(dtype):
    """What is far outside is clipped too, where a number times the scale is too large for an integer."""
    image = np.random.default_rng(0).integers(0, 2000, (4, 5, 3)).astype(dtype)
    image[0, 0] = 60000
    expected = np.clip((image.astype(np.float64) - 100) / 0.5 * 255, 0, 255)
    assert np.abs(to_display(image, (100, 100.5)) - expected).max() <= 0.5
    assert to_display(np.full((1, 1, 3), 3e38, np.float32), (0, 1e-30)).min() == 255


def test_display_of_uint8_is_the_same_picture_but_a_copy():
    shown = to_display(RGB, (0, 255))
    assert_array_equal(shown, RGB)
    assert not np.shares_memory(shown, RGB)
    assert_array_equal(to_display(np.dstack([RGB, RGB[..., :1]]), (0, 255)), RGB)


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0, np.inf), (np.nan, 1), 3, (1, 2, 3), "ab"])
def test_an_impossible_value_range(value_range):
    with pytest.raises(InvalidOptionError, match="value_range is two finite numbers"):
        to_display(RGB, value_range)


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.uint8]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (*shape, 3)),
        elements={"allow_nan": False, "allow_infinity": False, "min_value": 0, "max_value": 2**7},
    )
    | hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(allow_nan=False, allow_infinity=False, width=32))
)
def test_any_finite_image_can_be_shown(image):
    (loaded,), _ = load_images(image)
    shown = to_display(loaded, value_range_of([loaded]))
    assert shown.dtype == np.uint8 and shown.shape == (*image.shape[:2], 3)
