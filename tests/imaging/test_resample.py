"""Maps over pictures, signals and volumes: numbers worked by hand, then any finite map."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.resample import INTERPOLATIONS, linear_weights, place

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)
MAPS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=9), elements=FINITE)


def test_two_by_two_over_four_by_four_by_hand():
    # Cell centres lie at pixels 0.5 and 2.5, so pixels 0..3 weigh the second cell by 0, 1/4, 3/4 and 1.
    expected = [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]
    placed = place([[0, 4], [8, 12]], (4, 4))
    assert placed.dtype == np.float32
    assert_array_equal(placed, expected)


def test_nearest_shows_the_cells():
    expected = [[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 12, 12], [8, 8, 12, 12]]
    assert_array_equal(place([[0, 4], [8, 12]], (4, 4), interpolation="nearest"), expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_same_size_is_the_identity(interpolation):
    maps = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    assert_array_equal(place(maps, (5, 7), interpolation=interpolation), maps)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_leading_axes_are_kept_and_independent(interpolation):
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    placed = place(maps, (9, 11), interpolation=interpolation)
    assert placed.shape == (2, 3, 9, 11)
    assert_array_equal(placed[1, 2], place(maps[1, 2], (9, 11), interpolation=interpolation))
    assert place(maps[:0], (9, 11)).shape == (0, 3, 9, 11)


def test_placing_commutes_with_mirroring():
    maps = np.random.default_rng(0).normal(size=(7, 7))
    assert_allclose(place(maps[::-1, ::-1], (30, 41)), place(maps, (30, 41))[::-1, ::-1], atol=1e-6)


def test_a_picture_smaller_than_the_map_gets_averages_not_samples():
    spot = np.zeros((8, 8))
    spot[2, 5] = 16
    assert_array_equal(place(spot, (2, 2)), [[0, 1], [0, 0]])


def test_cells_lie_where_they_are_said_to_lie():
    """A ramp over the cells is the same ramp over the pixels between the first and the last centre."""
    ramp = np.arange(5.0)[:, None] * np.ones(4)
    for interpolation, exact in (("bilinear", True), ("bicubic", False)):
        placed = place(ramp, (30, 8), cells=[(3.5, 5), (0.5, 2)], interpolation=interpolation)
        rows = np.arange(30)
        inside = (rows >= 3.5) & (rows <= 23.5) if exact else (rows >= 8.5) & (rows <= 18.5)
        assert_allclose(placed[inside, 0], (rows[inside] - 3.5) / 5, atol=1e-5)
        assert_allclose(placed[:3], 0, atol=0.1)
        assert_allclose(placed[25:], 4, atol=0.1)
    assert place(ramp, (30, 8), cells=[(3.5, 5), (0.5, 2)], interpolation="nearest")[[0, 5, 6, 29], 0].tolist() == [
        0,
        0,
        1,
        4,
    ]


def test_evenly_shared_is_what_opencv_does():
    maps = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    expected = cv2.resize(maps, (61, 48), interpolation=cv2.INTER_LINEAR)
    assert_allclose(place(maps, (48, 61)), expected, atol=1e-5)


@pytest.mark.parametrize("cells", [[(0, 1)], [(0, 0), (0, 1)], [(0, -1), (0, 1)], [(np.nan, 1), (0, 1)]])
def test_cells_that_are_none(cells):
    with pytest.raises(InvalidOptionError, match="cells must be"):
        place(np.zeros((2, 2)), (4, 4), cells=cells)


def test_signals_and_volumes_are_placed_axis_by_axis():
    """A product of one map for each axis stays one when it is laid over a volume."""
    parts = [np.array([0.0, 4.0]), np.array([1.0, 0.0, 2.0]), np.array([3.0, 5.0])]
    assert_array_equal(place(parts[0], (4,)), [0, 1, 3, 4])
    assert_array_equal(place(parts[0], (4,), cells=[(0, 2)]), [0, 2, 4, 4])
    cells = [(1.0, 3.0), (0.5, 2.0), (2.0, 1.5)]
    sides = [place(part, (size,), cells=[cell]) for part, size, cell in zip(parts, (6, 7, 5), cells, strict=True)]
    volume = np.einsum("d,h,w->dhw", *parts)
    assert_allclose(place(volume, (6, 7, 5), cells=cells), np.einsum("d,h,w->dhw", *sides), rtol=1e-5)
    assert place(np.zeros((0, 2, 2, 2)), (4, 5, 6)).shape == (0, 4, 5, 6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_long_signal_needs_no_table_of_weights(interpolation):
    """A minute of sound, cell by sample, would be a table of terabytes; what comes out is the same as with a table."""
    maps = np.random.default_rng(0).normal(size=(2, 9000)).astype(np.float32)
    long = place(maps, (2_000_000,), interpolation=interpolation)
    part = place(
        maps[:, :30], (6666,), cells=[((2_000_000 / 9000 - 1) / 2, 2_000_000 / 9000)], interpolation=interpolation
    )
    assert_allclose(long[:, :6000], part[:, :6000], atol=1e-5)


@pytest.mark.parametrize("size", [(), (0,), (4, -1), ("a", 2), 7])
def test_sizes_that_are_none(size):
    with pytest.raises(InvalidOptionError, match="one for each axis"):
        place(np.zeros((2, 2)), size)


@given(MAPS, st.tuples(st.integers(1, 20), st.integers(1, 20)), st.sampled_from(sorted(INTERPOLATIONS)))
def test_any_map_fits_any_picture_and_makes_no_new_extremes(maps, size, interpolation):
    placed = place(maps, size, interpolation=interpolation)
    assert placed.shape == (*maps.shape[:-2], *size) and placed.dtype == np.float32
    slack = (0.6 if interpolation == "bicubic" else 1e-5) * np.abs(maps).max()
    assert placed.min() >= maps.min() - slack and placed.max() <= maps.max() + slack


# linear readings


@given(st.integers(1, 9), st.floats(-5, 5), st.floats(0.1, 9), st.lists(st.floats(-50, 50), min_size=1, max_size=9))
def test_a_linear_reading_is_the_interpolation_between_centres(length, offset, stride, places):
    values = np.random.default_rng(0).normal(size=length)
    read = values @ linear_weights(np.array(places), length, offset, stride)
    assert_allclose(read, np.interp(places, offset + stride * np.arange(length), values), atol=1e-5)
