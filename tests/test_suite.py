"""The suite itself: which tests are sent to a worker together."""

from pathlib import Path

import pytest

pytest.importorskip("xdist", reason="pytest-xdist is not installed")
from support.scheduling import BY_MODEL, TOGETHER, SharingScheduling, unit_of
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/test_zoo.py::test_kind_of_head[hidden GELU]", "model hidden GELU"),
        ("tests/model/test_grid.py::test_centres[hidden GELU]", "model hidden GELU"),
        ("tests/test_zoo.py::test_the_zoo_is_large", "tests/test_zoo.py::test_the_zoo_is_large"),
        ("tests/tensorboard/test_dashboard.py::test_scales", "browser"),
        ("tests/tensorboard/test_browser.py::test_all_epochs", "browser"),
        ("tests/imaging/test_boxes.py::test_any[a-1]", "tests/imaging/test_boxes.py::test_any"),
        ("tests/imaging/test_boxes.py::test_any[b[0]-2]", "tests/imaging/test_boxes.py::test_any"),
        ("keras_cam/classes.py::keras_cam.classes.ClassNames", "keras_cam/classes.py::keras_cam.classes.ClassNames"),
    ],
)
def test_what_a_test_is_sent_with(nodeid, unit):
    assert unit_of(nodeid) == unit


def test_xdist_asks_for_the_unit():
    assert "_split_scope" in vars(LoadScopeScheduling) and "_split_scope" in vars(SharingScheduling)


def test_modules_that_share_are_there():
    known = {path.stem for path in TESTS.rglob("test_*.py")}
    assert (set(TOGETHER) | BY_MODEL) - known == set()
