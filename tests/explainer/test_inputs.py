"""Images at the door: what a model cannot be fed is turned away in words, and what is cached of them is made once."""

import keras
import numpy as np
import PIL.Image
import pytest
from keras import layers
from support import small_models
from support.errors import message, missing
from support.object_finder import OBJECT, PHOTO, object_finder

from keras_cam import CAMError, Explainer, compute_cam, explain
from keras_cam.errors import InvalidImageError

PICTURES = small_models.images()
PICTURE = PICTURES[0]


@pytest.fixture(scope="module")
def model():
    return small_models.model("functional")


def with_nan():
    pictures = PICTURES.copy()
    pictures[1, 2, 3, 0] = np.nan
    return pictures


IMAGES = {
    "NaN in one of a batch": (with_nan, ["image 1", "1 NaN or infinite", "finite"]),
    "NaN everywhere": (lambda: PICTURE * np.nan, ["720 NaN or infinite", "finite"]),
    "infinity": (lambda: np.where(PICTURE > 0.9, np.inf, PICTURE), ["NaN or infinite", "finite"]),
    "empty batch": (lambda: PICTURES[:0], ["(0, 12, 20, 3)", "No image"]),
    "empty list": (lambda: [], ["empty list", "a path, a PIL image"]),
    "empty tuple": (lambda: (), ["empty tuple"]),
    "no pixels": (lambda: PICTURE[:0], ["(0, 20, 3)", "at least one pixel"]),
    "two channels": (lambda: PICTURE[..., :2], ["(12, 20, 2)", "1, 3 or 4 channels"]),
    "channels first": (lambda: np.moveaxis(PICTURE, -1, 0), ["(3, 12, 20)", "np.moveaxis(image, 0, -1)"]),
    "rank 1": (lambda: PICTURE.ravel(), ["(720,)", "(height, width)"]),
    "rank 5": (lambda: PICTURES[np.newaxis], ["(1, 3, 12, 20, 3)", "(N, height, width, channels)"]),
    "batches in a list": (lambda: [PICTURES], ["image 0", "(3, 12, 20, 3)"]),
    "a number": (lambda: 3, ["int", "a path, a PIL image"]),
    "nothing": (lambda: None, ["NoneType", "a path, a PIL image"]),
    "nested lists": (lambda: PICTURES.tolist(), ["list", "a path, a PIL image"]),
    "complex": (lambda: PICTURE * 1j, ["complex", "real numbers"]),
    "strings": (lambda: np.full((4, 4, 3), "a"), ["<U1", "real numbers"]),
    "no such file": (lambda: "nowhere.jpg", ["'nowhere.jpg'", "No such image file"]),
}


@pytest.mark.parametrize("door", [explain, compute_cam])
@pytest.mark.parametrize("case", IMAGES)
def test_images_that_are_none(model, case, door):
    build, words = IMAGES[case]
    assert missing(words, message(InvalidImageError, door, model, build())) == []


def test_files_that_are_none(model, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    assert missing(["notes.jpg", "JPEG"], message(InvalidImageError, compute_cam, model, tmp_path / "notes.jpg")) == []
    PIL.Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "half.png")
    whole = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "half.png" in message(InvalidImageError, compute_cam, model, [PICTURE, tmp_path / "half.png"])


def test_channels_that_the_model_does_not_have():
    gray = keras.Sequential(
        [keras.Input((8, 10, 1)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    text = message(InvalidImageError, compute_cam, gray, [np.zeros((8, 10)), PICTURE])
    assert missing(["image 1", "3 channels", "1 are wanted", "(12, 20, 3)", "convert('L')"], text) == []
    many = keras.Sequential(
        [keras.Input((8, 10, 6)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    assert missing(["(None, 8, 10, 6)", "12, 20, 3)"], message(InvalidImageError, compute_cam, many, PICTURE)) == []


def test_several_sizes_in_a_model_of_any_size():
    any_size = small_models.model("any size")
    text = message(InvalidImageError, compute_cam, any_size, [PICTURE, PICTURE[:6]])
    assert missing(["(3, 10)", "(6, 10)", "'any_size'", "one size"], text) == []


def test_an_image_smaller_than_the_kernel_of_a_model_of_any_size():
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 5)(inputs))
    tiny = keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name="mine")
    text = message(CAMError, compute_cam, tiny, PICTURE[:3, :3])
    assert missing(["'mine'", "(1, 3, 3, 3)", "model.predict"], text) == []


PREPROCESS = {
    "nothing": (lambda batch: None, ["preprocess", "NoneType"]),
    "another shape": (lambda batch: batch[..., :1], ["preprocess", "(1, 12, 20, 1)", "(1, 12, 20, 3)"]),
    "one image lost": (lambda batch: batch[0], ["preprocess", "(12, 20, 3)"]),
}


@pytest.mark.parametrize("case", PREPROCESS)
def test_what_preprocess_returns(model, case):
    preprocess, words = PREPROCESS[case]
    assert missing(words, message(CAMError, explain, model, PICTURE, preprocess=preprocess)) == []


def test_preprocess_that_makes_nan(model):
    text = message(CAMError, explain, model, PICTURE, preprocess=lambda batch: batch * np.nan)
    assert missing(["finite", "preprocess"], text) == []


def test_an_error_inside_preprocess_is_the_users_own(model):
    with pytest.raises(ZeroDivisionError):
        explain(model, PICTURE, preprocess=lambda batch: batch / (1 // 0))


# cached


def test_cached_inputs_are_made_once(model):
    """Whoever explains the same images again and again, as a callback does, does not prepare them again."""
    batches = []

    def preprocess(batch):
        batches.append(len(batch))
        return batch / 2

    explainer = Explainer(model, preprocess=preprocess, batch_size=2)
    (inputs,) = explainer.load(PICTURES)
    expected = explainer.explain_loaded([inputs], "all")
    assert batches == [2, 1]
    cached = inputs.cached()
    for _ in range(2):
        result = explainer.explain_loaded([cached], "all")
        np.testing.assert_array_equal(result.maps, expected.maps)
        np.testing.assert_array_equal(result.images, expected.images)
    assert batches == [2, 1] * 2
    assert cached.display_images(None) is cached.display_images(None)
    assert inputs.cache is None


def test_cached_inputs_know_what_they_were_asked_for(model):
    (inputs,) = Explainer(model).load(PICTURES)
    cached = inputs.cached()
    assert [len(fed) for _, (fed,) in cached.batches(2, None)] == [2, 1]
    assert [len(fed) for _, (fed,) in cached.batches(3, None)] == [3]
    ((_, (halved,)),) = cached.batches(3, lambda batch: batch / 2)
    ((_, (fed,)),) = cached.batches(3, None)
    np.testing.assert_allclose(halved, fed / 2)
    dark, bright = (cached.display_images(value_range).pictures[0] for value_range in ((0, 10), (0, 1)))
    assert dark.max() < bright.max()


RANGES = {  # the picture as users have it, and what brings it to [0, 1]
    "uint8": (PHOTO, lambda batch: batch / 255),
    "floats of 0..255": (PHOTO.astype("float32"), lambda batch: batch / 255),
    "[0, 1]": (PHOTO / 255, None),
    "[-1, 1]": (PHOTO / 127.5 - 1, lambda batch: (batch + 1) / 2),
}


@pytest.mark.parametrize("name", RANGES)
def test_one_picture_in_any_range_has_one_overlay(name):
    picture, preprocess = RANGES[name]
    model = object_finder(layers.Dense(2, kernel_initializer="ones"))
    result = explain(model, picture, classes=0, preprocess=preprocess)
    expected = explain(model, PHOTO.astype("float32") / 255, classes=0)
    np.testing.assert_array_equal(result.images[0], PHOTO)  # what is shown is not what is fed
    np.testing.assert_allclose(result.maps, expected.maps, atol=1e-6)
    drawn, wanted = (each.overlays()[0][0].astype(int) for each in (result, expected))
    assert np.abs(drawn - wanted).max() <= 1
    cold = result.heatmaps()[0][0] == 0
    assert cold.mean() > 0.5
    np.testing.assert_array_equal(drawn[cold], PHOTO[cold])  # neither brighter nor darker where there is no heat
    assert np.abs(drawn[OBJECT] - PHOTO[OBJECT]).max(axis=-1).min() > 25
