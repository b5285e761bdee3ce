"""Boxes, outlines and masks of a result, and what COCO makes of them."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from support.results import RANKS, two_grey_pictures, two_of

from keras_cam import Box
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.panel import panel
from keras_cam.errors import InvalidDataError
from keras_cam.graph.receptive_field import Axis
from keras_cam.imaging.boxes import find_boxes, find_contours, find_mask
from keras_cam.model.grid import Grid


@pytest.fixture
def result():
    return two_grey_pictures()


PLACED = Grid((Axis(2, 2.0, 9.0), Axis(2, 20.0, 8.0)), (20, 30))


def test_boxes_of_a_result_are_in_the_pixels_of_its_pictures(result):
    """Report 22 of docs/reports.md: boxes by a documented threshold, the largest part or all, ready for COCO."""
    boxes = result.boxes(0.5)
    assert [[len(found) for found in slots] for slots in boxes] == [[1, 0], [1, 1]]
    # 4 and 0 lie at columns 7 and 22 of 30: half of 4 is exceeded up to column 14; at rows 4.5 and 14.5 up to row 9.
    assert tuple(boxes[0][0][0]) == (0, 0, 15, 10)
    assert boxes[1][0] == [Box(0, 0, 40, 40)]
    masks, outlines = result.masks(0.5), result.contours(0.5)
    assert [mask.shape for mask in masks] == [(2, 20, 30), (2, 40, 40)] and masks[0].dtype == bool
    assert not masks[0][1].any() and outlines[0][1] == []
    assert_array_equal(outlines[0][0][0].max(axis=0), [14, 9])
    assert_array_equal(np.argwhere(masks[0][0]).max(axis=0), [9, 14])


def test_boxes_outlines_and_masks_lie_on_the_map_that_was_asked_for(result):
    placed = dataclasses.replace(result, grid=PLACED)
    for align in ("stretch", "receptive_field"):
        for image, maps in enumerate(placed.heatmaps(None, align=align)):
            for slot, heat in enumerate(maps):
                assert placed.boxes(0.3, align=align)[image][slot] == find_boxes(heat, 0.3)
                assert_array_equal(placed.masks(0.3, align=align)[image][slot], find_mask(heat, 0.3))
                assert_array_equal(placed.contours(0.3, align=align)[image][slot], find_contours(heat, 0.3))
        assert placed.to_coco(0.3, align=align)[0]["bbox"] == placed.boxes(0.3, align=align)[0][0][0].to_coco()
        drawn = draw_boxes(placed.overlays(align=align)[0][0], placed.boxes(0.3, align=align)[0][0])
        assert_array_equal(placed.overlays(boxes=0.3, align=align)[0][0], drawn)
        heat = placed.heatmaps(None, align=align)[0][0]
        drawn = panel(placed.images[0], heat, (0, heat.max()), [], boxes=find_boxes(heat, 0.3))
        assert_array_equal(placed.panels(boxes=0.3, align=align, titles=False)[0][0], drawn)
    assert placed.boxes(0.3) != placed.boxes(0.3, align="stretch")


def test_coco_results_by_hand(result):
    found = result.to_coco(0.5, image_ids=[11, 12], category_ids=[7, 8, 9])
    assert found[0] == {"image_id": 11, "category_id": 7, "bbox": [0.0, 0.0, 15.0, 10.0], "score": 0.5}
    assert [(each["image_id"], each["category_id"]) for each in found] == [(11, 7), (12, 9), (12, 7)]
    assert found[1]["score"] == pytest.approx(0.7)
    assert json.loads(json.dumps(found)) == found
    assert [each["image_id"] for each in result.to_coco()] == [0, 1, 1]
    with pytest.raises(InvalidDataError, match=r"image_ids has one id for each of 2. Received: 3"):
        result.to_coco(image_ids=[1, 2, 3])


def test_coco_segmentations_are_the_masks(result):
    found = result.to_coco(0.5, segmentation=True)
    plain = [{name: value for name, value in each.items() if name != "segmentation"} for each in found]
    assert plain == result.to_coco(0.5) and json.loads(json.dumps(found)) == found
    masks = [mask for masks in result.masks(0.5) for mask in masks if mask.any()]
    for each, mask in zip(found, masks, strict=True):
        counts = each["segmentation"]["counts"]
        pixels = np.repeat(np.arange(len(counts)) % 2, counts).reshape(mask.shape, order="F")
        assert_array_equal(pixels, mask)
        assert each["segmentation"]["size"] == list(mask.shape)


def test_boxes_as_json(result):
    numbers = json.loads(json.dumps(result.boxes(0.5), default=Box.to_dict))
    assert numbers[0] == [[{"left": 0, "top": 0, "right": 15, "bottom": 10, "score": 1}], []]
    assert [[[Box(**one) for one in slot] for slot in image] for image in numbers] == result.boxes(0.5)


@pytest.fixture(params=RANKS)
def other(request):
    return two_of(request.param)


@pytest.mark.parametrize("find", ["boxes", "contours", "masks", "to_coco"])
def test_boxes_outlines_and_masks_are_of_pictures(other, find):
    with pytest.raises(InvalidDataError, match=r"Boxes, outlines and masks.*result.heatmaps\(\)"):
        getattr(other, find)()
