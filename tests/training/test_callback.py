"""CAMCallback through real `fit`: when it looks, what it leaves in event files, and what is said at construction."""

import itertools
import os
import time

import keras
import numpy as np
import pytest
from support.callback_models import NAMES, coloured_spots, epoch_records, eye, fit, scalar, spots, steps, watch, words
from support.trainings import card, colours, expected_tags, network, summaries, train

from keras_cam import CAMCallback
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.training.card import CARD_WIDTH, SIDE

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


# what is written


def test_every_epoch_has_its_pictures_and_numbers(tmp_path):
    model = network()
    train(model, CAMCallback(colours(), tmp_path, num_probes=4, class_names=NAMES), epochs=3)
    found = summaries(tmp_path / "cam")
    assert set(found) == expected_tags(4, range(3))
    assert os.listdir(tmp_path) == ["cam"] and len(os.listdir(tmp_path / "cam")) == 1
    for probe in range(4):
        cards = [card(found[f"cam/probe_{probe:02d}", step]).astype(int) for step in range(3)]
        assert {picture.shape[1:] for picture in cards} == {(CARD_WIDTH, 3)}
        for before, after in itertools.pairwise(cards):
            captions = np.abs(after[-70:] - before[-70:]).max(axis=2) > 100
            assert captions.sum() > 20, "the caption says the epoch"
            assert np.abs(after[: SIDE - 8, : SIDE - 8] - before[: SIDE - 8, : SIDE - 8]).max() < 16, (
                "the picture stays"
            )
    for (tag, step), value in found.items():
        if "probe_" not in tag:
            assert value.dtype == np.float32 and 0 <= value <= 1, (tag, step)


def test_one_instance_serves_several_fits_and_initial_epoch(tmp_path):
    model = network()
    callback = CAMCallback(colours(), tmp_path, num_probes=2)
    train(model, callback, epochs=2)
    train(model, callback, epochs=4, initial_epoch=2)
    expected = expected_tags(2, range(0, 2)) | expected_tags(2, range(2, 4))
    assert set(summaries(tmp_path / "cam")) == expected
    assert len(os.listdir(tmp_path / "cam")) == 2
    other = network(units=3)
    train(other, callback, epochs=5, initial_epoch=4)
    expected |= expected_tags(2, [4])
    found = summaries(tmp_path / "cam")
    assert set(found) == expected
    images, labels = callback._probe_set.chosen.images, callback._probe_set.chosen.labels
    truth = other.predict(np.stack(images), verbose=0)[np.arange(2), labels].mean()
    assert found["cam/probability_of_true_class", 4] == pytest.approx(truth, abs=1e-6), "the new model's numbers"


def test_nothing_is_made_before_there_is_something_to_write(tmp_path):
    callback = CAMCallback(colours(), tmp_path / "logs", save_dir=tmp_path / "pictures")
    train(network(), callback, epochs=1, initial_epoch=1)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("tf")  # which Keras' own callback writes with
@pytest.mark.parametrize("update_freq", [3, "batch"])
@pytest.mark.parametrize("first", [True, False])
def test_beside_the_tensorboard_callback(tmp_path, update_freq, first):
    ours = CAMCallback(colours(), tmp_path, num_probes=1)
    theirs = keras.callbacks.TensorBoard(str(tmp_path), update_freq=update_freq)
    train(network(), *((ours, theirs) if first else (theirs, ours)), epochs=4)
    assert set(summaries(tmp_path / "cam")) == expected_tags(1, range(4))
    # What comes before it in the list has put `val_cam_...` into the logs, which Keras writes with the validation.
    assert sorted(os.listdir(tmp_path)) == ["cam", "train", *(["validation"] if first else [])]
    assert ("epoch_loss", 3) in summaries(tmp_path / "train", ""), "and theirs writes what it does without ours"


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 0])


def test_beside_a_tensorboard_callback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = keras.callbacks.TensorBoard("there")
    callback = watch(data(), "here", tensorboard=theirs)
    fit(eye(), data(), callback)
    assert os.listdir(tmp_path) == ["there"] and os.listdir(tmp_path / "there") == ["cam"]


def test_one_sigmoid_unit_has_two_classes(tmp_path):
    model = network(units=1, activation="sigmoid")
    images, labels = colours()
    train(model, CAMCallback((images, (labels % 2).astype("float32")), tmp_path, class_names=("even", "odd")))
    found = summaries(tmp_path / "cam")
    assert set(found) == expected_tags(8, range(2))


def test_a_model_that_its_first_batch_builds(tmp_path):
    pooled = keras.layers.GlobalAveragePooling2D()
    model = keras.Sequential([keras.layers.Conv2D(4, 3), pooled, keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    images, labels = colours()
    model.fit(images, labels, verbose=0, callbacks=[CAMCallback((images, labels), tmp_path, on_error="raise")])
    assert set(summaries(tmp_path / "cam")) == expected_tags(8, [0])


# every kind of data


class ColourBatches(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        images, labels = colours()
        return images[4 * index : 4 * index + 4], labels[4 * index : 4 * index + 4]


DATA = {
    "images": lambda: colours()[0],
    "integers": colours,
    "column": lambda: (colours()[0], colours()[1][:, np.newaxis]),
    "one-hot": lambda: (colours()[0], np.eye(3)[colours()[1]]),
    "uint8": lambda: ((colours()[0] * 255).astype(np.uint8), colours()[1]),
    "PyDataset": ColourBatches,
}


TF_DATA = {
    "tf.data": lambda tf: tf.data.Dataset.from_tensor_slices(colours()).batch(8),
    "tf.data, images": lambda tf: tf.data.Dataset.from_tensor_slices(colours()[0]),
    "endless": lambda tf: tf.data.Dataset.from_tensor_slices(colours()).repeat().batch(5),
}


@pytest.mark.parametrize("kind", [*DATA, *TF_DATA])
def test_data_of_every_kind(request, tmp_path, model, kind):
    data = DATA[kind]() if kind in DATA else TF_DATA[kind](request.getfixturevalue("tf"))
    callback = CAMCallback(data, tmp_path, num_probes=6, on_error="raise")
    train(model, callback, epochs=1)
    assert set(summaries(tmp_path / "cam")) == expected_tags(6, [0], labels="images" not in kind)
    if "images" not in kind:
        assert callback._probe_set.chosen.labels == [0, 0, 1, 1, 2, 2]


# when


def test_every_second_epoch(tmp_path):
    train(network(), CAMCallback(colours(), tmp_path, num_probes=1, every=2), epochs=5)
    assert set(summaries(tmp_path / "cam")) == expected_tags(1, [0, 1, 3, 4]), "the first and the last always"


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [
        (3, 8, [0, 2, 5, 7]),
        ("2 epochs", 4, [0, 1, 3]),
        ("4 batches", 3, [1, 4, 8, 9]),
        ("100 batches", 2, [1, 6]),
        ("batch", 0, None),
    ],
)
def test_every(tmp_path, every, epochs, expected):
    """Three batches an epoch."""
    if expected is None:
        with pytest.raises(InvalidOptionError, match=r"every must be a whole number.*Received: 'batch'"):
            CAMCallback(coloured_spots(), tmp_path, every=every)
        return
    fit(
        eye(),
        coloured_spots(),
        watch(coloured_spots(), tmp_path, num_probes=1, every=every),
        epochs=epochs,
        batch_size=2,
    )
    assert steps(tmp_path / "cam", "cam/concentration") == expected
    assert sorted(epoch_records(tmp_path)) == expected


def test_batches_are_counted_one_by_one_in_steps_per_execution_and_resumed_runs(tmp_path):
    if keras.backend.backend() == "torch":
        pytest.skip("Keras on torch executes one step at a time")
    callback = watch(coloured_spots(), tmp_path, num_probes=1, every="4 batches")
    model = eye(steps_per_execution=2)
    fit(model, coloured_spots(), callback, epochs=2, batch_size=1)
    fit(model, coloured_spots(), callback, epochs=3, initial_epoch=2, batch_size=1)
    assert steps(tmp_path / "cam", "cam/concentration") == [2, 4, 8, 12, 14, 16, 18]


@pytest.mark.parametrize("every", [1, 4])
def test_before_training(tmp_path, every):
    looks = []
    callback = watch(coloured_spots(), tmp_path, num_probes=1, before_training=True, every=every, on_look=looks.append)
    history = fit(eye(), coloured_spots(), callback, epochs=3).history
    expected = [0, 1, 2] if every == 1 else [0, 2]
    assert [look.step for look in looks] == [-1, *expected], "and the first epoch still"
    assert steps(tmp_path / "cam", "cam/probe_00") == [-1, *expected]
    assert sorted(epoch_records(tmp_path)) == expected, "the CAM tab starts at 0"
    assert min(scalar(tmp_path / "cam", "cam/moved_since_last")) == 0, "since the look before"
    assert "val_cam_moved_since_last" not in history, "which the first epoch of others could not have"


def test_before_training_of_a_model_that_its_first_batch_builds(caplog):
    layers = keras.layers
    model = keras.Sequential([layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    looks = []
    options = {"before_training": True, "on_look": looks.append, "on_error": "raise"}
    fit(model, coloured_spots(), CAMCallback(coloured_spots(), None, **options), epochs=2)
    assert [look.step for look in looks] == [0, 1]
    (said,) = words(caplog)
    assert said.startswith("\nCAMCallback: before_training has nothing to look at") and "keras.Input" in said


@pytest.mark.parametrize("stopper", ["early", "flag"])
def test_the_epoch_at_which_training_stops_is_looked_at(tmp_path, stopper):
    model = eye()
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 4))
    early = keras.callbacks.EarlyStopping("loss", patience=4)
    fit(
        model,
        coloured_spots(),
        watch(coloured_spots(), tmp_path, num_probes=1, every=10),
        stop if stopper == "flag" else early,
        epochs=9,
    )
    assert steps(tmp_path / "cam", "cam/probe_00") == [0, 4]


def test_looks_that_take_too_long_are_left_out_but_for_the_first_and_the_last(tmp_path, caplog):
    said = []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: said.append(len(words(caplog))))
    slow = watch(coloured_spots(), tmp_path, num_probes=1, max_share=0.05, on_look=lambda look: time.sleep(0.1))
    fit(eye(), coloured_spots(), slow, spy, epochs=5)
    assert steps(tmp_path / "cam", "cam/probe_00") == [0, 4]
    assert said == [0, 1, 1, 1, 1], "said when the first is left out, and once"
    assert "no more than 5% of the time" in words(caplog)[0]


def test_an_interrupted_training_can_be_taken_up_again(tmp_path, model):
    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    callback = CAMCallback(colours(), tmp_path, num_probes=1)
    with pytest.raises(KeyboardInterrupt):
        train(model, callback, keras.callbacks.LambdaCallback(on_epoch_begin=interrupt), epochs=3)
    assert set(summaries(tmp_path / "cam")) == expected_tags(1, [0]), "what was drawn is on disk"
    train(model, callback, epochs=3, initial_epoch=1)
    assert {step for _, step in summaries(tmp_path / "cam")} == {0, 1, 2}


# what is said at construction


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            {"every": 0},
            "every must be a whole number, 1 or more, of epochs, or words such as '100 batches'. Received: 0",
        ),
        ({"every": 1.5}, "every must be a whole number.*1.5"),
        ({"num_probes": True}, "num_probes must be a whole number.*True"),
        ({"on_error": "ignore"}, "'log', 'raise'. Received: 'ignore'"),
    ],
)
def test_numbers_and_words_are_judged_at_construction(tmp_path, option, words):
    with pytest.raises(InvalidOptionError, match=words):
        CAMCallback(colours(), tmp_path, **option)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": {}}, InvalidDataError, "a dict without groups"),
        (
            {"tensorboard": "logs"},
            InvalidOptionError,
            "keras.callbacks.TensorBoard of the same training. Received: 'logs'",
        ),
        ({"probes": "best"}, InvalidOptionError, "'spread', 'worst'. Received: 'best'"),
        ({"max_share": 0}, InvalidOptionError, "max_share must be above 0"),
        ({"image_format": "gif"}, InvalidOptionError, "'jpeg', 'png'. Received: 'gif'"),
    ],
)
def test_options_are_judged_at_construction(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        CAMCallback(options.pop("data", coloured_spots()), tmp_path, **options)


def test_data_are_judged_at_construction(tmp_path):
    with pytest.raises(InvalidDataError, match="24 images and 2 labels"):
        CAMCallback((colours()[0], [0, 1]), tmp_path)
    assert os.listdir(tmp_path) == []


def test_an_unwritable_log_dir_is_said_at_construction(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(InvalidOptionError, match="is a file, not a directory"):
        CAMCallback(colours(), tmp_path / "logs")
