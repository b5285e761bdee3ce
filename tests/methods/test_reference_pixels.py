"""The references at the pixels and those that mask the picture: numbers by hand and what they must add up to."""

import numpy as np
import pytest
from support import reference_perturbation as perturbation
from support import reference_pixels as pixels
from support.reference_network import (
    FEATURES,
    Layer,
    biases_and_gradients,
    forward,
    gradient,
    logits,
    picture,
    tiny_network,
)

NETWORKS = [(head, seed) for head in ("gap", "flatten", "mlp") for seed in (0, 1)]

# Features equal to the picture (a 1 x 1 convolution that copies), and a class that counts the first channel only.
COPY = Layer("conv", (np.eye(2)[None, None], np.zeros(2)))
FIRST_CHANNEL = [COPY, Layer("gap"), Layer("dense", (np.array([[8.0], [0.0]]), np.array([3.0])))]
SPOTS = np.zeros((2, 2, 2))
SPOTS[0, 0, 0], SPOTS[1, 1, 1] = 4.0, 5.0


def first_score(image):
    """8 * mean of the first channel + 3."""
    return logits(FIRST_CHANNEL, image)[0]


def map_with_scores(first, second):
    """The map of SPOTS for the two channels' scores."""
    odds = np.exp([first, second])
    return SPOTS @ (odds / odds.sum())


def test_masks_by_hand():
    features = np.stack([[[1.0, 3.0]], [[7.0, 7.0]]], axis=-1)  # the second channel is constant
    np.testing.assert_allclose(perturbation.masks(features, (1, 4))[0, :, 0], [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(perturbation.masks(features, (1, 4))[0, :, 1], np.zeros(4))
    peak = np.array([[[0.0], [1.0], [0.0]]])  # upsampled: 0, 0.625, 0.625, 0, and stretched only then
    np.testing.assert_allclose(perturbation.masks(peak, (1, 4))[0, :, 0], [0, 1, 1, 0])


def test_score_cam_points_to_the_channel_that_matters():
    """Seen through the first channel 8 * 4 / 4 cells is left of the score, through the second nothing."""
    result = perturbation.score_cam(first_score, SPOTS, SPOTS)
    np.testing.assert_allclose(result, map_with_scores(8, 0), rtol=1e-12)
    assert np.unravel_index(result.argmax(), result.shape) == (0, 0)


def test_score_cam_of_the_widest_channels():
    """The second spot is the larger one, so with one channel it takes all the weight."""
    np.testing.assert_allclose(perturbation.score_cam(first_score, SPOTS, SPOTS, max_channels=1), SPOTS[..., 1])
    assert perturbation.widest_channels(np.stack([SPOTS[..., 0]] * 3, axis=-1), 2) == [0, 1]


def test_ss_cam_by_hand():
    """A quarter of the second mask at the first spot is a score of 8 * (4 / 4) / 4 cells; opposite steps cancel."""
    noise = np.zeros((1, 2, 2, 2))
    np.testing.assert_allclose(perturbation.ss_cam(first_score, SPOTS, SPOTS, noise), map_with_scores(8, 0))
    noise[0, 0, 0, 1] = 0.25
    np.testing.assert_allclose(perturbation.ss_cam(first_score, SPOTS, SPOTS, noise), map_with_scores(8, 2))
    both = np.concatenate([noise, -noise])
    np.testing.assert_allclose(perturbation.ss_cam(first_score, SPOTS, SPOTS, both), map_with_scores(8, 0))


def test_is_cam_by_hand():
    """Strengths 1/2 and 1, so three quarters of what a linear score is at full strength; one step is Score-CAM."""
    np.testing.assert_allclose(perturbation.is_cam(first_score, SPOTS, SPOTS, 2), map_with_scores(6, 0))
    expected = perturbation.score_cam(first_score, SPOTS, SPOTS)
    np.testing.assert_allclose(perturbation.is_cam(first_score, SPOTS, SPOTS, 1), expected)


@pytest.mark.parametrize(("head", "seed"), NETWORKS)
def test_masking_methods_weigh_like_a_mean(head, seed):
    """The weights are positive and add up to 1, so each cell lies between its channels' smallest and largest value."""
    network, image = tiny_network(head, seed), picture(seed)
    features = forward(network, image)[FEATURES]

    def score_of(masked):
        return logits(network, masked)[1]

    noise = np.random.default_rng(seed).normal(0, 2, (2, *image.shape[:2], features.shape[-1]))
    maps = [
        perturbation.score_cam(score_of, image, features),
        perturbation.ss_cam(score_of, image, features, noise),
        perturbation.is_cam(score_of, image, features, 3),
    ]
    for one in maps:
        assert np.all(one >= features.min(axis=-1) - 1e-12) and np.all(one <= features.max(axis=-1) + 1e-12)
    assert np.abs(maps[0] - maps[1]).max() > 1e-3 and np.abs(maps[0] - maps[2]).max() > 1e-4


def test_saliency_and_smooth_grad_by_hand():
    """At x the gradient is 2 x: the noise of opposite signs cancels, that of the same sign does not."""
    image = np.array([[[1.0, -3.0], [2.0, 0.0]]])
    np.testing.assert_array_equal(pixels.saliency(2 * image), [[6, 4]])
    noisy = [image + 1, image - 1, image + 3]
    np.testing.assert_allclose(pixels.smooth_grad(lambda one: 2 * one, noisy), [[4, 6]])


def test_integrated_gradients_of_a_quadratic_by_hand():
    """f = sum of the squares: x^2 - x0^2 at each entry, whatever the number of steps, added up over the channels."""
    image, baseline = np.array([[[3.0, 1.0], [0.0, -2.0]]]), np.array([[[1.0, 0.0], [1.0, 0.0]]])
    for steps in (1, 5):
        result = pixels.integrated_gradients(lambda one: 2 * one, image, baseline, steps)
        np.testing.assert_allclose(result, [[9 - 1 + 1, -1 + 4]])


@pytest.mark.parametrize(("head", "seed"), [("flatten", 0), ("mlp", 1)])
def test_integrated_gradients_add_up(head, seed):
    """Completeness: the map's sum is f(x) - f(baseline), up to the steps that straddle a ReLU's kink."""
    network, image = tiny_network(head, seed), picture(seed)
    baseline = np.full_like(image, 0.1)
    result = pixels.integrated_gradients(lambda one: gradient(network, one, 2), image, baseline, 1000)
    rise = logits(network, image)[2] - logits(network, baseline)[2]
    assert result.sum() == pytest.approx(rise, abs=1e-3)
    assert abs(rise) > 0.1


def test_guided_grad_cam_by_hand():
    guided = np.array([[[1.0, -2.0], [3.0, 0.0], [1.0, 1.0], [-4.0, 2.0]]])
    result = pixels.guided_grad_cam(guided, np.array([[-5.0, 2.0]]))  # upsampled: 0, 0.5, 1.5, 2
    np.testing.assert_allclose(result, [[0, 1.5, 1.5, 8]])
    np.testing.assert_array_equal(pixels.guided_backprop(guided), [[2, 3, 1, 4]])


def test_guided_grad_cam_is_guided_backprop_where_the_map_is_one():
    network, image = tiny_network("mlp", 0), picture(0)
    guided = gradient(network, image, 1, guided=True)
    result = pixels.guided_grad_cam(guided, np.ones((4, 5)))
    np.testing.assert_allclose(result, pixels.guided_backprop(guided), atol=1e-12)
    assert np.abs(guided - gradient(network, image, 1)).max() > 1e-3


def test_full_grad_by_hand():
    """Sizes 2, 4 become 0, 1; those of a layer (1, 2 / 3, 4 over two channels) become 0, 1/3 / 2/3, 1."""
    image, slope = np.array([[[2.0], [-4.0]]]), np.ones((1, 2, 1))
    layer = (np.array([1.0, 2.0]), np.array([[[1.0, 1.0], [3.0, -2.0]]]))
    np.testing.assert_allclose(pixels.full_grad(image, slope, [layer]), [[0 + 0 + 1 / 3, 1 + 2 / 3 + 1]])
    nothing = (np.zeros(2), np.ones((1, 2, 2)))
    np.testing.assert_allclose(pixels.full_grad(image, slope, [nothing]), [[0, 1]])


@pytest.mark.parametrize(("head", "seed"), NETWORKS)
def test_full_gradients_add_up_to_the_logit(head, seed):
    network, image = tiny_network(head, seed), picture(seed)
    for class_index, score in enumerate(logits(network, image)):
        slope = gradient(network, image, class_index)
        total = pixels.full_gradient_sum(image, slope, biases_and_gradients(network, image, class_index))
        assert total == pytest.approx(score, abs=1e-12)


def test_full_grad_has_a_layer_for_each_convolution():
    network, image = tiny_network("gap", 0), picture(0)
    slope, layers = gradient(network, image, 0), biases_and_gradients(network, image, 0, ("conv",))
    assert [upstream.shape for _, upstream in layers] == [(7, 9, 3), (4, 5, 4)]
    parts = [pixels.full_grad(image, slope, [layer]) - pixels.full_grad(image, slope, []) for layer in layers]
    whole = pixels.full_grad(image, slope, layers) - pixels.full_grad(image, slope, [])
    np.testing.assert_allclose(whole, parts[0] + parts[1], atol=1e-12)
    assert parts[0].max() > 0.1 and parts[1].max() > 0.1
