"""Where looks go: files, films, a function of the user's, TensorBoard; and what reaches them of the options."""

import os
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
from support.callback_models import NAMES, events, eye, fit, spots, steps, strings

from keras_cam import CAMCallback, Explanation
from keras_cam.tensorboard.records import EPOCHS_TAG, MAPS, PICTURES, decode_epoch, decode_maps, kind_of, tag_of
from keras_cam.training import look as looks_module
from keras_cam.training.card import CARD_WIDTH

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 0])


def watch(directory, **options):
    return CAMCallback(data(), directory, class_names=NAMES, on_error="raise", **options)


def pixels(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_pictures_and_films_of_each_probe(tmp_path):
    """The true class is another for one probe from the second look on: its card is higher, the film still whole."""
    model = eye()
    weights = model.get_weights()

    def turn(epoch, logs):
        if epoch == 2:
            model.set_weights([weights[0], weights[1][:, [1, 0, 2]], weights[2]])

    turning = keras.callbacks.LambdaCallback(on_epoch_begin=turn)
    fit(model, data(), turning, watch(None, save_dir=tmp_path / "out"), epochs=4)
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


def frames(path):
    with PIL.Image.open(path) as film:
        return film.n_frames


def test_a_training_that_goes_on_has_films_of_all_its_epochs(tmp_path):
    """By the same callback or by another one, such as of a new process; one that starts anew leaves the rest out."""
    callback = watch(None, save_dir=tmp_path)
    fit(eye(), data(), callback, epochs=3)
    fit(eye(), data(), callback, epochs=5, initial_epoch=3)
    assert len(os.listdir(tmp_path / "probe_00")) == 5 and frames(tmp_path / "probe_00.gif") == 5
    fit(eye(), data(), watch(None, save_dir=tmp_path), epochs=7, initial_epoch=5)
    assert frames(tmp_path / "probe_01.gif") == 7 and pixels(tmp_path / "probe_01.png").shape[1] == 4 * 350 + 3 * 4
    fit(eye(), data(), watch(None, save_dir=tmp_path, every="1 batch"), epochs=2)
    assert frames(tmp_path / "probe_01.gif") == 2, "batches are no epochs"
    fit(eye(), data(), watch(None, save_dir=tmp_path), epochs=4)
    assert frames(tmp_path / "probe_01.gif") == 4, "what an earlier training wrote for later epochs is none of it"


def test_a_picture_that_is_taken_away_costs_no_film(tmp_path):
    def take(epoch, logs):
        if epoch == 2:
            (tmp_path / "probe_00" / "epoch_000000.png").unlink()
            (tmp_path / "probe_01" / "epoch_000001.png").write_bytes(b"no picture")

    taking = keras.callbacks.LambdaCallback(on_epoch_begin=take)
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        fit(eye(), data(), taking, watch(None, save_dir=tmp_path), epochs=4)
    films = {name: frames(tmp_path / name) for name in os.listdir(tmp_path) if name.endswith(".gif")}
    assert films == {"probe_00.gif": 3, "probe_02.gif": 4}, "each probe's on its own"


def test_films_after_an_interruption(tmp_path):
    """Keras ends no training that is interrupted: the films come with the next one, or at Python's end."""

    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    callback = watch(None, save_dir=tmp_path)
    stopping = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(eye(), data(), callback, stopping, epochs=3)
    assert sorted(os.listdir(tmp_path)) == ["probe_00", "probe_01", "probe_02"]
    fit(eye(), data(), callback, epochs=1, initial_epoch=1)  # no epoch at all
    assert frames(tmp_path / "probe_02.gif") == 1
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/..']\n"
        "from test_sinks import *\n"
        "def interrupt(epoch, logs): raise KeyboardInterrupt\n"
        "fit(eye(), data(), watch(None, save_dir=sys.argv[2]), "
        "keras.callbacks.LambdaCallback(on_epoch_end=interrupt), epochs=3)"
    )
    out = tmp_path / "out"
    run = subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__), out], capture_output=True, text=True)
    assert "KeyboardInterrupt" in run.stderr and "could not" not in run.stderr
    assert frames(out / "probe_00.gif") == 1


def test_a_function_of_the_users_gets_each_look(tmp_path):
    looks = []
    fit(eye(), data(), watch(None, on_look=looks.append, every="2 batches"), epochs=1, batch_size=1)
    assert [(look.step, look.unit) for look in looks] == [(1, "batch"), (2, "batch"), (3, "batch")]
    for look in looks:
        np.testing.assert_allclose(look.shares.sum(axis=(1, 2)), 1, atol=1e-6)
        assert len(look.watched.images) == len(look.result) == 3
        assert set(look.means) == {
            "concentration",
            "share_in_border",
            "share_in_corners",
            "probability_of_true_class",  # and no agreement, for no two maps are of one class
            *(["moved_since_last"] if look.step > 1 else []),
        }
    assert os.listdir(tmp_path) == []


def test_options_of_the_explainer(tmp_path):
    """Grad-CAM of the probability: the gradient of p_c by each channel's mean, times the channel."""
    looks = []
    options = {"method": "grad_cam", "target": "probability", "classes": "all", "layer": "conv2d"}
    model = eye(strength=10.0)
    options["layer"] = model.layers[0].name
    fit(model, data(), watch(None, on_look=looks.append, **options))
    result = looks[0].result
    assert result.method == "grad_cam"
    for row, image in enumerate(looks[0].watched.images):
        p = np.exp(10 * image.mean(axis=(0, 1), dtype=np.float64))
        p /= p.sum()
        slopes = 10 * (np.diag(p) - np.outer(p, p))  # of p_c by the mean of channel k
        expected = np.einsum("ck,hwk->chw", slopes, image)
        np.testing.assert_allclose(
            result.maps[row] / np.abs(result.maps[row]).max(), expected / np.abs(expected).max(), atol=1e-4
        )


@pytest.mark.parametrize(("image_format", "begins"), [("jpeg", b"\xff\xd8\xff"), ("png", b"\x89PNG")])
def test_image_format(tmp_path, image_format, begins):
    fit(eye(), data(), watch(tmp_path, image_format=image_format))
    run = tmp_path / "cam"
    cards = [value[2] for tag, _, value in events(run, "cam/probe_")]
    assert len(cards) == 3 and all(encoded.startswith(begins) for encoded in cards)
    ((picture,),) = strings(run, tag_of("probe_00", PICTURES)).values()
    assert picture.startswith(begins)


def test_beside_a_tensorboard_callback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = keras.callbacks.TensorBoard("there")
    callback = watch("here", tensorboard=theirs)
    fit(eye(), data(), callback)
    assert os.listdir(tmp_path) == ["there"] and os.listdir(tmp_path / "there") == ["cam"]


def test_a_directory_of_two_runs_one_after_the_other(tmp_path):
    """What is resumed has its pictures again, and the steps that are written twice are whole both times."""
    for first, last in ((0, 3), (2, 4)):
        fit(eye(), data(), watch(tmp_path), epochs=last, initial_epoch=first)
    run = tmp_path / "cam"
    assert steps(run, EPOCHS_TAG) == [0, 1, 2, 2, 3]
    assert steps(run, tag_of("probe_01", MAPS)) == [0, 1, 2, 2, 3]
    assert steps(run, tag_of("probe_01", PICTURES)) == [0, 2]


def test_every_record_decodes_and_large_pictures_are_stored_smaller(tmp_path):
    image = spots([(600, 100)], [1], size=1024, side=100)
    callback = CAMCallback((image, [1]), tmp_path, boxes=[(600, 100, 700, 200)], on_error="raise")
    fit(eye(), data(), callback, epochs=2)
    run = tmp_path / "cam"
    ((picture,),) = strings(run, tag_of("probe_00", PICTURES)).values()
    (tmp_path / "picture.jpg").write_bytes(picture)
    assert pixels(tmp_path / "picture.jpg").shape == (512, 512, 3)
    for record in map(decode_maps, strings(run, tag_of("probe_00", MAPS)).values()):
        assert record.size == (512, 512) and record.placement == ((15.5, 32.0), (15.5, 32.0))
        row, column = np.unravel_index(record.maps[0].argmax(), record.maps[0].shape)
        assert (15.5 + 32 * row, 15.5 + 32 * column) == pytest.approx((75, 325), abs=20)
    for epoch, parts in strings(run, EPOCHS_TAG).items():
        (probe,) = decode_epoch(parts)["probes"]
        assert decode_epoch(parts)["epoch"] == epoch and probe["boxes"] == [[300, 50, 350, 100]]
    assert kind_of(b'{"v": 1, "kind": "maps"}') == MAPS


def many_classes(count):
    """As `eye`, for so many classes, the first three of which are found in the colours."""
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(3, 1, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(count, activation="softmax"),
        ]
    )
    weights = np.full((3, count), 0.01, np.float32) * np.arange(count)
    weights[:, :3] = 100 * np.eye(3)
    model.set_weights([np.eye(3, dtype=np.float32)[None, None], weights, np.zeros(count, np.float32)])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return model


def test_of_many_classes_a_card_shows_the_most_probable_and_the_tab_has_all(tmp_path):
    """Three hundred maps below each other are more than a JPEG holds, and took half a minute to draw."""
    looks = []
    images, labels = spots([(1, 2), (9, 3)], [0, 1]), np.array([0, 7])
    callback = CAMCallback(
        (images, labels), tmp_path, classes="all", save_dir=tmp_path / "out", on_look=looks.append, on_error="raise"
    )
    fit(many_classes(300), (images, labels), callback)
    assert [
        [int(look.result.class_indices[row, slot]) for slot in look.on_card(row)] for look in looks for row in (0, 1)
    ] == [
        [0, 299, 298, 297],
        [1, 7, 299, 298],
    ], "the predicted one, the true one, and those after them"
    assert looks[0].caption(1)[2] == "4 of 300 maps: class 1, class 7, class 299, class 298"
    assert pixels(tmp_path / "out" / "probe_01" / "epoch_000000.png").shape[0] < 4 * CARD_WIDTH
    for row in range(2):
        (record,) = map(decode_maps, strings(tmp_path / "cam", tag_of(f"probe_0{row}", MAPS)).values())
        assert record.classes == tuple(range(300))
    assert sorted(tag for tag, _, _ in events(tmp_path / "cam", "cam/probe")) == ["cam/probe_00", "cam/probe_01"]


def test_a_card_that_cannot_be_written_costs_nothing_else(tmp_path):
    callback = watch(tmp_path)
    sink = callback._sinks["in TensorBoard"]
    encode = sink._encode

    def broken(picture):
        if picture.shape[1] == CARD_WIDTH:
            raise ValueError("too large")
        return encode(picture)

    sink._encode = broken
    with pytest.raises(ValueError, match="too large"):
        fit(eye(), data(), callback)
    run = tmp_path / "cam"
    assert steps(run, "cam/concentration") == [0] and steps(run, EPOCHS_TAG) == [0]
    assert all(steps(run, tag_of(f"probe_0{row}", kind)) == [0] for row in range(3) for kind in (MAPS, PICTURES))


def test_each_card_is_drawn_once_for_all_that_show_it_and_maps_are_placed_once(tmp_path, monkeypatch):
    drawn, placed = [], []
    probe_card, heatmaps = looks_module.probe_card, Explanation.heatmaps
    monkeypatch.setattr(looks_module, "probe_card", lambda *args, **more: drawn.append(1) or probe_card(*args, **more))
    monkeypatch.setattr(Explanation, "heatmaps", lambda *args, **more: placed.append(1) or heatmaps(*args, **more))
    looks = []
    options = {"save_dir": tmp_path / "out", "on_look": looks.append, "boxes": [(0, 0, 9, 9)] * 3}
    fit(eye(), data(), watch(tmp_path, **options), epochs=2)
    assert len(drawn) == 2 * 3 and len(placed) == 2
    assert not {"cards", "heatmaps"} & set(vars(looks[0])), "who keeps looks keeps no pictures of them"
    assert looks[0].cards[0].shape[1] == CARD_WIDTH


def test_the_tab_knows_the_most_probable_classes_whatever_is_mapped(tmp_path):
    """Of wrong predictions above all, where only the true class is mapped."""
    images, labels = spots([(1, 2), (9, 3)], [0, 1]), np.array([1, 1])
    fit(
        many_classes(9),
        (images, labels),
        CAMCallback((images, labels), tmp_path, classes="true", boxes=[(9, 3, 13, 7)] * 2),
    )
    (probes,) = (decode_epoch(parts)["probes"] for parts in strings(tmp_path / "cam", EPOCHS_TAG).values())
    p = many_classes(9).predict(images, verbose=0)
    for probe, row in zip(probes, p, strict=True):
        assert probe["classes"] == [1] and probe["heat_of"] == probe["inside_of"] == 1
        assert [index for index, _ in probe["top"]] == np.argsort(-row, kind="stable")[:5].tolist()
        assert [value for _, value in probe["top"]] == pytest.approx(sorted(row)[:-6:-1], rel=1e-4)
        assert {str(index) for index, _ in probe["top"]} <= set(probe["names"])
    assert probes[0]["predicted"] == 0 == probes[0]["top"][0][0] and len({probe["image"] for probe in probes}) == 2


def test_hostile_class_names(tmp_path):
    names = ("<script>alert(1)</script>/..", "x" * 10_000, "\u202eolleh \U0001f431/\n")
    callback = CAMCallback(data(), tmp_path, class_names=names, masks=np.ones((3, 16, 16)), on_error="raise")
    fit(eye(), data(), callback)
    found = events(tmp_path / "cam", "")
    tags = {tag for tag, _, _ in found}
    assert not any(character in tag for tag in tags for character in "<>\n\u202e") and max(map(len, tags)) < 100
    assert all(tag.count("/") <= 2 for tag in tags)
    (probes,) = (decode_epoch(parts)["probes"] for parts in strings(tmp_path / "cam", EPOCHS_TAG).values())
    assert {name for probe in probes for name in probe["names"].values()} == set(names)
    assert os.listdir(tmp_path) == ["cam"]
