"""What goes wrong while training is said once, in words, and costs no more than the pictures that it is about."""

import logging
import os
import shutil
import subprocess
import threading
import time

import keras
import numpy as np
import pytest
from support.callback_models import eye, fit, scalar, spots, steps, strings, words

from keras_cam import CAMCallback
from keras_cam.errors import InvalidClassError, InvalidDataError, InvalidOptionError
from keras_cam.tensorboard.records import EPOCHS_TAG, PICTURES, decode_epoch, tag_of

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 2])


def at_epoch(number, action):
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: action() if epoch == number else None)


def test_a_function_that_raises_is_said_once_and_keeps_nothing_from_the_others(tmp_path, caplog):
    calls = []

    def broken(look):
        calls.append(look.step)
        raise ValueError(f"no room for epoch {look.step}")

    callback = CAMCallback(data(), tmp_path / "logs", save_dir=tmp_path / "pictures", on_look=broken, num_probes=1)
    history = fit(eye(), data(), callback, epochs=4).history
    assert len(history["loss"]) == 4 and calls == [0, 1, 2, 3]
    (said,) = words(caplog)
    assert "could not show where the model looks at epoch 0 by on_look. ValueError: no room for epoch 0" in said
    assert steps(tmp_path / "logs" / "cam", "cam/probe_00") == [0, 1, 2, 3]
    assert len(os.listdir(tmp_path / "pictures" / "probe_00")) == 4
    assert not np.isnan(history["val_cam_concentration"]).any()


def test_a_function_that_raises_ends_the_training_where_that_is_wanted(tmp_path):
    def broken(look):
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        fit(eye(), data(), CAMCallback(data(), tmp_path, on_look=broken, on_error="raise"))


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


def test_a_save_dir_that_cannot_be_is_said_at_construction(tmp_path):
    (tmp_path / "pictures").write_text("in the way")
    with pytest.raises(InvalidOptionError, match=r"^save_dir must be a directory .* is a file, not a directory"):
        CAMCallback(data(), None, save_dir=tmp_path / "pictures")


def test_a_save_dir_that_is_taken_away(tmp_path, caplog):
    pictures = tmp_path / "pictures"

    def spoil():
        shutil.rmtree(pictures)
        pictures.write_text("in the way")

    callback = CAMCallback(data(), tmp_path / "logs", save_dir=pictures, num_probes=2)
    fit(eye(), data(), callback, at_epoch(2, spoil), epochs=5)
    assert steps(tmp_path / "logs" / "cam", "cam/probe_01") == [0, 1, 2, 3, 4]
    said = words(caplog)
    assert "at epoch 2 in save_dir" in said[0] and "after training in save_dir" in said[-1] and len(said) == 2


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)  # which no file may be open on


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


def test_a_full_disk_is_one_error_for_pictures_and_films(small_disk, caplog):
    """What lies there when it is full are whole pictures only, which films can be made of again."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(210 * 1024))
    options = {"save_dir": small_disk / "pictures", "num_probes": 3}
    callback = CAMCallback(data(), None, **options)
    fit(eye(), data(), callback, epochs=6)
    (said,) = words(caplog)
    assert "in save_dir. OSError: [Errno 28] No space left on device" in said
    written = [path for path in (small_disk / "pictures").rglob("*") if path.is_file()]
    assert written and all(path.suffix in (".png", ".gif") for path in written)
    ballast.unlink()
    fit(eye(), data(), callback, epochs=7, initial_epoch=6)
    assert len(words(caplog)) == 1
    assert {f"probe_{row:02d}.gif" for row in range(3)} <= set(os.listdir(small_disk / "pictures"))


def test_a_log_directory_that_is_removed_meanwhile_comes_back(tmp_path, caplog):
    logs = tmp_path / "logs"
    callback = CAMCallback(data(), logs, num_probes=1, on_error="raise")
    fit(eye(), data(), callback, at_epoch(2, lambda: shutil.rmtree(logs)), epochs=4)
    assert words(caplog) == []
    assert steps(logs / "cam", EPOCHS_TAG) == [2, 3]
    assert steps(logs / "cam", tag_of("probe_00", PICTURES)) == [2], "the picture has gone with the directory"


def test_a_probe_with_nan(tmp_path, caplog):
    images, labels = data()
    images[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="3 NaN or infinite values"):
        CAMCallback((images, labels), tmp_path)

    class Batches:
        def __iter__(self):
            return iter([(images, labels)])

    history = fit(eye(), data(), CAMCallback(Batches(), tmp_path), epochs=2).history
    (said,) = words(caplog)
    assert "before training. InvalidImageError: An image must be finite" in said and len(history["loss"]) == 2


def test_weights_that_become_nan_give_no_stale_numbers(tmp_path, caplog):
    model = eye()

    def spoil():
        model.set_weights([weights * np.nan for weights in model.get_weights()])

    history = fit(model, data(), at_epoch(2, spoil), CAMCallback(data(), tmp_path), epochs=4).history
    numbers = history["val_cam_concentration"]
    assert not np.isnan(numbers[:2]).any() and np.isnan(numbers[2:]).all()
    (said,) = words(caplog)
    assert "at epoch 2. " in said and "not finite" in said


@pytest.mark.parametrize("probes", ["spread", "worst"])
def test_labels_that_the_model_does_not_have(tmp_path, caplog, probes):
    images, _ = data()

    class Batches:
        def __iter__(self):
            return iter([(images, [0, 1, 7])])

    fit(eye(), data(), CAMCallback(Batches(), tmp_path, probes=probes), epochs=3)
    (said,) = words(caplog)
    assert "Labels must lie in 0..2" in said and "Received: label 7" in said
    with pytest.raises(InvalidDataError, match="Received: label 7"):
        fit(eye(), data(), CAMCallback((images, [0, 1, 7]), tmp_path, probes=probes, on_error="raise"))


def test_maps_that_do_not_lie_in_the_pictures_are_said(caplog):
    """Pixels in a row: the last feature map has one axis only."""
    layers = keras.layers
    pooled = [layers.GlobalAveragePooling1D(), layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Reshape((256, 3)), layers.Conv1D(4, 3), *pooled])
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = fit(model, data(), CAMCallback(data(), None), epochs=2).history
    (said,) = words(caplog)
    assert "maps of rows and columns. Received: maps (3, 2, 254)" in said and len(history["loss"]) == 2


def test_an_empty_data_set_is_not_taken_for_the_worst(tmp_path, caplog):
    class Batches:
        def __iter__(self):
            return iter([])

    fit(eye(), data(), CAMCallback(Batches(), tmp_path), epochs=3)
    (said,) = words(caplog)
    assert "a data set without images" in said and "worst" not in said


def test_the_worst_of_data_without_labels(tmp_path):
    with pytest.raises(InvalidDataError, match="Give labelled data"):
        fit(eye(), data(), CAMCallback(data()[0], tmp_path, probes="worst", on_error="raise"))


def test_directories_of_different_classes(tmp_path):
    import PIL.Image

    for path in ("one/cat", "one/dog", "two/dog"):
        (tmp_path / path).mkdir(parents=True)
        PIL.Image.new("RGB", (16, 16)).save(tmp_path / path / "a.png")
    with pytest.raises(InvalidDataError, match=r"the same classes. Received: \[\('cat', 'dog'\), \('dog',\)\]"):
        CAMCallback({"one": tmp_path / "one", "two": tmp_path / "two"}, tmp_path)
    with pytest.raises(InvalidClassError, match="each of the 3 classes"):
        fit(eye(), data(), CAMCallback(tmp_path / "one", tmp_path, on_error="raise"))


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


def test_one_line_for_each_error(tmp_path, caplog):
    """Errors that differ in a number only are one."""
    caplog.set_level(logging.INFO, "keras_cam")

    def broken(look):
        raise (OSError if look.step < 3 else KeyError)(f"file_{look.step:06d}.png")

    fit(eye(), data(), CAMCallback(data(), None, on_look=broken), epochs=6)
    assert [said.partition("Error")[0].split()[-1] for said in words(caplog)] == ["OS", "Key"]
