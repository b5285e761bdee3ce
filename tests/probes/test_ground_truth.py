"""Boxes and masks: how far maps lie on the object, by hand, in scalars, in the logs and in callbacks after ours."""

import csv
import os

import keras
import numpy as np
import pytest
from support.callback_models import NAMES, SIZE, events, eye, fit, scalar, spots, strings

from keras_cam import CAMCallback
from keras_cam.errors import InvalidDataError
from keras_cam.probes.ground_truth import GroundTruth, ground_truth_of, inside_numbers
from keras_cam.tensorboard.records import EPOCHS_TAG, decode_epoch

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour

# A spot of 4 x 4 pixels at each place, and a box that holds: its left half, all of it in twice the size, nothing of it.
PLACES = [(4, 4), (8, 2), (10, 10)]
BOXES = [(4, 4, 6, 8), (8, 2, 16, 6), (0, 0, 4, 4)]
BY_HAND = {"energy_inside": [0.5, 1.0, 0.0], "pointing": [1.0, 1.0, 0.0], "iou": [0.5, 0.5, 0.0]}


def data():
    return spots(PLACES, [0, 1, 2]), np.arange(3)


def as_masks(boxes):
    masks = np.zeros((len(boxes), SIZE, SIZE), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


# by hand


def test_numbers_of_a_map_by_hand():
    heatmap = np.array([[4.0, 1.0, 0.0, -9.0], [1.0, 2.0, 0.0, 0.0]])
    mask = np.array([[False, True, True, True], [False, True, True, True]])
    (box,) = ground_truth_of([np.zeros((2, 4, 3))], [0], [(1, 0, 4, 2)], None, 1)[0].boxes
    found = inside_numbers(heatmap, GroundTruth(mask, (box,)))
    # Heat 3 of 8 inside; the hottest pixel outside; the hot box is 2 x 2 (0 to 2), shared 1 x 2, together 4 x 2.
    assert found == {"energy_inside": 3 / 8, "pointing": 0.0, "iou": 2 / 8}


def test_a_map_without_heat_has_no_numbers():
    truth = GroundTruth(np.ones((2, 2), bool), ())
    assert all(np.isnan(value) for value in inside_numbers(np.full((2, 2), -1.0), truth).values())


def test_several_boxes_count_together_and_the_nearest_is_compared():
    (truth,) = ground_truth_of([np.zeros((4, 8, 3))], [0], [[(0, 0, 2, 4), (6, 0, 8, 4)]], None, 1)
    heatmap = np.zeros((4, 8))
    heatmap[:, 6:] = 1
    heatmap[:, 0] = 0.1
    assert inside_numbers(heatmap, truth) == pytest.approx({"energy_inside": 1.0, "pointing": 1.0, "iou": 1.0})


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


def test_a_data_set_that_is_read_has_no_places_for_boxes(tmp_path):
    class Batches:
        def __iter__(self):
            return iter([data()])

    with pytest.raises(InvalidDataError, match="belong to images by their place"):
        CAMCallback(Batches(), tmp_path, boxes=BOXES)


# through training


@pytest.mark.parametrize("form", ["boxes", "masks", "groups", "worst"])
def test_scalars_logs_and_records_are_those_by_hand(tmp_path, form):
    source, truth = data(), {"boxes": BOXES}
    if form == "masks":
        truth = {"masks": as_masks(BOXES)}
    if form == "groups":
        source, truth = {1: source, 2: source[0]}, {"boxes": {1: BOXES}}
    options = {"probes": "worst"} if form == "worst" else {}
    callback = CAMCallback(source, tmp_path, class_names=NAMES, on_error="raise", **truth, **options)
    history = fit(eye(), data(), callback, epochs=2).history
    run = tmp_path / "cam"
    for name, values in BY_HAND.items():
        assert scalar(run, f"cam/{name}") == pytest.approx(dict.fromkeys(range(2), np.mean(values)))
        logged = "val_cam_energy" if name == "energy_inside" else f"val_cam_{name}"
        assert history[logged] == pytest.approx([np.mean(values)] * 2)
        by_class = {tag: value for tag, step, value in events(run, f"cam_by_class/{name}") if step == 1}
        expected = {f"cam_by_class/{name}/{c}_{NAMES[c]}": values[c] for c in range(3)}
        assert by_class == pytest.approx(expected)
    probes = decode_epoch(strings(run, EPOCHS_TAG)[1])["probes"]
    for probe in probes[:3]:
        expected = {name: values[probe["true"]] for name, values in BY_HAND.items()}
        assert {name: probe["numbers"][name] for name in BY_HAND} == pytest.approx(expected)
        assert probe["boxes"] == [list(BOXES[probe["true"]])]
    assert all(probe["boxes"] == [] and "iou" not in probe["numbers"] for probe in probes[3:])


def test_callbacks_that_come_later_use_the_numbers(tmp_path):
    """The object's colour fades from the second epoch on in favour of one beside it: energy 0.5, then less."""
    model = eye()
    weights = model.get_weights()

    def fade(epoch, logs):
        """Green (the second spot, outside the box) counts ever more for class 0."""
        weights[1][1, 0] = 10.0 * epoch
        model.set_weights(weights)

    images = spots([(2, 2)], [0]) + spots([(9, 9)], [1])
    ours = CAMCallback((images, [0]), tmp_path / "logs", boxes=[(2, 2, 6, 6)], classes=0, on_error="raise")
    stop = keras.callbacks.EarlyStopping("val_cam_energy", mode="max", patience=2)
    table = keras.callbacks.CSVLogger(str(tmp_path / "table.csv"))
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}_{val_cam_energy:.3f}.weights.h5"), "val_cam_energy", mode="max", save_best_only=True
    )
    change = keras.callbacks.LambdaCallback(on_epoch_begin=fade)
    history = fit(model, (images, [0]), change, ours, stop, table, best, epochs=9).history
    expected = [100 / (100 + 10 * epoch) for epoch in range(3)]
    assert history["val_cam_energy"] == pytest.approx(expected), "and stopped two epochs after the best"
    with open(tmp_path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_cam_energy"]) for row in rows] == pytest.approx(expected)
    assert sorted(name for name in os.listdir(tmp_path) if "weights" in name) == ["1_1.000.weights.h5"]


def test_epochs_between_looks_keep_the_last_numbers_and_the_columns_stay(tmp_path):
    table = keras.callbacks.CSVLogger(str(tmp_path / "table.csv"))
    ours = CAMCallback(data(), None, boxes=BOXES, every=3, on_error="raise")
    history = fit(eye(), data(), ours, table, epochs=5).history
    assert history["val_cam_energy"] == pytest.approx([0.5] * 5)
    assert os.listdir(tmp_path) == ["table.csv"], "log_dir=None writes nothing"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["val_cam_concentration", "val_cam_share_in_border"]),
        ({"boxes": BOXES}, ["val_cam_energy", "val_cam_pointing", "val_cam_iou"]),
        ({"masks": as_masks(BOXES)}, ["val_cam_energy", "val_cam_pointing", "val_cam_iou"]),
    ],
    ids=["neither", "boxes", "masks"],
)
@pytest.mark.parametrize("blind", [2, 4], ids=["at first", "always"])
def test_the_names_in_the_logs_are_the_same_from_the_first_epoch_on(tmp_path, options, names, blind):
    """CSVLogger takes its columns from the first epoch: NaN stands where nothing is known yet."""
    model = eye()
    weights = model.get_weights()
    model.set_weights([weights[0], -np.abs(weights[1]), weights[2]])  # no evidence for anything

    def see(epoch, logs):
        if epoch == blind:
            model.set_weights(weights)

    seeing = keras.callbacks.LambdaCallback(on_epoch_begin=see)
    table = keras.callbacks.CSVLogger(str(tmp_path / "table.csv"))
    history = fit(model, data(), seeing, CAMCallback(data(), tmp_path / "logs", **options), table, epochs=4).history
    assert list(history) == ["loss", *names]
    with open(tmp_path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    for name in names:
        known = [False, False, blind == 2, blind == 2]
        assert [not np.isnan(value) for value in history[name]] == known
        assert [not np.isnan(float(row[name])) for row in rows] == known


def test_the_names_are_in_the_logs_where_nothing_can_be_looked_at(caplog):
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    history = fit(model, (data()[0], np.zeros((3, 3))), CAMCallback(data(), None), epochs=2).history
    assert np.isnan(history["val_cam_concentration"]).all() and len(history["val_cam_share_in_border"]) == 2
    assert len([record for record in caplog.records if record.name == "keras_cam"]) == 1
