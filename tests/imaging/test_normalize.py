"""Maps in [0, 1]: numbers worked by hand, then any finite map, and what is turned away."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.normalize import NORMALIZATIONS, limits_of, normalize
from keras_cam.imaging.resample import place

MODES = (*NORMALIZATIONS, (-1.0, 2.0), None)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("image", [[[0, 0.5, 1]], [[0, 0, 0]], [[0.25, 1, 0]]]),
        ("batch", [[[0, 0.25, 0.5]], [[0, 0, 0]], [[0.25, 1, 0]]]),
        ("minmax", [[[0, 0.5, 1]], [[0, 0.5, 1]], [[0.25, 1, 0]]]),
        ((-4, 4), [[[0.5, 0.625, 0.75]], [[0, 0.125, 0.25]], [[0.625, 1, 0.5]]]),
        ((0, 2), [[[0, 0.5, 1]], [[0, 0, 0]], [[0.5, 1, 0]]]),
        (None, [[[0, 1, 2]], [[-4, -3, -2]], [[1, 4, 0]]]),
    ],
)
def test_each_mode_by_hand(mode, expected):
    maps = np.array([[[0, 1, 2]], [[-4, -3, -2]], [[1, 4, 0]]], np.float32)
    scaled = normalize(maps, mode)
    assert scaled.dtype == np.float32 and not np.shares_memory(scaled, maps)
    assert_array_equal(scaled, expected)


@pytest.mark.parametrize("mode", NORMALIZATIONS)
def test_no_evidence_stays_no_evidence(mode):
    assert_array_equal(normalize(np.zeros((2, 3, 3)), mode), np.zeros((2, 3, 3)))
    assert_array_equal(normalize(np.full((3, 3), -2.0), mode), np.zeros((3, 3)))


@pytest.mark.parametrize("mode", MODES)
def test_no_maps_at_all(mode):
    assert normalize(np.zeros((0, 2, 3)), mode).shape == (0, 2, 3)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    ),
    st.sampled_from(MODES[:-1]),
)
def test_any_finite_map_lands_in_zero_to_one(maps, mode):
    scaled = normalize(maps, mode)
    assert scaled.shape == maps.shape and scaled.dtype == np.float32
    assert scaled.min() >= 0 and scaled.max() <= 1  # false for NaN


# what is turned away


@pytest.mark.parametrize("draw", [normalize, lambda maps: place(maps, (4, 4))])
@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ([[1.0, np.nan]], r"\(1, 2\) with 1 NaN and 0 infinite.*diverged"),
        ([[np.inf, -np.inf]], "0 NaN and 2 infinite"),
        (np.array([[1e300]]), "1 infinite"),
        (np.zeros(5), r"shape \(5,\)"),
        (3.0, r"shape \(\)"),
        (np.zeros((2, 0, 3)), r"at least one cell.*\(2, 0, 3\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, maps, words):
    with pytest.raises(InvalidImageError, match=f"(?s){words}"):
        draw(maps)


def test_unknown_words_are_answered_with_the_known_ones():
    with pytest.raises(InvalidOptionError, match=r"bilinear.*nearest.*'cubic'"):
        place(np.zeros((2, 2)), (4, 4), interpolation="cubic")
    with pytest.raises(InvalidOptionError, match=r"image.*batch.*minmax.*'max'"):
        normalize(np.zeros((2, 2)), "max")
    with pytest.raises(InvalidOptionError, match=r"low < high. Received: \(2, 1\)"):
        normalize(np.zeros((2, 2)), (2, 1))
    with pytest.raises(InvalidOptionError, match=r"\(0, 4\)"):
        place(np.zeros((2, 2)), (0, 4))


# signed maps


def test_signed_scales_by_hand():
    maps = [[[-1.0, 2.0, 4.0]], [[-8.0, 2.0, 0.0]]]
    assert_array_equal(normalize(maps, signed=True), [[[-0.25, 0.5, 1]], [[-1, 0.25, 0]]])
    assert_array_equal(normalize(maps, "batch", signed=True), [[[-0.125, 0.25, 0.5]], [[-1, 0.25, 0]]])
    assert_array_equal(normalize(maps, (0, 4), signed=True), [[[-0.25, 0.5, 1]], [[-1, 0.5, 0]]])
    assert_array_equal(normalize(np.zeros((2, 2)), signed=True), np.zeros((2, 2)))
    with pytest.raises(InvalidOptionError, match=r"minmax.*would move zero"):
        normalize(maps, "minmax", signed=True)


def test_limits_are_what_normalize_draws_as_its_ends():
    maps = np.array([[[-1.0, 2.0, 4.0]], [[-8.0, 2.0, 0.0]]])
    for mode, signed, low, high in [
        ("image", False, [0, 0], [4, 2]),
        ("image", True, [-4, -8], [4, 8]),
        ("batch", False, [0, 0], [4, 4]),
        ("batch", True, [-8, -8], [8, 8]),
        ("minmax", False, [-1, -8], [4, 2]),
        ((-1, 3), False, [-1, -1], [3, 3]),
        ((-1, 3), True, [-3, -3], [3, 3]),
    ]:
        found = limits_of(maps, mode, signed=signed)
        assert [end.ravel().tolist() for end in found] == [low, high], mode
