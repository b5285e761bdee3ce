"""Letters of any script as pixels: what is cut, what is replaced, what no font has."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from keras_cam import CAMWarning
from keras_cam.drawing import text
from keras_cam.drawing.text import Title, drawable, text_picture, text_width


def test_a_long_name_is_cut_and_its_number_kept():
    name = "a raccoon dog with a very long name"
    text = Title(name, "59.2% (empty map)")
    room = text_width([text], 13)
    assert_array_equal(text_picture([text], 13), text_picture([str(text)], 13))
    for width in range(room - 100, room, 7):
        fits = [
            shortened
            for end in range(len(name))
            if text_width([shortened := f"{name[:end].rstrip()}… 59.2% (empty map)"], 13) <= width
        ]
        assert_array_equal(text_picture([text], 13, width), text_picture(fits[-1:], 13, width))
    assert_array_equal(text_picture([text], 13, 40), text_picture([str(text)], 13, 40))  # no room for it


def test_letters_that_no_font_has_are_replaced_and_the_rest_is_drawn():
    assert drawable("häst \U000f0000 кот\n\tx") == "häst � кот x"
    assert drawable("\ud800 a") == "? a"
    assert (text_picture(["\U000f0000 abc"], 20, 90) != text_picture(["\U000f0000 abd"], 20, 90)).any()


def test_a_script_that_no_font_has_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(text, "_font_with", lambda letter: None if ord(letter) > 0xDFF else "")
    monkeypatch.setattr(text, "_told", set())
    with pytest.warns(CAMWarning) as caught:
        assert drawable("袋鼠 袋 한 กก \U000f0000") == "�� � � �� �"
    assert len(caught) == 1 + 1 + 1
    assert re.search(r"has '袋' \(CJK\), which is drawn as '�'.*apt install fonts-noto-cjk\.", str(caught[0].message))
    assert "fonts-noto-cjk." in str(caught[1].message) and "(THAI)" in str(caught[2].message)
    assert drawable("袋") == "�"  # without a word


def test_a_font_of_the_system_is_found_for_its_letters():
    name = "袋鼠"
    if drawable(name) != name:
        pytest.skip("no font of this system has Chinese letters: install fonts-noto-cjk to run this")
    one, other = text_picture([name], 40), text_picture(["袋袋"], 40)
    assert one.shape == other.shape and (one[:, : one.shape[1] // 2] == other[:, : one.shape[1] // 2]).all()
    assert (one != other).any()


@settings(deadline=None)
@given(st.text(st.characters(), max_size=20), st.integers(1, 120))
def test_any_text_is_drawn(text, width):
    assert text_picture([text], 12, width).shape == (24, width, 3)
    assert text_picture([text], 12).shape[1] == text_width([text], 12)
