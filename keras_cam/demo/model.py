"""The network of the demo."""

from __future__ import annotations

from typing import Any

import keras


def build_network(num_classes: int, *, steps: int) -> keras.Model:
    """Build and compile the demo's network: four convolutions, global average pooling, one Dense layer.

    Its maps have 16 x 16 cells. An L1 penalty on the last features keeps the background quiet.

    Args:
        num_classes: how many classes to tell apart.
        steps: how many batches it will be trained for.
    """
    # Two blocks that are pooled, two that are not: maps of 16 x 16 cells for pictures of 64 x 64 pixels.
    layers = keras.layers
    inputs = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for filters in (16, 32):
        x = layers.MaxPooling2D(2)(_block(x, filters))
    for filters in (64, 64):
        x = _block(x, filters, activity_regularizer=keras.regularizers.L1(7e-5))
    outputs = layers.Dense(num_classes, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(inputs, outputs, name="shapes")
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return network


def _block(x: Any, filters: int, **activation: Any) -> Any:
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU(**activation)(x)
