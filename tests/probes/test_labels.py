"""Labels in every form, and labels that are no classes, or none of the model's."""

import keras
import numpy as np
import pytest
from support.callback_models import eye, fit, spots, words
from support.probe_data import pictures
from support.trainings import colours, network, train

from keras_cam import CAMCallback
from keras_cam.errors import InvalidDataError
from keras_cam.probes.labels import class_labels
from keras_cam.probes.source import open_source

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        np.array([2, 0, 1], np.uint8),
        np.array([[2], [0], [1]]),
        np.array([2.0, 0.0, 1.0], np.float32),
        np.eye(3)[[2, 0, 1]],
        np.eye(3)[[2, 0, 1]] * 0.9 + 1 / 30,
        keras.ops.convert_to_tensor([2, 0, 1]),
    ],
    ids=["list", "integers", "column", "floats", "one-hot", "smoothed", "tensor"],
)
def test_labels_of_every_form(labels):
    classes = class_labels(labels, 3)
    assert classes.tolist() == [2, 0, 1] and classes.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.5, 1.0], "values from 0.5 to 1"),
        ([-1, 0], "values from -1 to 0"),
        ([np.nan, 0], "values from nan"),
        (["cat", "dog"], "type <U3"),
        ([[1, 1, 0], [0, 1, 0]], "rows do not sum to one"),
        (np.zeros((2, 8, 8)), r"shape \(2, 8, 8\)"),
        ([0, 1, 2], "2 images and 3 labels"),
    ],
)
def test_labels_that_are_no_classes(labels, words):
    with pytest.raises(InvalidDataError, match=words):
        open_source((pictures(2), labels))


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 2])


@pytest.mark.parametrize("probes", ["spread", "worst"])
def test_labels_that_the_model_does_not_have(tmp_path, caplog, probes):
    images, _ = data()

    class Batches:
        def __iter__(self):
            return iter([(images, [0, 1, 7])])

    fit(eye(), data(), CAMCallback(Batches(), tmp_path, probes=probes), epochs=3)
    (said,) = words(caplog)
    assert "Labels must lie in 0..2" in said and "Received: label 7" in said
    with pytest.raises(InvalidDataError, match="Received: label 7"):
        fit(eye(), data(), CAMCallback((images, [0, 1, 7]), tmp_path, probes=probes, on_error="raise"))


def test_labels_beyond_the_models_classes(tmp_path):
    with pytest.raises(InvalidDataError, match=r"0\.\.2, .* tells 3 classes apart. Received: label 7"):
        train(network(), CAMCallback((colours()[0][:2], [0, 7]), tmp_path, on_error="raise"))
