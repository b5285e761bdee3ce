"""What an image is compared with: every form that is one image, and what is none."""

import keras
import numpy as np
import pytest
from keras import layers
from test_methods import PICTURES, tiny

from keras_cam import explain
from keras_cam.errors import InvalidOptionError
from keras_cam.methods.baseline import empty_image

IMAGES = np.zeros((2, 3, 4, 2), "float32")
COLOUR = [0.25, -1.0]


@pytest.mark.parametrize(
    ("baseline", "shape"),
    [
        (3, (1, 1, 1, 1)),
        (COLOUR, (1, 1, 1, 2)),
        (np.ones((3, 1, 1), "uint8"), (1, 3, 1, 1)),
        (np.ones((3, 4, 2)), (1, 3, 4, 2)),
        (np.ones((1, 3, 4, 2)), (1, 3, 4, 2)),
        (keras.ops.convert_to_tensor(COLOUR), (1, 1, 1, 2)),
    ],
    ids=str,
)
def test_what_broadcasts_to_an_image(baseline, shape):
    found = empty_image(baseline, IMAGES)
    assert found.shape == shape and found.dtype == np.float32
    expected = np.broadcast_to(keras.ops.convert_to_numpy(baseline), (1, *IMAGES.shape[1:]))
    np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected)


@pytest.mark.parametrize(
    "baseline", [np.inf, "black", None, [[1.0], [1.0, 2.0]], np.ones(3), np.ones((2, 3, 4, 2)), 1j], ids=str
)
def test_what_is_no_baseline(baseline):
    with pytest.raises(InvalidOptionError, match=r"^baseline must be a finite number.*here \(3, 4, 2\)\. Received"):
        empty_image(baseline, IMAGES)


@pytest.mark.parametrize("method", ["score_cam", "ss_cam", "is_cam", "integrated_gradients"])
def test_a_baseline_is_what_the_model_is_fed(method):
    """A network fed [-1, 1], and the same behind Rescaling fed 0..255: middle gray is 0 here and 127.5 there."""
    _, model = tiny("flatten", 0)
    inputs = keras.Input(PICTURES.shape[1:])
    behind = keras.Model(inputs, model(layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)))
    pictures = np.random.default_rng(3).uniform(-1, 1, PICTURES.shape).astype("float32")
    options = {} if method == "score_cam" else {"samples": 3}
    direct = explain(model, pictures, classes="all", method=method, baseline=0, **options).maps
    scaled = (pictures + 1) * 127.5
    rescaled, black = (
        explain(behind, scaled, classes="all", method=method, value_range=(0, 255), **options, **given).maps
        for given in ({"baseline": np.full(2, 127.5)}, {})
    )
    np.testing.assert_allclose(rescaled, direct, rtol=0, atol=2e-5 * np.abs(direct).max())
    assert np.abs(black - direct).max() > 1e-2 * np.abs(direct).max()
