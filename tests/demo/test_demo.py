"""The demo at small size: its figures, its files, its words."""

import logging

import numpy as np
import PIL.Image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_cam.demo import run, run_demo
from keras_cam.errors import InvalidOptionError
from keras_cam.shapes import CLASS_NAMES, TAGGED_CLASS

SMALL = {"num_images": 96, "epochs": 2, "verbose": 0}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module", autouse=True)
def fewer_held_out():
    """Drawn, explained and measured are 400 pictures otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "NUM_HELD_OUT", 120)
        yield


@pytest.fixture(scope="module")
def tagged(tf, out):  # the curves of the loss are by Keras' own TensorBoard callback, which needs TensorFlow
    return run_demo(out, **SMALL)


@pytest.fixture(scope="module")
def honest(out, tagged):
    return run_demo(out, honest=True, **SMALL)


@pytest.fixture(scope="module")
def first_epoch(tf, tmp_path_factory):
    """The first epoch with enough pictures to learn the tag, of both kinds: the result, and what was warned of."""
    found, told = {}, []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("keras_cam").addHandler(handler)
    for kind in ("tagged", "honest"):
        told.clear()
        result = run_demo(tmp_path_factory.mktemp(kind), honest=kind == "honest", num_images=1000, epochs=1, verbose=0)
        found[kind] = result, tuple(told)
    logging.getLogger("keras_cam").removeHandler(handler)
    return found


def events(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def test_the_tag_is_learnt_first_and_only_where_it_is(tagged, honest):
    assert tagged.tag_share[TAGGED_CLASS] > 3 * tagged.tag_area[TAGGED_CLASS]
    assert tagged.tag_share[TAGGED_CLASS] > 2 * honest.tag_share[TAGGED_CLASS]


def test_figures_are_shares(tagged, honest):
    for result in (tagged, honest):
        for figures in (result.object_share, result.tag_share, result.object_area, result.tag_area, result.accuracy):
            assert tuple(figures) == CLASS_NAMES
            assert all(0 <= value <= 1 for value in figures.values())
        for name in set(CLASS_NAMES) - {TAGGED_CLASS}:
            assert result.tag_share[name] == result.tag_area[name] == 0
            assert result.accuracy[name] == result.accuracy_untagged[name]


def test_the_callback_warns_of_the_tag_and_of_nothing_else(first_epoch):
    """What the page about the callback says of the demo."""
    (warned,) = first_epoch["tagged"][1]
    assert "'circle'" in warned and "bottom left" in warned
    assert first_epoch["honest"][1] == ()


def test_both_runs_are_left_for_tensorboard(tagged, honest):
    assert tagged.log_dir == honest.log_dir
    for kind in ("tagged", "honest"):
        cam = events(tagged.log_dir / kind / "cam")
        pictures = [tag for tag in cam.Tags()["tensors"] if tag.startswith("cam/probe_")]
        assert len(pictures) == 12
        assert [event.step for event in cam.Tensors(pictures[0])] == [0, 1]
        assert "epoch_loss" in events(tagged.log_dir / kind / "validation").Tags()["tensors"]


def test_pictures(tagged, honest):
    assert len({tagged.filmstrip, tagged.picture, honest.filmstrip, honest.picture}) == 4
    for result in (tagged, honest):
        for path in (result.filmstrip, result.picture):
            with PIL.Image.open(path) as picture:
                assert picture.format == "PNG"
                assert min(picture.size) > 400
                assert np.asarray(picture).std() > 20


def test_filmstrip_has_a_column_for_each_epoch(tagged, first_epoch):
    with PIL.Image.open(first_epoch["tagged"][0].filmstrip) as one, PIL.Image.open(tagged.filmstrip) as two:
        assert two.width - one.width > 100
        assert two.height - one.height < 40


def test_report(tagged, honest):
    text = tagged.report()
    assert f"{tagged.tag_share[TAGGED_CLASS]:.0%} of its map lies on the tag" in text
    assert f"tensorboard --logdir {tagged.log_dir} --samples_per_plugin images=1000" in text
    assert str(tagged.picture) in text and str(tagged.filmstrip) in text
    assert "keras-cam demo --honest" in text
    assert "--honest" not in honest.report()
    assert max(map(len, tagged._table())) <= 100


def test_same_seed_same_figures_and_logs_replaced(tagged, out):
    again = run_demo(out, **SMALL)
    for name, value in tagged.object_share.items():
        assert again.object_share[name] == pytest.approx(value, abs=1e-3)
    assert again.accuracy == tagged.accuracy
    assert len(list((out / "logs" / "tagged" / "cam").iterdir())) == 1


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"num_images": 3}, {"seed": -1}, {"seed": 2**32}])
def test_bad_arguments(arguments, tmp_path):
    with pytest.raises(InvalidOptionError, match=next(iter(arguments))):
        run_demo(tmp_path, **{**SMALL, **arguments})


def test_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidOptionError, match="is a file"):
        run_demo(tmp_path / "file", **SMALL)
