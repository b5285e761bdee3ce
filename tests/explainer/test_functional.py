"""explain and compute_cam: by hand, in the shape that was asked for, and with nothing left behind."""

import gc
import os

import keras
import numpy as np
import pytest
from keras import layers
from support import small_models, zoo
from support.zoo import IMAGES
from support.zoo_parts import after_pooling, dense

from keras_cam import CAMWarning, compute_cam, explain

PICTURES = small_models.images()


# by hand


@pytest.fixture(scope="module")
def by_hand():
    """2 x 2 pixels whose three channels are the feature maps; two classes."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            layers.Conv2D(3, 1, use_bias=False, name="cells"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.set_weights([np.eye(3)[None, None], np.array([[1, 0], [0, 2], [-1, 4]]), np.array([0.5, -1])])
    return model


IMAGE = np.array([[[1, 0, 0], [3, 1, 0]], [[0, 0, 2], [0, 3, 2]]], np.float32)
MAPS = [[[1, 3], [-2, -2]], [[0, 2], [8, 14]]]


def test_an_explanation_by_hand(by_hand):
    result = explain(by_hand, IMAGE, classes="all", class_names=["cat", "dog"])
    assert result.maps.tolist() == [MAPS] and result.maps.dtype == np.float32
    assert result.class_indices.tolist() == [[0, 1]]
    assert result.bias.tolist() == [[0.5, -1]] and result.logits.tolist() == [[0.5, 5]]
    odds = np.exp(4.5)
    np.testing.assert_allclose(result.probabilities, [[1 / (1 + odds), odds / (1 + odds)]], rtol=1e-6)
    assert result.completeness.tolist() == [[1, 1]]
    assert (result.method, result.layer, result.class_names) == ("cam", "cells", ("cat", "dog"))
    assert [image.shape for image in result.images] == [(2, 2, 3)]


def test_a_heat_map_by_hand(by_hand):
    np.testing.assert_allclose(compute_cam(by_hand, IMAGE), [[0, 1 / 7], [4 / 7, 1]], rtol=1e-6)
    np.testing.assert_allclose(compute_cam(by_hand, IMAGE, 0), [[1 / 3, 1], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(compute_cam(by_hand, IMAGE, 0, normalize="minmax"), [[0.6, 1], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(compute_cam(by_hand, IMAGE, 0, normalize=(-2, 8)), [[0.3, 0.5], [0, 0]], rtol=1e-6)
    assert compute_cam(by_hand, IMAGE, "all", normalize=None).tolist() == MAPS
    batch = compute_cam(by_hand, IMAGE[np.newaxis], "all", normalize="batch")
    np.testing.assert_allclose(batch, [[[[1 / 14, 3 / 14], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]]], rtol=1e-6)


def test_a_larger_picture_by_hand(by_hand):
    """Each cell sees 2 x 2 pixels; between the centres of the cells the map runs straight."""
    heatmap = compute_cam(by_hand, IMAGE.repeat(2, axis=0).repeat(2, axis=1), 1, normalize=None)
    by_column = np.array([[0, 2], [8, 14]]) @ [[1, 0.75, 0.25, 0], [0, 0.25, 0.75, 1]]
    np.testing.assert_allclose(heatmap, np.array([[1, 0.75, 0.25, 0], [0, 0.25, 0.75, 1]]).T @ by_column, rtol=1e-6)


# shapes


@pytest.mark.parametrize(
    ("class_index", "axes"),
    [(None, ()), (1, ()), ("dog", ()), ("top1", ()), ([1], (1,)), ("top2", (2,)), ("all", (3,)), ([0, 1], (2,))],
    ids=str,
)
def test_shape_of_compute_cam(class_index, axes):
    model, names = small_models.model("functional"), ["cat", "dog", "cow"]
    size = PICTURES.shape[1:3]
    assert compute_cam(model, PICTURES[0], class_index, class_names=names).shape == (*axes, *size)
    assert compute_cam(model, PICTURES, class_index, class_names=names).shape == (3, *axes, *size)
    assert compute_cam(model, PICTURES[:1], class_index, class_names=names).shape == (1, *axes, *size)


def test_a_class_per_image_as_an_array():
    model = small_models.model("functional")
    heatmaps = compute_cam(model, PICTURES, np.array([2, 0, 1]))
    assert heatmaps.shape == PICTURES.shape[:3]
    for index, class_index in enumerate((2, 0, 1)):
        alone = compute_cam(model, PICTURES[index], class_index)
        np.testing.assert_allclose(heatmaps[index], alone, rtol=1e-4, atol=1e-5)


# what is said, and what stays


def test_a_network_that_sees_nothing_is_told():
    """A dead ReLU makes maps of zeros: a black picture must not pass for an answer."""
    model = small_models.model("Sequential", fresh=True)
    model.get_layer("conv").bias.assign([-1e3] * 5)
    with pytest.warns(CAMWarning, match="zero"):
        compute_cam(model, PICTURES)


@pytest.mark.filterwarnings("ignore:.* speaks against:keras_cam.CAMWarning")  # of random weights
def test_a_thousand_calls_leave_nothing_behind():
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("reads the memory of this process from /proc")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    def call(times):
        for index in range(times):
            compute_cam(model, picture, index % 2)
        gc.collect()

    call(100)
    objects, size = len(gc.get_objects()), resident()
    call(1000)
    assert len(gc.get_objects()) - objects < 200  # one object a call would be 1,000
    assert resident() - size < 6e6  # one 64 x 64 float32 map a call would be 16 MB


def test_evidence_against_a_class_is_kept():
    """All evidence negative: black after the positive part is taken, and there in full in the signed map."""
    model = after_pooling(dense(2, activation=None))
    zoo.randomize(model)
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([-np.abs(kernel), bias])
    maps = compute_cam(model, IMAGES, "all", normalize=None)
    assert maps.max() <= 0 and maps.min() < -0.1
    assert np.ptp(compute_cam(model, IMAGES, "all", normalize="minmax"), axis=(2, 3)).min() > 0.99


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize("normalize", ["image", "minmax", "batch", (0.0, 1.0), None])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e-30, 1e6])
@pytest.mark.parametrize("name", ["functional", "LayerNormalization, as in ConvNeXt", "cosine", "GeM of operations"])
def test_constant_images_make_no_nan(name, value, normalize):
    constant = np.full((2, 8, 12, 3), value, "float32")
    heatmaps = compute_cam(zoo.model(name), constant, "all", normalize=normalize)
    assert np.isfinite(heatmaps).all()
