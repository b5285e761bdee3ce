"""Maps of pixels on gradients by hand; each method against its paper is in test_methods.py."""

from types import SimpleNamespace

import keras
import numpy as np

from keras_cam.methods.pixel import full_grad, guided_grad_cam, integrated_gradients, saliency

IMAGE = np.array([[[[1.0, -2.0], [3.0, 0.0]]]], "float32")  # one image of 1 x 2 pixels with two channels


def tensor(values):
    return keras.ops.convert_to_tensor(np.asarray(values, "float32"))


def array(values):
    return keras.ops.convert_to_numpy(values)


def test_saliency_is_the_largest_magnitude_of_the_channels():
    view = SimpleNamespace(image_gradients=lambda: tensor([[[[[1.0, -2.0], [0.5, 0.25]]]]]))
    assert array(saliency(view)).tolist() == [[[[2, 0.5]]]]


def test_integrated_gradients_of_a_square_are_exact_by_the_midpoint_rule():
    """The score is the sum of the squared pixels: each adds its square, less that of the baseline."""
    view = SimpleNamespace(images=tensor(IMAGE), steps=range, image_gradients=lambda images: 2 * images[:, None])
    for baseline in (0.0, 1.0):
        found = array(integrated_gradients(view, samples=3, baseline=baseline))
        np.testing.assert_allclose(found, (IMAGE**2 - baseline**2).sum(axis=-1)[:, None], rtol=1e-6)


def test_full_grad_adds_up_what_is_scaled_to_one():
    """Magnitudes 1, 2 and 3, 0 of the image, 4 and 2 of a layer of its size; those of a layer of one cell are equal."""
    image = tensor(IMAGE[:, None])
    view = SimpleNamespace(
        input_and_bias_gradients=lambda: (image, [tensor([[[[[-4.0], [2.0]]]]]), tensor([[[[[7.0]]]]])])
    )
    expected = [1 / 3 + 2 / 3 + 1, 1 + 0 + 0]
    np.testing.assert_allclose(array(full_grad(view)), [[[expected]]], rtol=1e-6)


def test_guided_grad_cam_is_guided_by_what_speaks_for_the_class():
    """Where Grad-CAM is negative nothing is left."""
    view = SimpleNamespace(
        features=tensor(IMAGE),
        gradients=lambda per_cell: tensor([[[[[1.0, 2.0]]]]]),  # Grad-CAM: 1 - 4 and 3
        image_gradients=lambda guided: tensor([[[[[5.0, 1.0], [-2.0, 0.5]]]]]),
        add_on_finest_grid=lambda maps: maps[0],
        stretched=lambda maps: maps,
    )
    view.feature_maps = lambda: [view]
    assert array(guided_grad_cam(view)).tolist() == [[[[0, 2 * 3]]]]
