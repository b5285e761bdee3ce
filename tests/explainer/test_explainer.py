"""Explainer: exact, compiled once, for every form of image and class."""

import functools
import gc

import keras
import numpy as np
import PIL.Image
import pytest
from keras import layers
from support import reference, small_models
from support.small_models import BUILDERS, NUM_CLASSES, ONE_UNIT, arrays

from keras_cam import Explainer, build_cam_model, class_weights, compute_cam, explain

every_model = pytest.mark.parametrize("name", BUILDERS)
PICTURES = small_models.images()


@functools.cache
def explained(name):
    return explain(small_models.model(name), PICTURES, classes="all")


# over the table


@every_model
def test_mean_of_the_map_and_bias_are_the_score(name):
    result = explained(name)
    largest = np.abs(result.logits).max(axis=1, keepdims=True)
    missing = np.abs(result.maps.mean(axis=(2, 3), dtype=np.float64) + result.bias - result.logits) / largest
    assert missing.max() <= small_models.tolerance(name)
    np.testing.assert_allclose(result.completeness, 1 - missing, rtol=0, atol=1e-6)


@every_model
def test_maps_are_those_of_the_sub_model(name):
    """Two ways to the same numbers: the compiled sum over folded weights, and the model's own layers on every cell."""
    result, model = explained(name), small_models.model(name)
    cams = np.moveaxis(arrays(keras.ops.cast(build_cam_model(model)(PICTURES)["cams"], "float32")), -1, 1)
    if name in ONE_UNIT:
        cams = np.concatenate([-cams, cams], axis=1)
    assert result.class_indices.tolist() == [list(range(cams.shape[1]))] * 3
    atol = small_models.tolerance(name) * np.abs(cams).max()
    np.testing.assert_allclose(result.maps, cams, rtol=0, atol=atol)


@every_model
def test_probabilities_are_the_models_predictions(name):
    predictions = small_models.model(name).predict(PICTURES, verbose=0)
    if name in ONE_UNIT:
        predictions = np.concatenate([1 - predictions, predictions], axis=1)
    np.testing.assert_allclose(explained(name).probabilities, predictions, rtol=1e-6, atol=1e-7)


def test_one_unit_is_two_classes():
    model = small_models.model("one unit")
    result = explained("one unit")
    kernel, bias = class_weights(model)
    np.testing.assert_array_equal(result.maps[:, 0], -result.maps[:, 1])
    np.testing.assert_array_equal(result.logits[:, 0], -result.logits[:, 1])
    np.testing.assert_allclose(result.bias, np.tile([-bias[0], bias[0]], (3, 1)))
    assert kernel.shape[1] == 1
    top = explain(model, PICTURES, class_names=["no", "yes"])
    assert top.class_indices.ravel().tolist() == (result.probabilities[:, 1] > 0.5).astype(int).tolist()
    assert {top.class_name(index) for index in top.class_indices.ravel()} <= {"no", "yes"}


def test_layer_names_the_feature_maps():
    assert explained("nested").layer == "backbone/conv_2"
    assert explained("nested two deep").layer.startswith("outer/")
    assert explained("whole classifier nested").layer == "functional/conv_2"
    assert explained("equally named backbones").layer == "second/conv_2"


@keras.saving.register_keras_serializable("keras_cam_tests")
class Augments(layers.Layer):
    """Holds augmentation and has no `training` argument of its own to pass on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.flip = layers.RandomFlip()

    def call(self, inputs):
        return self.flip(inputs)


def test_layers_in_layers_rest_as_in_predict():
    inputs = keras.Input(PICTURES.shape[1:])
    x = layers.Conv2D(4, 3, activation="relu")(Augments()(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    expected = model.predict(PICTURES, verbose=0)
    for _ in range(3):
        np.testing.assert_allclose(explain(model, PICTURES).probabilities, expected, rtol=1e-6)


# compiled once


SILENT = pytest.mark.filterwarnings("ignore:.* speaks against:keras_cam.CAMWarning")  # of random weights


@keras.saving.register_keras_serializable("keras_cam_tests")
class CountsTraces(layers.Layer):
    """Counts how often Python runs it."""

    calls = 0

    def call(self, inputs):
        CountsTraces.calls += 1
        return inputs


@SILENT
@pytest.mark.usefixtures("tf")  # JAX: once for every size, torch: none to count; see test_backends.py
def test_one_trace_for_every_batch_size_class_and_image_size():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(CountsTraces()(inputs))
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    explainer = Explainer(model, batch_size=4)
    explainer(PICTURES)
    explainer(PICTURES, "all")
    traced = CountsTraces.calls
    for count, size in ((1, (8, 9)), (2, (12, 5)), (7, (8, 8))):
        pictures = np.random.default_rng(0).uniform(size=(count, *size, 3))
        for classes in (0, 3, "top1", "top3", [2, "top2"], np.arange(count) % 4, np.ones((count, 2), int), "all"):
            assert explainer(pictures, classes).completeness.min() > 1 - 1e-5
            compute_cam(model, (pictures * 255).astype("uint8"), classes)
    assert CountsTraces.calls == traced


def test_an_explainer_outlives_the_name_of_its_model():
    explainer = Explainer(small_models.model("functional", fresh=True))
    gc.collect()
    np.testing.assert_array_equal(explainer(PICTURES, "all").maps, explained("functional").maps)


# images in every form


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(1).integers(0, 256, (small_models.HEIGHT, small_models.WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(picture):
    model = small_models.model("functional")
    cams = build_cam_model(model)(picture[np.newaxis].astype("float32"))["cams"]
    return np.moveaxis(arrays(cams), -1, 1)


def rgba(picture):
    return np.concatenate([picture, np.full_like(picture[..., :1], 9)], axis=-1)


FORMS = {
    "uint8": lambda picture: picture,
    "float": lambda picture: picture.astype("float32"),
    "double": lambda picture: picture.astype("float64"),
    "int64": lambda picture: picture.astype("int64"),
    "read-only": lambda picture: np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.shape),
    "with alpha": rgba,
    "tensor": keras.ops.convert_to_tensor,
    "PIL": PIL.Image.fromarray,
    "PIL with alpha": lambda picture: PIL.Image.fromarray(rgba(picture)),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_image_in_every_form(form, picture, expected):
    model = small_models.model("functional")
    result = explain(model, FORMS[form](picture), classes="all")
    np.testing.assert_allclose(result.maps, expected, rtol=1e-4, atol=1e-3)
    assert result.images[0].dtype == np.uint8
    np.testing.assert_array_equal(result.images[0], picture)
    heatmap = compute_cam(model, FORMS[form](picture))
    assert heatmap.shape == picture.shape[:2] and heatmap.dtype == np.float32
    assert 0 <= heatmap.min() < heatmap.max() <= 1


def test_files(picture, expected, tmp_path):
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(picture).save(path)
    model = small_models.model("functional")
    for one in (path, str(path)):
        np.testing.assert_allclose(explain(model, one, classes="all").maps, expected, rtol=1e-4, atol=1e-3)
        assert compute_cam(model, one).shape == picture.shape[:2]
    assert compute_cam(model, [path, str(path)]).shape == (2, *picture.shape[:2])


def test_a_list_of_mixed_things_of_mixed_sizes(picture, expected, tmp_path):
    PIL.Image.fromarray(picture).resize((37, 15)).save(tmp_path / "other.png")
    model = small_models.model("functional")
    mixed = [picture, tmp_path / "other.png", PIL.Image.fromarray(picture).resize((5, 4)), picture[..., 0]]
    result = explain(model, mixed, classes="all")
    assert result.maps.shape == (4, NUM_CLASSES, 6, 10) and len(result) == 4
    assert [image.shape for image in result.images] == [(12, 20, 3), (15, 37, 3), (4, 5, 3), (12, 20, 3)]
    np.testing.assert_allclose(result.maps[:1], expected, rtol=1e-4, atol=1e-3)
    heatmaps = compute_cam(model, mixed, [0, 2])
    assert [heatmap.shape for heatmap in heatmaps] == [(2, 12, 20), (2, 15, 37), (2, 4, 5), (2, 12, 20)]


def test_a_picture_of_another_size_is_resized_once():
    """Blocks of 3 x 2 equal pixels shrink to the pixel itself."""
    model, small = small_models.model("functional"), PICTURES[0]
    large = small.repeat(3, axis=0).repeat(2, axis=1)
    result = explain(model, large, classes="all")
    np.testing.assert_allclose(result.maps[0], explained("functional").maps[0], rtol=1e-4, atol=1e-5)
    assert compute_cam(model, large).shape == (36, 40)


def test_a_model_of_any_size_sees_the_picture_as_it_is():
    model = small_models.model("any size")
    picture = np.random.default_rng(0).uniform(size=(16, 34, 3)).astype("float32")
    result = explain(model, picture, classes="all")
    assert result.maps.shape == (1, NUM_CLASSES, 8, 17)
    np.testing.assert_allclose(result.probabilities, arrays(model(picture[np.newaxis])), rtol=1e-5)


def test_a_model_of_gray_pictures():
    model = keras.Sequential(
        [keras.Input((6, 9, 1)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    gray = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
    expected = build_cam_model(model)(gray[np.newaxis, ..., np.newaxis].astype("float32"))["cams"]
    for one in (gray, gray[..., np.newaxis], PIL.Image.fromarray(gray)):
        result = explain(model, one, classes="all")
        np.testing.assert_allclose(result.maps, np.moveaxis(arrays(expected), -1, 1), rtol=1e-4, atol=1e-3)
        assert result.images[0].shape == (6, 9, 3)
        assert compute_cam(model, one).shape == (6, 9)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_batch_size_changes_nothing(batch_size):
    pictures = small_models.images(5)
    result = explain(small_models.model("functional"), pictures, classes="top2", batch_size=batch_size)
    expected = explain(small_models.model("functional"), pictures, classes="top2", batch_size=5)
    np.testing.assert_array_equal(result.class_indices, expected.class_indices)
    np.testing.assert_allclose(result.maps, expected.maps, rtol=1e-5, atol=1e-6)


def test_order_of_the_images_changes_nothing():
    result = explain(small_models.model("functional"), PICTURES[::-1], classes="all")
    np.testing.assert_allclose(result.maps[::-1], explained("functional").maps, rtol=1e-5, atol=1e-6)


def test_images_are_not_written_to():
    pictures = PICTURES * 255
    before = pictures.copy()

    def preprocess(batch):
        batch /= 127.5
        batch -= 1
        return batch

    result = explain(small_models.model("functional"), pictures, classes="all", preprocess=preprocess)
    np.testing.assert_array_equal(pictures, before)
    expected = explain(small_models.model("functional"), PICTURES * 2 - 1, classes="all")
    np.testing.assert_allclose(result.maps, expected.maps, rtol=1e-3, atol=1e-4)


def test_preprocess_sees_the_batch_at_the_models_size_and_the_picture_stays():
    seen = []

    def preprocess(batch):
        seen.append((batch.shape, batch.dtype, batch.max()))
        return keras.ops.convert_to_tensor(batch) / 255

    large = (PICTURES[0] * 255).astype("uint8").repeat(2, axis=0).repeat(2, axis=1)
    result = explain(small_models.model("functional"), large, preprocess=preprocess)
    assert seen == [((1, small_models.HEIGHT, small_models.WIDTH, 3), np.float32, large.max())]
    np.testing.assert_array_equal(result.images[0], large)


def test_value_range_is_only_for_showing():
    model = small_models.model("functional")
    dark, bright = (explain(model, PICTURES, value_range=limits) for limits in ((0, 10), (0, 1)))
    np.testing.assert_array_equal(dark.maps, bright.maps)
    np.testing.assert_array_equal(bright.images[0], np.rint(PICTURES[0] * 255))
    assert dark.images[0].max() <= 26


# classes in every form


def maps_of(indices):
    """Maps of these classes per image, from those of all classes."""
    return np.take_along_axis(explained("functional").maps, np.asarray(indices)[:, :, np.newaxis, np.newaxis], axis=1)


RANKED = np.argsort(-arrays(small_models.model("functional")(PICTURES)), axis=1)
CLASSES = {
    "default": ({}, RANKED[:, :1]),
    "index": ({"classes": 2}, [[2]] * 3),
    "name": ({"classes": "dog"}, [[1]] * 3),
    "top1": ({"classes": "top1"}, RANKED[:, :1]),
    "top3": ({"classes": "top3"}, RANKED),
    "all": ({"classes": "all"}, [[0, 1, 2]] * 3),
    "list": ({"classes": [2, "cat", "top2"]}, np.concatenate([[[2, 0]] * 3, RANKED[:, :2]], axis=1)),
    "one per image": ({"classes": np.array([2, 0, 1])}, [[2], [0], [1]]),
    "several per image": ({"classes": np.array([[2, 0], [0, 1], [1, 1]])}, [[2, 0], [0, 1], [1, 1]]),
    "tensor": ({"classes": keras.ops.convert_to_tensor([2, 0, 1])}, [[2], [0], [1]]),
}


@pytest.mark.parametrize("form", CLASSES)
def test_classes_in_every_form(form):
    options, indices = CLASSES[form]
    result = explain(small_models.model("functional"), PICTURES, class_names=["cat", "dog", "cow"], **options)
    np.testing.assert_array_equal(result.class_indices, indices)
    np.testing.assert_allclose(result.maps, maps_of(indices), rtol=1e-5, atol=1e-6)
    assert result.bias.shape == result.completeness.shape == result.class_indices.shape
    assert result.completeness.min() > 1 - 1e-5
    assert result.logits.shape == result.probabilities.shape == (3, NUM_CLASSES)


def test_the_loops_of_the_paper_at_the_public_door():
    """From pixels to the map of one class, with nothing of ours in between."""
    model = small_models.model("Sequential")
    features, kernel = arrays([model.layers[0](PICTURES), model.layers[-1].kernel])
    expected = reference.cam(features, kernel)
    result = explain(model, PICTURES, classes=[1])
    np.testing.assert_allclose(result.maps[:, 0], expected[..., 1], rtol=1e-4, atol=1e-5)


def test_scores_of_a_model_that_ends_in_logits_are_not_called_probabilities():
    """Compiled with from_logits=True, say: either turn them into probabilities, or do not print them as such."""
    result = explained("logits")
    probabilities = result.probabilities
    are_probabilities = probabilities.min() >= 0 and np.allclose(probabilities.sum(axis=1), 1)
    assert are_probabilities or "%" not in result.title(0)
