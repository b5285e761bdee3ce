"""Maps ready to be drawn: limits, titles and what was not seen, by hand; options in one place."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from support.results import MAPS, of_rank, two_pictures

from keras_cam import Box
from keras_cam.drawing.text import Title
from keras_cam.errors import InvalidOptionError
from keras_cam.model.grid import even_grid
from keras_cam.results.rows import DrawOptions, draw_row, rows_of, title_of


@pytest.fixture(scope="module")
def result():
    return two_pictures()


def test_a_row_for_each_map_in_order(result):
    rows = list(rows_of(result, DrawOptions()))
    assert [(row.image, row.slot) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [row.limits for row in rows] == [(0, 3), (0, 14), (0, 4), (0, 0)]
    assert [title_of(result, row) for row in rows] == [
        Title("horse", "70.0%"),
        Title("cat", "10.0%"),
        Title("dog", "50.0%"),
        Title("horse", "25.0% (empty map)"),
    ]
    assert_array_equal(rows[0].heat, MAPS[0, 0])
    assert all(row.boxes == [] and row.truth is None for row in rows)


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        (DrawOptions(normalize="batch"), [(0, 14)] * 4),
        (DrawOptions(normalize="minmax"), [(-2, 3), (0, 14), (4, 4), (-1, -1)]),
        (DrawOptions(True), [(-3, 3), (-14, 14), (-4, 4), (-1, 1)]),
        (DrawOptions(True, (-2, 1)), [(-2, 2)] * 4),
    ],
    ids=str,
)
def test_limits_of_every_scale(result, options, limits):
    assert [row.limits for row in rows_of(result, options)] == limits


def test_boxes_and_truth_go_with_their_maps(result):
    rows = list(rows_of(result, DrawOptions(truth=[None, (0, 0, 3, 3)])))
    assert [row.boxes for row in rows] == [[Box(0, 0, 2, 1)], [Box(0, 1, 2, 2)], [Box(0, 0, 6, 4)], []]
    assert [row.truth for row in rows] == [None, None, (0, 0, 3, 3), (0, 0, 3, 3)]


@pytest.mark.parametrize(("signed", "around"), [(False, -2), (True, 0)])
def test_where_a_picture_was_not_seen_the_colours_begin(result, signed, around):
    """Two of the four columns were fed to the model; the map is 1 and 3 above -2 and -2."""
    wide = dataclasses.replace(
        result.first(1), images=(np.zeros((2, 4, 3), np.uint8),), fit="crop", grid=even_grid((2, 2), (2, 2))
    )
    row = next(rows_of(wide, DrawOptions(signed, "image" if signed else "minmax")))
    assert row.heat.tolist() == [[around, 1, 3, around], [around, -2, -2, around]]
    assert row.limits == ((-3, 3) if signed else (-2, 3))


def test_the_width_is_that_of_the_modality_unless_it_is_asked_for(result):
    signal = of_rank(1, (30, 1), [0, 4])
    for thing, usual in ((result, 240), (signal, 480)):
        row = next(rows_of(thing, DrawOptions()))
        drawn, small = (draw_row(thing, row, DrawOptions(width=width), []) for width in (None, 120))
        assert drawn.shape[1] >= usual > small.shape[1] >= 120


def test_signals_are_called_by_their_number_where_there_are_several():
    signal = of_rank(1, (30, 1), [0, 4])
    row = next(rows_of(signal, DrawOptions()))
    assert title_of(signal, row) == Title("class 1", "75.0%")
    assert title_of(dataclasses.replace(signal, images=signal.images * 2), row) == Title("image 0: class 1", "75.0%")


def test_options_are_frozen_and_have_colours():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DrawOptions().signed = True
    with pytest.raises(InvalidOptionError, match=r"no colours. Received: normalize=None"):
        DrawOptions(normalize=None)
