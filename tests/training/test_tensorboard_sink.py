"""What is written for TensorBoard: records, cards, and what a disk or a directory that fails costs."""

import os
import shutil
import threading
import time

import keras
import numpy as np
import pytest
from support.callback_models import (
    PLACES,
    SIZE,
    coloured_spots,
    events,
    eye,
    fit,
    only_record,
    pixels,
    scalar,
    spots,
    steps,
    strings,
    watch,
    words,
)
from support.trainings import colours, summaries, train

from keras_cam import CAMCallback
from keras_cam.tensorboard.records import EPOCHS_TAG, MAPS, PICTURES, decode_epoch, decode_maps, kind_of, tag_of
from keras_cam.training.card import CARD_WIDTH

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 0])


# records and cards


def test_maps_lie_in_the_picture_where_the_object_is(tmp_path):
    """Offset and stride of a record lead from the hot cells to the spot's own pixels, and agree with the result's."""
    looks = []
    callback = watch(coloured_spots(), tmp_path, num_probes=6, on_look=looks.append)
    fit(eye(stride=2), coloured_spots(), callback)
    ((look,),) = [looks]
    for row, (left, top) in enumerate(PLACES):
        (record,) = map(decode_maps, strings(tmp_path / "cam", tag_of(f"probe_{row:02d}", MAPS)).values())
        heat = record.maps[0] / record.maps[0].sum()
        centres = [offset + stride * np.arange(8) for offset, stride in record.placement]
        found = heat.sum(axis=1) @ centres[0], heat.sum(axis=0) @ centres[1]
        assert found == pytest.approx((top + 1.5, left + 1.5), abs=1e-4)
        assert record.placement == look.result.grid.cells_in([(1.0, 0.0)] * 2)
        assert record.size == (SIZE, SIZE) and record.field == (2, 2)
        np.testing.assert_array_equal(record.maps, look.result.maps[row, look.slots(row)])


@pytest.mark.parametrize(("image_format", "begins"), [("jpeg", b"\xff\xd8\xff"), ("png", b"\x89PNG")])
def test_image_format(tmp_path, image_format, begins):
    fit(eye(), data(), watch(data(), tmp_path, image_format=image_format))
    run = tmp_path / "cam"
    cards = [value[2] for tag, _, value in events(run, "cam/probe_")]
    assert len(cards) == 3 and all(encoded.startswith(begins) for encoded in cards)
    ((picture,),) = strings(run, tag_of("probe_00", PICTURES)).values()
    assert picture.startswith(begins)


def test_every_record_decodes_and_large_pictures_are_stored_smaller(tmp_path):
    image = spots([(600, 100)], [1], size=1024, side=100)
    callback = CAMCallback((image, [1]), tmp_path, boxes=[(600, 100, 700, 200)], on_error="raise")
    fit(eye(), data(), callback, epochs=2)
    run = tmp_path / "cam"
    ((picture,),) = strings(run, tag_of("probe_00", PICTURES)).values()
    (tmp_path / "picture.jpg").write_bytes(picture)
    assert pixels(tmp_path / "picture.jpg").shape == (512, 512, 3)
    for record in map(decode_maps, strings(run, tag_of("probe_00", MAPS)).values()):
        assert record.size == (512, 512) and record.placement == ((15.5, 32.0), (15.5, 32.0))
        row, column = np.unravel_index(record.maps[0].argmax(), record.maps[0].shape)
        assert (15.5 + 32 * row, 15.5 + 32 * column) == pytest.approx((75, 325), abs=20)
    for epoch, parts in strings(run, EPOCHS_TAG).items():
        (probe,) = decode_epoch(parts)["probes"]
        assert decode_epoch(parts)["epoch"] == epoch and probe["boxes"] == [[300, 50, 350, 100]]
    assert kind_of(b'{"v": 1, "kind": "maps"}') == MAPS


def many_classes(count):
    """As `eye`, for so many classes, the first three of which are found in the colours."""
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(3, 1, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(count, activation="softmax"),
        ]
    )
    weights = np.full((3, count), 0.01, np.float32) * np.arange(count)
    weights[:, :3] = 100 * np.eye(3)
    model.set_weights([np.eye(3, dtype=np.float32)[None, None], weights, np.zeros(count, np.float32)])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return model


def test_of_many_classes_a_card_shows_the_most_probable_and_the_tab_has_all(tmp_path):
    """Three hundred maps below each other are more than a JPEG holds, and took half a minute to draw."""
    looks = []
    images, labels = spots([(1, 2), (9, 3)], [0, 1]), np.array([0, 7])
    callback = CAMCallback(
        (images, labels), tmp_path, classes="all", save_dir=tmp_path / "out", on_look=looks.append, on_error="raise"
    )
    fit(many_classes(300), (images, labels), callback)
    assert [
        [int(look.result.class_indices[row, slot]) for slot in look.card_slots(row)] for look in looks for row in (0, 1)
    ] == [
        [0, 299, 298, 297],
        [1, 7, 299, 298],
    ], "the predicted one, the true one, and those after them"
    assert looks[0].caption(1)[2] == "4 of 300 maps: class 1, class 7, class 299, class 298"
    assert pixels(tmp_path / "out" / "probe_01" / "epoch_000000.png").shape[0] < 4 * CARD_WIDTH
    for row in range(2):
        (record,) = map(decode_maps, strings(tmp_path / "cam", tag_of(f"probe_0{row}", MAPS)).values())
        assert record.classes == tuple(range(300))
    assert sorted(tag for tag, _, _ in events(tmp_path / "cam", "cam/probe")) == ["cam/probe_00", "cam/probe_01"]


def test_the_tab_knows_the_most_probable_classes_whatever_is_mapped(tmp_path):
    """Of wrong predictions above all, where only the true class is mapped."""
    images, labels = spots([(1, 2), (9, 3)], [0, 1]), np.array([1, 1])
    fit(
        many_classes(9),
        (images, labels),
        CAMCallback((images, labels), tmp_path, classes="true", boxes=[(9, 3, 13, 7)] * 2),
    )
    (probes,) = (decode_epoch(parts)["probes"] for parts in strings(tmp_path / "cam", EPOCHS_TAG).values())
    p = many_classes(9).predict(images, verbose=0)
    for probe, row in zip(probes, p, strict=True):
        assert probe["classes"] == [1] and probe["heat_of"] == probe["inside_of"] == 1
        assert [index for index, _ in probe["top"]] == np.argsort(-row, kind="stable")[:5].tolist()
        assert [value for _, value in probe["top"]] == pytest.approx(sorted(row)[:-6:-1], rel=1e-4)
        assert {str(index) for index, _ in probe["top"]} <= set(probe["names"])
    assert probes[0]["predicted"] == 0 == probes[0]["top"][0][0] and len({probe["image"] for probe in probes}) == 2


def test_hostile_class_names(tmp_path):
    names = ("<script>alert(1)</script>/..", "x" * 10_000, "\u202eolleh \U0001f431/\n")
    callback = CAMCallback(data(), tmp_path, class_names=names, masks=np.ones((3, 16, 16)), on_error="raise")
    fit(eye(), data(), callback)
    found = events(tmp_path / "cam", "")
    tags = {tag for tag, _, _ in found}
    assert not any(character in tag for tag in tags for character in "<>\n\u202e") and max(map(len, tags)) < 100
    assert all(tag.count("/") <= 2 for tag in tags)
    (probes,) = (decode_epoch(parts)["probes"] for parts in strings(tmp_path / "cam", EPOCHS_TAG).values())
    assert {name for probe in probes for name in probe["names"].values()} == set(names)
    assert os.listdir(tmp_path) == ["cam"]


def test_a_card_that_cannot_be_written_costs_nothing_else(tmp_path):
    callback = watch(data(), tmp_path)
    sink = callback._sinks["in TensorBoard"]
    encode = sink._encode

    def broken(picture):
        if picture.shape[1] == CARD_WIDTH:
            raise ValueError("too large")
        return encode(picture)

    sink._encode = broken
    with pytest.raises(ValueError, match="too large"):
        fit(eye(), data(), callback)
    run = tmp_path / "cam"
    assert steps(run, "cam/concentration") == [0] and steps(run, EPOCHS_TAG) == [0]
    assert all(steps(run, tag_of(f"probe_0{row}", kind)) == [0] for row in range(3) for kind in (MAPS, PICTURES))


# directories and disks


def test_a_directory_of_two_runs_one_after_the_other(tmp_path):
    """What is resumed has its pictures again, and the steps that are written twice are whole both times."""
    for first, last in ((0, 3), (2, 4)):
        fit(eye(), data(), watch(data(), tmp_path), epochs=last, initial_epoch=first)
    run = tmp_path / "cam"
    assert steps(run, EPOCHS_TAG) == [0, 1, 2, 2, 3]
    assert steps(run, tag_of("probe_01", MAPS)) == [0, 1, 2, 2, 3]
    assert steps(run, tag_of("probe_01", PICTURES)) == [0, 2]


def test_a_process_that_was_killed_leaves_a_directory_to_go_on_in(tmp_path):
    """The event file of a run that died ends in the middle of a record; the next run writes beside it."""
    fit(eye(), data(), CAMCallback(data(), tmp_path, num_probes=1, on_error="raise"), epochs=3)
    (torn,) = (tmp_path / "cam").iterdir()
    torn.write_bytes(torn.read_bytes()[:-37])
    fit(eye(), data(), CAMCallback(data(), tmp_path, num_probes=1, on_error="raise"), epochs=4, initial_epoch=2)
    found = strings(tmp_path / "cam", EPOCHS_TAG)
    assert sorted(found) == [0, 1, 2, 3]
    assert all(decode_epoch(parts)["epoch"] == epoch for epoch, parts in found.items())
    assert sorted(scalar(tmp_path / "cam", "cam/concentration")) == [0, 1, 2, 3]


def at_epoch(number, action):
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: action() if epoch == number else None)


def test_one_sink_that_fails_is_no_reason_for_the_next(tmp_path, caplog):
    """The log directory turns into a file; the pictures are written all the same, and later looks come back."""
    logs = tmp_path / "logs"
    callback = CAMCallback(data(), logs, save_dir=tmp_path / "pictures", num_probes=1)
    logs.write_text("in the way")
    fit(eye(), data(), callback, at_epoch(2, logs.unlink), epochs=4)
    (said,) = words(caplog)
    assert "at epoch 0 in TensorBoard. " in said and "Training goes on" in said
    assert len(os.listdir(tmp_path / "pictures" / "probe_00")) == 4
    assert steps(logs / "cam", EPOCHS_TAG) == [2, 3]
    assert steps(logs / "cam", tag_of("probe_00", PICTURES)) == [2], "the picture has not been written before"


def test_a_log_dir_that_fails_later_does_not_end_the_training_and_may_come_back(tmp_path, model, caplog):
    callback = CAMCallback(colours(), tmp_path / "logs", num_probes=1)
    (tmp_path / "logs").write_text("a file")
    repair = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (tmp_path / "logs").unlink() if epoch == 2 else None
    )
    assert len(train(model, callback, repair, epochs=4).history["loss"]) == 4
    record = only_record(caplog)
    assert "at epoch 0" in record.getMessage()
    assert {step for _, step in summaries(tmp_path / "logs" / "cam")} == {2, 3}


def test_a_log_directory_that_is_removed_meanwhile_comes_back(tmp_path, caplog):
    logs = tmp_path / "logs"
    callback = CAMCallback(data(), logs, num_probes=1, on_error="raise")
    fit(eye(), data(), callback, at_epoch(2, lambda: shutil.rmtree(logs)), epochs=4)
    assert words(caplog) == []
    assert steps(logs / "cam", EPOCHS_TAG) == [2, 3]
    assert steps(logs / "cam", tag_of("probe_00", PICTURES)) == [2], "the picture has gone with the directory"


def test_a_full_disk(tmp_path, small_disk, caplog):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200 * 1024))
    callback = CAMCallback(data(), small_disk, save_dir=tmp_path / "pictures", num_probes=2)
    fit(eye(), data(), callback, at_epoch(12, ballast.unlink), epochs=15)
    said = words(caplog)
    assert 1 <= len(said) <= 2 and "in TensorBoard. " in said[0] and "No space left" in said[0]
    assert len(os.listdir(tmp_path / "pictures" / "probe_00")) == 15
    written = steps(small_disk / "cam", EPOCHS_TAG)
    assert 11 not in written and written[-3:] == [12, 13, 14], "and goes on where there is room again"
    assert 12 in steps(small_disk / "cam", tag_of("probe_00", PICTURES)), "with the picture, which may have been lost"


def test_a_full_disk_costs_a_long_training_nothing(tmp_path, small_disk, caplog):
    """Fifty looks that fail leave no thread, no open file and no event file, wait for nothing, and the next succeed."""
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    seen = {}

    def measure(epoch, logs):
        files = os.listdir(small_disk / "cam") if (small_disk / "cam").is_dir() else []
        seen[epoch] = (threading.active_count(), len(os.listdir("/proc/self/fd")), len(files), time.monotonic())

    callback = CAMCallback(data(), small_disk, num_probes=1)
    spy = keras.callbacks.LambdaCallback(on_epoch_end=measure)
    fit(eye(), data(), callback, spy, at_epoch(52, ballast.unlink), epochs=54)
    (said,) = words(caplog)
    assert "at epoch 0 in TensorBoard. " in said and "No space left" in said
    assert seen[51][:3] == seen[1][:3] and seen[51][2] <= 1
    assert seen[51][3] - seen[1][3] < 25, "a second was waited for at each look"
    assert steps(small_disk / "cam", EPOCHS_TAG) == [52, 53]
