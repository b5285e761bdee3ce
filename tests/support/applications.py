"""The table of keras.applications: what is to be found in each model, and how to make one worth a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
import numpy as np

from keras_cam.shapes import make_shapes

AFFINE, PER_SAMPLE, POSITIONS = "affine", "affine_per_sample", "position_dependent"
NUM_CLASSES = 10
Forward = Callable[[keras.Model, np.ndarray], None]


@dataclass(frozen=True)
class Member:
    """What is to be found in a model of keras.applications.

    Attributes:
        operation: class of the layer or operation that makes the feature map.
        layer: its name, with * for a number that Keras gives in passing.
        size: side of the input that it was made for.
        grid: side of the feature map at that input.
        channels: channels of the feature map.
        kind: kind of its head.
        small: (height, width) of a small input with more than one cell, where the member stands for its family in the
            default run; None elsewhere.
    """

    operation: str
    layer: str
    size: int
    grid: int
    channels: int
    kind: str = AFFINE
    small: tuple[int, int] | None = None


MEMBERS = {
    "MobileNet": Member("ReLU", "conv_pw_13_relu", 224, 7, 1024, small=(64, 96)),
    "MobileNetV2": Member("ReLU", "out_relu", 224, 7, 1280, small=(64, 96)),
    "MobileNetV3Small": Member("Activation", "activation_*", 224, 7, 576, PER_SAMPLE, small=(64, 96)),
    "MobileNetV3Large": Member("Activation", "activation_*", 224, 7, 960, PER_SAMPLE),
    "EfficientNetB0": Member("Activation", "top_activation", 224, 7, 1280, small=(64, 96)),
    "EfficientNetB1": Member("Activation", "top_activation", 240, 8, 1280),
    "EfficientNetB2": Member("Activation", "top_activation", 260, 9, 1408),
    "EfficientNetB3": Member("Activation", "top_activation", 300, 10, 1536),
    "EfficientNetB4": Member("Activation", "top_activation", 380, 12, 1792),
    "EfficientNetB5": Member("Activation", "top_activation", 456, 15, 2048),
    "EfficientNetB6": Member("Activation", "top_activation", 528, 17, 2304),
    "EfficientNetB7": Member("Activation", "top_activation", 600, 19, 2560),
    "EfficientNetV2B0": Member("Activation", "top_activation", 224, 7, 1280, small=(64, 96)),
    "EfficientNetV2B1": Member("Activation", "top_activation", 240, 8, 1280),
    "EfficientNetV2B2": Member("Activation", "top_activation", 260, 9, 1408),
    "EfficientNetV2B3": Member("Activation", "top_activation", 300, 10, 1536),
    "EfficientNetV2S": Member("Activation", "top_activation", 384, 12, 1280),
    "EfficientNetV2M": Member("Activation", "top_activation", 480, 15, 1280),
    "EfficientNetV2L": Member("Activation", "top_activation", 480, 15, 1280),
    "DenseNet121": Member("Activation", "relu", 224, 7, 1024, small=(64, 96)),
    "DenseNet169": Member("Activation", "relu", 224, 7, 1664),
    "DenseNet201": Member("Activation", "relu", 224, 7, 1920),
    "ResNet50": Member("Activation", "conv5_block3_out", 224, 7, 2048, small=(64, 96)),
    "ResNet101": Member("Activation", "conv5_block3_out", 224, 7, 2048),
    "ResNet152": Member("Activation", "conv5_block3_out", 224, 7, 2048),
    "ResNet50V2": Member("Activation", "post_relu", 224, 7, 2048, small=(64, 96)),
    "ResNet101V2": Member("Activation", "post_relu", 224, 7, 2048),
    "ResNet152V2": Member("Activation", "post_relu", 224, 7, 2048),
    "InceptionV3": Member("Concatenate", "mixed10", 299, 8, 2048, small=(107, 139)),
    "InceptionResNetV2": Member("Activation", "conv_7b_ac", 299, 8, 1536, small=(107, 139)),
    "Xception": Member("Activation", "block14_sepconv2_act", 299, 10, 2048, small=(71, 103)),
    "NASNetMobile": Member("Activation", "activation_*", 224, 7, 1056, small=(64, 96)),
    "NASNetLarge": Member("Activation", "activation_*", 331, 11, 4032),
    "VGG16": Member("MaxPooling2D", "block5_pool", 224, 7, 512, POSITIONS, small=(64, 96)),
    "VGG19": Member("MaxPooling2D", "block5_pool", 224, 7, 512, POSITIONS),
    "ConvNeXtTiny": Member("Add", "add*", 224, 7, 768, PER_SAMPLE, small=(64, 96)),
    "ConvNeXtSmall": Member("Add", "add*", 224, 7, 768, PER_SAMPLE),
    "ConvNeXtBase": Member("Add", "add*", 224, 7, 1024, PER_SAMPLE),
    "ConvNeXtLarge": Member("Add", "add*", 224, 7, 1536, PER_SAMPLE),
    "ConvNeXtXLarge": Member("Add", "add*", 224, 7, 2048, PER_SAMPLE),
}


def public_constructors() -> set[str]:
    """Every model that keras.applications offers, at its top or in one of its modules."""
    modules = [keras.applications]
    modules += [value for value in vars(keras.applications).values() if isinstance(value, ModuleType)]
    return {name for module in modules for name, value in vars(module).items() if name[0].isupper() and callable(value)}


def in_training_mode(model: keras.Model, pictures: np.ndarray) -> None:
    """Call a model as in training, so that its BatchNormalization layers see their inputs."""
    model(pictures, training=True)


def build(name: str, pictures: np.ndarray, call: Forward = in_training_mode, **options: Any) -> keras.Model:
    """A model of keras.applications with random weights, ten classes, and statistics of these pictures.

    As Keras makes it, a random network is a poor test: biases are zero, BatchNormalization divides by one, and ConvNeXt
    scales each of its blocks by a millionth.
    """
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, classes=NUM_CLASSES, **options)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name in ("bias", "beta"):
            variable.assign(random.normal(0, 0.1, variable.shape))
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(random.uniform(0.5, 1.0, layer.gamma.shape))
    calibrate(model, pictures, call)
    return model


def calibrate(model: keras.Model, pictures: np.ndarray, call: Forward) -> None:
    """Set the moving statistics of each BatchNormalization to those of its input for these pictures."""
    normalizers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizers]
    for layer in normalizers:
        layer.momentum = 0.0
    if normalizers:
        call(model, pictures)
    for layer, momentum in zip(normalizers, momenta, strict=True):
        layer.momentum = momentum


def draw_pictures(count: int, size: tuple[int, int]) -> np.ndarray:
    """Drawn pictures as a model takes them, float32 (count, height, width, 3), 0 to 255."""
    height, width = size
    return make_shapes(count, max(size)).images[:, :height, :width].astype("float32")
