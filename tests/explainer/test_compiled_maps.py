"""The compiled functions of one method give the same maps, whichever way they are reached."""

import numpy as np
import pytest
from support import zoo

from keras_cam.backend import as_arrays
from keras_cam.explainer.compiled_maps import CompiledMaps
from keras_cam.methods.registry import METHODS
from keras_cam.model.head import find_head

NAME = "functional"
ALL = np.tile(np.arange(3, dtype="int32"), (3, 1))


@pytest.fixture(scope="module")
def inputs():
    return zoo.inputs(NAME)


def compiled(method, **options):
    return CompiledMaps(find_head(zoo.model(NAME)), METHODS[method], options)


def close(found, expected):
    for array, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["cam", "grad_cam", "saliency"])
def test_whole_in_parts_and_stepwise(method, inputs):
    maps = compiled(method)
    whole = as_arrays(maps.chosen_classes(inputs, ALL))
    values = maps.forward(inputs)
    close(as_arrays(maps.part_of_classes(inputs, *values, ALL)), whole)
    close(as_arrays(maps.stepwise([inputs], values, ALL, batch_size=32, verbose=0)), whole)
    if method == "cam":
        close(as_arrays(maps.all_classes(inputs)), whole)


def test_ranks_are_classes_by_their_scores(inputs):
    """-1 is the most probable class of an image, -2 the second; classes stay."""
    maps, bias, indices, scores, _ = as_arrays(compiled("cam").chosen_classes(inputs, ALL * 0 + [-1, 1, -3]))
    order = np.argsort(-scores, axis=1)
    np.testing.assert_array_equal(indices, np.stack([order[:, 0], np.ones(3), order[:, 2]], axis=1))
    chosen = np.take_along_axis(scores, indices, axis=1)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + bias, chosen, rtol=1e-5, atol=1e-5)


def test_pieces_are_compiled_once_for_each_kind_of_question(inputs):
    maps = compiled("smooth_grad", samples=2)
    values = maps.forward(inputs)
    for classes in (ALL, ALL[:, :1], ALL):
        maps.stepwise([inputs], values, classes, batch_size=32, verbose=0)
    assert len(maps.pieces) == 1
