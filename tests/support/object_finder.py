"""A network that finds what is bright, by a convolution that answers to what is dark; a picture with such an object."""

import keras
import numpy as np
from keras import layers


def object_finder(head):
    """A convolution that answers to what is dark, BatchNormalization that turns that round, ReLU, and a head."""
    model = keras.Sequential(
        [
            keras.Input((16, 24, 3)),
            layers.Conv2D(2, 3, padding="same", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(),
            head,
        ]
    )
    model.get_layer("conv").set_weights([np.full((3, 3, 3, 2), -1 / 27), np.zeros(2)])
    model.get_layer("norm").set_weights([-np.ones(2), np.zeros(2), np.full(2, -0.5), np.ones(2)])
    return model


OBJECT = np.zeros((16, 24), bool)
OBJECT[4:11, 13:21] = True
PHOTO = np.random.default_rng(3).integers(0, 100, (16, 24, 3), "uint8")
PHOTO[OBJECT] = 255
PHOTO[0, 0] = 0  # black and white, so that a range is told by its ends


def with_object(array):
    """Correlation of a map with where the object is."""
    return np.corrcoef(np.ravel(array), np.ravel(OBJECT))[0, 1]
