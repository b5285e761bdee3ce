"""What a look holds, and the cards that it draws."""

import os

import keras
import numpy as np
import pytest
from support.callback_models import eye, fit, spots, watch, words
from support.trainings import card, colours, network, summaries, train

from keras_cam import CAMCallback, Explanation
from keras_cam.training import look as look_module
from keras_cam.training.card import CARD_WIDTH, GAP, SIDE, WRONG

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 0])


def test_a_function_of_the_users_gets_each_look(tmp_path):
    looks = []
    fit(eye(), data(), watch(data(), None, on_look=looks.append, every="2 batches"), epochs=1, batch_size=1)
    assert [(look.step, look.unit) for look in looks] == [(1, "batch"), (2, "batch"), (3, "batch")]
    for look in looks:
        np.testing.assert_allclose(look.shares.sum(axis=(1, 2)), 1, atol=1e-6)
        assert len(look.probes.images) == len(look.result) == 3
        assert set(look.means) == {
            "concentration",
            "share_in_border",
            "share_in_corners",
            "probability_of_true_class",  # and no agreement, for no two maps are of one class
            *(["moved_since_last"] if look.step > 1 else []),
        }
    assert os.listdir(tmp_path) == []


def test_maps_that_do_not_lie_in_the_pictures_are_said(caplog):
    """Pixels in a row: a window over rows and columns joined sees no place."""
    layers = keras.layers
    pooled = [layers.GlobalAveragePooling1D(), layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Reshape((256, 3)), layers.Conv1D(4, 3), *pooled])
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = fit(model, data(), CAMCallback(data(), None), epochs=2).history
    (said,) = words(caplog)
    assert "nothing that it computes has a place in the image" in said and len(history["loss"]) == 2


# cards


def test_each_card_is_drawn_once_for_all_that_show_it_and_maps_are_placed_once(tmp_path, monkeypatch):
    drawn, placed = [], []
    probe_card, heatmaps = look_module.probe_card, Explanation.heatmaps
    monkeypatch.setattr(look_module, "probe_card", lambda *args, **more: drawn.append(1) or probe_card(*args, **more))
    monkeypatch.setattr(Explanation, "heatmaps", lambda *args, **more: placed.append(1) or heatmaps(*args, **more))
    looks = []
    options = {"save_dir": tmp_path / "out", "on_look": looks.append, "boxes": [(0, 0, 9, 9)] * 3}
    fit(eye(), data(), watch(data(), tmp_path, **options), epochs=2)
    assert len(drawn) == 2 * 3 and len(placed) == 2
    assert not {"cards", "heatmaps"} & set(vars(looks[0])), "who keeps looks keeps no pictures of them"
    assert looks[0].cards[0].shape[1] == CARD_WIDTH


def test_a_wrong_prediction_is_marked(tmp_path, model):
    images, _ = colours()
    predicted = model.predict(images[:2], verbose=0).argmax(axis=1)
    labels = [predicted[0], (predicted[1] + 1) % 3]
    frozen = network(learning_rate=0.0)
    frozen.set_weights(model.get_weights())
    callback = CAMCallback((images[:2], labels), tmp_path)
    train(frozen, callback, epochs=1)
    found = summaries(tmp_path / "cam")
    right = [index for index, image in enumerate(callback._probe_set.chosen.images) if np.array_equal(image, images[0])]
    for probe in range(2):
        picture = card(found[f"cam/probe_{probe:02d}", 0]).astype(int)
        below = SIDE if probe in right else 2 * SIDE + GAP  # the true class's map below that of the predicted
        is_red = np.abs(picture[below + 2 : below + 6, 20:680] - WRONG).max() < 40
        assert is_red == (probe not in right)


def test_a_map_without_evidence_says_so_and_gives_no_numbers(tmp_path):
    model = network(learning_rate=0.0)
    weights = model.get_weights()
    weights[2][:] = -np.abs(weights[2])  # every class: negative weights on what is never negative
    model.set_weights(weights)
    train(model, CAMCallback(colours(), tmp_path, num_probes=1), epochs=2)
    found = summaries(tmp_path / "cam")
    assert {tag for tag, _ in found} == {"cam/probe_00", "cam/probability_of_true_class"}
    picture = card(found["cam/probe_00", 0])
    assert picture.shape[0] > SIDE + 8 + 3 * 38, "a third line"
    plain, drawn = (picture[: SIDE - 8, left:][:, : SIDE - 8].astype(int) for left in (0, SIDE + GAP))
    assert np.abs(plain - drawn).max() < 16, "the picture, not a black one"
