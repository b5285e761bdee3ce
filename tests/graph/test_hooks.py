"""Models whose `call` holds raw TensorFlow operations: cut by listening to their layers."""

import keras
import numpy as np
import pytest
from support.zoo_parts import Subclassed, built

from keras_cam import UnsupportedModelError, build_feature_model, explain, inspect_model

tf = pytest.importorskip("tensorflow", reason="raw TensorFlow operations need TensorFlow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("raw TensorFlow operations need the TensorFlow backend", allow_module_level=True)

layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(size=(3, 12, 16, 3)).astype("float32")


class Raw(keras.Model):
    """Raw operations before the convolution and for the pooling."""

    def __init__(self, head):
        super().__init__(name="raw")
        self.conv = layers.Conv2D(4, 3, activation="relu", name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.head = head

    def call(self, inputs, training=False):
        features = self.norm(self.conv(tf.image.adjust_contrast(inputs, 2.0)), training=training)
        return self.head(tf.reduce_mean(features, axis=[1, 2]))


class RawBackbone(layers.Layer):
    """A layer that ends in raw operations, inside a functional model."""

    def __init__(self):
        super().__init__(name="backbone")
        self.conv = layers.Conv2D(4, 3, activation="relu", name="conv")

    def call(self, inputs):
        return tf.reduce_mean(self.conv(inputs * 2.0), axis=[1, 2])

    def compute_output_shape(self, input_shape):
        return input_shape[0], 4


def raw(head):
    model = Raw(head)
    model(IMAGES)
    return model


def functional():
    inputs = keras.Input((12, 16, 3))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(RawBackbone()(inputs)))


MODELS = {
    "softmax inline": lambda: raw(layers.Dense(3, activation="softmax")),
    "logits": lambda: raw(layers.Dense(3)),
    "softmax last": lambda: raw(keras.Sequential([layers.Dense(3), layers.Softmax()])),
    "raw layer in a graph": functional,
}


@pytest.mark.parametrize("name", MODELS)
def test_the_map_adds_up(name):
    model = MODELS[name]()
    result = explain(model, IMAGES, classes="all")
    assert result.maps.shape == (3, 3, 10, 14)
    np.testing.assert_allclose(result.probabilities, model(IMAGES), rtol=1e-5, atol=1e-6)
    sums = result.maps.mean(axis=(2, 3)) + result.bias
    np.testing.assert_allclose(sums, result.logits, rtol=1e-4, atol=1e-5)
    assert inspect_model(model).exact


def test_by_hand():
    """For GAP and one Dense layer the maps are the feature maps weighted by the kernel."""
    model = raw(layers.Dense(3, activation="softmax"))
    features = model.norm(model.conv(tf.image.adjust_contrast(IMAGES, 2.0)), training=False)
    expected = np.einsum("nhwk,kc->nchw", features, model.head.kernel)
    np.testing.assert_allclose(explain(model, IMAGES, classes="all").maps, expected, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was_and_followed_in_training():
    model = raw(layers.Dense(3, activation="softmax"))
    before = explain(model, IMAGES, classes="all")
    assert all("call" not in vars(layer) for layer in model.layers)
    assert model.head.activation is keras.activations.softmax
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    model.fit(IMAGES, np.array([0, 1, 2]), verbose=0)
    after = explain(model, IMAGES, classes="all")
    assert np.abs(after.maps - before.maps).max() > 1e-3
    np.testing.assert_allclose(after.probabilities, model(IMAGES), rtol=1e-5, atol=1e-6)


def test_a_failure_inside_puts_everything_back():
    model = raw(layers.Dense(3, activation="softmax"))

    def break_down(*_args, **_kwargs):
        raise RuntimeError("on purpose")

    model.head.call = break_down
    with pytest.raises(RuntimeError):
        explain(model, IMAGES)
    del model.head.call
    assert all("call" not in vars(layer) for layer in model.layers)
    assert model.head.activation is keras.activations.softmax


def test_no_sub_model_can_be_built_of_it():
    with pytest.raises(UnsupportedModelError, match=r"'raw' has no graph.*keras_cam\.explain"):
        build_feature_model(raw(layers.Dense(3)))


def test_no_layer_with_a_place_is_an_error():
    class Flat(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs):
            return self.dense(tf.reduce_mean(inputs, axis=[1, 2]))

    model = Flat()
    model(IMAGES)
    with pytest.raises(UnsupportedModelError, match="cannot be taken apart"):
        explain(model, IMAGES)


def test_a_method_of_the_callers_stays_his():
    model = built(Subclassed())
    call = type(model).call
    before = dict(vars(model))
    explain(model, IMAGES)
    assert type(model).call is call and "call" not in vars(model)
    assert {key: id(value) for key, value in before.items()} == {
        key: id(value) for key, value in vars(model).items() if key in before
    }
