"""What goes wrong while training is said once, in words, or ends the training where that is wanted."""

import logging
import os

import keras
import numpy as np
import pytest
from support.callback_models import eye, fit, only_record, spots, steps, words
from support.trainings import colours, network, train

from keras_cam import CAMCallback
from keras_cam.errors import UnsupportedModelError

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 2])


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


def test_one_line_for_each_error(tmp_path, caplog):
    """Errors that differ in a number only are one."""
    caplog.set_level(logging.INFO, "keras_cam")

    def broken(look):
        raise (OSError if look.step < 3 else KeyError)(f"file_{look.step:06d}.png")

    fit(eye(), data(), CAMCallback(data(), None, on_look=broken), epochs=6)
    assert [said.partition("Error")[0].split()[-1] for said in words(caplog)] == ["OS", "Key"]


def without_convolutions():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_model_that_cannot_be_explained_trains_on_and_it_is_said_once(tmp_path, caplog):
    history = train(without_convolutions(), CAMCallback(colours(), tmp_path), epochs=3)
    assert len(history.history["loss"]) == 3
    record = only_record(caplog)
    assert record.levelno == logging.ERROR
    message = record.getMessage()
    assert message.startswith("\nCAMCallback could not show where the model looks before training. UnsupportedM")
    assert "no convolutional feature maps" in message
    assert "Training goes on" in message and "on_error='raise'" in message
    assert os.listdir(tmp_path) == []


def test_raise_ends_the_training_before_it_starts(tmp_path):
    callback = CAMCallback(colours(), tmp_path, on_error="raise")
    with pytest.raises(UnsupportedModelError):
        train(without_convolutions(), callback)


def test_weights_that_diverge_are_named(tmp_path, caplog):
    model = network(learning_rate=np.inf)
    train(model, CAMCallback(colours(), tmp_path), epochs=3)
    record = only_record(caplog)
    assert "not finite" in record.getMessage() and "at epoch 0" in record.getMessage()
