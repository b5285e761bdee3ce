"""Cards of probes: size, parts, and the mark of a wrong prediction."""

import numpy as np
import pytest

from keras_cam.card import CARD_WIDTH, GAP, MARK_HEIGHT, WRONG, probe_card

SIDE = (CARD_WIDTH - GAP) // 2


@pytest.mark.parametrize(
    ("shape", "height"), [((32, 32), SIDE), ((64, 128), SIDE // 2), ((600, 400), 522), ((400, 20), 2 * SIDE)]
)
def test_a_card_is_as_wide_as_two_of_tensorboards(shape, height):
    picture = np.full((*shape, 3), (90, 20, 200), np.uint8)
    card = probe_card(picture, np.zeros((4, 4)), ["epoch 0", "predicted: cat 90.0%"])
    assert card.shape[1] == CARD_WIDTH and card.dtype == np.uint8
    scaled = np.flatnonzero((card == (90, 20, 200)).all(axis=2).any(axis=1))
    assert (scaled[0], len(scaled)) == (0, height)
    assert card.shape[0] > height + MARK_HEIGHT + 40


def test_left_is_the_picture_and_right_the_overlay():
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    heat = np.zeros((SIDE, SIDE))
    heat[: SIDE // 2] = 1
    card = probe_card(picture, heat, ["epoch 0"])
    assert (card[:SIDE, :SIDE] == 90).all()
    assert (card[SIDE // 2 : SIDE, SIDE + GAP :] == 90).all()
    assert (card[: SIDE // 2, SIDE + GAP :] != 90).any(axis=2).all()
    assert (card[:SIDE, SIDE : SIDE + GAP] == 255).all()


def test_a_wrong_prediction_has_a_red_bar():
    bars = [probe_card(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2)), ["x"], wrong=wrong) for wrong in (False, True)]
    red = [np.flatnonzero((card == WRONG).all(axis=(1, 2))).tolist() for card in bars]
    assert red == [[], list(range(SIDE, SIDE + MARK_HEIGHT))]


def test_captions_differ_and_only_they():
    cards = [probe_card(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2)), [f"epoch {epoch}"]) for epoch in (1, 2)]
    rows = np.flatnonzero((cards[0] != cards[1]).any(axis=(1, 2)))
    assert rows.min() > SIDE + MARK_HEIGHT
