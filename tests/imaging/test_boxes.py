"""Boxes, outlines and masks: worked by hand on maps of a few cells, then any finite map."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from keras_cam import Box
from keras_cam.errors import InvalidDataError, InvalidImageError, InvalidOptionError
from keras_cam.imaging.boxes import best_iou, find_boxes, find_contours, find_mask

# A part of five cells with a maximum of 6, a lone cell of 10 (the map's maximum), and 2, which is a fifth of it.
HEAT = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 3, 6, 0, 0, 10, 0],
        [0, 4, 0, 0, 0, 0, 0],
        [-9, 0, 5, 5, 0, 0, 2],
    ]
)


def test_the_largest_part_by_hand():
    # (2, 1) and (3, 2) touch at a corner only.
    assert find_boxes(HEAT) == [Box(1, 1, 4, 4, 0.6)]


def test_all_parts_the_largest_first():
    assert find_boxes(HEAT, largest=False) == [Box(1, 1, 4, 4, 0.6), Box(5, 1, 6, 2, 1.0)]
    assert find_boxes(HEAT, 0.19, largest=False)[2] == Box(6, 3, 7, 4, 0.2)


@pytest.mark.parametrize(
    ("threshold", "boxes"),
    [
        (0.0, [Box(1, 1, 4, 4, 0.6), Box(5, 1, 6, 2, 1.0), Box(6, 3, 7, 4, 0.2)]),
        (0.45, [Box(2, 3, 4, 4, 0.5), Box(2, 1, 3, 2, 0.6), Box(5, 1, 6, 2, 1.0)]),
        (0.6, [Box(5, 1, 6, 2, 1.0)]),  # to exceed the threshold, not to reach it
        (0.99, [Box(5, 1, 6, 2, 1.0)]),
    ],
)
def test_the_threshold_is_a_share_of_the_maximum(threshold, boxes):
    assert find_boxes(HEAT, threshold, largest=False) == boxes
    assert find_boxes(HEAT * 1e-3, threshold, largest=False) == [Box(*box, pytest.approx(box.score)) for box in boxes]


def test_masks_by_hand():
    part = np.zeros((4, 7), bool)
    part[[1, 1, 2, 3, 3], [1, 2, 1, 2, 3]] = True
    assert_array_equal(find_mask(HEAT), part)
    part[1, 5] = True
    assert_array_equal(find_mask(HEAT, largest=False), part)


def test_outlines_by_hand():
    (outline,) = find_contours(np.pad(np.ones((2, 3)), ((1, 2), (3, 0))))
    assert outline.dtype == np.int32
    assert {tuple(point) for point in outline.tolist()} == {(3, 1), (5, 1), (5, 2), (3, 2)}
    lone = find_contours(HEAT, largest=False)[1]
    assert lone.tolist() == [[5, 1]]


def test_a_part_in_the_hole_of_another_has_its_own_outline():
    ring = np.ones((5, 5))
    ring[1:4, 1:4] = 0
    ring[2, 2] = 1
    assert [len(outline) for outline in find_contours(ring, largest=False)] == [4, 1]
    assert find_boxes(ring, largest=False) == [Box(0, 0, 5, 5), Box(2, 2, 3, 3)]


@pytest.mark.parametrize("heat", [np.zeros((3, 4)), np.full((3, 4), -2.0)])
def test_nothing_positive_no_box(heat):
    for largest in (True, False):
        assert find_boxes(heat, largest=largest) == [] and find_contours(heat, 0.0, largest=largest) == []
        assert not find_mask(heat, 0.0, largest=largest).any()


def test_heat_everywhere_is_the_whole_picture():
    assert find_boxes(np.full((3, 4), 0.1)) == [Box(0, 0, 4, 3)]


@pytest.mark.parametrize("threshold", [-0.1, 1, 20, np.nan, [0.2]])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(InvalidOptionError, match=rf"share of the map's maximum.*Received: {re.escape(str(threshold))}"):
        find_boxes(HEAT, threshold)


def test_a_map_that_is_none():
    with pytest.raises(InvalidImageError, match=r"\(2, 4, 7\)"):
        find_boxes(np.stack([HEAT, HEAT]))
    with pytest.raises(InvalidImageError, match="1 NaN"):
        find_mask([[np.nan, 1.0]])


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_any_map_has_boxes_inside_the_picture_that_hold_its_parts(heat, threshold):
    boxes = find_boxes(heat, threshold, largest=False)
    mask = find_mask(heat, threshold, largest=False)
    contours = find_contours(heat, threshold, largest=False)
    assert len(boxes) == len(contours) and bool(boxes) == bool(mask.any()) == bool((heat > 0).any())
    assert (heat[mask] > 0).all()
    assert not boxes or max(box.score for box in boxes) == 1
    covered = np.zeros_like(mask)
    for box, outline in zip(boxes, contours, strict=True):
        assert 0 <= box.left < box.right <= heat.shape[1] and 0 <= box.top < box.bottom <= heat.shape[0]
        covered[box.top : box.bottom, box.left : box.right] = True
        assert (*outline.min(axis=0), *outline.max(axis=0) + 1) == tuple(box)
    assert covered[mask].all()
    assert boxes[:1] == find_boxes(heat, threshold)


# boxes among themselves


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ((0, 0, 4, 2), 1.0),
        ((2, 0, 6, 2), 4 / 12),
        ((1, 1, 3, 2), 2 / 8),
        ((3, 1, 5, 4), 1 / 13),
        ((4, 0, 6, 2), 0.0),  # side by side: no pixel in common
        ((9, 9, 10, 10), 0.0),
        ((-1.5, 0.0, 0.5, 2.0), 1 / 11),
    ],
)
def test_iou_by_hand(other, iou):
    box = Box(0, 0, 4, 2)
    assert box.iou(other) == pytest.approx(iou) == Box(*other).iou(box)


def test_the_best_iou_of_several():
    boxes = [Box(0, 0, 4, 2), Box(10, 10, 12, 12)]
    assert best_iou(boxes, (10, 10, 12, 14)) == best_iou(boxes, np.array([[10, 10, 12, 14], [90, 90, 91, 91]])) == 0.5
    assert best_iou([], [Box(0, 0, 1, 1)]) == 0
    assert best_iou(boxes, None) is best_iou(boxes, []) is None


def test_coco_has_width_and_height_and_is_json():
    assert json.dumps(find_boxes(HEAT)[0].to_coco()) == "[1.0, 1.0, 3.0, 3.0]"
    assert Box(1, 1, 4, 4).area == 9


@pytest.mark.parametrize("numbers", [(4, 0, 4, 2), (0, 3, 4, 2), (0, 0, np.nan, 2), (0, 0, np.inf, 2)])
def test_a_box_without_a_pixel(numbers):
    with pytest.raises(InvalidDataError, match=r"\(x, y, x \+ width, y \+ height\)"):
        Box(*numbers)


def test_a_box_of_three_numbers():
    with pytest.raises(InvalidDataError, match=r"Received: \[1, 2, 3\]"):
        Box(0, 0, 1, 1).iou([1, 2, 3])
