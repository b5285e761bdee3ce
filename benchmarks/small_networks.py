"""Small networks that differ in nothing but padding, and their training."""

from __future__ import annotations

import cv2
import keras
import numpy as np
from keras import layers

from benchmarks.scenes import Pictures

PADDINGS = {
    "same": "`padding='same'` in every layer",
    "ResNet-style": "`ZeroPadding2D(1)` before each stride of 2, as in ResNet",
    "valid": "no padding at all",
}
CONVOLUTIONS = {  # pixels that a cell sees -> filters and stride of each convolution
    31: ((16, 2), (32, 2), (64, 2), (128, 2)),
    39: ((16, 2), (24, 2), (32, 1), (64, 2), (128, 2)),
}
BATCH_SIZE = 16


def build_network(padding: str, num_classes: int, field: int = 39) -> keras.Model:
    """Some 3x3 convolutions of stride 16 in all, global average pooling, one Dense layer; any input size.

    Args:
        padding: a key of `PADDINGS`.
        num_classes: how many classes to tell apart.
        field: side of what a cell sees, a key of `CONVOLUTIONS`.
    """
    inputs = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for filters, stride in CONVOLUTIONS[field]:
        padded_before = padding == "ResNet-style" and stride == 2
        if padded_before:
            x = layers.ZeroPadding2D(1)(x)
        own = "valid" if padded_before or padding == "valid" else "same"
        x = layers.Conv2D(filters, 3, stride, padding=own, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    outputs = layers.Dense(num_classes, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name=f"{padding.lower()}_padding")


def with_new_head(network: keras.Model, padding: str, num_classes: int) -> keras.Model:
    """Build the same network for other classes, all weights kept but those of the last layer."""
    fresh = build_network(padding, num_classes)
    for layer, trained in zip(fresh.layers[:-1], network.layers[:-1], strict=True):
        layer.set_weights(trained.get_weights())
    return fresh


def train(
    network: keras.Model, pictures: Pictures, epochs: int, seed: int, *, rate: float = 3e-3, crop: float = 1.0
) -> None:
    """Train a network in place, its learning rate falling to nothing."""
    batches = Batches(pictures, seed, crop)
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches))
    network.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(batches, epochs=epochs, verbose=0)


class Batches(keras.utils.PyDataset):
    """Batches in an order of their own each epoch, pictures mirrored and cropped at random.

    Args:
        pictures: what to learn.
        seed: of order, mirror and crop.
        crop: smallest share of a side that is cut out and scaled up again; 1 leaves pictures whole.
    """

    def __init__(self, pictures: Pictures, seed: int, crop: float) -> None:
        super().__init__()
        self.pictures, self.crop = pictures, crop
        self._random = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._order) // BATCH_SIZE)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        images = np.stack([self._varied(image) for image in self.pictures.images[chosen]])
        return images.astype(np.float32), self.pictures.labels[chosen]

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self._order = self._random.permutation(len(self.pictures.labels))

    def _varied(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        share = self._random.uniform(self.crop, 1)
        rows, columns = round(height * share), round(width * share)
        top, left = self._random.integers((height - rows, width - columns), endpoint=True)
        cut = image[top : top + rows, left : left + columns, :: self._random.choice((-1, 1))]
        return cut if cut.shape == image.shape else cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR)
