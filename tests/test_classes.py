"""resolve_classes: every way to say which classes, and what is said about the others."""

import keras
import numpy as np
import pytest

from keras_cam.classes import ClassNames, adds_an_axis, resolve_classes
from keras_cam.errors import InvalidClassError

NAMES = ["dog", "cat", "horse", "top2"]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (2, [[2], [2]]),
        (np.int64(2), [[2], [2]]),
        (np.array(2), [[2], [2]]),
        (keras.ops.convert_to_tensor(2), [[2], [2]]),
        ("cat", [[1], [1]]),
        ("top1", [[-1], [-1]]),
        ("top3", [[-1, -2, -3]] * 2),
        ("Top-3", [[-1, -2, -3]] * 2),
        ("top2", [[3], [3]]),
        ([2, 0], [[2, 0], [2, 0]]),
        ((2, "dog", "top1"), [[2, 0, -1]] * 2),
        (["top3", "horse"], [[-1, -2, -3, 2]] * 2),
        (range(1, 4), [[1, 2, 3]] * 2),
        ([np.int32(1)], [[1], [1]]),
        (np.array([2, 0]), [[2], [0]]),
        (np.array([2, 0], np.uint8), [[2], [0]]),
        (keras.ops.convert_to_tensor([2, 0]), [[2], [0]]),
        (np.array([[2, 0, 1], [3, 3, 3]]), [[2, 0, 1], [3, 3, 3]]),
        (np.array([[2], [0]]), [[2], [0]]),
    ],
    ids=str,
)
def test_classes_in_every_form(classes, expected):
    found = resolve_classes(classes, 2, ClassNames(NAMES, 4))
    assert found.tolist() == expected and found.dtype == np.int32


@pytest.mark.parametrize("classes", ["all", "ALL"])
def test_all_classes(classes):
    assert resolve_classes(classes, 2, ClassNames(NAMES, 4)) is None


def test_no_names_are_needed_for_ranks_and_indices():
    assert resolve_classes(["top2", 3], 1, ClassNames(None, 4)).tolist() == [[-1, -2, 3]]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (1, False),
        ("cat", False),
        ("top1", False),
        (np.array([1, 0]), False),
        (np.int64(1), False),
        ("top2", True),
        ("all", True),
        ([1], True),
        (("cat",), True),
        (range(2), True),
        (np.array([[1], [0]]), True),
    ],
    ids=str,
)
def test_several_classes_add_an_axis(classes, expected):
    assert adds_an_axis(classes) is expected


@pytest.mark.parametrize(
    ("classes", "names", "words"),
    [
        (4, NAMES, ["4 is out of range", "4 classes", "0 to 3"]),
        (-1, NAMES, ["-1 is out of range", "0 to 3"]),
        ([0, 7], NAMES, ["7 is out of range"]),
        (np.array([0, 4]), NAMES, ["4 is out of range"]),
        (np.array([0, -1]), NAMES, ["-1 is out of range"]),
        ("cow", NAMES, ["'cow'", "'dog', 'cat', 'horse'"]),
        ("Cat", NAMES, ["'Cat'", "'cat'"]),
        ("cat", None, ["'cat'", "class_names=[...]"]),
        ("cat", ["cat", "dog", "cat", "cow"], ["2 classes", "'cat'"]),
        ("cow", [f"n{i}" for i in range(20)], ["'n9', ..."]),
        ("top5", NAMES, ["'top5'", "4 classes"]),
        ("top0", NAMES, ["'top0'"]),
        (1.0, NAMES, ["1.0", "float", "'top1'"]),
        (None, NAMES, ["None", "NoneType", "'top1'"]),
        ([[0, 1]], NAMES, ["[0, 1]", "list"]),
        ([], NAMES, ["empty list", "'top1'"]),
        (np.array([0.0, 1.0]), NAMES, ["integers", "float64"]),
        (np.array([True, False]), NAMES, ["integers", "bool"]),
        (np.array([0, 1, 2]), NAMES, ["(2,) or (2, C)", "(3,)", "Pass a list"]),
        (np.zeros((2, 2, 2), int), NAMES, ["(2, 2, 2)"]),
        (np.zeros((2, 0), int), NAMES, ["(2, 0)"]),
        (np.zeros(0, int), NAMES, ["(0,)"]),
    ],
    ids=str,
)
def test_classes_that_the_model_does_not_have(classes, names, words):
    with pytest.raises(InvalidClassError) as caught:
        resolve_classes(classes, 2, ClassNames(names, 4))
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_list_with_a_class_for_each_image():
    labels = np.array([2, 0, 1])
    assert resolve_classes(["top2", labels], 3, ClassNames(None, 3)).tolist() == [[-1, -2, 2], [-1, -2, 0], [-1, -2, 1]]
    with pytest.raises(InvalidClassError, match="one row per image"):
        resolve_classes(["top1", labels], 4, ClassNames(None, 3))
