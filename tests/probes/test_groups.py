"""Data by the names of groups, each with its own boxes."""

import numpy as np
import PIL.Image
import pytest
from support.callback_models import coloured_spots, epoch_records, eye, fit, spots, watch

from keras_cam import CAMCallback
from keras_cam.errors import InvalidClassError, InvalidDataError

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour

BOXES = [(4, 4, 6, 8), (8, 2, 16, 6), (0, 0, 4, 4)]


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 2])


def test_groups_by_name_and_labels_in_one_of_them(tmp_path):
    images, labels = coloured_spots()
    wrong = (labels + 1) % 3
    groups = {"seen": (images, wrong), "new": images[:3]}
    fit(eye(), coloured_spots(), watch(groups, tmp_path, num_probes=3))
    (probes,) = epoch_records(tmp_path).values()
    assert [probe["group"] for probe in probes] == ["seen"] * 3 + ["new"] * 3
    assert [probe["true"] for probe in probes] == [0, 1, 2, None, None, None]
    assert [probe["classes"] for probe in probes] == [[2, 0], [0, 1], [1, 2], [0], [0], [1]]
    assert [probe["p_true"] is None for probe in probes] == [False] * 3 + [True] * 3


def test_directories_of_different_classes(tmp_path):
    for path in ("one/cat", "one/dog", "two/dog"):
        (tmp_path / path).mkdir(parents=True)
        PIL.Image.new("RGB", (16, 16)).save(tmp_path / path / "a.png")
    with pytest.raises(InvalidDataError, match=r"the same classes. Received: \[\('cat', 'dog'\), \('dog',\)\]"):
        CAMCallback({"one": tmp_path / "one", "two": tmp_path / "two"}, tmp_path)
    with pytest.raises(InvalidClassError, match="each of the 3 classes"):
        fit(eye(), data(), CAMCallback(tmp_path / "one", tmp_path, on_error="raise"))


def test_a_data_set_that_is_read_has_no_places_for_boxes(tmp_path):
    class Batches:
        def __iter__(self):
            return iter([data()])

    with pytest.raises(InvalidDataError, match="belong to images by their place"):
        CAMCallback(Batches(), tmp_path, boxes=BOXES)
