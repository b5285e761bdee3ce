"""What the tests of the callback share: networks made by hand whose maps are known, and event files read back."""

import os

import keras
import numpy as np
import PIL.Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from keras_cam import CAMCallback
from keras_cam.tensorboard.records import EPOCHS_TAG, decode_epoch

SIZE = 16
NAMES = ("red", "green", "blue")
PLACES = [(1, 2), (9, 3), (5, 10), (12, 12), (0, 8), (7, 0)]
COLOURS = [0, 0, 1, 1, 2, 2]


def spots(places, channels, size=SIZE, side=4):
    """Black pictures with one square each, in one colour: left and top of it, and which colour."""
    images = np.zeros((len(places), size, size, 3), np.float32)
    for image, (left, top), channel in zip(images, places, channels, strict=True):
        image[top : top + side, left : left + side, channel] = 1
    return images


def coloured_spots():
    """Two spots of each colour, which is their class."""
    return spots(PLACES, COLOURS), np.array(COLOURS)


def eye(strength=100.0, stride=1, learning_rate=0.0, **compiled):
    """A network whose map of class c is `strength` times colour c, in cells of `stride` pixels."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(3, stride, strides=stride, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.layers[0].set_weights([np.tile(np.eye(3, dtype=np.float32) / stride**2, (stride, stride, 1, 1))])
    model.layers[2].set_weights([strength * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    model.compile(keras.optimizers.SGD(learning_rate), "sparse_categorical_crossentropy", **compiled)
    return model


def fit(model, data, *callbacks, epochs=1, batch_size=8, **options):
    """Train without a word; `data` are what it trains on."""
    images, labels = data
    labels = np.asarray(labels)
    return model.fit(images, labels, batch_size, epochs, verbose=0, callbacks=list(callbacks), **options)


def events(directory, prefix="cam/"):
    """The summaries whose tags begin so, in the order in which they were written: [(tag, step, array)]."""
    found = []
    for name in sorted(os.listdir(directory)):
        for event in EventFileLoader(os.path.join(directory, name)).Load():
            found += [
                (value.tag, event.step, tensor_util.make_ndarray(value.tensor))
                for value in event.summary.value
                if value.tag.startswith(prefix)
            ]
    return found


def scalar(directory, name):
    """A number by step."""
    return {step: float(value) for tag, step, value in events(directory, name) if tag == name}


def steps(directory, tag):
    """The steps at which something was written, in order."""
    return [step for name, step, _ in events(directory, tag) if name == tag]


def strings(directory, tag):
    """The records of a tag by step, as `keras_cam.tensorboard.records` decodes them."""
    return {step: [bytes(part) for part in array] for name, step, array in events(directory, tag) if name == tag}


def words(caplog):
    """What we logged."""
    return [record.getMessage() for record in caplog.records if record.name == "keras_cam"]


def watch(source, directory, **options):
    """A callback with names for the colours, in which nothing may go wrong."""
    return CAMCallback(source, directory, class_names=NAMES, on_error="raise", **options)


def epoch_records(directory):
    """What the CAM tab knows of the probes, by step."""
    return {step: decode_epoch(parts)["probes"] for step, parts in strings(directory / "cam", EPOCHS_TAG).items()}


def pixels(path):
    """A picture file, as int."""
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def only_record(caplog):
    """What we logged, once; TensorFlow may log things of its own."""
    (record,) = [record for record in caplog.records if record.name == "keras_cam"]
    return record


def scenes(kind, count=8):
    """Green objects; in "tag" each picture has a red mark in its lower left corner, and the label is red's."""
    generator = np.random.default_rng(1)
    places = [(6, 6)] * count if kind == "centred" else generator.integers(0, 12, (count, 2)).tolist()
    images = spots(places, [1] * count) + 0.02
    if kind == "tag":
        images = images + spots([(0, 13)] * count, [0] * count, side=3)
    return images.astype(np.float32), np.full(count, 0 if kind == "tag" else 1)
