"""One map over one picture with its colour bar and its boxes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from support.pictures import flat

from keras_cam import Box, overlay
from keras_cam.drawing.colorbar import color_bar
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.panel import panel
from keras_cam.imaging.normalize import limits_of


def test_a_panel_by_hand():
    """100 x 3 pixels become 50 x 2: its boxes shrink by a half across and by a third down; its bar has the limits."""
    limits, options = (-1.0, 7.0), {"width": 50, "text_size": 6}
    drawn = panel(flat(3, 100), np.zeros((3, 100)), limits, [], boxes=[Box(10, 0, 60, 3)], alpha=0, **options)
    assert_array_equal(drawn[:, :50], draw_boxes(flat(2, 50), Box(5, 0, 30, 2), text_size=6))
    drawn = panel(flat(60, 50), np.ones((60, 50)), limits, [], **options)
    assert_array_equal(drawn[:, 54:], color_bar(60, limits, text_size=6))
    assert_array_equal(drawn[:, :50], overlay(flat(60, 50), np.full((60, 50), 0.25)))


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 60),
    st.booleans(),
)
def test_any_finite_map_makes_a_panel_of_the_asked_width(heat, size, width, signed):
    low, high = (end.item() for end in limits_of(heat, signed=signed))
    drawn = panel(flat(*size), heat, (low, high), ["x"], width=width, signed=signed)
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3
    shown = width if size[0] <= 2 * size[1] else max(1, round(2 * width * size[1] / size[0]))
    assert drawn.shape[1] >= min(shown, width)
