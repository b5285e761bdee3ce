"""Which channels are looked at, and how an image is changed by one; methods against papers are in test_methods.py."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_cam.methods.perturbation import _faded, _mask, _masked, _noisy, strongest

IMAGES = np.arange(8, dtype="float32").reshape(1, 2, 4, 1)
CHANNEL = np.array([[[0.0, 4.0], [0.0, 4.0]]], "float32")
MASK = [0.0, 0.25, 0.75, 1.0]  # of each row: stretched from two cells to four pixels, in [0, 1]


def tensor(values):
    return keras.ops.convert_to_tensor(np.asarray(values, "float32"))


def array(values):
    return keras.ops.convert_to_numpy(values)


def view_of(features):
    return SimpleNamespace(features=tensor(features))


def test_the_channels_that_vary_most():
    features = np.zeros((2, 1, 2, 4), "float32")
    features[0, 0, 1] = [1, 5, 3, 4]  # by how far the two cells are apart
    features[1, 0, 1] = [9, 0, 0, -7]
    assert strongest(view_of(features), 2).tolist() == [[1, 3], [0, 3]]
    for most in (None, 4, 99):
        assert strongest(view_of(features), most).tolist() == [[0, 1, 2, 3]] * 2


def test_a_mask_is_a_channel_over_the_image():
    np.testing.assert_allclose(array(_mask(tensor(IMAGES), tensor(CHANNEL))), [[MASK, MASK]])


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30])
def test_a_constant_channel_masks_everything(value):
    assert not array(_mask(tensor(IMAGES), tensor(np.full((1, 2, 2), value)))).any()


def test_changed_images_by_hand():
    empty, mask = tensor(np.full((1, 1, 1, 1), 2.0)), np.array([MASK, MASK])[None, ..., None]
    given = tensor(IMAGES), tensor(CHANNEL), empty
    np.testing.assert_allclose(array(_masked(*given)), 2 + mask * (IMAGES - 2), atol=1e-6)
    noise = np.random.default_rng(0).normal(size=(1, 2, 4))
    np.testing.assert_allclose(
        array(_noisy(*given, tensor(noise))), 2 + (mask + noise[..., None]) * (IMAGES - 2), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(array(_faded(*given, tensor([0.5]))), 2 + 0.5 * mask * (IMAGES - 2), atol=1e-6)
