"""Data sets explained: the same as their images at once, whatever kind they are, and what is turned away."""

import keras
import numpy as np
import pytest
from support import small_models

import keras_cam
from keras_cam import Explainer, compute_cam, explain
from keras_cam.errors import InvalidClassError, InvalidDataError
from keras_cam.explainer.datasets import batches_of, is_data_set

SHAPE = (small_models.HEIGHT, small_models.WIDTH, 3)
IMAGES = np.random.default_rng(0).uniform(size=(7, *SHAPE)).astype("float32")
LABELS = np.arange(7) % 3
STARTS = (0, 3, 6)  # batches of 3, 3 and 1


def parts():
    return [(IMAGES[start : start + 3], LABELS[start : start + 3]) for start in STARTS]


class Parts(keras.utils.PyDataset):
    """The batches as Keras' own kind of data set."""

    @property
    def num_batches(self):
        return len(STARTS)

    def __getitem__(self, index):
        return parts()[index]


class Endless(Parts):
    """One that does not say how long it is."""

    @property
    def num_batches(self):
        return None


def tf_data(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(3)


KINDS = {
    "tf.data": lambda: tf_data(IMAGES),
    "tf.data with labels": lambda: tf_data(IMAGES, LABELS),
    "tf.data with weights": lambda: tf_data(IMAGES, LABELS, LABELS * 1.0),
    "PyDataset": Parts,
    "generator": lambda: (images for images, _ in parts()),
    "iterator of lists": lambda: iter([list(part) for part in parts()]),  # as a torch DataLoader gives them
    "images one by one": lambda: iter(IMAGES),
    "not all of one size": lambda: iter([IMAGES[:6], [IMAGES[6].repeat(2, axis=0).repeat(2, axis=1)]]),
}


def data(kind):
    if kind.startswith("tf") and keras.backend.backend() != "tensorflow":
        pytest.skip("a data set of TensorFlow's")
    return KINDS[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_gives_what_its_images_give(kind):
    model = small_models.model("functional")
    expected, result = explain(model, IMAGES, classes="top2"), explain(model, data(kind), classes="top2")
    np.testing.assert_array_equal(result.class_indices, expected.class_indices)
    for name in ("maps", "logits", "probabilities", "bias"):
        np.testing.assert_allclose(getattr(result, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    assert len(result) == len(result.images) == 7 and result.grid == expected.grid
    for one, other in zip(result.images[:6], expected.images, strict=False):
        np.testing.assert_array_equal(one, other)


def test_heat_maps_of_a_data_set():
    model = small_models.model("functional")
    np.testing.assert_allclose(compute_cam(model, Parts(), 1), compute_cam(model, IMAGES, 1), atol=1e-6)
    assert compute_cam(model, iter([IMAGES[0]])).shape == (1, *SHAPE[:2])


def test_several_inputs():
    image, table = keras.Input(SHAPE), keras.Input((2,))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model([image, table], keras.layers.Dense(3)(keras.layers.Concatenate()([pooled, table])))
    pair = (IMAGES, np.ones((7, 2), "float32"))
    stream = iter([((IMAGES[:3], pair[1][:3]), LABELS[:3]), ((IMAGES[3:], pair[1][3:]), LABELS[3:])])
    np.testing.assert_allclose(explain(model, stream).maps, explain(model, pair).maps, rtol=1e-5, atol=1e-6)


def test_a_stream_is_read_no_further_than_it_is_asked():
    read = []

    def forever():
        while True:
            read.append(len(read))
            yield IMAGES[:2]

    results = Explainer(small_models.model("functional")).stream(forever())
    first, second = next(results), next(results)
    assert read == [0, 1] and len(first) == len(second) == 2
    np.testing.assert_array_equal(first.maps, second.maps)


def test_findings_are_those_of_all_batches_together():
    """The second batch is black, as are its maps; the findings count and name images as in one batch."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, use_bias=False, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    with pytest.warns(keras_cam.CAMWarning, match="zero everywhere"):
        result = explain(model, iter([IMAGES[:3], IMAGES[3:5] * 0]), classes=0)
    zero = next(finding for finding in result.diagnosis if finding.name == "zero_map")
    assert zero.images == (3, 4) and "2 of 5 images" in zero.words


def test_pictures_of_all_batches_are_shown_by_one_range():
    """0..1 in the first batch, -1..1 in the second: gray is gray in both, to a shade."""
    gray, dark = np.full((1, *SHAPE), 0.0, "float32"), np.full((1, *SHAPE), -1.0, "float32")
    gray[0, 0, 0] = 1.0
    model = small_models.model("functional")
    expected = explain(model, np.concatenate([gray, dark])).images
    shown = explain(model, iter([gray, dark])).images
    for one, other in zip(shown, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1)
    assert shown[0][5, 5, 0] == 128 and shown[1].max() == 0
    fixed = explain(model, iter([gray, dark]), value_range=(-1, 1)).images
    np.testing.assert_array_equal(fixed, expected)


def test_what_is_no_data_set():
    for images in (IMAGES, [IMAGES[0]], "cat.jpg", {"image": IMAGES}, keras.ops.convert_to_tensor(IMAGES), None, 3):
        assert not is_data_set(images)


def test_data_sets_without_an_end_or_a_beginning():
    model = small_models.model("functional")
    with pytest.raises(InvalidDataError, match="num_batches"):
        explain(model, Endless())
    with pytest.raises(InvalidDataError, match="no batch"):
        explain(model, iter([]))
    with pytest.raises(InvalidDataError, match="no batch"):
        compute_cam(model, iter([]))
    with pytest.raises(InvalidClassError, match=r"\(3,\)"):
        explain(model, Parts(), classes=LABELS)


def test_a_tf_data_set_that_repeats(tf):
    with pytest.raises(InvalidDataError, match=r"take\(100\)"):
        list(batches_of(tf_data(IMAGES).repeat()))
    assert len(explain(small_models.model("functional"), tf_data(IMAGES).repeat().take(2))) == 6
