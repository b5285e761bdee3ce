"""Small trainings with the callback, on pictures with a square in the colour of their class, and what they wrote."""

import os

import cv2
import keras
import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

NUMBERS = {"cam/concentration", "cam/share_in_border", "cam/share_in_corners", "cam/probability_of_true_class"}
NUMBERS |= {"cam/agreement"}  # for few probes too: comparison images of the same data are compared with them


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
