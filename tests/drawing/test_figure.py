"""Maps as a matplotlib figure: units, limits and titles, nothing cut off."""

import io

import numpy as np
import PIL.Image
import pytest
from numpy.testing import assert_array_equal
from support.pictures import WHITE, flat

from keras_cam.drawing.figure import figure
from keras_cam.drawing.overlay import overlay
from keras_cam.errors import InvalidOptionError
from keras_cam.imaging.normalize import normalize
from keras_cam.imaging.resample import place


def test_figure_shows_the_units_and_the_title():
    heat = np.array([[-2.0, 8.0]])
    drawing = figure([flat(20, 30, 9)] * 2, [heat, -heat], ["fox: 98% $x^{", "dog"], limits=[(-8, 8), (0, 4)])
    first = drawing.axes[:4]
    assert [text.get_text() for text in drawing.texts] == ["fox: 98% $x^{", "dog"]
    assert_array_equal(first[0].images[0].get_array(), flat(20, 30, 9))
    assert_array_equal(first[1].images[0].get_array(), heat)
    assert first[1].images[0].get_clim() == (-8, 8)
    assert tuple(first[1].images[0].get_extent()) == (0, 30, 20, 0)  # the two cells share the picture's area
    assert first[2].get_ylim() == (-8, 8) and "5.0" in [tick.get_text() for tick in first[2].get_yticklabels()]
    expected = overlay(flat(20, 30, 9), normalize(place(heat, (20, 30)), (-8, 8)))
    assert_array_equal(first[3].images[0].get_array(), expected)
    assert drawing.axes[6].get_ylim() == (0, 4)
    drawing.savefig(io.BytesIO())


def test_figure_limits_are_zero_and_the_maximum_unless_said():
    picture = flat(8, 8, 9)
    drawing = figure([picture] * 2, [[[1.0, 3.0]], [[-1.0, -3.0]]], ["", ""])
    assert drawing.axes[1].images[0].get_clim() == (0, 3)
    assert drawing.axes[5].images[0].get_clim() == (0, 1)
    assert_array_equal(drawing.axes[7].images[0].get_array(), picture)  # no positive evidence: nothing is drawn


@pytest.mark.parametrize("shape", [(10, 10), (4, 90), (90, 4)])
def test_figure_cuts_nothing_off(shape):
    drawing = figure([flat(*shape, 0)] * 3, [np.eye(2)] * 3, ["Épq " * 99] * 3)
    drawn = io.BytesIO()
    drawing.savefig(drawn, dpi=60, format="png")
    pixels = np.asarray(PIL.Image.open(drawn).convert("RGB"))
    assert (pixels[[0, -1]] == WHITE).all() and (pixels[:, [0, -1]] == WHITE).all()


def test_figure_rows_must_match():
    with pytest.raises(InvalidOptionError, match="1 images, 1 heat maps, 2 titles"):
        figure([flat(2, 2, 0)], [np.eye(2)], ["a", "b"])
    with pytest.raises(InvalidOptionError, match=r"limits \[\]"):
        figure([flat(2, 2, 0)], [np.eye(2)], ["a"], limits=[])
    with pytest.raises(InvalidOptionError, match="0 images"):
        figure([], [], [])


def test_a_figure_with_any_title():
    drawing = figure([flat(4, 4)] * 2, [np.eye(2)] * 2, ["कंगारू \U000f0000 袋鼠 $a_", "x" * 500], text_size=20)
    drawing.canvas.draw()
