"""Boxes and masks: where the object is, and how far maps lie on it, by hand."""

import numpy as np
import pytest
from support.callback_models import spots

from keras_cam import CAMCallback
from keras_cam.errors import InvalidDataError
from keras_cam.probes.ground_truth import GroundTruth, energy_inside, ground_truth_of, iou, pointing

# A spot of 4 x 4 pixels at each place, and a box that holds: its left half, all of it in twice the size, nothing of it.
PLACES = [(4, 4), (8, 2), (10, 10)]
BOXES = [(4, 4, 6, 8), (8, 2, 16, 6), (0, 0, 4, 4)]


def data():
    return spots(PLACES, [0, 1, 2]), np.arange(3)


def numbers(heatmap, truth):
    """All that is said of a map and an object."""
    return {number.__name__: number(heatmap, truth) for number in (energy_inside, pointing, iou)}


def test_numbers_of_a_map_by_hand():
    heatmap = np.array([[4.0, 1.0, 0.0, -9.0], [1.0, 2.0, 0.0, 0.0]])
    mask = np.array([[False, True, True, True], [False, True, True, True]])
    (box,) = ground_truth_of([np.zeros((2, 4, 3))], [0], [(1, 0, 4, 2)], None, 1)[0].boxes
    found = numbers(heatmap, GroundTruth(mask, (box,)))
    # Heat 3 of 8 inside; the hottest pixel outside; the hot box is 2 x 2 (0 to 2), shared 1 x 2, together 4 x 2.
    assert found == {"energy_inside": 3 / 8, "pointing": 0.0, "iou": 2 / 8}


def test_a_map_without_heat_has_no_numbers():
    truth = GroundTruth(np.ones((2, 2), bool), ())
    assert all(np.isnan(value) for value in numbers(np.full((2, 2), -1.0), truth).values())


def test_several_boxes_count_together_and_the_nearest_is_compared():
    (truth,) = ground_truth_of([np.zeros((4, 8, 3))], [0], [[(0, 0, 2, 4), (6, 0, 8, 4)]], None, 1)
    heatmap = np.zeros((4, 8))
    heatmap[:, 6:] = 1
    heatmap[:, 0] = 0.1
    assert numbers(heatmap, truth) == pytest.approx({"energy_inside": 1.0, "pointing": 1.0, "iou": 1.0})


def test_boxes_are_cut_to_the_picture():
    (truth,) = ground_truth_of([np.zeros((4, 6, 3))], [0], [(-3, 2, 2, 9)], None, 1)
    assert np.argwhere(truth.mask).tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


@pytest.mark.parametrize("nothing", [None, [], np.zeros((0, 4))])
def test_a_picture_without_an_object_has_no_truth(nothing):
    images = [np.zeros((4, 4, 3))] * 2
    first, second = ground_truth_of(images, [1, 0], [nothing, (0, 0, 2, 2)], None, 2)
    assert second is None and first.mask.sum() == 4
    first, second = ground_truth_of(images, [0, 1], None, [np.zeros((4, 4)), np.eye(4)], 2)
    assert first is None and second.mask.sum() == 4 and tuple(second.boxes[0]) == (0, 0, 4, 4)


@pytest.mark.parametrize(
    ("boxes", "masks", "message"),
    [
        ([(0, 0, 4, 4)] * 2, None, "boxes must hold an entry for each image of the data. Received: 2 entries for 3"),
        ([(20, 20, 24, 24)] * 3, None, r"boxes\[0\] must cover some of its picture of 16 x 16 pixels"),
        ([(0.1, 0.1, 0.4, 0.4)] * 3, None, "in pixels of the picture"),
        ([(4, 4, 2, 2)] * 3, None, "COCO's boxes are"),
        (None, np.ones((3, 8, 8)), r"masks\[0\] must have the size \(16, 16\) of its picture. Received: \(8, 8\)"),
        ({"seen": []}, None, None),
    ],
)
def test_truth_that_does_not_fit_is_said_at_construction(tmp_path, boxes, masks, message):
    if message is None:
        with pytest.raises(InvalidDataError, match=r"of the groups \['new'\].*by these names. Received: the names"):
            CAMCallback({"new": data()}, tmp_path, boxes=boxes)
        return
    with pytest.raises(InvalidDataError, match=message):
        CAMCallback(data(), tmp_path, boxes=boxes, masks=masks)
