"""Gradients by the image through a whole model: by finite differences and by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_cam.attribution.cut_model import CutModel
from keras_cam.attribution.input_gradients import has_rectifiers, image_gradients, input_and_bias_gradients
from keras_cam.model.head import find_head

RNG = np.random.default_rng(0)


def network(activation):
    """Two convolutions and a flat head, random throughout."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((5, 6, 2))
    for _ in range(2):
        x = layers.Conv2D(3, 2, activation=activation, bias_initializer="normal")(x)
    return CutModel(find_head(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))))


def tensors(*arrays):
    return [ops.convert_to_tensor(array) for array in arrays]


def of_each_class(count, num_images=1):
    return ops.convert_to_tensor(np.tile(np.eye(count, dtype="float32"), (num_images, 1, 1)))


def test_by_finite_differences():
    cut_model = network("tanh")
    image = RNG.normal(size=(1, 5, 6, 2)).astype("float32")
    found = ops.convert_to_numpy(image_gradients(cut_model, tensors(image), of_each_class(2)))
    step = 1e-2
    steps = step * np.eye(image.size, dtype="float32").reshape(-1, *image.shape[1:])
    higher, lower = (ops.convert_to_numpy(cut_model.scores(tensors(image + move))) for move in (steps, -steps))
    expected = ((higher - lower) / (2 * step)).T.reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_weights_choose_sums_of_scores():
    cut_model, images = network("relu"), RNG.normal(size=(3, 5, 6, 2)).astype("float32")
    single = ops.convert_to_numpy(image_gradients(cut_model, tensors(images), of_each_class(2, 3)))
    weights = np.tile(np.array([[2.0, -1.0]], "float32"), (3, 1, 1))
    found = ops.convert_to_numpy(image_gradients(cut_model, tensors(images), *tensors(weights)))
    np.testing.assert_allclose(found[:, 0], 2 * single[:, 0] - single[:, 1], rtol=1e-4, atol=1e-5)


def test_guided_backprop_by_hand():
    """Score -2 * relu(x) + 3 * relu(x'): what lowers it is not passed back, nor where a ReLU was closed."""
    inputs = keras.Input((1, 2, 1))
    x = layers.Flatten()(layers.ReLU()(layers.Conv2D(1, 1, kernel_initializer="ones")(inputs)))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.layers[-1].set_weights([np.array([[-2.0], [3.0]]), np.zeros(1)])
    cut_model, weights = CutModel(find_head(model)), of_each_class(1)
    for pixels, plain, guided in (((1, 1), (-2, 3), (0, 3)), ((1, -1), (-2, 0), (0, 0))):
        image = np.array(pixels, "float32").reshape(1, 1, 2, 1)
        for expected, options in ((plain, {}), (guided, {"guided": True})):
            found = ops.convert_to_numpy(image_gradients(cut_model, tensors(image), weights, **options))
            assert found.ravel().tolist() == list(expected)


@pytest.mark.parametrize(("activation", "has"), [("relu", True), ("relu6", True), ("tanh", False), (None, False)])
def test_what_can_be_guided(activation, has):
    assert has_rectifiers(network(activation)) is has


def test_image_and_biases_add_up_to_the_score():
    """All but the bias of the Dense layer, which is not spatial and here is zero."""
    cut_model, images = network("relu"), RNG.normal(size=(2, 5, 6, 2)).astype("float32")
    image, parts = input_and_bias_gradients(cut_model, tensors(images), of_each_class(2, 2))
    assert image.shape == (2, 2, 5, 6, 2) and [tuple(part.shape) for part in parts] == [
        (2, 2, 4, 5, 3),
        (2, 2, 3, 4, 3),
    ]
    total = sum(ops.convert_to_numpy(part).sum(axis=(2, 3, 4)) for part in (image, *parts))
    np.testing.assert_allclose(total, ops.convert_to_numpy(cut_model.scores(tensors(images))), rtol=1e-4, atol=1e-5)


def test_an_image_of_integers_has_a_gradient():
    inputs = keras.Input((2, 2, 1), dtype="uint8")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(1, 1, kernel_initializer="ones")(layers.Rescaling(0.5)(inputs)))
    cut_model = CutModel(find_head(keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(x))))
    found = image_gradients(cut_model, tensors(np.ones((1, 2, 2, 1), "uint8")), of_each_class(1))
    np.testing.assert_allclose(ops.convert_to_numpy(found), np.full((1, 1, 2, 2, 1), 0.5 / 4))
