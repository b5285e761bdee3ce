"""The references against numbers worked out by hand and against the identities that hold between methods."""

import numpy as np
import pytest
from support import reference
from support.reference_network import (
    FEATURES,
    biases_and_gradients,
    forward,
    gradient,
    jacobian,
    logits,
    picture,
    through_softmax,
    tiny_network,
    without_channels,
)

# Two channels on 2 x 2 cells; the first sums to 10, the second to 4.
A = np.stack([[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [0.0, 2.0]]], axis=-1)
G = np.stack([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 2.0], [1.0, 1.0]]], axis=-1)


def known(head, seed, class_index):
    """Features, gradient there and logit of a tiny network."""
    network, image = tiny_network(head, seed), picture(seed)
    values = forward(network, image)
    return values[FEATURES], gradient(network, image, class_index, at=FEATURES), values[-1][class_index]


def test_grad_cam_by_hand():
    np.testing.assert_allclose(reference.grad_cam(A, G), 0.5 * A[..., 0] + 0.75 * A[..., 1])


def test_hires_and_layer_cam_by_hand():
    np.testing.assert_array_equal(reference.hires_cam(A, G), [[1 - 2, 0], [0, 4 + 2]])
    np.testing.assert_array_equal(reference.layer_cam(A, G), [[1, 0], [0, 4 + 2]])


def test_xgrad_cam_by_hand():
    """Weights (1 + 4) / 10 and (-2 + 2) / 4; with features that sum to 0 the official 1e-6 alone is the divisor."""
    np.testing.assert_allclose(reference.xgrad_cam(A, G), 0.5 * A[..., 0], rtol=1e-6)
    signed = np.array([[[1.0], [-1.0]]])
    slope = np.array([[[2.0], [1.0]]])
    np.testing.assert_allclose(reference.xgrad_cam(signed, slope)[0], [1e6, -1e6])
    np.testing.assert_array_equal(reference.xgrad_cam(signed, slope, epsilon=0.0), [[0, 0]])


def test_grad_cam_plus_plus_by_hand():
    """Alphas where the gradient is positive: 1 / (2 + 10), twice; 1 / (2 + 2 * 4), 1 / (2 + 4), 1 / (2 + 4)."""
    first = (1 / 12 + 1 / 12) / (1 / 12 + 1 / 12)
    second = (2 / 10 + 1 / 6 + 1 / 6) / (1 / 10 + 1 / 6 + 1 / 6)
    np.testing.assert_allclose(reference.grad_cam_plus_plus(A, G), first * A[..., 0] + second * A[..., 1])
    assert second == pytest.approx(16 / 13)
    np.testing.assert_array_equal(reference.grad_cam_plus_plus(A, -np.abs(G)), np.zeros((2, 2)))


@pytest.mark.parametrize("seed", range(5))
def test_grad_cam_plus_plus_weighs_positive_gradients_only(seed):
    """For features of one sign each weight is a weighted mean of the channel's positive gradients."""
    random = np.random.default_rng(seed)
    features, slopes = random.uniform(0, 2, (3, 4, 2)), random.normal(size=(3, 4, 2))
    weights = reference.plus_plus_weights(slopes, slopes**2, slopes**3, features)
    for k, weight in enumerate(weights):
        positive = slopes[..., k][slopes[..., k] > 0]
        assert positive.min() < weight < positive.max()


def test_smooth_grad_cam_plus_plus_by_hand():
    """Gradients 1 and 3 at one cell: means 2, 5, 14 of the powers; 1 and 1 at the other. The features sum to 2."""
    features = np.ones((1, 2, 1))
    copies = [np.array([[[1.0], [1.0]]]), np.array([[[3.0], [1.0]]])]
    left, right = 5 / (2 * 5 + 14 * 2), 1 / (2 + 2)
    weight = (2 * left + 1 * right) / (left + right)
    np.testing.assert_allclose(reference.smooth_grad_cam_plus_plus(features, copies), [[weight, weight]])
    same = reference.smooth_grad_cam_plus_plus(A, [G, G, G])
    np.testing.assert_allclose(same, reference.grad_cam_plus_plus(A, G))


def test_ablation_cam_by_hand():
    """The logit falls by 1 without the first channel and rises by 2 without the second."""
    for score, size in ((4.0, 4), (-4.0, 4), (0.0, 1)):
        expected = (1 * A[..., 0] - 2 * A[..., 1]) / size
        np.testing.assert_allclose(reference.ablation_cam(A, score, [score - 1, score + 2]), expected)


def test_eigen_cam_by_hand():
    """Features (3, 4) times a pattern have the one direction (3, 4) / 5, so the map is 5 times the pattern."""
    pattern = np.array([[1.0, 0.0], [2.0, 3.0]])
    np.testing.assert_allclose(reference.eigen_cam(pattern[..., None] * [3.0, 4.0]), 5 * pattern, atol=1e-12)
    np.testing.assert_allclose(reference.eigen_cam(pattern[..., None] * [-3.0, -4.0]), 5 * pattern, atol=1e-12)
    for sign in (1, -1):  # evidence against the class stays against it
        product = reference.eigen_grad_cam(pattern[..., None] * [1.0, 2.0], sign * np.full((2, 2, 2), [3.0, 2.0]))
        np.testing.assert_allclose(product, sign * 5 * pattern, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_eigen_cam_is_where_power_iteration_ends(seed):
    features = known("gap", seed, 0)[0]
    direction, matrix = np.ones(features.shape[-1]), features.reshape(-1, features.shape[-1])
    for _ in range(2000):
        direction = matrix.T @ (matrix @ direction)
        direction /= np.linalg.norm(direction)
    np.testing.assert_allclose(reference.eigen_cam(features), features @ direction, atol=1e-9)


def test_finer_cam_by_hand():
    """Logit 2.0 has neighbours 2.1 and 1.5, then two at 1.0; against these two the gradients' mean is taken off."""
    scores = np.array([1.0, 2.0, 1.5, 2.1, 1.0])
    assert reference.similar_classes(scores, 1) == [3, 2, 0]
    assert reference.similar_classes(scores, 1, 9) == [3, 2, 0, 4]
    gradients = np.stack([np.full((2, 2, 2), value) for value in ([9.0, 9.0], [5.0, 1.0], [1.0, 2.0], [3.0, 0.0])])
    result = reference.finer_cam(A, gradients, 1, [2, 3], alpha=0.5)
    np.testing.assert_allclose(result, (5 - 1) * A[..., 0] + (1 - 0.5) * A[..., 1])


def test_shapley_cam_of_a_quadratic_adds_up():
    """f = a^2 + 3 a b at one cell: half of the gradient is left, and the map is f(A) - f(0)."""
    features = np.array([[[2.0, 5.0]]])
    slope = np.array([[[2 * 2.0 + 3 * 5.0, 3 * 2.0]]])
    bend = np.array([[[2 * 2.0 + 3 * 5.0, 3 * 2.0]]])  # the Hessian (2, 3 / 3, 0) times (2, 5)
    np.testing.assert_allclose(reference.shapley_cam(features, slope, bend), [[2.0**2 + 3 * 2.0 * 5.0]])


def test_shapley_cam_is_grad_cam_where_the_head_is_linear_and_not_else():
    network, image = tiny_network("mlp", 0), picture(0)
    features, head = forward(network, image)[FEATURES], network[FEATURES:]
    slope, step = gradient(network, image, 1, at=FEATURES), 1e-6
    product = (gradient(head, features * (1 + step), 1) - gradient(head, features * (1 - step), 1)) / (2 * step)
    np.testing.assert_array_equal(reference.shapley_cam(features, slope, product), reference.grad_cam(features, slope))
    slope, product = through_softmax(jacobian(network, image, at=FEATURES), logits(network, image), 1, "rest")
    bent = reference.shapley_cam(features, slope, product(features))
    assert np.abs(bent - reference.grad_cam(features, slope)).max() > 1e-3


def test_upsample_by_hand():
    np.testing.assert_allclose(reference.upsample(np.array([[0.0, 1.0]]), (1, 4)), [[0, 0.25, 0.75, 1]])
    np.testing.assert_allclose(reference.upsample(np.array([[0.0], [3.0]]), (3, 1)), [[0], [1.5], [3]])


def test_upsample_is_opencv_s():
    cv2 = pytest.importorskip("cv2")
    array = np.random.default_rng(0).normal(size=(4, 5, 3))
    for size in ((7, 9), (4, 5), (13, 6)):
        expected = cv2.resize(array, size[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(reference.upsample(array, size), expected, atol=1e-7)


def test_layers_fused_by_hand():
    fine, coarse = np.array([[0.0, 1.0], [2.0, 4.0]]), np.array([[-1.0, 2.0], [0.0, 1.0]])
    result = reference.fuse_layer_cams([fine, coarse, -coarse * 0], [True, False, False], (2, 2))
    np.testing.assert_allclose(result, [[0, 1], [np.tanh(1), np.tanh(2)]])  # the coarse one: 0, 1 / 0, 0.5


@pytest.mark.parametrize("class_index", [0, 2])
@pytest.mark.parametrize("seed", range(4))
def test_identities_with_a_mean_and_one_dense_layer(seed, class_index):
    """Grad-CAM, HiResCAM and XGrad-CAM are CAM / HW; Grad-CAM++ and LayerCAM are its positive weights' part."""
    network, image = tiny_network("gap", seed), picture(seed)
    features, slope, score = known("gap", seed, class_index)
    kernel, bias = network[-1].weights
    cells = features[..., 0].size
    expected = reference.cam(features[None], kernel)[0, ..., class_index] / cells
    for result in (
        reference.grad_cam(features, slope),
        reference.hires_cam(features, slope),
        reference.xgrad_cam(features, slope, epsilon=0.0),
    ):
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)
    assert expected.sum() + bias[class_index] == pytest.approx(score, abs=1e-12)
    positive = reference.cam(features[None], np.maximum(kernel, 0))[0, ..., class_index] / cells
    np.testing.assert_allclose(reference.layer_cam(features, slope), positive, rtol=0, atol=1e-12)
    np.testing.assert_allclose(reference.grad_cam_plus_plus(features, slope), positive, rtol=0, atol=1e-12)

    drops = kernel[:, class_index] * features.mean(axis=(0, 1)) / abs(score)
    ablated = reference.ablation_cam(features, score, without_channels(network, image, class_index))
    np.testing.assert_allclose(ablated, reference.weighted_sum(drops, features), rtol=0, atol=1e-12)

    others = [other for other in range(3) if other != class_index]
    contrast = kernel[:, class_index] - kernel[:, others].mean(axis=1)
    finer = reference.finer_cam(features, jacobian(network, image, at=FEATURES), class_index, others)
    np.testing.assert_allclose(finer, reference.weighted_sum(contrast / cells, features), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_identities_with_a_flattened_map(seed):
    """HiResCAM and XGrad-CAM add up to the logit less its bias; Grad-CAM does not."""
    features, slope, score = known("flatten", seed, 1)
    bias = tiny_network("flatten", seed)[-1].weights[1][1]
    assert reference.hires_cam(features, slope).sum() + bias == pytest.approx(score, abs=1e-12)
    assert reference.xgrad_cam(features, slope, epsilon=0.0).sum() + bias == pytest.approx(score, abs=1e-12)
    assert abs(reference.grad_cam(features, slope).sum() + bias - score) > 1e-2


@pytest.mark.parametrize("seed", range(4))
def test_identities_with_two_dense_layers_behind_a_mean(seed):
    """The gradient is the same at every cell; the map and the dense layers' biases add up to the logit."""
    network, image = tiny_network("mlp", seed), picture(seed)
    features, slope, score = known("mlp", seed, 0)
    result = reference.grad_cam(features, slope)
    np.testing.assert_allclose(reference.hires_cam(features, slope), result, rtol=0, atol=1e-12)
    biases = sum((bias * upstream).sum() for bias, upstream in biases_and_gradients(network, image, 0, ("dense",)))
    assert result.sum() + biases == pytest.approx(score, abs=1e-12)
