"""CAMCallback through real `fit`: event files read back, training untouched, failures said once."""

import itertools
import logging
import os

import cv2
import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from keras_cam import CAMCallback
from keras_cam.errors import InvalidDataError, InvalidOptionError, UnsupportedModelError
from keras_cam.training.card import CARD_WIDTH, GAP, SIDE, WRONG

NAMES = ("red", "green", "blue")
NUMBERS = {"cam/concentration", "cam/share_in_border", "cam/share_in_corners", "cam/probability_of_true_class"}
NUMBERS |= {"cam/agreement"}  # for few probes too: further images of the same data are compared with them


def colours(count=24, size=16):
    """Gray noise with a bright square of the class's colour."""
    generator = np.random.default_rng(0)
    images = generator.uniform(0.3, 0.5, (count, size, size, 3)).astype(np.float32)
    labels = np.arange(count) % 3
    for index, label in enumerate(labels):
        top, left = generator.integers(0, size - 6, 2)
        images[index, top : top + 6, left : left + 6, label] = 1
    return images, labels


def network(*, units=3, activation="softmax", augment=False, learning_rate=0.01):
    keras.utils.set_random_seed(4)
    layers = keras.layers
    random = [layers.RandomFlip(), layers.GaussianNoise(0.1)] if augment else []
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            *random,
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            *([layers.Dropout(0.5)] if augment else []),
            layers.Dense(units, activation=activation),
        ]
    )
    loss = "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])
    return model


def train(model, *callbacks, epochs=2, **options):
    images, labels = colours()
    if model.output_shape[-1] == 1:
        labels = labels % 2
    return model.fit(images, labels, epochs=epochs, batch_size=8, verbose=0, callbacks=list(callbacks), **options)


def summaries(directory, prefix="cam/"):
    """The summaries of a run whose tags begin so: {(tag, step): array}."""
    found = {}
    for name in sorted(os.listdir(directory)):
        for event in EventFileLoader(os.path.join(directory, name)).Load():
            for value in event.summary.value:
                assert (value.tag, event.step) not in found, "written twice"
                if value.tag.startswith(prefix):
                    found[value.tag, event.step] = tensor_util.make_ndarray(value.tensor)
    return found


def card(content):
    """The picture of an image summary, as wide and high as the summary says."""
    width, height, encoded = content
    assert encoded[:3] == b"\xff\xd8\xff", "not a JPEG"
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert picture.shape == (int(height), int(width), 3)
    return picture


def expected_tags(probes, steps, *, labels=True):
    """Every (tag, step): probes and numbers at each step, movement from the second on."""
    numbers = NUMBERS if labels else NUMBERS - {"cam/probability_of_true_class"}
    tags = {(f"cam/probe_{probe:02d}", step) for probe in range(probes) for step in steps}
    tags |= {(number, step) for number in numbers for step in steps}
    return tags | {("cam/moved_since_last", step) for step in list(steps)[1:]}


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


def test_the_numbers_are_those_of_the_trained_weights(tmp_path):
    """The explainer is built once and follows the weights: what it wrote last is what the model says at the end."""
    model = network(learning_rate=0.02)
    images, labels = colours()
    train(model, CAMCallback((images, labels), tmp_path, num_probes=24))
    found = summaries(tmp_path / "cam")
    written = [found["cam/probability_of_true_class", step].item() for step in range(2)]
    predictions = model.predict(images, verbose=0)
    assert written[1] == pytest.approx(predictions[np.arange(24), labels].mean(), abs=1e-6)
    assert abs(written[0] - written[1]) > 1e-3


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
    images, labels = callback._watching._watched.images, callback._watching._watched.labels
    truth = other.predict(np.stack(images), verbose=0)[np.arange(2), labels].mean()
    assert found["cam/probability_of_true_class", 4] == pytest.approx(truth, abs=1e-6), "the new model's numbers"


def test_every(tmp_path):
    train(network(), CAMCallback(colours(), tmp_path, num_probes=1, every=2), epochs=5)
    assert set(summaries(tmp_path / "cam")) == expected_tags(1, [0, 1, 3, 4]), "the first and the last always"


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


# training is left alone


def test_weights_are_the_same_to_the_last_bit(tf, tmp_path):
    """With dropout, noise and flips in the model, and shuffled data."""

    def weights(*callbacks):
        keras.utils.clear_session()  # or, up to Keras 3.12, the seed below would not start the random numbers anew
        model = network(augment=True)
        images, labels = colours()
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(24).batch(8)
        before = [(layer.name, layer.trainable) for layer in model.layers]
        train(model, *callbacks)  # arrays, shuffled by Keras
        model.fit(dataset, epochs=2, verbose=0, callbacks=list(callbacks))  # shuffled by tf.data
        assert before == [(layer.name, layer.trainable) for layer in model.layers]
        everything = [*model.get_weights(), *(np.asarray(variable) for variable in model.optimizer.variables)]
        return everything, np.random.uniform(), float(keras.random.uniform(()))

    plain, *draws = weights()
    images, labels = colours()
    validation = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(24, seed=1).batch(8)
    arrays = CAMCallback((images, labels), tmp_path / "arrays", on_error="raise")
    dataset = CAMCallback(validation, tmp_path / "dataset", on_error="raise")
    watched, *draws_after = weights(arrays, dataset)
    assert draws == draws_after
    assert len(plain) == len(watched)
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one, other)


# every kind of data


class Batches(keras.utils.PyDataset):
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
    "PyDataset": Batches,
}
TF_DATA = {
    "tf.data": lambda tf: tf.data.Dataset.from_tensor_slices(colours()).batch(8),
    "tf.data, images": lambda tf: tf.data.Dataset.from_tensor_slices(colours()[0]),
    "endless": lambda tf: tf.data.Dataset.from_tensor_slices(colours()).repeat().batch(5),
}


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize("kind", [*DATA, *TF_DATA])
def test_data_of_every_kind(request, tmp_path, model, kind):
    data = DATA[kind]() if kind in DATA else TF_DATA[kind](request.getfixturevalue("tf"))
    callback = CAMCallback(data, tmp_path, num_probes=6, on_error="raise")
    train(model, callback, epochs=1)
    assert set(summaries(tmp_path / "cam")) == expected_tags(6, [0], labels="images" not in kind)
    if "images" not in kind:
        assert callback._watching._watched.labels == [0, 0, 1, 1, 2, 2]


def test_preprocess_is_for_the_model_and_the_picture_is_shown_as_given(tmp_path, model):
    raw = np.full((1, 16, 16, 3), (200, 100, 50), np.uint8)
    fed = []

    def preprocess(batch):
        fed.append(batch.copy())
        return batch / 255

    train(model, CAMCallback((raw, [0]), tmp_path, preprocess=preprocess), epochs=1)
    picture = card(summaries(tmp_path / "cam")["cam/probe_00", 0])
    assert np.abs(picture[: SIDE - 8, : SIDE - 8].astype(int) - (200, 100, 50)).max() < 16
    assert len(fed) == 1 and fed[0].dtype == np.float32 and fed[0][0, 0, 0].tolist() == [200, 100, 50]
    truth = model.predict(raw / 255, verbose=0)[0, 0]
    assert summaries(tmp_path / "cam")["cam/probability_of_true_class", 0] == pytest.approx(truth, abs=1e-6)


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
    logits = keras.ops.convert_to_numpy(model(np.stack(callback._watching._watched.images)))
    logits = np.concatenate([0 * logits, logits], axis=1) if units == 1 else logits
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = probabilities[np.arange(24), callback._watching._watched.labels].mean()
    assert summaries(tmp_path / "cam")["cam/probability_of_true_class", 0] == pytest.approx(truth, abs=1e-5)


def test_a_wrong_prediction_is_marked(tmp_path, model):
    images, _ = colours()
    predicted = model.predict(images[:2], verbose=0).argmax(axis=1)
    labels = [predicted[0], (predicted[1] + 1) % 3]
    frozen = network(learning_rate=0.0)
    frozen.set_weights(model.get_weights())
    callback = CAMCallback((images[:2], labels), tmp_path)
    train(frozen, callback, epochs=1)
    found = summaries(tmp_path / "cam")
    right = [
        index for index, image in enumerate(callback._watching._watched.images) if np.array_equal(image, images[0])
    ]
    for probe in range(2):
        picture = card(found[f"cam/probe_{probe:02d}", 0]).astype(int)
        below = SIDE if probe in right else 2 * SIDE + GAP  # the true class's map below that of the predicted
        is_red = np.abs(picture[below + 2 : below + 6, 20:680] - WRONG).max() < 40
        assert is_red == (probe not in right)


# failures


def only_record(caplog):
    """What we logged, once; TensorFlow may log things of its own."""
    (record,) = [record for record in caplog.records if record.name == "keras_cam"]
    return record


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


def test_labels_beyond_the_models_classes(tmp_path, model):
    with pytest.raises(InvalidDataError, match=r"0\.\.2, .* tells 3 classes apart. Received: label 7"):
        train(model, CAMCallback((colours()[0][:2], [0, 7]), tmp_path, on_error="raise"))


def test_an_unwritable_log_dir_is_said_at_construction(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(InvalidOptionError, match="is a file, not a directory"):
        CAMCallback(colours(), tmp_path / "logs")


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


def test_weights_that_diverge_are_named(tmp_path, caplog):
    model = network(learning_rate=np.inf)
    train(model, CAMCallback(colours(), tmp_path), epochs=3)
    record = only_record(caplog)
    assert "not finite" in record.getMessage() and "at epoch 0" in record.getMessage()


def test_a_map_without_evidence_says_so_and_gives_no_numbers(tmp_path):
    model = network(learning_rate=0.0)
    weights = model.get_weights()
    weights[2][:] = -np.abs(weights[2])  # every class: negative weights on what is never negative
    model.set_weights(weights)
    train(model, CAMCallback(colours(), tmp_path, num_probes=1), epochs=2)
    found = summaries(tmp_path / "cam")
    assert {tag for tag, _ in found} == {"cam/probe_00", "cam/probability_of_true_class"}
    picture = card(found["cam/probe_00", 0])
    assert picture.shape[0] > SIDE + 8 + 3 * 38, "a third line"
    plain, drawn = (picture[: SIDE - 8, left:][:, : SIDE - 8].astype(int) for left in (0, SIDE + GAP))
    assert np.abs(plain - drawn).max() < 16, "the picture, not a black one"


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


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            {"every": 0},
            "every must be a whole number, 1 or more, of epochs, or words such as '100 batches'. Received: 0",
        ),
        ({"every": 1.5}, "every must be a whole number.*1.5"),
        ({"num_probes": True}, "num_probes must be a whole number.*True"),
        ({"on_error": "ignore"}, "'log' or 'raise'. Received: 'ignore'"),
    ],
)
def test_options_are_judged_at_construction(tmp_path, option, words):
    with pytest.raises(InvalidOptionError, match=words):
        CAMCallback(colours(), tmp_path, **option)


def test_data_are_judged_at_construction(tmp_path):
    with pytest.raises(InvalidDataError, match="24 images and 2 labels"):
        CAMCallback((colours()[0], [0, 1]), tmp_path)
    assert os.listdir(tmp_path) == []
