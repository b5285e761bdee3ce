"""Results over epochs as a strip and as an animation."""

import dataclasses

import numpy as np
import PIL.Image
import pytest
from numpy.testing import assert_array_equal
from support.results import RANKS, SIGNED_MAPS, two_grey_pictures, two_of

from keras_cam import Explanation, save_film
from keras_cam.drawing.encode import save_gif
from keras_cam.errors import InvalidDataError, InvalidOptionError


@pytest.fixture
def result():
    return two_grey_pictures()


@pytest.fixture(params=RANKS)
def other(request):
    return two_of(request.param)


def test_a_film_as_strip_and_as_animation(result, tmp_path):
    later = dataclasses.replace(result, maps=SIGNED_MAPS[..., ::-1, :].copy())
    with PIL.Image.open(save_film(tmp_path / "new" / "film.png", [result, later], width=60)) as strip:
        assert strip.width > 3 * 60 and strip.height > 4 * 40
    with PIL.Image.open(save_film(tmp_path / "film.gif", [result, later, result], width=60, seconds=0.1)) as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (3, 0, 100)
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(1)
        assert np.abs(np.asarray(film.convert("RGB")) - first).max() > 50
        film.seek(2)
        assert film.info["duration"] == 400


def test_a_film_scales_all_its_maps_by_one_where_asked(result, tmp_path):
    weaker = dataclasses.replace(result, maps=SIGNED_MAPS / 4)

    def strip(mode):
        with PIL.Image.open(save_film(tmp_path / "film.png", [result, weaker], normalize=mode)) as picture:
            return np.asarray(picture)

    assert_array_equal(strip("batch"), strip((0.0, 4.0)))
    assert (strip("batch") != strip("image")).any()


def test_films_of_signals_and_volumes_are_as_wide_as_their_pictures(other, tmp_path):
    with PIL.Image.open(save_film(tmp_path / "film.png", [other])) as strip:
        assert strip.width > 480
        wide = other.panels(width=480, text_size=13)[0][0]
        shown = np.asarray(strip)
    places = (shown[top:, left:] for top in range(shown.shape[0]) for left in (shown.shape[1] - wide.shape[1],))
    assert any(part.shape[0] >= len(wide) and (part[: len(wide), : wide.shape[1]] == wide).all() for part in places)


def test_a_film_of_signals_has_no_column_of_pictures(tmp_path):
    signals = (np.arange(30, dtype="float32").reshape(15, 2),) * 2
    maps = np.linspace(-1, 1, 10, dtype="float32").reshape(2, 1, 5)
    known = {"logits": np.ones((2, 1)), "probabilities": np.ones((2, 1)), "bias": np.zeros((2, 1))}
    result = Explanation(maps, np.zeros((2, 1), int), images=signals, method="cam", layer="conv", **known)
    widths = []
    for count in (1, 2):
        with PIL.Image.open(save_film(tmp_path / f"{count}.png", [result] * count, width=200)) as strip:
            widths.append(strip.width)
    assert widths[0] < 1.5 * (widths[1] - widths[0])  # labels and one panel, no column more


def test_films_that_are_none(result, tmp_path):
    with pytest.raises(InvalidOptionError, match=r"\.png strip or a \.gif.*film\.mp4"):
        save_film(tmp_path / "film.mp4", [result])
    with pytest.raises(InvalidDataError, match="0 results"):
        save_film(tmp_path / "film.png", [])
    with pytest.raises(InvalidDataError, match="same pictures"):
        save_film(tmp_path / "film.png", [result, result.first(1)])
    with pytest.raises(InvalidOptionError, match="0 pictures"):
        save_gif(tmp_path / "film.gif", [])
