"""Cards of probes: size, parts, the numbers beside the colours, and the mark of a wrong prediction."""

import numpy as np
import pytest

from keras_cam.drawing.text import text_picture
from keras_cam.imaging.colormaps import colorize
from keras_cam.training.card import BAR_TEXT, BAR_WIDTH, CARD_WIDTH, GAP, MARK_HEIGHT, SIDE, WRONG, probe_card

UNIT = (0.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "height"), [((32, 32), SIDE), ((64, 128), SIDE // 2), ((600, 400), 444), ((400, 20), 2 * SIDE)]
)
def test_a_card_is_as_wide_as_two_of_tensorboards(shape, height):
    picture = np.full((*shape, 3), (90, 20, 200), np.uint8)
    card = probe_card(picture, np.zeros((4, 4)), UNIT, ["epoch 0", "predicted: cat 90.0%"])
    assert card.shape[1] == CARD_WIDTH and card.dtype == np.uint8
    scaled = np.flatnonzero((card == (90, 20, 200)).all(axis=2).any(axis=1))
    assert (scaled[0], len(scaled)) == (0, height)
    assert card.shape[0] > height + MARK_HEIGHT + 40


def test_left_is_the_picture_and_right_the_overlay():
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    heat = np.zeros((SIDE, SIDE))
    heat[: SIDE // 2] = 1
    card = probe_card(picture, 7 * heat, (0.0, 7.0), ["epoch 0"])
    assert (card[:SIDE, :SIDE] == 90).all()
    drawn = card[:SIDE, SIDE + GAP : 2 * SIDE + GAP]
    assert (drawn[SIDE // 2 :] == 90).all()
    assert (drawn[: SIDE // 2] != 90).any(axis=2).all()
    assert (card[:SIDE, SIDE : SIDE + GAP] == 255).all()


def bar_of(limits, height=32):
    """The part of a card that the colour bar stands in."""
    card = probe_card(np.zeros((height, 32, 3), np.uint8), np.zeros((2, 2)), limits, ["x"])
    return card[: height * SIDE // 32, 2 * SIDE + 2 * GAP :]


def written(bar, word, text_size):
    """Whether a word is somewhere in a picture, to the last pixel."""
    ink = text_picture([word], text_size)
    rows, columns = (np.flatnonzero((ink != 255).any(axis=(2, other))) for other in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    views = np.lib.stride_tricks.sliding_window_view(bar, ink.shape)
    return bool((views == ink).all(axis=(-3, -2, -1)).any())


@pytest.mark.parametrize("height", [16, 32, 64])
def test_bar_has_its_colours_and_numbers(height):
    bar = bar_of((0.0, 3.14159), height)
    assert bar.shape[1] == BAR_WIDTH
    np.testing.assert_array_equal(bar[[0, -1], 0], colorize([[1.0], [0.0]])[:, 0])
    assert all(written(bar, word, BAR_TEXT) for word in ("3.14", "1.57", "0"))


def test_long_numbers_are_smaller_and_whole():
    for limits, words in (((0.0, 1.234e-5), ("1.23e-05", "6.17e-06")), ((0.0, 123456.7), ("1.23e+05", "6.17e+04"))):
        bar = bar_of(limits)
        assert (bar[:, -1] == 255).all()  # nothing is cut off
        assert all(any(written(bar, word, size) for size in range(14, BAR_TEXT)) for word in words)


def test_empty_map_has_a_bar_of_one_number():
    bar = bar_of((0.0, 0.0))
    assert written(bar, "0", BAR_TEXT)
    np.testing.assert_array_equal(np.unique(bar[:, 0], axis=0), colorize([[0.0]])[0])
    assert not written(bar, "1", BAR_TEXT)


def test_heat_is_drawn_by_its_limits():
    """Half of the upper limit has the colour of the middle of the bar."""
    picture, limits = np.zeros((SIDE, SIDE, 3), np.uint8), (0.0, 8.0)
    card = probe_card(picture, np.full((SIDE, SIDE), 4.0), limits, ["x"])
    expected = np.rint(0.6 * colorize([[0.5]])[0, 0].astype(float))
    assert np.abs(card[SIDE // 2, SIDE + GAP + SIDE // 2] - expected).max() <= 1
    empty = probe_card(picture, np.full((SIDE, SIDE), -4.0), (0.0, 0.0), ["x"])
    assert not empty[:SIDE, SIDE + GAP : 2 * SIDE + GAP].any()


def test_a_wrong_prediction_has_a_red_bar():
    bars = [
        probe_card(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2)), UNIT, ["x"], wrong=wrong) for wrong in (False, True)
    ]
    red = [np.flatnonzero((card == WRONG).all(axis=(1, 2))).tolist() for card in bars]
    assert red == [[], list(range(SIDE, SIDE + MARK_HEIGHT))]


def test_captions_differ_and_only_they():
    cards = [probe_card(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2)), UNIT, [f"epoch {epoch}"]) for epoch in (1, 2)]
    rows = np.flatnonzero((cards[0] != cards[1]).any(axis=(1, 2)))
    assert rows.min() > SIDE + MARK_HEIGHT
