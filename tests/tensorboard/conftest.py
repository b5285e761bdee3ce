"""One browser and one TensorBoard for all tests that look at its pages, which support/scheduling.py keeps together."""

import json

import keras
import numpy as np
import pytest
from support import dashboard_tab
from support.dashboard_logs import HOSTILE, HOSTILE_NAMES, NAN, PROBES, SIZE, drawn, write_run
from support.dashboard_tab import Tab, get, until
from support.tensorboard_server import tensorboard_process

from keras_cam import CAMCallback
from keras_cam.drawing.encode import encode_jpeg
from keras_cam.tensorboard.records import (
    EPOCHS,
    EPOCHS_TAG,
    MAPS,
    PICTURES,
    MapsRecord,
    encode_epoch,
    encode_maps,
    probe_id,
    tag_of,
)
from keras_cam.tensorboard.summary_writer import SummaryWriter


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    with dashboard_tab.chromium(tmp_path_factory.mktemp("chromium"), "1400,1100") as opened:
        yield opened


@pytest.fixture(scope="session")
def address(chromium, tmp_path_factory):
    """Address of a TensorBoard started as our documentation says, over runs of all kinds, in the order of their names.

    The tab shows the first two unless told otherwise: of a network that looks at objects and of one that looks at tags.
    """
    logs = tmp_path_factory.mktemp("logs")
    write_run(logs / "honest" / "cam", probes=PROBES, epochs=8, nan_probe=NAN)
    write_run(logs / "tagged" / "cam", probes=PROBES, epochs=8, cheats=True, seed=1)
    write_run(logs / "u_honest" / "cam", probes=PROBES, epochs=4)
    write_run(logs / "v_other" / "cam", probes=PROBES, epochs=4, pictures=12, seed=1)
    write_run(logs / "w_true" / "cam", probes=PROBES, epochs=4, only_true=True, cheats=True)
    write_hostile(logs / HOSTILE / "cam")
    write_long(logs / "y_long" / "cam")
    train(logs / "z_trained")
    options = ["--samples_per_plugin", "images=1000", "--reload_interval=1"]
    with tensorboard_process(logs, tmp_path_factory.mktemp("tensorboard"), *options) as (found, _, _):
        until(lambda: len(json.loads(get(f"{found}/data/plugin/keras_cam/runs"))["runs"]) == 8)
        yield f"{found}/"


def write_hostile(directory):
    """A run whose names are markup, with a picture and records that are none."""
    write_run(directory, probes=3, epochs=2, names=HOSTILE_NAMES)
    writer = SummaryWriter(str(directory))
    writer.record(tag_of(probe_id(1), PICTURES), PICTURES, [b"\xff\xd8\xff no picture"], step=0)
    writer.record(tag_of(probe_id(0), MAPS), MAPS, [b"{", b"no maps"], step=2)
    writer.record(EPOCHS_TAG, EPOCHS, [b"[1, 2]"], step=2)
    writer.close()


def write_long(directory):
    """A run of more than one reply may hold: 80 epochs of a megabyte each."""
    writer = SummaryWriter(str(directory))
    about = {"probe": "probe_00", "classes": [0], "name": "x" * 2**20}
    maps = MapsRecord(np.eye(4)[np.newaxis], (0,), ((20, 40), (20, 40)), (0, 0), (SIZE, SIZE))
    writer.record(tag_of("probe_00", PICTURES), PICTURES, [encode_jpeg(drawn(PROBES).images[0])], step=0)
    for epoch in range(80):
        writer.record(tag_of("probe_00", MAPS), MAPS, encode_maps(maps), step=epoch)
        writer.record(EPOCHS_TAG, EPOCHS, encode_epoch(epoch, [about]), step=epoch)
    writer.close()


def train(directory, epochs=12, probes=3):
    """A short training beside Keras' own callback, which is told to write rarely.

    Of more epochs than the 10 pictures that TensorBoard keeps unless told otherwise.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack = [
        keras.Input((24, 24, 3)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = keras.Sequential(stack)
    model.compile("adam", "sparse_categorical_crossentropy")
    images, labels = np.random.default_rng(0).uniform(size=(12, 24, 24, 3)), np.arange(12) % 3
    callbacks = [
        keras.callbacks.TensorBoard(str(directory), update_freq=3),
        CAMCallback((images, labels), directory, num_probes=probes, on_error="raise"),
    ]
    model.fit(images, labels, epochs=epochs, verbose=0, callbacks=callbacks)


@pytest.fixture
def cam_tab(chromium, address):
    """The tab, newly opened; fails where it left an error in the console."""
    chromium.get_log("browser")
    yield Tab(chromium, address).open()
    errors = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
