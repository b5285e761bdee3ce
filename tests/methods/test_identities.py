"""What must hold between methods, over the zoo: the identities of pooled heads, sums that are scores, sanity checks."""

import functools

import keras
import numpy as np
import pytest
from keras import layers
from support import zoo
from support.reference_network import biases_and_gradients
from support.zoo import ZOO
from support.zoo_kinds import by_kind
from test_methods import BATCH, CLASSES, NETWORKS, PICTURES, known, tiny

from keras_cam import METHODS, explain
from keras_cam.attribution.multiscale import add_on_finest_grid
from keras_cam.model.cut import cut
from keras_cam.model.head import AFFINE

AFFINE_HEADS = [name for name, entry in ZOO.items() if entry.kind == AFFINE and not entry.placeless]
pytestmark = pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # models with random weights: maps of zeros


def asked(model, inputs, *methods, **options):
    """What several methods, or functions of a view, give for all classes: lists, one item for each feature map."""
    found = []

    def ask(view):
        results = [METHODS[method].function(view) if isinstance(method, str) else method(view) for method in methods]
        found.append(keras.tree.map_structure(keras.ops.convert_to_numpy, results))
        return METHODS["grad_cam"].function(view)

    result = explain(model, inputs, classes="all", method=ask, **options)
    return result, *map(list, zip(*found, strict=True))


def on_one_grid(maps, found):
    """The sum of maps of several sizes on the finest of them."""
    return keras.ops.convert_to_numpy(add_on_finest_grid([keras.ops.convert_to_tensor(one) for one in maps], found))


@by_kind(AFFINE_HEADS)
def test_identities_of_an_affine_head(name):
    """Where every cell weighs the same: cells x Grad-CAM = CAM = cells x HiResCAM, and LayerCAM = Grad-CAM++."""
    asks = ("cam", "grad_cam", "hires_cam", "xgrad_cam", "layer_cam", "grad_cam_plus_plus", lambda view: view.features)
    result, decomposed, grad_cam, hires_cam, xgrad_cam, layer_cam, plus_plus, features = asked(
        zoo.model(name), zoo.inputs(name), *asks, **ZOO[name].options
    )
    cam, _ = decomposed[0]
    found = cut(zoo.model(name), **ZOO[name].options)

    def times_cells(maps):
        return on_one_grid([np.prod(one.shape[2:]) * one for one in maps], found)

    near = {"rtol": 0, "atol": max(1e-5, ZOO[name].tolerance) * np.abs(cam).max()}
    np.testing.assert_allclose(result.maps, on_one_grid(grad_cam, found), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(times_cells(grad_cam), cam, **near)
    np.testing.assert_allclose(times_cells(hires_cam), cam, **near)
    np.testing.assert_allclose(times_cells(layer_cam), times_cells(plus_plus), **near)
    axes = tuple(range(1, cam.ndim - 1))
    if all(((np.abs(one.sum(axis=axes)) > 0.5) | ~one.any(axis=axes)).all() for one in features):  # 1e-6 is added
        np.testing.assert_allclose(times_cells(xgrad_cam), cam, **near)


@pytest.mark.parametrize("name", ["functional", "Flatten and MLP", "hidden GELU", "siamese, right", "Conv1D, flat"])
def test_integrated_gradients_add_up_to_what_the_image_adds(name):
    """The score less that of an empty image; what else the model is given stays."""
    model, inputs, options = zoo.model(name), zoo.inputs(name), ZOO[name].options
    result = explain(model, inputs, classes="all", method="integrated_gradients", samples=100, **options)
    empty = [0 * inputs[0], inputs[1]] if isinstance(inputs, list) else 0 * inputs
    if "image_input" in options:
        empty = [inputs[0], 0 * inputs[1]]
    gained = result.logits - explain(model, empty, classes="all", method="auto", **options).logits
    sums = result.maps.sum(axis=tuple(range(2, result.maps.ndim)))
    np.testing.assert_allclose(sums, gained, rtol=0, atol=1e-2 * np.abs(gained).max())  # kinks of ReLUs


def parts_of_score(view):
    """Image x gradient and every bias x gradient, all added up: (N, C)."""
    image, parts = view.input_and_bias_gradients()
    return sum(keras.ops.sum(part, axis=tuple(range(2, len(part.shape)))) for part in (image, *parts))


@pytest.mark.parametrize(("head", "seed"), NETWORKS)
def test_parts_of_a_relu_network_are_its_score(head, seed):
    """With the biases of dense layers, which have no place, as the references have them."""
    _, found = asked(tiny(head, seed)[1], PICTURES, parts_of_score)
    for index in range(BATCH):
        for class_index in range(CLASSES):
            one = known(head, seed, index, class_index)
            placeless = biases_and_gradients(one.network, one.image, class_index, ("dense",))
            rest = sum((bias * slope).sum() for bias, slope in placeless)
            np.testing.assert_allclose(
                found[0][index, class_index] + rest, one.scores[class_index], rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize(
    "name",
    [
        "Sequential",
        "nested four deep",
        "residual",
        "Inception",
        "channels first",
        "backbone is a custom layer",
        "everything is a custom layer",
        "subclassed",
        "whole classifier nested",
        "Reshape, then mean",
        "Conv3D",
    ],
)
def test_parts_of_a_pooled_relu_network_are_the_mean_of_its_cam(name):
    """Batch norm, rescaling and custom layers included: all that is left of the score is the CAM's own bias."""
    result, parts, decomposed = asked(zoo.model(name), zoo.inputs(name), parts_of_score, "cam", **ZOO[name].options)
    _, bias = decomposed[0]
    np.testing.assert_allclose(parts[0] + bias, result.logits, rtol=0, atol=1e-5 * np.abs(result.logits).max())


# whether it says something of the class (Adebayo et al. 2018)

BLOBS = np.kron(np.random.default_rng(0).normal(size=(6, 6, 8, 3)), np.ones((1, 4, 4, 1))).astype("float32")
ABOUT_THE_CLASS = (
    *("cam", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam", "finer_cam", "ablation_cam"),
    *("eigen_grad_cam", "saliency", "integrated_gradients", "guided_grad_cam"),
)


@functools.cache
def deep_network(seed_of_head):
    """Five convolutions, always the same, and a head with weights of its own."""
    inputs = x = keras.Input(BLOBS.shape[1:])
    for index in range(5):
        x = layers.Conv2D(16, 3, strides=2 if index in (1, 3) else 1, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    *body, kernel, _ = model.weights
    for generator, weights in ((np.random.default_rng(1), body), (np.random.default_rng((2, seed_of_head)), [kernel])):
        for one in weights:  # biases stay 0; NumPy's numbers are the same on every backend
            if len(one.shape) > 1:
                one.assign(generator.normal(0, np.sqrt(2 / np.prod(one.shape[:-1])), one.shape))
    return model


@functools.cache
def maps_of(seed_of_head, method):
    return explain(deep_network(seed_of_head), BLOBS, classes=[0, 1], method=method).maps


def similarity(some, others):
    """Mean rank correlation of maps."""
    ranks = [maps.reshape(len(maps), -1).argsort(axis=1).argsort(axis=1) for maps in (some, others)]
    return np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(*ranks, strict=True)])


def similar_classes(method):
    """Of the maps of two classes, mean over two heads."""
    return np.mean([similarity(*np.moveaxis(maps_of(head, method), 1, 0)) for head in (0, 1)])


def similar_heads(method):
    """Of the maps under two heads on the same features, mean over two classes."""
    return np.mean([similarity(maps_of(0, method)[:, index], maps_of(1, method)[:, index]) for index in (0, 1)])


@pytest.mark.parametrize("method", ABOUT_THE_CLASS)
def test_maps_are_about_the_class(method):
    assert similar_classes(method) < 0.65
    assert similar_heads(method) < 0.65


def test_guided_backprop_hardly_cares_for_class_and_head():
    """Which is why it fails the sanity checks: 0.9 where Grad-CAM has 0.2 and 0.3."""
    for similar in (similar_classes, similar_heads):
        assert similar("guided_backprop") > 0.8
        assert similar("guided_backprop") - similar("grad_cam") > 0.5


def test_eigen_cam_is_the_same_for_every_class_and_head():
    maps = maps_of(0, "eigen_cam")
    np.testing.assert_array_equal(maps[:, 0], maps[:, 1])
    np.testing.assert_array_equal(maps, maps_of(1, "eigen_cam"))
    assert maps.sum(axis=(2, 3)).min() > 0
