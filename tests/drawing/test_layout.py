"""Captions, sheets and strips: text that is there and not cut, layouts to the pixel."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from support.pictures import WHITE, flat, inked

from keras_cam.drawing.layout import beside, caption, contact_sheet, filmstrip
from keras_cam.drawing.text import text_picture
from keras_cam.errors import InvalidImageError, InvalidOptionError

# text


@pytest.mark.parametrize("width", [350, 700, 1400])
def test_captions_are_fourteen_pixels_at_350(width):
    written = caption(flat(20, 40, 0), ["Ép"], width=width)
    picture_height = width // 2
    assert written.shape[1] == width
    assert (written[:picture_height] == 0).all()
    top, bottom, left, _ = inked(written[picture_height:])
    assert 12 <= (bottom - top) * 350 / width <= 18  # from the accent to the tail
    assert top > 0 and bottom < written.shape[0] - picture_height - 1 and left > 0


@pytest.mark.parametrize("width", [8, 33, 100, 350])
def test_long_lines_end_before_the_edge(width):
    written = caption(flat(1, width, 0), ["W" * 500, "gjpqy " * 500])
    assert written.shape[1] == width
    if width >= 33:
        assert inked(written[1:])[3] < width - 1
    if width == 350:
        assert inked(written[1:])[3] > 0.9 * width  # as much as fits is kept


def test_each_line_is_drawn_below_the_other_and_different_words_look_different():
    one, two = caption(flat(5, 200, 0), ["epoch 1"]), caption(flat(5, 200, 0), ["epoch 1", "kangaroo 71%"])
    assert two.shape[0] > one.shape[0]
    assert inked(two[5:])[1] > inked(one[5:])[1]
    assert (caption(flat(5, 200, 0), ["epoch 2"]) != one).any()


def test_line_breaks_inside_a_line_are_spaces():
    assert_array_equal(caption(flat(5, 200, 0), ["red\nfox"]), caption(flat(5, 200, 0), ["red fox"]))


def test_no_lines_no_text():
    assert (caption(flat(5, 50, 0), [])[5:] == WHITE).all()


# layout


def test_beside_to_the_pixel():
    row = beside([flat(2, 2, 10), flat(4, 3, 20)], gap=1)
    expected = np.full((4, 6), WHITE)
    expected[1:3, :2] = 10
    expected[:, 3:] = 20
    assert_array_equal(row, np.repeat(expected[..., np.newaxis], 3, axis=-1))


def test_contact_sheet_to_the_pixel():
    sheet = contact_sheet([flat(1, 1, value) for value in (1, 2, 3)], 2, gap=1)
    assert_array_equal(sheet[..., 0], [[1, WHITE, 2], [WHITE, WHITE, WHITE], [3, WHITE, WHITE]])
    assert_array_equal(contact_sheet([flat(2, 2, 5)], 9), flat(2, 2, 5))


def test_a_filmstrip_holds_every_picture_and_label():
    rows = [[flat(40, 60, 10), flat(40, 60, 40)], [flat(40, 60, 70)]]
    strip = filmstrip(rows, ["fox\nprobe 0", "a name much wider than the picture"], ["epoch 0", "epoch 1"])
    for value in (10, 40, 70):
        assert np.count_nonzero((strip == value).all(axis=-1)) >= 40 * 60
    first = np.argwhere((strip == 10).all(axis=-1))
    left = first[:, 1].min() if len(first) == 40 * 60 else strip.shape[1] - 2 * 64
    labels, heads = strip[:, : left - 1], strip[:15]
    assert inked(labels)[2] > 0 and inked(labels)[3] < left
    assert inked(heads)[3] > left


def test_filmstrip_labels_must_match():
    with pytest.raises(InvalidOptionError, match=r"rows of \[2, 1\] pictures, 1 row labels, 2 column labels"):
        filmstrip([[flat(2, 2, 0)] * 2, [flat(2, 2, 0)]], ["a"], ["b", "c"])
    with pytest.raises(InvalidOptionError, match="needs pictures"):
        filmstrip([], [], [])


@pytest.mark.parametrize("lay_out", [beside, lambda pictures: contact_sheet(pictures, 3)])
def test_only_pictures_are_laid_out(lay_out):
    with pytest.raises(InvalidImageError, match="at least one uint8 RGB"):
        lay_out([])
    for wrong in (np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(InvalidImageError, match="uint8 RGB of shape"):
            lay_out([wrong])
    with pytest.raises(InvalidOptionError, match="columns"):
        contact_sheet([flat(1, 1, 0)], 0)


# size of text


def test_text_size_is_asked_for_and_not_grown_with_the_picture():
    wide = caption(flat(2, 1400), ["Evidence for the true class"], text_size=16)
    assert wide.shape == (2 + text_picture(["x"], 16).shape[0], 1400, 3)
    rows = [[flat(400, 400)]]
    assert filmstrip(rows, ["a"], ["b"], text_size=12).shape < filmstrip(rows, ["a"], ["b"]).shape
    with pytest.raises(InvalidOptionError, match=r"at least 6. Received: 3"):
        caption(flat(2, 40), ["x"], text_size=3)
