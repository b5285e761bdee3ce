"""Results saved and loaded: what is read back is what was written, and files that are not ours."""

import dataclasses

import numpy as np
import pytest
from support.results import MAPS, of_rank, two_pictures

from keras_cam import Explanation
from keras_cam.errors import InvalidDataError
from keras_cam.model.grid import even_grid


@pytest.fixture(scope="module")
def result():
    return two_pictures()


@pytest.mark.parametrize("names", [("cat", "dog", "häst"), None], ids=["names", "no names"])
def test_what_is_saved_is_loaded(result, names, tmp_path):
    written = dataclasses.replace(result, class_names=names)
    path = written.save(tmp_path / "result")
    assert path == tmp_path / "result.npz" and path.is_file()
    loaded = Explanation.load(path)
    for name in ("maps", "class_indices", "logits", "probabilities", "bias"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
        assert getattr(loaded, name).dtype == getattr(result, name).dtype
    assert (loaded.method, loaded.layer, loaded.class_names) == ("cam", "backbone/conv", names)
    assert isinstance(loaded.images, tuple) and len(loaded.images) == 2
    for ours, theirs in zip(loaded.images, result.images, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(loaded.heatmaps(), result.heatmaps(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_name_with_its_ending_or_another_is_kept(result, tmp_path):
    assert result.save(str(tmp_path / "a.npz")).name == "a.npz"
    assert result.save(tmp_path / "epoch.3").name == "epoch.3.npz"


def test_more_than_ten_pictures_keep_their_order(result, tmp_path):
    many = {name: np.repeat(getattr(result, name), 6, axis=0) for name in ("maps", "class_indices", "logits", "bias")}
    pictures = tuple(np.full((2, 2, 3), index, np.uint8) for index in range(12))
    path = dataclasses.replace(result, **many, images=pictures).save(tmp_path / "many")
    assert [int(picture[0, 0, 0]) for picture in Explanation.load(path).images] == list(range(12))


def write_text(path):
    path.write_text("not an archive")


def write_half(path):
    np.savez(path, maps=MAPS)
    path.write_bytes(path.read_bytes()[:-40])


def write_other(path):
    np.savez(path, maps=MAPS)


def write_array(path):
    with open(path, "wb") as file:
        np.save(file, MAPS)


@pytest.mark.parametrize("write", [write_text, write_other, write_half, write_array])
def test_files_that_are_not_ours(write, tmp_path):
    path = tmp_path / "other.npz"
    write(path)
    with pytest.raises(InvalidDataError, match=r"other\.npz' is not a saved Explanation.*result\.save\(path\)"):
        Explanation.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Explanation.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    ("rank", "shape", "maps"), [(1, (4, 3), [0, 4]), (3, (3, 4, 5, 1), np.arange(8).reshape(2, 2, 2))]
)
def test_signals_and_volumes_are_saved_and_loaded(rank, shape, maps, tmp_path):
    written = of_rank(rank, shape, maps, even_grid(np.shape(maps), shape[:-1]))
    loaded = Explanation.load(written.save(tmp_path / "result"))
    assert loaded.images[0].dtype == np.float32 and loaded.grid == written.grid
    np.testing.assert_array_equal(loaded.images[0], written.images[0])
    np.testing.assert_array_equal(loaded.heatmaps()[0], written.heatmaps()[0])
    np.testing.assert_array_equal(loaded.overlays()[0][0], written.overlays()[0][0])
