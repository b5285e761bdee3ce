"""Models written down as programs: nested, called twice, wired in other ways, with layers of the caller's own."""

import keras
import numpy as np
import pytest
from keras import layers
from support import zoo
from support.zoo import IMAGES, exact
from support.zoo_parts import chain, convolutions, dense, gap

from keras_cam import build_feature_model, explain


def mobile_net(top=False, **options):
    """A backbone as users have it: its name has dots, its layers have the names that all of them have."""
    return keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=top, weights=None, **options)


PHOTOS = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize("wiring", ["in Sequential", "as a layer", "two deep", "with its pooling", "input_tensor"])
def test_a_nested_backbone(wiring):
    inputs = keras.Input((32, 32, 3))
    if wiring == "in Sequential":
        model = keras.Sequential([inputs, mobile_net(), gap(), layers.Dropout(0.2), dense()])
    elif wiring == "as a layer":
        model = keras.Model(inputs, dense()(gap()(mobile_net()(layers.Rescaling(0.5)(inputs), training=False))))
    elif wiring == "two deep":
        inner = keras.Sequential([keras.Input((32, 32, 3)), layers.RandomFlip(), mobile_net()], name="features")
        model = keras.Model(inputs, dense()(gap()(inner(inputs))))
    elif wiring == "with its pooling":
        model = keras.Sequential([inputs, mobile_net(pooling="avg"), dense()])
    else:
        model = keras.Model(inputs, dense()(gap()(mobile_net(input_tensor=inputs).output)))
    result = explain(model, PHOTOS, classes="all")
    assert exact(result) and result.method == "cam"
    assert result.layer.split("/")[-1] == "out_relu"  # after its activation, not the last convolution
    assert ("mobilenetv2_0.35_32/" in result.layer) == (wiring != "input_tensor")


def test_models_that_keras_3_calls_unbuilt():
    """No `layer.output_shape`, no `model.output` of a Sequential that was never called, nothing rebuilt or renamed."""
    convolution = layers.Conv2D(5, 3, activation="relu")
    assert not hasattr(convolution, "output_shape")
    model = keras.Sequential([convolution, gap(), dense()])
    model(IMAGES)  # "The layer sequential has never been called" is what others say from here on
    assert exact(explain(model, IMAGES, classes="all"))
    single = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 1), gap()])
    assert exact(explain(chain(zoo.model("functional")), IMAGES)) and exact(explain(single, IMAGES[:, :, :8]))


def test_a_backbone_called_on_its_own_input(tf):
    """KerasHub's wiring: the inner layers' `output` hangs on the inputs and does not lead to the logits."""
    model = zoo.model("KerasHub wiring")
    inner = model.get_layer("backbone")
    naive = keras.Model(model.input, [inner.get_layer("conv_2").output, model.output])
    with tf.GradientTape() as tape:
        features, predictions = naive(IMAGES)
        tape.watch(features)
        score = predictions[:, 0]
    assert tape.gradient(score, features) is None  # what the others do
    result = explain(model, IMAGES, classes="all")
    assert exact(result) and result.layer == "backbone/conv_2"
    np.testing.assert_allclose(build_feature_model(model)(IMAGES)["features"], inner(IMAGES), rtol=1e-6)


@pytest.mark.parametrize("name", ["KerasHub wiring", "nested two deep", "layer called twice", "subclassed"])
def test_every_weight_behind_the_maps_counts(name):
    """A change of any weight behind the feature maps moves the maps: the graph is connected all the way."""
    model = zoo.fresh(name)
    before = explain(model, IMAGES, classes="all")
    for variable in model.trainable_variables:
        kept = variable.numpy()
        variable.assign(kept + 0.5)
        after = explain(model, IMAGES, classes="all")
        assert np.abs(after.maps - before.maps).max() + np.abs(after.bias - before.bias).max() > 1e-4, variable.path
        variable.assign(kept)


class Unregistered(layers.Layer):
    """Cannot be saved, cloned or pickled: no `get_config`, and an argument that Keras knows nothing of."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def test_custom_layers_are_neither_cloned_nor_serialised():
    model = chain(
        Unregistered(lambda x: x - 0.5), convolutions, layers.Lambda(lambda x: keras.ops.relu(x)), gap(), dense()
    )
    with pytest.raises(Exception):  # noqa: B017 - whatever Keras says: it cannot be cloned
        keras.models.clone_model(model)
    result = explain(model, IMAGES, classes="all")
    assert exact(result)
    np.testing.assert_array_equal(result.probabilities, model.predict(IMAGES, verbose=0))
