"""The localization benchmark: its measures by hand, and a tiny run through all of it."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import keras_cam
from benchmarks import localization, placement
from benchmarks.box_scores import (
    NO_BOX,
    THRESHOLDS,
    centre_gaussian,
    energy,
    largest_box,
    max_box_accuracy,
    off_centre,
    overlap,
    overlaps_by_threshold,
    pointing,
)
from benchmarks.localization_page import PAGE, Run, table_of, verdicts_of
from benchmarks.scenes import DRAWN_SIZES, SIZE, draw_scenes, load_photos
from benchmarks.small_networks import build_network, with_new_head


def block(height, width, left, top, right, bottom, value=1.0):
    """A map that is zero outside one box."""
    heatmap = np.zeros((height, width), np.float32)
    heatmap[top:bottom, left:right] = value
    return heatmap


def test_largest_box_is_that_of_the_largest_region():
    mask = block(10, 12, 1, 2, 4, 8) + block(10, 12, 8, 5, 10, 7) > 0
    assert largest_box(mask) == (1, 2, 4, 8)
    assert largest_box(np.zeros((4, 4), bool)) == NO_BOX
    assert largest_box(block(10, 10, 2, 3, 7, 9) > 0) == (2, 3, 7, 9)


def test_overlap_by_hand():
    boxes = np.array([[0, 0, 4, 4], [10, 10, 12, 12]])
    assert overlap((0, 0, 4, 4), boxes) == 1
    assert_allclose(overlap((2, 0, 6, 4), boxes), 8 / 24)
    assert_allclose(overlap((10, 11, 12, 13), boxes), 2 / 6)  # the nearer of the two
    assert overlap(NO_BOX, boxes) == 0


def test_max_box_accuracy_takes_one_threshold_for_all_pictures():
    # Two steps: the low one is 8x8, the high one, above 0.5, is 4x4.
    heatmap = block(16, 16, 4, 4, 12, 12, 0.5) + block(16, 16, 6, 6, 10, 10, 0.5)
    low = overlaps_by_threshold(heatmap, np.array([[4, 4, 12, 12]]))
    high = overlaps_by_threshold(heatmap, np.array([[6, 6, 10, 10]]))
    assert_allclose(low, np.where(THRESHOLDS < 0.5, 1, 0.25))
    assert_allclose(high, np.where(THRESHOLDS < 0.5, 0.25, 1))
    both = np.stack([low, high])
    assert max_box_accuracy(both[:1], 0.5) == max_box_accuracy(both[1:], 0.5) == 1
    assert max_box_accuracy(both, 0.5) == 0.5, "each picture has its own best threshold, but one must serve both"
    assert max_box_accuracy(both, 0.25) == 1


def test_pointing_energy_and_middle_by_hand():
    box = np.array([[0, 0, 2, 2]])
    heatmap = np.array([[-9, 1, 0, 0], [0, 0, 0, 3]], np.float32)
    assert pointing(heatmap, box) == 0 and pointing(-heatmap, box) == 1
    assert_allclose(energy(heatmap, box), 1 / 4)  # of what is positive
    assert energy(-np.abs(heatmap), box) == 0
    assert_allclose(pointing(np.ones((2, 8)), box), 4 / 16)  # a flat map points everywhere
    assert_allclose(off_centre(heatmap, box), [0.5, 2.5])
    assert_allclose(off_centre(heatmap, np.array([[0, 0, 2, 2], [3, 1, 4, 2]])), [0, 0])  # the nearer box
    assert np.isnan(off_centre(-np.ones((2, 4)), box)).all()


def test_centre_gaussian_looks_at_the_middle_of_any_size():
    bell = centre_gaussian((9, 21))
    assert (bell[4, 10], bell[0, 0]) == (1, 0)
    assert_allclose(bell, bell[::-1, ::-1])


def test_scenes_have_their_object_in_its_box():
    scenes = draw_scenes(16, 0)
    boxes = np.concatenate(scenes.boxes)
    assert scenes.images.shape == (16, SIZE, SIZE, 3) and np.bincount(scenes.labels).tolist() == [4] * 4
    assert boxes.min() >= 0 and boxes.max() <= SIZE
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1).reshape(len(DRAWN_SIZES), -1)
    assert (np.diff(sides.mean(axis=1)) > 0).all(), "sizes differ"
    for image, (left, top, right, bottom) in zip(scenes.images, boxes, strict=True):  # objects are light, grounds dark
        inside = image[top:bottom, left:right].mean()
        image = image.astype(float)
        image[top:bottom, left:right] = np.nan
        assert inside > np.nanmean(image) + 20


@pytest.mark.parametrize("field", [31, 39])
@pytest.mark.parametrize("padding", ["same", "ResNet-style", "valid"])
def test_networks_have_stride_16_and_the_grid_that_their_padding_gives(padding, field):
    result = keras_cam.explain(build_network(padding, 3, field), np.zeros((1, 128, 128, 3), "uint8"))
    rows, columns = result.grid.axes
    assert rows == columns and (result.grid.source, rows.stride, rows.field) == ("graph", 16, field)
    valid = {31: (7, 15), 39: (6, 19)}[field]
    assert (rows.length, rows.offset) == {"same": (8, 15), "ResNet-style": (8, 0), "valid": valid}[padding]


def test_a_new_head_keeps_every_other_weight():
    network = build_network("valid", 3)
    fresh = with_new_head(network, "valid", 2)
    for before, after in zip(network.get_weights()[:-2], fresh.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(before, after)
    assert fresh.output_shape == (None, 2)


def helps(run):
    return run.scores["receptive_field"][1] > run.scores["stretch"][1]


def test_the_page_says_what_the_benchmark_writes():
    """Whatever was said by hand of one run's numbers would stand below those of the next."""
    page = (Path(__file__).parents[2] / "docs" / "localization.md").read_text("utf-8")
    assert re.fullmatch(".*".join(map(re.escape, re.split(r"\{\w+\}", PAGE))), page, re.DOTALL)


@pytest.mark.usefixtures("eager_training")
def test_tiny_run_writes_the_page(tmp_path, capsys):
    page = tmp_path / "localization.md"
    options = ["--seeds", "1", "--scenes", "32", "--epochs", "1", "--page", str(page), "--data", str(tmp_path)]
    runs = localization.main(options)
    assert [(run.field, run.padding, run.held_out) for run in runs] == [
        (field, padding, 16) for field in (31, 39) for padding in ("same", "ResNet-style", "valid")
    ]
    for run in runs:
        shares = np.stack(list(run.scores.values()))[:, :5]
        assert (shares >= 0).all() and (shares <= 1).all()
        assert (np.diff(shares[:, :3]) <= 0).all(), "more overlap is found less often"
    bells = [run.scores["centre Gaussian"] for run in runs]
    assert_allclose(bells, np.broadcast_to(bells[0], (6, 7)))  # the same pictures, whatever the network
    text = page.read_text("utf-8")
    assert text.startswith("# Placed or stretched") and text.split("\n")[2].count("keras 3") == 1
    assert f"Placing raised IoU 0.5 in all networks of {sum(map(helps, runs))} of 6 kinds" in text
    assert "No photographs" in text and "No photographs" in capsys.readouterr().err
    assert text.count("| placed |") == 6


def test_table_and_verdicts_by_hand():
    def run(stretched, placed):
        ways = {"stretch": stretched, "receptive_field": placed, "centre Gaussian": 0.5}
        return Run("pictures", "same", 39, 8, 0.75, {way: np.full(7, share) for way, share in ways.items()})

    first, second = run(0.2, 0.4), run(0.4, 0.8)
    assert "| placed | 0.60 ± 0.28 |" in table_of([first, second])
    assert "| placed | 0.40 |" in table_of([first])
    assert verdicts_of([first, second]).startswith(
        "- pictures, same, 39 px: IoU 0.5 +0.30 (better in 2, worse in 0 of 2 networks), pointing"
    )
    assert "better in 1, worse in 1 of 2 networks; no clear difference" in verdicts_of([first, run(0.4, 0.3)])
    assert "+0.20 (better in 1, worse in 0 of 1 network; no clear difference)" in verdicts_of([first])


def test_photographs_with_boxes(shared_data):
    photos = load_photos(shared_data / "animals")
    assert photos.images.shape[1:] == (SIZE, SIZE, 3) and 150 < len(photos.labels) == len(photos.boxes) < 182
    boxes = np.concatenate(photos.boxes)
    assert boxes.min() >= 0 and boxes.max() <= SIZE and (boxes[:, 2:] > boxes[:, :2]).all()


def test_placement_is_timed_in_turns():
    measured = placement.measure(2)
    assert all(pairs.wall.shape == (2, 2) and pairs.wall.min() > 0 for pairs in measured.values())
    report = placement.report(measured)
    assert report.count("pair by pair") == len(measured) == 3 and "Explanation.heatmaps(None)" in report
