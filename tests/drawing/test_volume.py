"""Volumes as slices: the hottest always among them, one scale for all, gray where nothing is, any finite volume."""

import matplotlib.text
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_array_equal

from keras_cam.drawing.layout import caption
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.text import drawable
from keras_cam.drawing.volume import MOST_SLICES, montage, slices_of, volume_figure
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.colormaps import colorize

FINITE = st.floats(-(2.0**120), 2.0**120, width=32)


def hot_slice(depth, index, size=(6, 6), value=1.0):
    heat = np.zeros((depth, *size))
    heat[index] = value
    return heat


@given(st.integers(1, 200), st.data())
def test_slices_are_spread_and_hold_the_hottest(depth, data):
    hottest = data.draw(st.integers(0, depth - 1))
    chosen = slices_of(hot_slice(depth, hottest, (1, 1)))
    assert hottest in chosen and len(chosen) == min(depth, MOST_SLICES)
    assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < depth
    assert max(np.diff([-1, *chosen, depth])) <= 2 * max(1, depth / (MOST_SLICES - 1)) + 1


def test_what_is_hottest_by_sign():
    heat = hot_slice(60, 40) + hot_slice(60, 13, value=-2.0)
    assert 40 in slices_of(heat) and 13 not in slices_of(heat)
    assert 13 in slices_of(heat, signed=True) and 40 not in slices_of(heat, signed=True)


def test_each_slice_is_its_overlay_under_its_number():
    """48 x 48 slices, 12 of 40 in 4 columns of 48 pixels: nothing is scaled, so that pixels can be told beforehand."""
    volume = np.random.default_rng(0).uniform(size=(40, 48, 48, 1)).astype(np.float32)
    heat = np.zeros((40, 48, 48), np.float32)
    heat[23, 10:20, 30:40], heat[0, :9] = 8, 4
    drawn = montage(volume, heat, (0.0, 8.0), [], width=4 * 48 + 3 * 4, text_size=11)
    chosen = slices_of(heat)
    assert 23 in chosen
    for place, index in enumerate(chosen):
        gray = np.rint(np.repeat(volume[index].astype(np.float64), 3, axis=-1) * 255).astype(np.uint8)
        expected = caption(overlay(gray, heat[index] / 8), [f"slice {index}"], text_size=11)
        top, left = (place // 4) * (len(expected) + 4), (place % 4) * 52
        assert_array_equal(drawn[top : top + len(expected), left : left + 48], expected)


def test_one_scale_for_all_slices_and_the_hot_colour():
    heat = hot_slice(2, 0, value=4.0) + hot_slice(2, 1, value=2.0)
    drawn = montage(np.zeros((2, 6, 6)), heat, (0.0, 4.0), [], width=100, alpha=1)
    assert_array_equal(drawn[10, 10], colorize([[1.0]])[0, 0])
    assert_array_equal(drawn[10, 90], colorize([[0.5]])[0, 0])
    signed = montage(np.zeros((2, 6, 6)), heat - 4, (-4.0, 4.0), [], width=100, alpha=1, signed=True)
    assert_array_equal(signed[10, 10], [0, 0, 0])
    assert_array_equal(signed[10, 90], colorize([[-0.5]], signed=True)[0, 0])


def test_without_heat_the_slices_stay_as_they_are():
    generator = np.random.default_rng(0)
    film = generator.integers(0, 256, (1, 20, 20, 3), np.uint8)
    assert_array_equal(montage(film, np.zeros((1, 20, 20)), (0.0, 0.0), [], width=20)[:20, :20], film[0])
    scan = generator.integers(0, 256, (1, 20, 20, 4), np.uint8)  # four channels of a scan: the first, no transparency
    drawn = montage(scan, np.zeros((1, 20, 20)), (0.0, 0.0), [], width=20)[:20, :20]
    assert_array_equal(drawn, np.repeat(scan[0, :, :, :1], 3, axis=-1))


def test_black_and_white_are_those_of_the_whole_volume():
    volume = np.full((2, 20, 20), -1000.0)
    volume[0, :10], volume[1] = 1000, 3000
    drawn = montage(volume, np.zeros((2, 20, 20)), (0.0, 0.0), [], width=44)
    assert (np.unique(drawn[:20, :20]).tolist(), np.unique(drawn[:20, 24:44]).tolist()) == ([0, 128], [255])


def test_a_coarser_map_is_stretched():
    heat = np.zeros((2, 2, 2))
    heat[1, 0, 1] = 1
    drawn = montage(np.zeros((4, 40, 40)), heat, (0.0, 1.0), [], width=84, alpha=1, text_size=8)
    last = drawn[-60:-20, 44:84]  # the fourth slice, in the second row and column
    hot = np.argwhere((last == colorize([[1.0]])[0, 0]).all(axis=-1))
    assert len(hot) and hot[:, 0].max() < 20 < hot[:, 1].min()


@pytest.mark.parametrize("shape", [(8, 16, 16), (40, 64, 48), (1, 5, 50), (3, 50, 5)])
def test_the_montage_is_as_wide_as_asked(shape):
    drawn = montage(np.zeros(shape), np.ones(shape), (0.0, 1.0), ["x"], width=400)
    assert 400 * 0.9 < drawn.shape[1] < 400 + 80 or shape == (3, 50, 5)


def test_a_figure_has_a_row_and_a_title_for_each_map():
    shape = (5, 8, 8)
    drawing = volume_figure([np.zeros(shape)] * 2, [np.ones(shape), -np.ones(shape)], ["class 1", "袋鼠 $x^"])
    found = [text.get_text() for text in drawing.findobj(matplotlib.text.Text)]
    assert len(drawing.axes) == 2 and {"class 1", drawable("袋鼠 $x^")} <= set(found)
    FigureCanvasAgg(drawing).draw()
    with pytest.raises(InvalidOptionError, match="1 volumes, 2 heat maps"):
        volume_figure([np.zeros(shape)], [np.ones(shape)] * 2, ["x"])


@pytest.mark.parametrize(
    "volume", [np.zeros((2, 3)), np.zeros((0, 2, 2)), np.full((2, 2, 2), np.nan), np.full((1, 1, 1), 1e39)], ids=str
)
def test_volumes_that_are_none(volume):
    with pytest.raises(InvalidImageError, match=r"\(depth, height, width, channels\) and is finite.*Received: shape"):
        montage(volume, np.ones((2, 2, 2)), (0.0, 1.0), [])


def test_heat_that_is_none():
    with pytest.raises(InvalidImageError, match=r"\(depth, height, width\). Received: shape \(1, 2, 2, 2\)"):
        montage(np.zeros((2, 2, 2)), np.ones((1, 2, 2, 2)), (0.0, 1.0), [])
    with pytest.raises(InvalidImageError, match=r"depth, height, width\) with at least one cell. Received: shape \(2,"):
        montage(np.zeros((2, 2, 2)), np.ones((2, 2)), (0.0, 1.0), [])


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=4, max_side=7), elements=FINITE),
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=FINITE),
    st.booleans(),
)
def test_any_finite_volume_and_map_make_a_picture(volume, heat, signed):
    limits = (-float(np.abs(heat).max()), float(np.abs(heat).max())) if signed else (0.0, float(heat.max(initial=0)))
    drawn = montage(volume, heat, limits, ["x"], width=150, signed=signed)
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3 and drawn.shape[1] > 20
