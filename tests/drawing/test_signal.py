"""Signals as coloured lines: the hot colour over the hot samples, numbers there and whole, any finite signal."""

import itertools

import matplotlib.text
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_array_equal

from keras_cam.drawing.signal import DARK, LIGHT, ON_DARK, ON_LIGHT, draw_signal, signal_figure
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.colormaps import colorize

HOT, (AGAINST, FOR) = colorize([[1.0]])[0, 0], colorize([[-1.0, 1.0]], signed=True)[0]
FINITE = st.floats(-(2.0**120), 2.0**120, width=32)


def inside(picture, paper=DARK):
    """The part of a drawing within its axes: the rows and columns where the paper behind the line is seen."""
    found = (picture == paper).all(axis=-1)
    if paper == LIGHT:  # white is everywhere: the axes are what its frame holds
        found = (picture == ON_LIGHT).all(axis=-1)
        found = found & (found.mean(axis=1, keepdims=True) > 0.4) | found & (found.mean(axis=0) > 0.3)
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return picture[rows[0] + 2 : rows[-1] - 1, columns[0] + 2 : columns[-1] - 1]


def columns_of(picture, color):
    """First and last column in which a colour is drawn, as shares of the width; None where it is not."""
    found = np.flatnonzero((np.abs(picture.astype(int) - np.asarray(color, int)).max(axis=-1) <= 4).any(axis=0))
    return None if len(found) == 0 else (found[0] / picture.shape[1], found[-1] / picture.shape[1])


def words(drawing):
    FigureCanvasAgg(drawing).draw()  # which writes the numbers of the time axis
    return [text.get_text() for text in drawing.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.mark.parametrize("length", [40, 100, 20_000])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_line_is_hot_where_the_map_is(length, channels):
    signal = np.sin(np.arange(length) / length * 30)[:, None] * np.arange(1, channels + 1)
    heat = np.zeros(length)
    heat[length // 2 : length * 3 // 4] = 7
    drawn = inside(draw_signal(signal, heat, (0.0, 7.0), []))
    first, last = columns_of(drawn, HOT)
    assert abs(first - 0.5) < 0.03 and abs(last - 0.75) < 0.03
    cold_first, cold_last = columns_of(drawn, ON_DARK)
    assert cold_first < 0.02 and cold_last > 0.97


def test_signs_are_two_colours_on_white():
    heat = np.zeros(100)
    heat[10:30], heat[60:80] = -2, 2
    drawn = inside(draw_signal(np.zeros(100), heat, (-2.0, 2.0), [], signed=True), LIGHT)
    for color, start, end in ((AGAINST, 0.1, 0.3), (FOR, 0.6, 0.8), (ON_LIGHT, 0, 1)):
        first, last = columns_of(drawn, color)
        assert abs(first - start) < 0.03 and abs(last - end) < 0.03, color


def test_one_hot_sample_of_a_long_signal_is_seen_and_so_is_its_peak():
    signal, heat = np.zeros((2, 100_000))
    signal[77_777] = heat[77_777] = 1
    drawn = inside(draw_signal(signal, heat, (0.0, 1.0), []))
    first, last = columns_of(drawn, HOT)
    assert 0.765 < first < last < 0.79
    hot = (np.abs(drawn.astype(int) - HOT).max(axis=-1) <= 4).any(axis=1)
    assert hot.mean() > 0.6  # from the foot of the lane to its top


@pytest.mark.parametrize("signed", [False, True])
def test_an_empty_map_makes_no_heat(signed):
    drawn = inside(
        draw_signal(np.arange(9), np.full(9, -3.0), (0.0, 0.0), [], signed=signed), LIGHT if signed else DARK
    )
    assert np.ptp(drawn.astype(int), axis=-1).max() <= 4  # grays, and the paper's faint blue
    whole = draw_signal(np.arange(9), np.full(9, -3.0), (0.0, 0.0), [], signed=signed)
    assert columns_of(whole, HOT) is None is columns_of(whole, FOR)  # nor on the bar


def test_the_numbers_of_the_bar_the_time_and_the_signal():
    drawing = signal_figure([np.arange(50) - 10.5], [np.linspace(-1, 4, 50)], ["class 3 97.2%"])
    found = words(drawing)
    for number in ("0", "2", "4", "-10.5", "38.5", "sample", "class 3 97.2%", "10", "40"):
        assert number in found, number
    signed = words(signal_figure([np.zeros(5)], [[-6, 0, 1, 2, 3]], ["x"], signed=True))
    assert {"-6", "0", "6"} <= set(signed)


def test_channels_left_out_are_told():
    figures = [signal_figure([np.zeros((5, count))], [np.ones(5)], [""]) for count in (31, 12)]
    assert figures[0].get_figheight() == figures[1].get_figheight()
    many, some = map(words, figures)
    assert "sample (first 12 of 31 channels)" in many and "11" in many and "12" not in many
    assert "sample" in some and {"channel", "0", "11"} <= set(some)


@pytest.mark.parametrize("scale", [1.0, -1.2345e-30, 1.2345e30])
@pytest.mark.parametrize("width", [60, 480, 900])
@pytest.mark.parametrize("channels", [1, 12])
def test_nothing_is_cut_off(scale, width, channels):
    """The outermost pixels are white paper, whatever numbers stand beside the axes."""
    signal = np.cos(np.arange(60)[:, None] * np.ones(channels)) * scale
    drawn = draw_signal(signal, np.ones(60), (-1.2345e-30, 1.2345e30), ["title"], width=width)
    assert (drawn[[0, -1]] == 255).all() and (drawn[:, [0, -1]] == 255).all()
    assert drawn.shape[1] >= width


@pytest.mark.parametrize("length", [9, 500, 15000, 900_000])
@pytest.mark.parametrize("width", [160, 240, 480])
def test_numbers_on_the_time_axis_do_not_touch(length, width):
    drawing = signal_figure(
        [np.zeros(length)], [np.ones(length)], [""], text_size=max(11, width / 36) * 0.72, width=width / 100
    )
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    axis = drawing.axes[0].xaxis
    low, high = drawing.axes[0].get_xlim()
    labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    assert len(boxes) >= 1
    assert all(left.x1 + 2 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_map_of_another_length_is_stretched():
    heat = np.zeros(50)
    heat[30:] = 1
    drawn = inside(draw_signal(np.zeros(200), heat, (0.0, 1.0), []))
    assert abs(columns_of(drawn, HOT)[0] - 0.6) < 0.03


def test_a_figure_has_an_axes_and_a_bar_for_each_row():
    drawing = signal_figure([np.zeros(5), np.zeros((7, 2))], [np.ones(5), np.ones(7)], ["a", "袋鼠 $x^"])
    assert len(drawing.axes) == 4
    FigureCanvasAgg(drawing).draw()


@pytest.mark.parametrize("signal", [np.zeros((2, 3, 1)), np.zeros((0, 1)), [np.nan, 0], [np.inf, 0], [1e39]], ids=str)
def test_signals_that_are_none(signal):
    with pytest.raises(InvalidImageError, match=r"\(length, channels\) and is finite.*Received: shape"):
        draw_signal(signal, np.ones(2), (0.0, 1.0), [])


def test_heat_that_is_none():
    with pytest.raises(InvalidImageError, match=r"heat map has shape \(length,\). Received: shape \(2, 5\)"):
        draw_signal(np.zeros(5), np.ones((2, 5)), (0.0, 1.0), [])
    with pytest.raises(InvalidImageError, match="must be finite"):
        draw_signal(np.zeros(2), [0, np.nan], (0.0, 1.0), [])
    with pytest.raises(InvalidOptionError, match="1 signals, 2 heat maps"):
        signal_figure([np.zeros(2)], [np.zeros(2)] * 2, [""])


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 14)), elements=FINITE),
    hnp.arrays(np.float32, st.integers(1, 50), elements=FINITE),
    st.booleans(),
)
def test_any_finite_signal_and_map_make_a_picture(signal, heat, signed):
    limits = (-float(np.abs(heat).max()), float(np.abs(heat).max())) if signed else (0.0, float(heat.max(initial=0)))
    drawn = draw_signal(signal, heat, limits, ["x"], width=200, signed=signed)
    assert drawn.dtype == np.uint8 and drawn.shape[1] >= 200 and drawn.shape[2] == 3
    assert_array_equal(drawn[:, 0], np.full((len(drawn), 3), 255))
