"""How a method is found: by name, as a function, as a `Method`; the table itself is tested in test_contract.py."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_cam.errors import InvalidOptionError
from keras_cam.methods.registry import AUTO, METHODS, Method, check_maps, find_method, is_built_in


def image_itself(view, *, channel=0):
    return view.images[None, ..., channel]


def by_place(view, power=2):
    return view.features[..., 0] ** power


def test_every_way_to_name_a_method():
    assert find_method(AUTO, {}) is find_method("cam", {}) is METHODS["cam"]
    assert find_method("ss_cam", {"samples": 3, "noise": 1.0}) is METHODS["ss_cam"]
    assert find_method(METHODS["grad_cam"], {}) is METHODS["grad_cam"]
    found = find_method(image_itself, {"channel": 2})
    assert found == Method(image_itself, compiled=False) and found.options == ("channel",)


@pytest.mark.parametrize("method", ["gradcam", "", 3, None])
def test_what_is_no_method(method):
    with pytest.raises(InvalidOptionError, match=r"^method must be one of 'auto', 'cam'.*keras_cam.methods.View"):
        find_method(method, {})


def test_options_that_a_method_does_not_have():
    with pytest.raises(InvalidOptionError, match=r"no option 'noise', 'samples'.*'cam', which has none of its own"):
        find_method("cam", {"samples": 1, "noise": 2})
    with pytest.raises(InvalidOptionError, match=r"no option 'channels'.*'image_itself', which has 'channel'\."):
        find_method(image_itself, {"channels": 1})
    with pytest.raises(InvalidOptionError, match=r"keyword-only: write def by_place\(view, \*, power\)"):
        find_method(by_place, {"power": 1})


def test_a_method_of_the_table_is_built_in():
    assert all(map(is_built_in, METHODS.values()))
    assert not is_built_in(Method(image_itself)) and not is_built_in(find_method(image_itself, {}))


def test_maps_are_of_the_cells_or_of_the_pixels():
    view = SimpleNamespace(
        class_indices=np.zeros((2, 3)), features=np.zeros((2, 4, 5, 6)), images=np.zeros((2, 8, 10, 1))
    )
    for shape in ((2, 3, 4, 5), (2, 3, 8, 10)):
        check_maps(np.zeros(shape), view)
        check_maps((np.zeros(shape), np.zeros((2, 3))), view)
    for wrong, received in ((np.zeros((2, 4, 5)), r"\(2, 4, 5\)"), (3, "int"), ([1.0], "list")):
        with pytest.raises(InvalidOptionError, match=rf"here \(2, 3, 4, 5\).*Received: {received}\."):
            check_maps(wrong, view)
