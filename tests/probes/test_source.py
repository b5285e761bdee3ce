"""Data of any kind, and data that hold no pictures to take probes from."""

import numpy as np
import pytest
from support.probe_data import pictures

from keras_cam.errors import InvalidDataError
from keras_cam.probes.source import open_source


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((5, 28, 28)), r"shape \(5, 28, 28\)"),
        (np.zeros((0, 4, 4, 3)), r"shape \(0, 4, 4, 3\)"),
        ([np.zeros((4, 4, 3))], "type list"),
        (None, "NoneType"),
        (({"image": pictures(2)}, [0, 1]), "type dict"),
        ((pictures(2), [0, 1], [1, 1], 4), "4 things"),
        ((pictures(1) for _ in range(2)), "generator"),
    ],
)
def test_data_without_pictures_are_refused_at_once(data, words):
    with pytest.raises(InvalidDataError, match=f"(?s){words}.*Give images x of shape"):
        open_source(data)


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (np.zeros((8, 5), np.float32), r"shape \(5,\)"),
        ({"image": pictures(2)}, "type dict"),
        ((pictures(2), {"class": [0, 1]}), "dict of labels"),
    ],
)
def test_a_tf_data_set_is_judged_by_its_specification(tf, element, words):
    with pytest.raises(InvalidDataError, match=words):
        open_source(tf.data.Dataset.from_tensor_slices(element))
