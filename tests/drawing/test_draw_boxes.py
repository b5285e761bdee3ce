"""Boxes on a picture, to the pixel: what was found, what is true, and how far they overlap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from support.pictures import flat

from keras_cam import Box
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.text import text_picture


def test_a_drawn_box_lies_on_its_outermost_pixels():
    drawn = draw_boxes(flat(20, 30), (5, 6, 15, 12))
    white = np.argwhere((drawn == 255).all(axis=-1))
    assert (*white.min(axis=0), *white.max(axis=0)) == (6, 5, 11, 14)
    assert len(white) == 2 * 10 + 2 * 4
    assert_array_equal(drawn[:5], 90)
    assert_array_equal(drawn[8, 8], [90] * 3)


def test_the_iou_is_written_where_the_truth_is_known():
    def draw(*arguments, **options):
        return draw_boxes(flat(60, 200), *arguments, text_size=12, **options)

    assert (draw([(0, 30, 90, 50)], truth=(0, 30, 90, 50)) != draw([(0, 30, 90, 50)])).any()
    label = text_picture(["IoU 0.50"], 12)
    drawn = draw([(20, 30, 60, 50)], truth=(20, 30, 60, 40))
    assert any(
        (drawn[top : top + len(label), 20 : 20 + label.shape[1]] == label).all() for top in range(60 - len(label))
    )


@pytest.mark.parametrize("size", [(32, 32), (300, 40), (40, 300)])
def test_no_iou_covers_a_small_picture(size):
    """A third of the width, half of the height."""
    box = (4, 4, 30, 30)
    assert_array_equal(
        draw_boxes(flat(*size), box, truth=box, text_size=13), draw_boxes(draw_boxes(flat(*size), None, truth=box), box)
    )


def test_what_is_true_is_dashed_and_what_was_found_is_not():
    """Eight pixels of green and four of the dark edge, along every side."""
    box, green = (5, 6, 65, 46), (0, 230, 118)
    drawn = draw_boxes(flat(60, 80), None, truth=box, line_width=1)
    top, left = (drawn[6, 5:65] == green).all(axis=-1), (drawn[6:46, 5] == green).all(axis=-1)
    assert_array_equal(top, np.arange(60) % 12 < 8)
    assert_array_equal(left, np.arange(40) % 12 < 8)
    assert (draw_boxes(flat(60, 80), box, line_width=1)[6, 5:65] == 255).all()


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.lists(st.tuples(*[st.floats(-1e5, 1e5)] * 2, *[st.floats(0.1, 1e5)] * 2), max_size=2),
    st.booleans(),
)
def test_any_box_on_any_picture(size, corners, with_truth):
    boxes = [Box(left, top, left + width, top + height) for left, top, width, height in corners]
    assert draw_boxes(flat(*size), boxes, truth=boxes if with_truth else None).shape == (*size, 3)
