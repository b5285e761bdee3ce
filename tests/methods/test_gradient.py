"""Formulas of gradients on tensors by hand; each method against its paper is in test_methods.py."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_cam.methods.gradient import finer_cam, grad_cam, hires_cam, layer_cam, noisy_images, weighted

FEATURES = np.array([[[[1.0, 2.0], [3.0, 0.0]]]], "float32")  # one image of 1 x 2 cells with two channels
GRADIENTS = np.array([[[[[1.0, -1.0], [3.0, 5.0]]]]], "float32")  # one class


def view_of(gradients=GRADIENTS, **facts):
    """What a method asks for, as numbers."""
    return SimpleNamespace(
        features=keras.ops.convert_to_tensor(FEATURES),
        gradients=lambda weights=None, per_cell=True: keras.ops.convert_to_tensor(gradients),
        **facts,
    )


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_weighted_by_hand():
    maps = weighted(*map(keras.ops.convert_to_tensor, (FEATURES, np.array([[[10.0, 1.0], [0.0, -1.0]]], "float32"))))
    assert array(maps).tolist() == [[[[12, 30]], [[-2, 0]]]]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (grad_cam, [[[[2 * 1 + 2 * 2, 2 * 3]]]]),  # mean gradients 2 and 2
        (hires_cam, [[[[1 * 1 - 1 * 2, 3 * 3]]]]),
        (layer_cam, [[[[1 * 1, 3 * 3]]]]),
    ],
)
def test_by_hand(method, expected):
    assert array(method(view_of())).tolist() == expected


@pytest.mark.parametrize("method", [grad_cam, hires_cam])
def test_a_gradient_that_all_cells_share(method):
    """As a pooled head has it: one in place of as many equal ones."""
    shared = np.array([[[[[2.0, -1.0]]]]], "float32")
    assert array(method(view_of(shared))).tolist() == [[[[0, 6]]]]


def test_weights_of_finer_cam_by_hand():
    """Class 0 told from its nearest, class 2, and from one that is named, itself left out."""
    asked = []
    view = view_of(
        class_indices=keras.ops.convert_to_tensor([[0]]),
        all_scores=keras.ops.convert_to_tensor([[5.0, 1.0, 4.0]]),
        scores=keras.ops.convert_to_tensor([[5.0]]),
    )

    def gradients(weights, per_cell):
        asked.append(array(weights).tolist())
        return keras.ops.convert_to_tensor(GRADIENTS)

    view.gradients = gradients
    finer_cam(view, references=1, strength=0.5)
    finer_cam(view, references=9)
    finer_cam(view, against=[0, 1])
    finer_cam(view, against=0)
    assert asked == [[[[1, 0, -0.5]]], [[[1, -0.5, -0.5]]], [[[1, -1, 0]]], [[[0, 0, 0]]]]


def test_noise_is_of_the_seed_and_the_range_of_each_image():
    images = np.stack([np.zeros((4, 5, 1)), np.full((4, 5, 1), 2.0)]).astype("float32")
    images[1, 0, 0] = 12.0  # a range of 10, and one of 0
    view = SimpleNamespace(images=keras.ops.convert_to_tensor(images), steps=range)
    noisy = [array(copy) for copy in noisy_images(view, 2, 0.1, 7)]
    drawn = np.random.default_rng(7)
    for copy in noisy:
        np.testing.assert_array_equal(copy[0], images[0])
        np.testing.assert_allclose(copy[1], images[1] + drawn.normal(size=(4, 5, 1)), rtol=1e-5)
