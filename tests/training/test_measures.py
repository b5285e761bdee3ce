"""The numbers that say where a network looks: by hand, in scalars, in the logs, and in callbacks after ours."""

import csv
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from support.callback_models import NAMES, SIZE, events, eye, fit, scalar, spots, strings, watch, words
from support.looks import GRID, blob, look_at_maps
from support.trainings import colours, network, summaries, train
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from keras_cam import CAMCallback
from keras_cam.tensorboard.records import EPOCHS_TAG, OBJECT_MAP, decode_epoch
from keras_cam.training.measures import MEASURES, Measure

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


# by hand


def test_numbers_by_hand():
    first = look_at_maps([blob(0, 0), blob(3, 3)], [0, 0])
    # Half of a blob of 4 cells is 2 cells of 64. Of a cell of 2 pixels in 16, the outer 1.6 pixels are border: the
    # corner blob's 4 x 4 pixels but for 2.4 x 2.4. Both of its cells lie in the corner, which is 4 pixels long.
    assert first.numbers["concentration"] == pytest.approx([1 - 2 * 2 / 64] * 2)
    assert first.numbers["share_in_border"] == pytest.approx([1 - (2.4 / 4) ** 2, 0])
    assert first.numbers["share_in_corners"] == pytest.approx([1, 0])
    assert first.numbers["probability_of_true_class"] == pytest.approx([0.5, 0.5])
    assert first.means["agreement"] == 0 and "moved_since_last" not in first.numbers


def test_movement_is_that_of_the_same_picture():
    images = [np.full((16, 16, 3), index, np.float32) for index in range(3)]
    first = look_at_maps([blob(0, 0), blob(3, 3), blob(4, 4)], [0, 1, 2], images=images)
    images = [images[0].copy(), images[1], images[0] + 9]  # the same values in another array; another picture
    second = look_at_maps([blob(0, 1), blob(3, 3), blob(4, 4)], [0, 1, 2], previous=first, step=1, images=images)
    assert second.numbers["moved_since_last"][:2].tolist() == [0.5, 0]
    assert np.isnan(second.numbers["moved_since_last"][2]) and second.means["moved_since_last"] == 0.25


def test_numbers_of_empty_maps_are_left_out_of_the_means():
    found = look_at_maps([np.full((GRID, GRID), -1.0), blob(0, 0)], [0, 0])
    assert found.means["concentration"] == pytest.approx(1 - 4 / 64)
    assert "agreement" not in found.means, "one map agrees with none"
    empty = look_at_maps([np.full((GRID, GRID), -1.0)], [None])
    assert empty.means == {}


def test_agreement_is_that_of_the_maps_of_each_class():
    maps = [blob(0, 0), blob(0, 0), blob(5, 5), blob(5, 6)]
    assert look_at_maps(maps, [0, 0, 1, 1]).means["agreement"] == pytest.approx((1 + 0.5) / 2)
    assert look_at_maps(maps, [None] * 4).means["agreement"] == pytest.approx((1 + 0.5 + 0) / 6, abs=1e-9)


# with boxes and masks


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


def test_objects_that_no_probe_has_are_said_once_and_the_numbers_are_there(caplog):
    callback = CAMCallback(data(), None, boxes=[None] * 3, on_error="raise")
    history = fit(eye(), data(), callback, epochs=3).history
    (said,) = words(caplog)
    assert "boxes or masks were given, but none of the images looked at has any" in said
    assert all(np.isnan(history[name]).all() for name in ("val_cam_energy", "val_cam_pointing", "val_cam_iou"))


# in the logs


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
    assert len(words(caplog)) == 1


def at_epoch(number, action):
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: action() if epoch == number else None)


def test_weights_that_become_nan_give_no_stale_numbers(tmp_path, caplog):
    model = eye()

    def spoil():
        model.set_weights([weights * np.nan for weights in model.get_weights()])

    history = fit(model, data(), at_epoch(2, spoil), CAMCallback(data(), tmp_path), epochs=4).history
    numbers = history["val_cam_concentration"]
    assert not np.isnan(numbers[:2]).any() and np.isnan(numbers[2:]).all()
    (said,) = words(caplog)
    assert "at epoch 2. " in said and "not finite" in said


# the probability of the true class


@pytest.mark.parametrize("units", [1, 3])
def test_a_model_that_ends_in_logits_has_probabilities(tmp_path, units):
    """`from_logits=True`, as in TensorFlow's own tutorials."""
    model = network(units=units, activation=None)
    losses = keras.losses
    loss = losses.BinaryCrossentropy if units == 1 else losses.SparseCategoricalCrossentropy
    model.compile("adam", loss(from_logits=True))
    model.layers[-1].set_weights([10 * weights for weights in model.layers[-1].get_weights()])
    images, labels = colours()
    callback = CAMCallback((images, labels % 2), tmp_path, num_probes=24, on_error="raise")
    train(model, callback, epochs=1)
    logits = keras.ops.convert_to_numpy(model(np.stack(callback._probe_set.chosen.images)))
    logits = np.concatenate([0 * logits, logits], axis=1) if units == 1 else logits
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = probabilities[np.arange(24), callback._probe_set.chosen.labels].mean()
    assert summaries(tmp_path / "cam")["cam/probability_of_true_class", 0] == pytest.approx(truth, abs=1e-5)


# one row, one scalar


def test_a_row_is_all_that_a_new_scalar_takes(tmp_path, monkeypatch):
    """It is in the scalars with its words, in the logs, and in the records with its label and the map it is about."""
    words = "Share of the heat in the hottest cell."
    peak = Measure("peak", words, "hottest cell", lambda look: look.shares.max(axis=(1, 2)), logged="val_cam_peak")
    monkeypatch.setitem(MEASURES, "peak", peak)
    looks = []
    history = fit(eye(), data(), watch(data(), tmp_path, on_look=looks.append), epochs=2).history
    assert history["val_cam_peak"] == pytest.approx([1 / 16] * 2)
    assert looks[1].numbers["peak"] == pytest.approx([1 / 16] * 3)
    assert scalar(tmp_path / "cam", "cam/peak") == pytest.approx({0: 1 / 16, 1: 1 / 16})
    assert descriptions(tmp_path / "cam")["cam/peak"] == words
    record = decode_epoch(strings(tmp_path / "cam", EPOCHS_TAG)[1])
    assert record["measures"]["peak"] == {"label": "hottest cell", "about": "heat"}
    assert [probe["numbers"]["peak"] for probe in record["probes"]] == pytest.approx([1 / 16] * 3)


def test_a_row_about_objects_is_logged_with_boxes_and_written_for_each_class(tmp_path, monkeypatch):
    numbers = {"about": OBJECT_MAP, "logged": "val_cam_hit"}
    monkeypatch.setitem(MEASURES, "hit", Measure("hit", "A hit.", "hit", lambda look: np.arange(3.0), **numbers))
    history = fit(eye(), data(), watch(data(), tmp_path, boxes=BOXES)).history
    assert history["val_cam_hit"] == [1] and "val_cam_concentration" not in history
    by_class = {tag: value for tag, _, value in events(tmp_path / "cam", "cam_by_class/hit")}
    assert by_class == {f"cam_by_class/hit/{c}_{NAMES[c]}": c for c in range(3)}


def test_every_row_is_written_and_all_that_is_written_is_a_row(tmp_path):
    source = spots(PLACES * 2, [0, 1, 2] * 2), np.arange(6) % 3
    fit(eye(), data(), watch(source, tmp_path, boxes=BOXES * 2), epochs=2)
    assert all(name == row.name for name, row in MEASURES.items())
    words = {tag: said for tag, said in descriptions(tmp_path / "cam").items() if "probe" not in tag}
    assert words == {f"cam/{name}": row.words for name, row in MEASURES.items()}
    record = decode_epoch(strings(tmp_path / "cam", EPOCHS_TAG)[1])
    assert set(record["measures"]) == set(MEASURES) - {"agreement"}, "which is about all probes together"
    assert all(set(probe["numbers"]) == set(record["measures"]) for probe in record["probes"])


def test_the_page_about_the_callback_has_the_same_table():
    page = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text("utf-8")
    table = page.partition("| scalar | in the logs | |\n| --- | --- | --- |\n")[2].partition("\n\n")[0]
    rows = [(row.name, f"`{row.logged}` " if row.logged else "", row.words) for row in MEASURES.values()]
    assert table.splitlines() == [f"| `cam/{name}` | {logged}| {words} |" for name, logged, words in rows]


def descriptions(directory):
    """What TensorBoard shows behind the (i) of each card."""
    found = {}
    for path in directory.iterdir():
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag.startswith("cam/"):
                    found.setdefault(value.tag, value.metadata.summary_description)
    return found
