"""The networks that the references stand on: their numbers by hand and their gradients by differences."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.reference_network import (
    FEATURES,
    Layer,
    biases_and_gradients,
    forward,
    gradient,
    jacobian,
    logits,
    picture,
    run,
    run_back,
    through_softmax,
    tiny_network,
    without_channels,
)

NETWORKS = [(head, seed) for head in ("gap", "flatten", "mlp") for seed in (0, 1, 2)]


def differences(function, value, step=1e-5):
    """Central differences of a scalar function with respect to each entry of value."""
    result = np.zeros_like(value)
    for entry in np.ndindex(*value.shape):
        up, down = value.copy(), value.copy()
        up[entry] += step
        down[entry] -= step
        result[entry] = (function(up) - function(down)) / (2 * step)
    return result


def test_no_framework_is_imported():
    """An independent check knows nothing of what it checks."""
    names = "reference, reference_network, reference_perturbation, reference_pixels"
    known = "{'keras', 'tensorflow', 'keras_cam', 'torch', 'jax'}"
    code = f"import sys; from support import {names}; print(sorted({known} & set(sys.modules)))"
    here = Path(__file__).parents[1]
    assert subprocess.check_output([sys.executable, "-c", code], cwd=here, text=True).strip() == "[]"


def test_convolution_without_padding_by_hand():
    kernel = np.array([[1.0, 2.0], [3.0, -1.0]])[..., None, None]
    image = np.arange(6.0).reshape(2, 3, 1)  # 0 1 2 / 3 4 5
    result = run(Layer("conv", (kernel, np.array([0.5]))), image)
    np.testing.assert_array_equal(result[..., 0], [[0 + 2 + 9 - 4 + 0.5, 1 + 4 + 12 - 5 + 0.5]])


def test_same_padding_puts_the_odd_row_below():
    """Length 4, kernel 3, stride 2: one row of padding in all, none of it before. Length 3: one before, one after."""
    layer = Layer("conv", (np.ones((3, 3, 1, 1)), np.zeros(1)), stride=2, padding="same")
    result = run(layer, np.arange(12.0).reshape(4, 3, 1))  # rows 0 1 2 / 3 4 5 / 6 7 8 / 9 10 11
    np.testing.assert_array_equal(result[..., 0], [[0 + 1 + 3 + 4 + 6 + 7, 1 + 2 + 4 + 5 + 7 + 8], [32, 36]])


def test_channels_are_mixed_by_the_kernel():
    kernel = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])[None, None]  # 3 channels in, 2 out
    result = run(Layer("conv", (kernel, np.array([0.0, 1.0]))), np.array([[[1.0, 1.0, 2.0]]]))
    np.testing.assert_array_equal(result, [[[9.0, 91.0]]])


def test_relu_back_plain_and_guided():
    value, upstream = np.array([1.0, -1.0, 2.0, 0.0]), np.array([3.0, 4.0, -5.0, 6.0])
    np.testing.assert_array_equal(run_back(Layer("relu"), value, upstream), [3, 0, -5, 0])
    np.testing.assert_array_equal(run_back(Layer("relu"), value, upstream, guided=True), [3, 0, 0, 0])


def test_guided_gradient_by_hand():
    """Two ReLUs: what is negative on its way back is dropped at each, what was negative on its way there too."""
    network = [
        Layer("relu"),
        Layer("dense", (np.array([[1.0, -1.0], [2.0, 1.0]]), np.array([0.0, 0.5]))),
        Layer("relu"),
        Layer("dense", (np.array([[1.0, -2.0], [1.0, 3.0]]), np.zeros(2))),
    ]
    image = np.array([1.0, 1.0])  # hidden: 3, 0.5
    np.testing.assert_array_equal(gradient(network, image, 1), [-2 - 3, -4 + 3])
    np.testing.assert_array_equal(gradient(network, image, 1, guided=True), [0, 3])  # the -2 is cut, then the -3


@pytest.mark.parametrize(("head", "seed"), NETWORKS)
def test_shapes(head, seed):
    values = forward(tiny_network(head, seed), picture(seed))
    assert values[0].shape == (7, 9, 2)
    assert values[FEATURES].shape == ((4, 5, 4) if seed % 2 == 0 else (5, 8, 4))
    assert values[-1].shape == (3,)
    assert (values[FEATURES] > 0).any() and (values[FEATURES] == 0).any()  # the ReLU does something


@pytest.mark.parametrize("at", [0, 1, 3, FEATURES])
@pytest.mark.parametrize(("head", "seed"), [("gap", 0), ("flatten", 1), ("mlp", 2)])
def test_gradient_against_differences(head, seed, at):
    network, image = tiny_network(head, seed), picture(seed)
    value = forward(network, image)[at]
    expected = differences(lambda changed: logits(network, changed, start=at)[1], value)
    result = gradient(network, image, 1, at=at)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-8)
    assert np.abs(result).max() > 1e-3


def test_jacobian_stacks_the_gradients():
    network, image = tiny_network("mlp", 0), picture(0)
    result = jacobian(network, image, at=FEATURES)
    assert result.shape == (3, 4, 5, 4)
    np.testing.assert_array_equal(result[2], gradient(network, image, 2, at=FEATURES))


def test_a_channel_left_out_of_a_linear_head():
    network, image = tiny_network("gap", 1), picture(1)
    features, (kernel, _) = forward(network, image)[FEATURES], network[-1].weights
    expected = logits(network, image)[2] - kernel[:, 2] * features.mean(axis=(0, 1))
    np.testing.assert_allclose(without_channels(network, image, 2), expected, rtol=1e-12)


def test_bias_gradients_against_differences():
    network, image = tiny_network("mlp", 1), picture(1)
    places = [index for index, layer in enumerate(network) if layer.weights]
    for place, (bias, upstream) in zip(places, biases_and_gradients(network, image, 0), strict=True):
        layer = network[place]

        def score(changed, place=place, layer=layer):
            moved = Layer(layer.kind, (layer.weights[0], changed), layer.stride, layer.padding)
            return logits([*network[:place], moved, *network[place + 1 :]], image)[0]

        by_cell = upstream.reshape(-1, len(bias)).sum(axis=0)
        np.testing.assert_allclose(by_cell, differences(score, bias), rtol=0, atol=1e-8)


@pytest.mark.parametrize("target", ["probability", "rest"])
def test_targets_through_the_softmax_against_differences(target):
    """Gradient and Hessian-vector product of a smooth target on a head whose logits are linear at the features."""
    network, image, class_index = tiny_network("mlp", 2), picture(2), 1
    features, head = forward(network, image)[FEATURES], network[FEATURES:]

    def score(changed):
        values = logits(head, changed)
        log_probability = values[class_index] - np.log(np.exp(values).sum())
        return np.exp(log_probability) if target == "probability" else values[class_index] + log_probability

    def slope(changed):
        return through_softmax(jacobian(head, changed), logits(head, changed), class_index, target)[0]

    result, product = through_softmax(
        jacobian(network, image, at=FEATURES), logits(network, image), class_index, target
    )
    np.testing.assert_allclose(result, differences(score, features), rtol=0, atol=1e-8)
    vector, step = np.random.default_rng(0).normal(size=features.shape), 1e-5
    expected = (slope(features + step * vector) - slope(features - step * vector)) / (2 * step)
    np.testing.assert_allclose(product(vector), expected, rtol=0, atol=1e-8)
    assert np.abs(expected).max() > 1e-4
