"""Every method against its reference in NumPy (tests/support), through the public door, on tiny networks."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from support import reference, reference_perturbation, reference_pixels
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

import keras_cam
from keras_cam import explain

TOLERANCE = 1e-5  # of the largest magnitude of each map
NETWORKS = (("gap", 0), ("flatten", 1), ("mlp", 2))
CLASSES, BATCH = 3, 3
PICTURES = np.stack([picture(index) for index in range(BATCH)]).astype("float32")


def keras_model(network, activation="softmax"):
    """The same network in Keras; its first ReLU in the convolution, its second a layer of its own."""
    inputs = x = keras.Input(PICTURES.shape[1:])
    first = True
    for index, layer in enumerate(network):
        if layer.kind == "conv":
            kernel = layer.weights[0].shape
            options = {"strides": layer.stride, "padding": layer.padding, "activation": "relu" if first else None}
            x = layers.Conv2D(kernel[3], kernel[:2], **options)(x)
        elif layer.kind == "dense":
            last = index == len(network) - 1
            x = layers.Dense(layer.weights[0].shape[1], activation=activation if last else None)(x)
        elif layer.kind == "gap":
            x = layers.GlobalAveragePooling2D()(x)
        elif layer.kind == "flatten":
            x = layers.Flatten()(x)
        elif first:
            first = False
        else:
            x = layers.ReLU()(x)
    model = keras.Model(inputs, x)
    model.set_weights([array for layer in network for array in layer.weights])
    return model


@functools.cache
def tiny(head, seed):
    """A tiny network in both forms."""
    network = tiny_network(head, seed)
    return network, keras_model(network)


@functools.cache
def known(head, seed, index, class_index):
    """What a reference may ask for: one picture, one class, in double precision."""
    network, image = tiny_network(head, seed), PICTURES[index].astype("float64")
    values = forward(network, image)
    return SimpleNamespace(
        network=network,
        image=image,
        features=values[FEATURES],
        gradients=gradient(network, image, class_index, at=FEATURES),
        scores=values[-1],
        class_index=class_index,
        index=index,
        score_of=lambda image: logits(network, image)[class_index],
        gradient_of=lambda image, **options: gradient(network, image, class_index, **options),
    )


def noisy(one, samples, noise, seed):
    """Copies of the picture with the noise that `smooth_grad` says it draws."""
    rng = np.random.default_rng(seed)
    spread = noise * np.ptp(one.image)
    return [one.image + spread * rng.normal(size=one.image.shape) for _ in range(samples)]


def noise_of_masks(one, samples, noise, seed):
    """(samples, height, width, K), as `ss_cam` says it draws them."""
    steps, channels, size = range(samples), range(one.features.shape[-1]), one.image.shape[:2]
    drawn = [[np.random.default_rng((seed, step, k)).normal(size=size) for k in channels] for step in steps]
    return noise * np.moveaxis(drawn, 1, -1)


def cam(one):
    """Zhou's map where the head is a mean and one dense layer; elsewhere cells x gradient x features, as documented."""
    if [layer.kind for layer in one.network[FEATURES:]] == ["gap", "dense"]:
        return reference.cam(one.features[None], one.network[-1].weights[0])[0, ..., one.class_index]
    return one.features[..., 0].size * reference.hires_cam(one.features, one.gradients)


def smooth_grad_cam_plus_plus(one, samples, noise, seed):
    copies = noisy(one, samples, noise, seed)
    return reference.smooth_grad_cam_plus_plus(one.features, [one.gradient_of(copy, at=FEATURES) for copy in copies])


def finer_cam(one, references=3, strength=1.0, against=None):
    others = reference.similar_classes(one.scores, one.class_index, references)
    if against is not None:
        others = [other for other in np.atleast_1d(against) if other != one.class_index]
    gradients = jacobian(one.network, one.image, at=FEATURES)
    if not others:
        return np.zeros(one.features.shape[:2])
    return reference.finer_cam(one.features, gradients, one.class_index, others, alpha=strength)


def ablation_cam(one):
    without = without_channels(one.network, one.image, one.class_index)
    return reference.ablation_cam(one.features, one.scores[one.class_index], without)


def guided_grad_cam(one):
    heat = reference.grad_cam(one.features, one.gradients)
    return reference_pixels.guided_grad_cam(one.gradient_of(one.image, guided=True), heat)


def full_grad(one):
    parts = biases_and_gradients(one.network, one.image, one.class_index, ("conv",))
    return reference_pixels.full_grad(one.image, one.gradient_of(one.image), parts)


def integrated_gradients(one, samples, baseline=0.0):
    empty = np.zeros_like(one.image) + baseline
    return reference_pixels.integrated_gradients(one.gradient_of, one.image, empty, samples)


def score_cam(one, **options):
    return reference_perturbation.score_cam(one.score_of, one.image, one.features, **options)


def ss_cam(one, baseline=0.0, **noise):
    return reference_perturbation.ss_cam(one.score_of, one.image, one.features, noise_of_masks(one, **noise), baseline)


def is_cam(one, samples, baseline=0.0):
    return reference_perturbation.is_cam(one.score_of, one.image, one.features, samples, baseline)


NOISE = {"samples": 3, "noise": 0.2, "seed": 5}
MASK_NOISE = {"samples": 2, "noise": 0.7, "seed": 4}
# method -> reference of one picture and class, and options for both
REFERENCES = {
    "cam": (cam, {}),
    "grad_cam": (lambda one: reference.grad_cam(one.features, one.gradients), {}),
    "grad_cam_plus_plus": (lambda one: reference.grad_cam_plus_plus(one.features, one.gradients), {}),
    "hires_cam": (lambda one: reference.hires_cam(one.features, one.gradients), {}),
    "layer_cam": (lambda one: reference.layer_cam(one.features, one.gradients), {}),
    "xgrad_cam": (lambda one: reference.xgrad_cam(one.features, one.gradients), {}),
    "finer_cam": (finer_cam, {}),
    "shapley_cam": (lambda one: reference.shapley_cam(one.features, one.gradients, 0 * one.gradients), {}),
    "smooth_grad_cam_plus_plus": (smooth_grad_cam_plus_plus, NOISE),
    "eigen_cam": (lambda one: reference.eigen_cam(one.features), {}),
    "eigen_grad_cam": (lambda one: reference.eigen_grad_cam(one.features, one.gradients), {}),
    "score_cam": (score_cam, {}),
    "ss_cam": (ss_cam, MASK_NOISE),
    "is_cam": (is_cam, {"samples": 4}),
    "ablation_cam": (ablation_cam, {}),
    "saliency": (lambda one: reference_pixels.saliency(one.gradient_of(one.image)), {}),
    "smooth_grad": (
        lambda one, **noise: reference_pixels.smooth_grad(one.gradient_of, noisy(one, **noise)),
        NOISE,
    ),
    "integrated_gradients": (integrated_gradients, {"samples": 5}),
    "full_grad": (full_grad, {}),
    "guided_backprop": (lambda one: reference_pixels.guided_backprop(one.gradient_of(one.image, guided=True)), {}),
    "guided_grad_cam": (guided_grad_cam, {}),
}
WITHOUT_REFERENCE = {"random_cam"}  # a baseline of random weights: its own test is below


def far(maps, expected):
    """Largest difference as a share of the largest magnitude expected; of a map of zeros, the magnitude itself."""
    assert maps.shape == expected.shape and maps.dtype == np.float32
    return np.abs(maps - expected).max() / (np.abs(expected).max() or 1)


def assert_agrees(head, seed, method, reference_of, options, **target):
    """All classes of all pictures, and one class of one picture."""
    _, model = tiny(head, seed)
    ones = [[known(head, seed, index, class_index) for class_index in range(CLASSES)] for index in range(BATCH)]
    expected = np.array([[reference_of(one, **options) for one in row] for row in ones])
    maps = explain(model, PICTURES, classes="all", method=method, **options, **target).maps
    worst = max(far(*pair) for image in range(BATCH) for pair in zip(maps[image], expected[image], strict=True))
    alone = explain(model, PICTURES[1:2], classes=2, method=method, **options, **target).maps
    assert max(worst, far(alone, expected[1:2, 2:])) < TOLERANCE


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # some guided maps are, rightly, zero everywhere
@pytest.mark.parametrize(("head", "seed"), NETWORKS)
@pytest.mark.parametrize("method", REFERENCES)
def test_agrees_with_the_paper(method, head, seed):
    reference_of, options = REFERENCES[method]
    assert_agrees(head, seed, "auto" if method == "cam" and head != "gap" else method, reference_of, options)


COLOUR = np.array([0.4, -1.3])  # one number for each channel of the pictures
PICTURE = PICTURES[0].astype("float64")
OTHER_OPTIONS = {
    "nearest class alone": ("finer_cam", finer_cam, {"references": 1, "strength": 0.5}),
    "more references than there are": ("finer_cam", lambda one, references: finer_cam(one), {"references": 9}),
    "told from one class": ("finer_cam", finer_cam, {"against": 1}),
    "told from two classes": ("finer_cam", finer_cam, {"against": [2, 0], "strength": 0.7}),
    "two channels": ("score_cam", score_cam, {"max_channels": 2}),
    "masks over another number": ("score_cam", score_cam, {"baseline": 0.4}),
    "masks over a colour": ("score_cam", score_cam, {"baseline": COLOUR, "max_channels": 3}),
    "masks over another picture": ("score_cam", score_cam, {"baseline": PICTURE}),
    "noisy masks over a number": ("ss_cam", ss_cam, {**MASK_NOISE, "baseline": -0.6}),
    "noisy masks over a colour": ("ss_cam", ss_cam, {**MASK_NOISE, "baseline": COLOUR}),
    "faded masks over a colour": ("is_cam", is_cam, {"samples": 3, "baseline": COLOUR}),
    "from another number": ("integrated_gradients", integrated_gradients, {"samples": 3, "baseline": 0.4}),
    "from a colour": ("integrated_gradients", integrated_gradients, {"samples": 3, "baseline": COLOUR}),
    "from another picture": ("integrated_gradients", integrated_gradients, {"samples": 3, "baseline": PICTURE}),
}


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # a class told from itself, a picture from itself
@pytest.mark.parametrize("name", OTHER_OPTIONS)
def test_agrees_with_other_options(name):
    assert_agrees("flatten", 0, *OTHER_OPTIONS[name])


@pytest.mark.parametrize("target", ["probability", "rest"])
@pytest.mark.parametrize(("head", "seed"), NETWORKS)
def test_shapley_cam_where_the_target_bends(head, seed, target):
    """The paper's own target and the probability; the logit's Hessian is zero in all three heads."""

    def reference_of(one):
        gradients = jacobian(one.network, one.image, at=FEATURES)
        first, product = through_softmax(gradients, one.scores, one.class_index, target)
        return reference.shapley_cam(one.features, first, product(one.features))

    aim = keras_cam.targets.rest() if target == "rest" else target
    assert_agrees(head, seed, "shapley_cam", reference_of, {}, target=aim)
