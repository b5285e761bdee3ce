"""A named diagnosis instead of a black picture: each finding on a network that earns it, and none on a sound one."""

import keras
import numpy as np
import pytest

from keras_cam import CAMWarning, Explanation, InvalidImageError, explain

layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(size=(3, 16, 16, 3)).astype("float32")


def network(*, kernel=None, bias=None, activation="softmax", size=(16, 16, 3), rescales=False):
    model = keras.Sequential(
        [
            keras.Input(size),
            *([layers.Rescaling(1 / 255)] if rescales else []),
            layers.Conv2D(4, 3, activation="relu", kernel_initializer="ones", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation=activation, name="scores"),
        ],
        name="net",
    )
    scores = model.get_layer("scores")
    kernel = np.array([[0.01, -0.01]] * 4) if kernel is None else kernel
    scores.set_weights([kernel, np.zeros(2) if bias is None else bias])
    return model


def names(result):
    return [finding.name for finding in result.diagnosis]


def test_a_sound_result_has_no_findings():
    assert explain(network(), IMAGES, classes=[0]).diagnosis == ()


def test_a_zero_map():
    model = network(kernel=np.array([[0.0, 1.0]] * 4))
    with pytest.warns(CAMWarning, match=r"'net'.*map of image 0 is zero everywhere.*3 of 3 images"):
        result = explain(model, IMAGES, classes=[0])
    assert names(result) == ["zero_map"] and result.diagnosis[0].images == (0, 1, 2)
    assert not result.heatmaps()[0].any()


def test_a_dead_relu_in_one_image():
    model = network()
    images = IMAGES.copy()
    images[1] = 0
    with pytest.warns(CAMWarning, match="image 1 is zero everywhere: the features of 'conv'.*dead ReLU"):
        result = explain(model, images)
    assert result.diagnosis[0].images == (1,)


def test_all_evidence_negative_is_drawn_empty_and_says_why():
    result = explain(network(bias=np.array([0.0, 3.0])), IMAGES, classes=[1], class_names=["cat", "dog"])
    assert names(result) == ["nothing_positive"]
    assert "speaks against 'dog', whose score comes from the bias (3)" in result.diagnosis[0].words
    assert "signed=True" in result.diagnosis[0].words
    assert not np.stack(result.heatmaps()).any()


def test_one_cell_and_few_cells():
    one = explain(network(size=(3, 3, 3)), IMAGES[:, :3, :3], classes=[0])
    assert names(one) == ["one_cell"] and "layer=" in one.diagnosis[0].words
    few = explain(network(size=(5, 16, 3)), IMAGES[:, :5], classes=[0])
    assert names(few) == ["few_cells"] and "3 x 14 cells: a cell stands for 33%" in few.diagnosis[0].words


def test_a_saturated_softmax_still_has_its_map():
    result = explain(network(kernel=np.array([[9.0, -9.0]] * 4)), IMAGES, classes=[0])
    assert names(result) == ["saturated"] and "1.0000000" in result.diagnosis[0].words
    assert np.stack(result.heatmaps()).max() == 1


def test_images_of_0_to_255_in_a_network_that_does_not_rescale():
    model = network(activation=None)
    result = explain(model, (IMAGES * 255).astype("uint8"), classes=[0])
    assert names(result) == ["not_scaled"] and "preprocess=" in result.diagnosis[0].words
    scaled = explain(model, (IMAGES * 255).astype("uint8"), classes=[0], preprocess=lambda batch: batch / 255)
    assert scaled.diagnosis == ()


def test_images_scaled_before_a_network_that_rescales():
    model = network(activation=None, rescales=True)
    assert names(explain(model, IMAGES, classes=[0])) == ["scaled_twice"]
    assert explain(model, (IMAGES * 255).astype("uint8"), classes=[0]).diagnosis == ()


def test_nan_in_an_image_is_an_error():
    with pytest.raises(InvalidImageError, match="NaN"):
        explain(network(), IMAGES * np.nan)


def test_a_finding_is_saved_with_the_result(tmp_path):
    result = explain(network(size=(3, 3, 3)), IMAGES[:, :3, :3], classes=[0])
    assert Explanation.load(result.save(tmp_path / "result")).diagnosis == result.diagnosis
