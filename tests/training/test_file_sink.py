"""Cards as picture files, films of them at the end, and what a disk or a directory that fails costs."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
from support.callback_models import eye, fit, pixels, spots, steps, watch, words

from keras_cam import CAMCallback
from keras_cam.errors import InvalidOptionError
from keras_cam.training.card import CARD_WIDTH

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 0])


def frames(path):
    with PIL.Image.open(path) as film:
        return film.n_frames


def test_pictures_and_films_of_each_probe(tmp_path):
    """The true class is another for one probe from the second look on: its card is higher, the film still whole."""
    model = eye()
    weights = model.get_weights()

    def turn(epoch, logs):
        if epoch == 2:
            model.set_weights([weights[0], weights[1][:, [1, 0, 2]], weights[2]])

    turning = keras.callbacks.LambdaCallback(on_epoch_begin=turn)
    fit(model, data(), turning, watch(data(), None, save_dir=tmp_path / "out"), epochs=4)
    names = [f"probe_{probe:02d}" for probe in range(3)]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        [*names, *(f"{name}.gif" for name in names), *(f"{name}.png" for name in names)]
    )
    for name in names:
        cards = [pixels(tmp_path / "out" / name / f"epoch_{epoch:06d}.png") for epoch in range(4)]
        assert len(os.listdir(tmp_path / "out" / name)) == 4
        assert {card.shape[1] for card in cards} == {CARD_WIDTH}
        heights = [card.shape[0] for card in cards]
        assert (heights[0] == heights[1]) and (heights[2] == heights[3])
        with PIL.Image.open(tmp_path / "out" / f"{name}.gif") as film:
            assert film.n_frames == 4 and film.size == (350, max(round(height / 2) for height in heights))
        strip = pixels(tmp_path / "out" / f"{name}.png")
        assert strip.shape == (max(round(height / 2) for height in heights), 4 * 350 + 3 * 4, 3)
    first, last = (pixels(tmp_path / "out" / "probe_00" / f"epoch_{epoch:06d}.png").shape[0] for epoch in (0, 3))
    assert last > first, "right at first; then two maps, of the predicted and of the true class"


def test_a_training_that_goes_on_has_films_of_all_its_epochs(tmp_path):
    """By the same callback or by another one, such as of a new process; one that starts anew leaves the rest out."""
    callback = watch(data(), None, save_dir=tmp_path)
    fit(eye(), data(), callback, epochs=3)
    fit(eye(), data(), callback, epochs=5, initial_epoch=3)
    assert len(os.listdir(tmp_path / "probe_00")) == 5 and frames(tmp_path / "probe_00.gif") == 5
    fit(eye(), data(), watch(data(), None, save_dir=tmp_path), epochs=7, initial_epoch=5)
    assert frames(tmp_path / "probe_01.gif") == 7 and pixels(tmp_path / "probe_01.png").shape[1] == 4 * 350 + 3 * 4
    fit(eye(), data(), watch(data(), None, save_dir=tmp_path, every="1 batch"), epochs=2)
    assert frames(tmp_path / "probe_01.gif") == 2, "batches are no epochs"
    fit(eye(), data(), watch(data(), None, save_dir=tmp_path), epochs=4)
    assert frames(tmp_path / "probe_01.gif") == 4, "what an earlier training wrote for later epochs is none of it"


def test_a_picture_that_is_taken_away_costs_no_film(tmp_path):
    def take(epoch, logs):
        if epoch == 2:
            (tmp_path / "probe_00" / "epoch_000000.png").unlink()
            (tmp_path / "probe_01" / "epoch_000001.png").write_bytes(b"no picture")

    taking = keras.callbacks.LambdaCallback(on_epoch_begin=take)
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        fit(eye(), data(), taking, watch(data(), None, save_dir=tmp_path), epochs=4)
    films = {name: frames(tmp_path / name) for name in os.listdir(tmp_path) if name.endswith(".gif")}
    assert films == {"probe_00.gif": 3, "probe_02.gif": 4}, "each probe's on its own"


def test_films_after_an_interruption(tmp_path):
    """Keras ends no training that is interrupted: the films come with the next one, or at Python's end."""

    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    callback = watch(data(), None, save_dir=tmp_path)
    stopping = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(eye(), data(), callback, stopping, epochs=3)
    assert sorted(os.listdir(tmp_path)) == ["probe_00", "probe_01", "probe_02"]
    fit(eye(), data(), callback, epochs=1, initial_epoch=1)  # no epoch at all
    assert frames(tmp_path / "probe_02.gif") == 1
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/..']\n"
        "from test_file_sink import *\n"
        "def interrupt(epoch, logs): raise KeyboardInterrupt\n"
        "fit(eye(), data(), watch(data(), None, save_dir=sys.argv[2]), "
        "keras.callbacks.LambdaCallback(on_epoch_end=interrupt), epochs=3)"
    )
    out = tmp_path / "out"
    run = subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__), out], capture_output=True, text=True)
    assert "KeyboardInterrupt" in run.stderr and "could not" not in run.stderr
    assert frames(out / "probe_00.gif") == 1


# directories and disks


def at_epoch(number, action):
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: action() if epoch == number else None)


def test_a_save_dir_that_cannot_be_is_said_at_construction(tmp_path):
    (tmp_path / "pictures").write_text("in the way")
    with pytest.raises(InvalidOptionError, match=r"^save_dir must be a directory .* is a file, not a directory"):
        CAMCallback(data(), None, save_dir=tmp_path / "pictures")


def test_a_save_dir_that_is_taken_away(tmp_path, caplog):
    pictures = tmp_path / "pictures"

    def spoil():
        shutil.rmtree(pictures)
        pictures.write_text("in the way")

    callback = CAMCallback(data(), tmp_path / "logs", save_dir=pictures, num_probes=2)
    fit(eye(), data(), callback, at_epoch(2, spoil), epochs=5)
    assert steps(tmp_path / "logs" / "cam", "cam/probe_01") == [0, 1, 2, 3, 4]
    said = words(caplog)
    assert "at epoch 2 in save_dir" in said[0] and "after training in save_dir" in said[-1] and len(said) == 2


def test_a_full_disk_is_one_error_for_pictures_and_films(small_disk, caplog):
    """What lies there when it is full are whole pictures only, which films can be made of again."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(210 * 1024))
    options = {"save_dir": small_disk / "pictures", "num_probes": 3}
    callback = CAMCallback(data(), None, **options)
    fit(eye(), data(), callback, epochs=6)
    (said,) = words(caplog)
    assert "in save_dir. OSError: [Errno 28] No space left on device" in said
    written = [path for path in (small_disk / "pictures").rglob("*") if path.is_file()]
    assert written and all(path.suffix in (".png", ".gif") for path in written)
    ballast.unlink()
    fit(eye(), data(), callback, epochs=7, initial_epoch=6)
    assert len(words(caplog)) == 1
    assert {f"probe_{row:02d}.gif" for row in range(3)} <= set(os.listdir(small_disk / "pictures"))
