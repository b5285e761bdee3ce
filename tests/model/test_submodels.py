"""build_feature_model, build_cam_model, class_weights: exact, sharing the model's layers, leaving the model alone."""

import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from support import reference, small_models
from support.small_models import BUILDERS, ONE_UNIT, arrays

from keras_cam import build_cam_model, build_feature_model, class_weights, explain

every_model = pytest.mark.parametrize("name", BUILDERS)


@functools.cache
def outputs(name):
    """What the two sub-models give for three images, as arrays."""
    model, pictures = small_models.model(name), small_models.images()
    found = {**build_feature_model(model)(pictures), **build_cam_model(model)(pictures)}
    return {key: arrays(keras.ops.cast(value, "float32")) for key, value in found.items()}


def state_of(model):
    """All that a caller could see change: configuration, layers, names, modes, activations, weights."""
    flat = model._flatten_layers()
    seen = [(id(one), one.name, one.trainable, one.built, id(getattr(one, "activation", None))) for one in flat]
    tensors = [(tensor.name, tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    weights = [(variable.path, variable.trainable, variable.numpy().tolist()) for variable in model.variables]
    return json.dumps([model.get_config(), seen, tensors, weights, str(model.losses)], default=str)


# by hand


@pytest.fixture(scope="module")
def by_hand():
    """2 x 2 pixels whose three channels are the feature maps; two classes."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            layers.Conv2D(3, 1, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.set_weights([np.eye(3)[None, None], np.array([[1, 0], [0, 2], [-1, 4]]), np.array([0.5, -1])])
    return model


IMAGE = np.array([[[[1, 0, 0], [3, 1, 0]], [[0, 0, 2], [0, 3, 2]]]], np.float32)


def test_numbers_by_hand(by_hand):
    features = arrays(build_feature_model(by_hand)(IMAGE))
    cams = arrays(build_cam_model(by_hand)(IMAGE)["cams"])
    kernel, bias = class_weights(by_hand)
    assert features["features"].tolist() == IMAGE.tolist()
    assert np.moveaxis(cams, -1, 1).tolist() == [[[[1, 3], [-2, -2]], [[0, 2], [8, 14]]]]
    assert kernel.tolist() == [[1, 0], [0, 2], [-1, 4]] and bias.tolist() == [0.5, -1]
    assert kernel.dtype == bias.dtype == np.float32
    assert features["logits"].tolist() == [[0.5, 5]]  # the means 0 and 6, and the biases
    odds = np.exp(4.5)
    np.testing.assert_allclose(features["predictions"], [[1 / (1 + odds), odds / (1 + odds)]], rtol=1e-6)


def test_batch_norm_and_two_dense_layers_fold_by_hand():
    model = keras.Sequential(
        [
            keras.Input((2, 2, 2)),
            layers.Conv2D(2, 1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1),
            layers.BatchNormalization(epsilon=0.75),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )
    dense = [np.array([[1], [2]]), np.array([3])]
    norm = [np.array([4]), np.array([5]), np.array([1]), np.array([0.25])]  # gamma, beta, mean, variance
    model.set_weights([np.eye(2)[None, None], np.zeros(2), *dense, *norm, np.array([[1, -1]]), np.array([0, 10])])
    kernel, bias = class_weights(model)
    # u = F1 + 2 F2 + 3; v = 4 (u - 1) / sqrt(0.25 + 0.75) + 5 = 4 F1 + 8 F2 + 13; y = (v, 10 - v)
    np.testing.assert_allclose(kernel, [[4, -4], [8, -8]], rtol=1e-6)
    np.testing.assert_allclose(bias, [13, -3], rtol=1e-6)


# over the table


@every_model
def test_shapes_and_names(name):
    model, units = small_models.model(name), 1 if name in ONE_UNIT else small_models.NUM_CLASSES
    feature_model, cam_model, found = build_feature_model(model), build_cam_model(model), outputs(name)
    assert set(feature_model.output) == {"features", "logits", "predictions"}
    assert set(cam_model.output) == {"predictions", "cams"}
    grid, channels = found["features"].shape[1:3], found["features"].shape[3]
    assert 1 not in grid and grid[0] < grid[1]
    assert found["cams"].shape == (3, *grid, units)
    assert [part.shape for part in class_weights(model)] == [(channels, units), (units,)]
    assert [tensor.shape[1:] for tensor in cam_model.inputs] == [tensor.shape[1:] for tensor in model.inputs]
    assert cam_model.count_params() <= model.count_params() + 100  # nothing but a batch norm is there a second time


@every_model
def test_maps_are_the_papers_sum_and_add_up_to_the_score(name):
    found = outputs(name)
    kernel, bias = class_weights(small_models.model(name))
    maps = reference.cam(found["features"], kernel)
    atol = small_models.tolerance(name) * np.abs(found["logits"]).max()
    np.testing.assert_allclose(reference.score(maps, bias), found["logits"], rtol=0, atol=atol)
    np.testing.assert_allclose(reference.score(found["cams"], bias), found["logits"], rtol=0, atol=atol)
    rounding = small_models.tolerance(name) * np.abs(maps).max()
    np.testing.assert_allclose(found["cams"], maps, rtol=0, atol=rounding)


@every_model
def test_logits_are_what_the_last_activation_reads(name):
    found = outputs(name)
    if name == "logits":
        expected = found["logits"]
    elif name == "multi-label" or name in ONE_UNIT:
        expected = 1 / (1 + np.exp(-found["logits"]))
    else:
        powers = np.exp(found["logits"] - found["logits"].max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["predictions"], expected, rtol=1e-5, atol=1e-6)


@every_model
def test_predictions_are_the_models_bit_for_bit(name):
    model, pictures = small_models.model(name), small_models.images()
    expected = arrays(model(pictures, training=False))
    for build in (build_feature_model, build_cam_model):
        np.testing.assert_array_equal(arrays(build(model)(pictures))["predictions"], expected)


@pytest.mark.parametrize("name", ["nested in Sequential", "batch norm in the head", "multi-label", "one unit"])
def test_predict_gives_the_same_bits_too(name):
    model, pictures = small_models.model(name), small_models.images()
    expected = model.predict(pictures, verbose=0)
    np.testing.assert_array_equal(build_cam_model(model).predict(pictures, verbose=0)["predictions"], expected)
    # On some processors TensorFlow fuses a sigmoid into the product before it, unless the logits are asked for as well.
    found = build_feature_model(model).predict(pictures, verbose=0)["predictions"]
    np.testing.assert_array_max_ulp(found, expected, maxulp=0 if "softmax" in str(model.get_config()) else 2)


@every_model
def test_the_model_is_left_as_it_was(name):
    model = small_models.model(name, fresh=True)
    before = state_of(model)
    for build in (build_feature_model, build_cam_model):
        build(model)(small_models.images(1))
    class_weights(model)
    explain(model, small_models.images(1))
    assert state_of(model) == before


@pytest.mark.parametrize(
    "name", ["functional", "Sequential", "nested", "nested two deep", "equally named backbones", "softmax operation"]
)
def test_the_model_can_be_saved_cloned_and_trained_afterwards(name, tmp_path):
    model, pictures = small_models.model(name, fresh=True), small_models.images()
    model.compile("sgd", "sparse_categorical_crossentropy")
    cam_model = build_cam_model(model)
    explain(model, pictures)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*arrays([loaded(pictures), model(pictures)]))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(*arrays([clone(pictures), model(pictures)]))
    model.train_on_batch(pictures, np.arange(3))
    assert not np.array_equal(*arrays([loaded(pictures), model(pictures)]))
    np.testing.assert_array_equal(*arrays([cam_model(pictures)["predictions"], model(pictures)]))


def test_frozen_layers_stay_frozen_and_the_rest_stays_trainable():
    model = small_models.model("nested", fresh=True)
    model.get_layer("backbone").trainable = False
    before = [variable.path for variable in model.trainable_variables]
    cam_model = build_cam_model(model)
    assert [variable.path for variable in model.trainable_variables] == before
    assert len(cam_model.trainable_variables) == len(before) == 2


@pytest.mark.parametrize("name", ["functional", "nested", "batch norm in the head", "equally named backbones"])
def test_sub_models_follow_training(name):
    model, pictures = small_models.model(name, fresh=True), small_models.images()
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    feature_model, cam_model = build_feature_model(model), build_cam_model(model)
    before = arrays(cam_model(pictures)["cams"]).copy()
    model.train_on_batch(pictures, np.arange(3))
    after = arrays(cam_model(pictures)["cams"])
    np.testing.assert_array_equal(after, arrays(build_cam_model(model)(pictures)["cams"]))
    expected = reference.cam(arrays(feature_model(pictures)["features"]), class_weights(model)[0])
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_sub_models_rest_what_is_random_in_training():
    """A Keras model that is called, rather than asked to predict, runs augmentation; the sub-models do not."""
    model, pictures = small_models.model("augmentation in front"), small_models.images()
    cam_model = build_cam_model(model)
    one, other = arrays([cam_model(pictures), cam_model(pictures)])
    np.testing.assert_array_equal(one["cams"], other["cams"])
    np.testing.assert_array_equal(one["predictions"], arrays(model(pictures, training=False)))


def test_feature_maps_of_a_nested_model_are_those_it_gives():
    model, pictures = small_models.model("nested"), small_models.images()
    expected = model.get_layer("backbone")(pictures, training=False)
    np.testing.assert_array_equal(*arrays([build_feature_model(model)(pictures)["features"], expected]))


def test_equally_named_layers_are_told_apart():
    model, pictures = small_models.model("equally named backbones"), small_models.images()
    expected = pictures
    for name in ("first", "second"):
        expected = model.get_layer(name)(expected, training=False)
    np.testing.assert_array_equal(*arrays([build_feature_model(model)(pictures)["features"], expected]))
    names = [layer.name for layer in build_cam_model(model).layers]
    assert len(names) == len(set(names))


def test_any_size_stays_any_size():
    model = small_models.model("any size")
    cam_model = build_cam_model(model)
    for height, width in ((8, 6), (14, 30)):
        picture = np.random.default_rng(0).uniform(size=(1, height, width, 3)).astype("float32")
        found = arrays(cam_model(picture))
        assert found["cams"].shape == (1, height // 2, width // 2, 3)
        np.testing.assert_array_equal(found["predictions"], arrays(model(picture)))


# without the package

SAVED = (
    "nested",
    "equally named backbones",
    "layer called twice",
    "augmentation in front",
    "one unit",
    "softmax operation",
    "batch norm in the head",
    "mean operation, keepdims",
    "convolution as head",
    "any size",
    "mixed_float16",
)

RELOAD = """
import sys
sys.modules["keras_cam"] = None  # importing it is an error
import keras, numpy as np
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras")
    stored = np.load(f"{name}.npz")
    found = keras.tree.map_structure(keras.ops.convert_to_numpy, model(stored["images"]))
    assert set(found) == {"predictions", "cams"}
    np.testing.assert_array_equal(found["predictions"], stored["predictions"], err_msg=name)
    np.testing.assert_array_equal(found["cams"], stored["cams"], err_msg=name)
print("good")
"""


def test_saved_cam_models_load_where_the_package_is_not(tmp_path):
    files = {f"model_{index}": name for index, name in enumerate(SAVED)}
    for file, name in files.items():
        cam_model, pictures = build_cam_model(small_models.model(name)), small_models.images()
        found = arrays(cam_model(pictures))
        cam_model.save(tmp_path / f"{file}.keras")
        np.savez(tmp_path / f"{file}.npz", images=pictures, **found)
    run = subprocess.run(
        [sys.executable, "-c", RELOAD, *files], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.stdout.strip().endswith("good"), run.stderr
