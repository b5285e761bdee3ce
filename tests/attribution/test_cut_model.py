"""What a cut model is asked, without anything compiled: forward passes, scores, gradients by finite differences."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support import zoo

from keras_cam.attribution.cut_model import CutModel, in_parts
from keras_cam.attribution.feature_layout import from_grid, to_grid
from keras_cam.errors import UnsupportedModelError
from keras_cam.model.head import find_head

NAMES = ["functional", "Flatten and MLP", "channels first, flat", "ViT, prefix token in the mean", "two scales"]


def cut_model_of(name):
    return CutModel(find_head(zoo.model(name), **zoo.ZOO[name].options))


def tensors(inputs):
    return [ops.convert_to_tensor(array) for array in keras.tree.flatten(inputs)]


def array(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("name", [*NAMES, "siamese, right"])
def test_scores_of_features_are_those_of_the_images_they_are_made_from(name):
    cut_model, inputs = cut_model_of(name), tensors(zoo.inputs(name))
    forward_pass = cut_model.forward_pass_of(cut_model.forward(inputs))
    scores = array(cut_model.scores(inputs))
    near = {"rtol": 1e-4, "atol": 1e-5 * np.abs(scores).max()}
    np.testing.assert_allclose(array(cut_model.head.scores(forward_pass.logits)), scores, **near)
    found = cut_model.scores_of_features(forward_pass.features, forward_pass.side_inputs)
    np.testing.assert_allclose(array(found), scores, **near)


@pytest.fixture(scope="module")
def smooth():
    """A model whose scores bend everywhere and have no corners, and an image."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 5, 2))
    cells = layers.Conv2D(3, 2, activation="tanh")(inputs)
    hidden = layers.Dense(4, activation="tanh")(layers.Flatten()(cells))
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype("float32")
    return CutModel(find_head(keras.Model(inputs, layers.Dense(3)(hidden)))), image


def test_gradients_and_hessian_products_by_finite_differences(smooth):
    cut_model, image = smooth
    forward_pass = cut_model.forward_pass_of(cut_model.forward(tensors(image)))
    features, weights = array(forward_pass.features[0]), ops.convert_to_tensor(np.eye(3, dtype="float32")[None])
    step = 1e-2
    steps = step * np.eye(features.size, dtype="float32").reshape(-1, *features.shape[1:])
    higher, lower = (array(cut_model.scores_of_features([ops.array(features + move)], [])) for move in (steps, -steps))
    expected = ((higher - lower) / (2 * step)).T.reshape(1, 3, *features.shape[1:])
    gradients = array(cut_model.gradients(0, forward_pass, weights))
    np.testing.assert_allclose(gradients, expected, rtol=0, atol=2e-3)
    # The Hessian times the features is how the gradients change along them.
    higher, lower = (
        array(cut_model.gradients(0, forward_pass._replace(head_inputs=[ops.array(features * share)]), weights))
        for share in (1 + step, 1 - step)
    )
    first, product = map(array, cut_model.hessian_products(0, forward_pass, weights))
    np.testing.assert_allclose(first, gradients, rtol=1e-5)
    np.testing.assert_allclose(product, (higher - lower) / (2 * step), rtol=0, atol=2e-3)


def test_a_pooled_map_has_one_gradient_for_all_cells():
    cut_model, inputs = cut_model_of("functional"), tensors(zoo.inputs("functional"))
    forward_pass = cut_model.forward_pass_of(cut_model.forward(inputs))
    weights = ops.convert_to_tensor(np.tile(np.eye(3, dtype="float32"), (3, 1, 1)))
    gradients = array(cut_model.gradients(0, forward_pass, weights))
    features = array(forward_pass.features[0])
    assert gradients.shape == (3, 3, 1, 1, features.shape[-1])
    kernel = array(cut_model.cut.steps[-1].operation.kernel)
    np.testing.assert_allclose(gradients[0, :, 0, 0] * np.prod(features.shape[1:3]), kernel.T, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_scores_of_ablated_channels(name):
    cut_model, inputs = cut_model_of(name), tensors(zoo.inputs(name))
    values, classes = cut_model.forward(inputs), np.array([[0, 2], [1, 0], [2, 1]], "int32")
    forward_pass, feature = cut_model.forward_pass_of(values), cut_model.cut.features[0]
    grid = array(to_grid(feature, forward_pass.features[0])).copy()
    rows, channels = np.array([2, 0], "int32"), np.array([1, 3], "int32")
    found = array(cut_model.scores_of_ablated_channels(0, values, *tensors([classes, rows, channels])))
    for row, channel, scores in zip(rows, channels, found, strict=True):
        changed = grid.copy()
        changed[row, ..., channel] = 0
        back = from_grid(feature, ops.convert_to_tensor(changed), forward_pass.features[0])
        expected = array(cut_model.scores_of_features([back], forward_pass.side_inputs))[row, classes[row]]
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_scores_of_changed_images(smooth):
    """Each image shifted by the mean of the channel that is said: rows and channels in any order."""
    cut_model, image = smooth
    images = np.concatenate([image, -image, 2 * image])
    values, classes = cut_model.forward(tensors(images)), np.array([[0], [1], [2]], "int32")
    features = array(cut_model.forward_pass_of(values).features[0])
    rows, channels = np.array([2, 0, 2], "int32"), np.array([1, 2, 0], "int32")

    def change(images, channel):
        return images + ops.mean(channel, axis=(1, 2), keepdims=True)[..., None]

    found = array(
        cut_model.scores_of_changed_images(0, change, tensors(images), values, *tensors([classes, rows, channels]))
    )
    shifts = features.mean(axis=(1, 2))[rows, channels]
    expected = array(cut_model.scores(tensors(images[rows] + shifts[:, None, None, None])))
    np.testing.assert_allclose(found[:, 0], expected[np.arange(3), classes[rows, 0]], rtol=1e-5, atol=1e-6)


def test_images_of_a_model_of_integers_are_rounded_and_cut_off():
    inputs = keras.Input((1, 4, 1), dtype="uint8")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1)(layers.Rescaling(1 / 255)(inputs)))
    cut_model = CutModel(find_head(keras.Model(inputs, layers.Dense(2)(x))))
    (changed,) = cut_model.with_images([None], ops.convert_to_tensor([[[[-3.0], [0.4], [99.6], [300.0]]]]))
    assert array(changed).dtype == np.uint8 and array(changed).ravel().tolist() == [0, 0, 100, 255]


def test_an_input_without_pixels_or_of_other_axes_is_named(smooth):
    cut_model, _ = smooth
    cut_model.check_pixels(), cut_model.check_pixels(2)
    with pytest.raises(UnsupportedModelError, match=r"3, as its feature maps have.*\(None, 4, 5, 2\)"):
        cut_model.check_pixels(3)
    with pytest.raises(UnsupportedModelError, match="one or more axes for places"):
        cut_model_of("flat pixels").check_pixels()


@pytest.mark.parametrize(("count", "most"), [(1, 1), (7, 3), (16, 16), (17, 16), (5, 0)])
def test_parts_cover_a_count_once_and_are_of_one_width(count, most):
    parts = list(in_parts(count, most))
    assert [index for part, new in parts for index in range(count)[part][new]] == list(range(count))
    widths = {part.stop - part.start for part, _ in parts}
    assert len(widths) == 1 and max(widths) <= max(most, 1)
