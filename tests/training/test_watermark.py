"""The watermark alarm: maps made by hand, and networks that look at a tag or at objects."""

import numpy as np
import pytest
from support.callback_models import NAMES, events, eye, fit, scenes, words
from support.looks import GRID, blob, look_at_maps

from keras_cam import CAMCallback
from keras_cam.training.watermark import watermark

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


TAG = [blob(6, 0, noise=0.01, seed=seed) for seed in range(4)]
ANYWHERE = [blob(*place) for place in ((0, 1), (5, 2), (3, 6), (2, 3))]


# by hand


@pytest.mark.parametrize(
    ("maps", "labels", "expected"),
    [
        (TAG, [1] * 4, ("'green'", "4 pictures", "bottom left")),
        (TAG + ANYWHERE, [1] * 4 + [0] * 4, ("'green'", "4 pictures", "bottom left")),
        (TAG, [None] * 4, ("'red'", "bottom left")),
        (TAG, [0, 1, 2, 0], ("all classes", "bottom left")),
        ([blob(0, 3, side=1)] * 3, [2] * 3, ("'blue'", "top")),
        (TAG[:2], [1] * 2, None),
        (ANYWHERE, [1] * 4, None),
        ([blob(3, 3)] * 4, [1] * 4, None),
        ([np.ones((GRID, GRID))] * 4, [1] * 4, None),
        ([blob(0, column, side=3) for column in range(4)], [1] * 4, None),
        ([-blob(6, 0)] * 4, [1] * 4, None),
    ],
    ids=[
        "tag",
        "tag of one class",
        "no labels",
        "tag of all",
        "top edge",
        "two",
        "anywhere",
        "centred",
        "even",
        "near the border here and there",
        "empty",
    ],
)
def test_watermark_by_hand(maps, labels, expected):
    said = watermark(look_at_maps(maps, labels))
    if expected is None:
        assert said is None
    else:
        assert all(part in said for part in expected), said


def test_agreement_and_alarm_go_by_the_class_that_is_mapped_not_by_the_true_one():
    """Four pictures of three classes, all taken for green by the tag: it is green's maps that lie in one place."""
    found = look_at_maps(TAG, [0, 1, 2, 0], mapped=[1, 1, 1, 1])
    assert list(found.shares_by_class) == [1] and found.means["agreement"] > 0.9
    assert watermark(found).startswith("The maps of 'green' lie in the same place in 4 pictures, bottom left")
    assert watermark(look_at_maps(TAG[:2] + ANYWHERE[:2], [0] * 4, mapped=[0, 0, 1, 1])) is None


# through training


@pytest.mark.parametrize("kind", ["tag", "anywhere", "centred"])
def test_the_alarm_is_for_a_network_that_looks_at_a_tag_and_is_given_once(tmp_path, caplog, kind):
    images, labels = scenes(kind)
    callback = CAMCallback((images, labels), tmp_path, class_names=NAMES, classes="true", on_error="raise")
    model = eye()
    for _ in range(2):  # once in each training
        caplog.clear()
        fit(model, (images, labels), callback, epochs=3)
        if kind == "tag":
            (said,) = words(caplog)
            assert said.startswith(
                "\nCAMCallback, epoch 0: The maps of 'red' lie in the same place in 8 pictures, bottom"
            )
        else:
            assert words(caplog) == []


def test_the_alarm_is_raised_whatever_the_number_of_probes(tmp_path, caplog):
    """Two probes, each of another class, are compared with comparison images, which are neither shown nor recorded."""
    images, labels = scenes("tag", 24)
    labels = np.arange(24) % 3
    looks = []
    options = {"class_names": NAMES, "classes": "red", "on_look": looks.append, "on_error": "raise"}
    callback = CAMCallback((images, labels), tmp_path, num_probes=2, **options)
    fit(eye(), (images, labels), callback, epochs=2)
    (said,) = words(caplog)
    assert said.startswith(
        "\nCAMCallback, epoch 0: The maps of 'red' lie in the same place in 24 pictures, bottom left"
    )
    assert len(looks[0].result) == len(looks[0].cards) == len(looks[0].probes.images) == 2
    assert {tag for tag, _, _ in events(tmp_path / "cam", "cam/probe")} == {"cam/probe_00", "cam/probe_01"}
    assert {name for name in events(tmp_path / "cam", "keras_cam/probe_02")} == set()
    assert looks[0].means["agreement"] > 0.9
