"""Maps of every kind of head against numbers worked by hand, formulas in NumPy, and finite differences."""

import keras
import numpy as np
import pytest
from keras import layers
from support import zoo
from support.zoo import IMAGES
from support.zoo_parts import policy

from keras_cam import CAMWarning, build_feature_model, explain

IMAGE = np.array([[[[1, 2], [3, 0]]]], np.float32)  # 1 x 2 cells of two channels; averages 2 and 1


def on_cells(*head, shape=(1, 2, 2), weights=()):
    """A model whose feature maps are its input, with the given weights in its head."""
    channels = shape[-1]
    cells = layers.Conv2D(channels, 1, use_bias=False, name="cells")
    model = keras.Sequential([keras.Input(shape), cells, *head])
    cells.set_weights([np.eye(channels)[None, None]])
    if weights:
        model.set_weights([np.eye(channels)[None, None], *map(np.asarray, weights)])
    return model


def explained(name):
    """Everything there is to know about a model of the zoo: features (float64), weights of the head, explanation."""
    model, inputs = zoo.model(name), zoo.inputs(name)
    features = keras.ops.convert_to_numpy(build_feature_model(model)(inputs)["features"]).astype("float64")
    weights = [np.asarray(weight, "float64") for weight in model.get_weights()]
    return features, weights, explain(model, inputs, classes="all")


def test_a_hidden_relu():
    """Hidden values 5.5 and -3: the first passes, the second is cut off with all that made it."""
    head = layers.GlobalAveragePooling2D(), layers.Dense(2, activation="relu"), layers.Dense(1)
    model = on_cells(*head, weights=([[1, -1], [3, 1]], [0.5, -2], [[2], [5]], [1]))
    result = explain(model, IMAGE)
    assert result.logits.tolist() == [[12]] and result.bias.tolist() == [[0.5 * 2 + 1]]
    assert result.maps.tolist() == [[[[2 * 1 + 6 * 2, 2 * 3 + 6 * 0]]]]


def test_a_flat_head():
    """Every number has its weight; twice them, since the mean over two cells is to be the sum."""
    model = on_cells(layers.Flatten(), layers.Dense(1), weights=([[1], [10], [100], [1000]], [7]))
    result = explain(model, IMAGE)
    assert result.logits.tolist() == [[328]] and result.bias.tolist() == [[7]]
    assert result.maps.tolist() == [[[[2 * 21, 2 * 300]]]]


def test_a_global_maximum():
    """The first channel is highest in the second cell, the second in the first."""
    model = on_cells(layers.GlobalMaxPooling2D(), layers.Dense(1), weights=([[5], [-1]], [0.5]))
    result = explain(model, IMAGE)
    assert result.logits.tolist() == [[13.5]] and result.bias.tolist() == [[0.5]]
    assert result.maps.tolist() == [[[[2 * -2, 2 * 15]]]]


def test_a_maximum_that_two_cells_share():
    model = on_cells(layers.GlobalMaxPooling2D(), layers.Dense(1), weights=([[1], [0]], [0]))
    assert explain(model, np.full((1, 1, 2, 2), 3, np.float32)).maps.tolist() == [[[[3, 3]]]]


def test_a_gate():
    """Averages 2 and 1 halved by a gate at sigmoid(0): the gate is a number, what it lets pass is explained."""
    inputs = keras.Input((1, 2, 2))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, use_bias=False)(inputs))
    gate = layers.Dense(2, activation="sigmoid", kernel_initializer="zeros")(x)
    model = keras.Model(inputs, layers.Dense(1)(x * gate))
    kernel, bias = np.zeros((2, 2)), np.zeros(2)
    model.set_weights([np.eye(2)[None, None], kernel, bias, np.array([[4], [6]]), np.array([1])])
    result = explain(model, IMAGE)
    assert result.logits.tolist() == [[8]] and result.bias.tolist() == [[1]]
    assert result.maps.tolist() == [[[[2 * 1 + 3 * 2, 2 * 3]]]]


def test_two_scales():
    """2 x 2 cells and the one that covers them all: what the coarse map says is said of each fine cell."""
    inputs = keras.Input((2, 2, 1))
    fine = layers.Conv2D(1, 1, use_bias=False)(inputs)
    coarse = layers.Conv2D(1, 2, use_bias=False)(fine)
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(one) for one in (fine, coarse)])
    model = keras.Model(inputs, layers.Dense(1)(pooled))
    model.set_weights([np.ones((1, 1, 1, 1)), np.ones((2, 2, 1, 1)), np.array([[4], [2]]), np.array([1])])
    result = explain(model, np.array([[[[1], [2]], [[3], [4]]]], np.float32))
    assert result.logits.tolist() == [[4 * 2.5 + 2 * 10 + 1]] and result.bias.tolist() == [[1]]
    assert result.maps.tolist() == [[[[4 + 20, 8 + 20], [12 + 20, 16 + 20]]]]


def test_siamese_difference():
    """|a - b| with a - b = (1, -1): where the other image has more, the weights turn."""
    left, right = keras.Input((1, 2, 2), name="left"), keras.Input((1, 2, 2), name="right")
    cells, pooling = layers.Conv2D(2, 1, use_bias=False), layers.GlobalAveragePooling2D()
    difference = keras.ops.abs(pooling(cells(left)) - pooling(cells(right)))
    model = keras.Model([left, right], layers.Dense(1)(difference))
    model.set_weights([np.eye(2)[None, None], np.array([[3], [5]]), np.array([1])])
    other = np.array([[[[0, 4], [2, 0]]]], np.float32)  # averages 1 and 2
    result = explain(model, [IMAGE, other])
    assert result.logits.tolist() == [[9]]
    assert result.maps.tolist() == [[[[3 * 1 - 5 * 2, 3 * 3]]]] and result.bias.tolist() == [[1 - 3 * 1 + 5 * 2]]
    result = explain(model, [IMAGE, other], image_input="right")
    assert result.maps.tolist() == [[[[5 * 4, -3 * 2]]]] and result.bias.tolist() == [[1 + 3 * 2 - 5 * 1]]


# by the formulas of ../shared/MODELS.md, on random weights


def test_layer_normalization_with_its_divisor_frozen():
    features, weights, result = explained("LayerNormalization, as in ConvNeXt")
    gamma, beta, kernel, bias = weights[-4:]
    scaled = gamma[:, None] * kernel
    centred = scaled - scaled.mean(axis=0)
    sigma = np.sqrt(features.mean(axis=(1, 2)).var(axis=1) + 1e-6)
    maps = np.einsum("nhwk,kc->nchw", features, centred) / sigma[:, None, None, None]
    np.testing.assert_allclose(result.maps, maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.bias, np.tile(beta @ kernel + bias, (3, 1)), rtol=1e-5, atol=1e-6)


def test_hard_silu_with_its_gate_frozen():
    features, weights, result = explained("hard_silu, as in MobileNetV3")
    first, first_bias, second, second_bias = weights[-4:]
    first, second = first[0, 0], second[0, 0]
    hidden = features.mean(axis=(1, 2)) @ first + first_bias
    gate = np.clip(hidden + 3, 0, 6) / 6
    effective = np.einsum("kh,nh,hc->nkc", first, gate, second)
    maps = np.einsum("nhwk,nkc->nchw", features, effective)
    np.testing.assert_allclose(result.maps, maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.bias, (gate * first_bias) @ second + second_bias, rtol=1e-4, atol=1e-5)


def test_cosine_with_its_length_frozen():
    features, weights, result = explained("cosine")
    lengths = np.linalg.norm(features.mean(axis=(1, 2)), axis=1)
    maps = np.einsum("nhwk,kc->nchw", features, weights[-1]) / lengths[:, None, None, None]
    np.testing.assert_allclose(result.maps, maps, rtol=1e-4, atol=1e-5)
    assert not result.bias.any()


def test_generalised_mean():
    """(mean A^3)^(1/3): each cell's share grows with the cube of what it holds."""
    features, weights, result = explained("GeM of operations")
    kernel, bias = weights[-2:]
    pooled = (features**3).mean(axis=(1, 2), keepdims=True) ** (1 / 3)
    maps = np.einsum("nhwk,kc->nchw", features**3 / pooled**2, kernel)
    np.testing.assert_allclose(result.maps, maps, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(result.bias, np.tile(bias, (3, 1)), rtol=1e-5, atol=1e-6)


# where there is no formula


@pytest.mark.parametrize("head", [lambda: layers.LSTM(3), lambda: layers.GRU(3, go_backwards=True)])
def test_gradient_times_features_by_finite_differences(head):
    model = on_cells(layers.Reshape((2, 6)), head(), layers.Dense(2), shape=(2, 3, 2))
    generator = np.random.default_rng(3)
    image = generator.uniform(0.5, 1.5, (1, 2, 3, 2)).astype("float32")
    with pytest.warns(CAMWarning, match="of the score"):
        result = explain(model, image, classes="all")
    assert result.method == "gradient_x_activation" and result.layer == "cells"
    step = 1e-2
    moves = np.eye(12, dtype="float32").reshape(12, 2, 3, 2) * step
    both = model.predict(np.concatenate([image + moves, image - moves]), verbose=0).astype("float64")
    gradients = ((both[:12] - both[12:]) / (2 * step)).T.reshape(2, 2, 3, 2)
    expected = 6 * (gradients * image).sum(axis=-1)
    np.testing.assert_allclose(result.maps[0], expected, rtol=0, atol=2e-3 * np.abs(expected).max())
    at_zero = model.predict(np.zeros_like(image), verbose=0)
    np.testing.assert_allclose(result.bias, at_zero, rtol=1e-5, atol=1e-6)
    missing = np.abs(expected.mean(axis=(1, 2)) + at_zero - result.logits) / np.abs(result.logits).max()
    np.testing.assert_allclose(1 - result.completeness, missing, atol=2e-3)


# half precision


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_float16, nested", "mixed_bfloat16", "mixed_float16, ReLU"])
def test_mixed_precision_has_the_maps_of_float32(name):
    half, full = zoo.fresh(name), zoo.fresh({"mixed_float16, nested": "nested two deep"}.get(name, "functional"))
    result = explain(half, IMAGES, classes="all")
    assert all(array.dtype == np.float32 for array in (result.maps, result.bias, result.logits, result.probabilities))
    assert 1 - result.completeness.min() < zoo.ZOO[name].tolerance
    if "ReLU" not in name:
        full.set_weights(half.get_weights())
        expected = explain(full, IMAGES, classes="all").maps
        np.testing.assert_allclose(result.maps, expected, atol=0.02 * np.abs(expected).max())


def test_features_beyond_the_range_of_float16():
    """Sums over many cells are made in float32: no overflow at 65504."""
    with policy("mixed_float16"):
        inputs = keras.Input((64, 64, 1))
        x = layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(inputs)
        model = keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))
    result = explain(model, np.full((1, 64, 64, 1), 1000.0, "float32"), classes="all")
    np.testing.assert_allclose(result.maps, 1000, rtol=1e-3)
