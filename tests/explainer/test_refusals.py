"""What cannot be explained is turned away at the door, in words: what came, what was wanted, what to do."""

import keras
import numpy as np
import pytest
from keras import layers
from support import small_models
from support.errors import message, missing

from keras_cam import (
    Explainer,
    build_cam_model,
    build_feature_model,
    class_weights,
    compute_cam,
    explain,
)
from keras_cam.errors import InvalidClassError, InvalidImageError, InvalidOptionError, UnsupportedModelError

PICTURES = small_models.images()
PICTURE = PICTURES[0]
NAMES = ["cat", "dog", "cow"]


# models


def on_features(head, name="mine"):
    inputs = keras.Input((8, 10, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    return keras.Model(inputs, head(x), name=name)


def through(*stack):
    def head(x):
        for layer in stack:
            x = layer(x)
        return x

    return head


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.conv, self.pool, self.dense = layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)

    def call(self, x):
        return self.dense(self.pool(self.conv(x)))


class Cosine(layers.Dense):
    """A Dense layer by inheritance only: the score is no linear function of its input."""

    def call(self, inputs):
        return keras.ops.matmul(keras.ops.normalize(inputs), self.kernel)


class Largest(layers.GlobalAveragePooling2D):
    """Average pooling by inheritance only."""

    def call(self, inputs):
        return keras.ops.max(inputs, axis=(1, 2))


def no_convolutions():
    return keras.Sequential(
        [keras.Input((8, 10, 3)), layers.Flatten(), layers.Dense(5), layers.Dense(3, activation="softmax")], name="mine"
    )


def a_table():
    return keras.Sequential([keras.Input((7,)), layers.Dense(3)], name="mine")


def unbuilt():
    return keras.Sequential(
        [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")], name="mine"
    )


def two_outputs():
    def head(x):
        pooled = layers.GlobalAveragePooling2D()(x)
        return [layers.Dense(2)(pooled), layers.Dense(3)(pooled)]

    return on_features(head)


# model -> words that the error must hold; every door says the same
NEVER = {
    "no convolutions": (
        no_convolutions,
        ["'mine'", "no convolutional feature maps", "(None, 3)", "global average pooling"],
    ),
    "a table": (a_table, ["'mine'", "no convolutional feature maps"]),
    "unbuilt Sequential": (unbuilt, ["'mine'", "not built", "keras.Input"]),
    "unbuilt subclass": (Subclassed, ["'mine'", "not built", "call it once"]),
    "no model": (lambda: "model.keras", ["str", "keras.models.load_model"]),
    "a layer": (lambda: layers.Dense(3), ["Dense", "keras.Model"]),
    "nothing": (lambda: None, ["NoneType", "keras.Model"]),
}
# no exact class activation map
INEXACT = {
    "no pooling": (through(layers.Flatten(), layers.Dense(3)), ["'conv' (None, 6, 8, 4)", "Flatten", "Dense"]),
    "max pooling": (through(layers.GlobalMaxPooling2D(), layers.Dense(3)), ["GlobalMaxPooling2D", "Dense"]),
    "hidden ReLU": (
        through(
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="relu", name="hidden"),
            layers.Dense(3, activation="softmax"),
        ),
        ["GlobalAveragePooling2D", "Dense 'hidden'", "stands in the way"],
    ),
    "ReLU layer": (
        through(layers.GlobalAveragePooling2D(), layers.Dense(5), layers.ReLU(name="hidden"), layers.Dense(3)),
        ["ReLU", "'hidden' stands in the way"],
    ),
    "layer norm": (
        through(layers.GlobalAveragePooling2D(), layers.LayerNormalization(name="norm"), layers.Dense(3)),
        ["LayerNormalization 'norm'"],
    ),
    "mean over rows only": (
        lambda x: layers.Dense(3)(layers.Flatten()(keras.ops.mean(x, axis=1))),
        ["(None, 6, 8, 4)", "Mean", "Flatten"],
    ),
    "two pooled together": (
        lambda x: layers.Dense(3)(
            layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
        ),
        ["GlobalAveragePooling2D", "GlobalMaxPooling2D"],
    ),
}
DOORS = {
    "build_feature_model": build_feature_model,
    "build_cam_model": build_cam_model,
    "class_weights": class_weights,
    "Explainer": Explainer,
    "explain": lambda model: explain(model, PICTURE),
    "compute_cam": lambda model: compute_cam(model, PICTURE),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", NEVER)
def test_models_that_are_none(case, door):
    build, words = NEVER[case]
    assert missing(words, message(UnsupportedModelError, DOORS[door], build())) == []


@pytest.mark.parametrize("door", ["build_cam_model", "class_weights"])
@pytest.mark.parametrize("case", INEXACT)
def test_models_without_an_exact_map(case, door):
    head, words = INEXACT[case]
    text = message(UnsupportedModelError, DOORS[door], on_features(head))
    assert missing(["'mine'", "no exact CAM", "GlobalAveragePooling2D and one Dense", *words], text) == []


def test_several_outputs():
    text = message(UnsupportedModelError, build_cam_model, two_outputs())
    assert missing(["'mine'", "2 outputs", "output="], text) == []


@pytest.mark.parametrize("door", ["build_cam_model", "class_weights"])
@pytest.mark.parametrize("head", [(layers.GlobalAveragePooling2D, Cosine), (Largest, layers.Dense)], ids=str)
def test_a_layer_with_a_call_of_its_own_is_not_taken_for_what_it_inherits_from(head, door):
    pooling, dense = head
    text = message(UnsupportedModelError, DOORS[door], on_features(through(pooling(), dense(3))))
    assert "Cosine" in text or "Largest" in text


def test_weights_that_are_nan():
    model = small_models.model("functional", fresh=True)
    model.get_layer("scores").kernel.assign(model.get_layer("scores").kernel * np.nan)
    for door in (explain, compute_cam):
        text = message(UnsupportedModelError, door, model, PICTURE)
        assert missing(["'functional'", "not finite", "image 0", "NaN in its weights"], text) == []


def test_a_model_is_named_once_and_stays_usable_after_an_error():
    model = small_models.model("functional", fresh=True)
    message(InvalidImageError, compute_cam, model, PICTURE * np.nan)
    message(InvalidClassError, compute_cam, model, PICTURE, 99)
    assert compute_cam(model, PICTURE).max() == 1


@pytest.fixture(scope="module")
def model():
    return small_models.model("functional")


# classes


CLASSES = {
    "out of range": (3, ["3 is out of range", "3 classes", "0 to 2"]),
    "negative": (-1, ["-1 is out of range", "0 to 2"]),
    "one of a list": ([0, 12], ["12 is out of range"]),
    "one per image": (np.array([0, 1, 5]), ["5 is out of range"]),
    "unknown name": ("horse", ["'horse'", "'cat', 'dog', 'cow'"]),
    "too many": ("top4", ["'top4'", "3 classes"]),
    "a fraction": (0.5, ["0.5", "float"]),
    "probabilities": (np.array([0.1, 0.2, 0.7]), ["integers", "float64"]),
    "too few": (np.array([0, 1]), ["(3,) or (3, C)", "(2,)"]),
    "none": ([], ["empty list"]),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_that_are_none(model, case):
    classes, words = CLASSES[case]
    calls = [
        lambda: explain(model, PICTURES, classes=classes, class_names=NAMES),
        lambda: compute_cam(model, PICTURES, classes, class_names=NAMES),
    ]
    for call in calls:
        assert missing(words, message(InvalidClassError, call)) == []


def test_a_name_without_names(model):
    assert "class_names=[...]" in message(InvalidClassError, compute_cam, model, PICTURE, "cat")


def test_one_unit_has_two_classes():
    text = message(InvalidClassError, compute_cam, small_models.model("one unit"), PICTURE, 2)
    assert missing(["2 is out of range", "2 classes", "0 to 1"], text) == []
    text = message(InvalidClassError, Explainer, small_models.model("one unit"), class_names=["yes"])
    assert missing(["2 classes", "1 names"], text) == []


@pytest.mark.parametrize("names", [["cat"], ["a", "b", "c", "d"], []], ids=len)
def test_names_for_other_classes(model, names):
    text = message(InvalidClassError, Explainer, model, class_names=names)
    assert missing(["3 classes", "'functional'", f"{len(names)} names"], text) == []


# options


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, None, "32", True])
def test_batch_size(model, batch_size):
    text = message(InvalidOptionError, explain, model, PICTURE, batch_size=batch_size)
    assert missing(["batch_size", "1 or more", f"{batch_size}"], text) == []


@pytest.mark.parametrize("value_range", [(1, 0), (0,), "0-255", (0, np.nan)], ids=str)
def test_value_range(model, value_range):
    assert "value_range" in message(InvalidOptionError, explain, model, PICTURE, value_range=value_range)


def test_normalize(model):
    text = message(InvalidOptionError, compute_cam, model, PICTURE, normalize="softmax")
    assert missing(["'softmax'", "'image'", "'minmax'", "None"], text) == []


@pytest.mark.parametrize("door", [explain, compute_cam])
def test_an_option_that_does_not_exist(model, door):
    text = message(InvalidOptionError, door, model, PICTURE, colour="red")
    assert missing(["'colour'", "Explainer", "'auto'"], text) == []
    text = message(InvalidOptionError, door, model, PICTURE, method="score_cam", colour="red")
    assert missing(["'colour'", "'score_cam'", "'max_channels'"], text) == []


def test_a_score_for_every_position():
    """Segmentation: say what to build, and building it works."""
    inputs = keras.Input((8, 10, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax")(x), name="mine")
    text = message(UnsupportedModelError, explain, model, PICTURE)
    assert missing(["'mine'", "(None, 6, 8, 2)", "a score for every position", "targets.segmentation"], text) == []
    averaged = keras.Model(model.input, keras.ops.mean(model.output, axis=(1, 2)))
    assert explain(averaged, PICTURE).completeness.min() > 1 - 1e-5
