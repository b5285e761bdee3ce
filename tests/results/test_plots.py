"""Pictures of a result: overlays, panels, sheets, figures and notebooks, of pictures, signals and volumes."""

import dataclasses
import re
from base64 import b64decode
from io import BytesIO

import matplotlib.text
import numpy as np
import PIL.Image
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_allclose, assert_array_equal
from support.results import NAMES, RANKS, SIGNED_MAPS, two_grey_pictures, two_of

from keras_cam import Box, overlay
from keras_cam.drawing.panel import panel
from keras_cam.drawing.signal import draw_signal
from keras_cam.drawing.text import Title, drawable, text_picture
from keras_cam.drawing.volume import montage
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.graph.receptive_field import Axis
from keras_cam.imaging.colormaps import colorize
from keras_cam.model.grid import Grid
from keras_cam.results.explanation import ARRAYS


@pytest.fixture
def result():
    return two_grey_pictures()


# figures


def test_the_bar_of_a_figure_is_in_logit_units(result):
    drawing = result.plot(signed=True, normalize="batch")
    bars = drawing.axes[2::4]
    assert len(bars) == 4 and all(bar.get_ylim() == (-8, 8) for bar in bars)
    words = [text.get_text() for text in drawing.texts]
    assert words == [
        "袋鼠 50.0%" if drawable("袋鼠") == "袋鼠" else "�� 50.0%",
        f"{NAMES[1]} 25.0%",
        "$x^ 70.0%",
        words[3],
    ]
    drawing.canvas.draw()
    alone = result.plot().axes[2::4]
    assert [bar.get_ylim() for bar in alone] == [(0, 4), (0, 1), (0, 2), (0, 1)]
    assert "(empty map)" in result.plot().texts[1].get_text()


def test_a_figure_shows_the_map_over_the_same_pixels_as_the_overlay(result):
    axes = result.plot().axes
    assert_array_equal(axes[1].images[0].get_array(), result.heatmaps(None)[0][0])
    assert_array_equal(axes[3].images[0].get_array(), result.overlays()[0][0])


def test_a_map_with_nothing_to_show_has_one_number_on_its_bar_in_every_picture(result):
    for signed, picture in ((False, result), (True, dataclasses.replace(result, maps=SIGNED_MAPS * 0))):
        drawing = picture.plot(signed=signed)
        drawing.canvas.draw()
        heat, bar = drawing.axes[5].images[0], drawing.axes[6]
        assert [float(tick.get_text()) for tick in bar.get_yticklabels()] == [0]
        neutral = colorize([[0.0]], signed=signed)[0, 0] / 255
        assert_allclose(heat.cmap(heat.norm(heat.get_array()))[..., :3], np.broadcast_to(neutral, (20, 30, 3)))
        assert_allclose(heat.cmap([0.0, 1.0])[:, :3], [neutral] * 2)


# options

PLACED = Grid((Axis(2, 2.0, 9.0), Axis(2, 20.0, 8.0)), (20, 30))


@pytest.mark.parametrize("option", [{"align": "stretch"}, {"interpolation": "nearest"}], ids=str)
def test_how_maps_are_placed_is_asked_for_in_every_picture(result, option):
    placed = dataclasses.replace(result, grid=PLACED)
    raw, shares = placed.heatmaps(None, **option), placed.heatmaps(**option)
    assert (raw[0] != placed.heatmaps(None)[0]).any()
    overlays, panels, plot = placed.overlays(**option), placed.panels(**option), placed.plot(**option)
    for image, picture in enumerate(placed.images):
        for slot in (0, 1):
            assert_array_equal(overlays[image][slot], overlay(picture, shares[image][slot]))
            assert_array_equal(plot.axes[4 * (2 * image + slot) + 1].images[0].get_array(), raw[image][slot])
        top = max(raw[image][0].max(), 0)
        assert_array_equal(panels[image][0], panel(picture, raw[image][0], (0, top), [placed.title(image)]))
    assert (placed.sheet(**option) != placed.sheet()).any()


@pytest.mark.parametrize("draw", ["overlays", "panels", "sheet", "plot"])
def test_logit_units_have_no_colours(result, draw):
    with pytest.raises(InvalidOptionError, match=r"no colours. Received: normalize=None.*heatmaps\(None\)"):
        getattr(result, draw)(normalize=None)


def test_the_name_in_a_title_is_cut_and_its_number_kept(result):
    name = "a raccoon dog with a very long name"
    long = dataclasses.replace(result, class_names=(name * 9,) * 3)
    panel = long.panels()[0][1]
    caption = text_picture([Title(name * 9, "25.0% (empty map)")], 13, panel.shape[1])
    assert_array_equal(panel[-len(caption) :], caption)
    first, second = (text.get_text() for text in long.plot().texts[:2])
    assert first.startswith(name) and first.endswith("… 50.0%") and second.endswith("… 25.0% (empty map)")


# overlays, sheets, notebooks


def test_the_display_picture_is_not_what_was_fed(result):
    """Report 11 of docs/reports.md: pictures come out as they went in, whatever range the model was fed."""
    blank = dataclasses.replace(result, maps=SIGNED_MAPS * 0)
    for drawn, picture in zip(blank.overlays(), result.images, strict=True):
        assert_array_equal(drawn[0], picture)
    floats = np.linspace(-1, 1, 12).reshape(2, 2, 3)
    assert_array_equal(overlay(floats, np.zeros((2, 2))), np.rint((floats + 1) * 127.5))


def test_a_sheet_has_a_row_of_top_classes_for_each_picture(result):
    sheet = result.sheet(width=100, signed=True, truth=[(0, 0, 15, 10), None])
    wide = result.sheet(width=100, columns=2)
    assert sheet.shape[0] > 67 + 100 and sheet.shape[1] > 300
    assert wide.shape[1] > 1.8 * sheet.shape[1] and wide.shape[0] < sheet.shape[0]
    assert result.sheet(width=100, text_size=30).shape[0] > sheet.shape[0] + 30
    assert (sheet[:5] == 255).all()


def test_truth_must_be_given_for_each_picture(result):
    with pytest.raises(InvalidDataError, match=r"each of 2 images. Received: 3 entries"):
        result.overlays(truth=[None, None, None])
    four = dataclasses.replace(result, **{name: np.repeat(getattr(result, name), 2, axis=0) for name in ARRAYS})
    four = dataclasses.replace(four, images=result.images * 2)
    for one in ((1, 2, 30, 40), Box(1, 2, 30, 40)):
        with pytest.raises(InvalidDataError, match=r"each of 4 images. Received: one box .*30"):
            four.overlays(truth=one)
    with pytest.raises(InvalidDataError, match=r"or a list of these. Received: 7\."):
        result.overlays(truth=[7, None])
    one = result.first(1)
    assert len(one) == 1 and (one.overlays(truth=(0, 0, 15, 10))[0][0] != one.overlays()[0][0]).any()


def test_a_notebook_shows_pictures_and_escaped_names(result):
    shown = result._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt; 25.0%" in shown and "袋鼠 50.0%" in shown
    pictures = [PIL.Image.open(BytesIO(b64decode(code))) for code in re.findall(r"base64,([^\"]+)", shown)]
    assert len(pictures) == 2 * 3 and pictures[0].size == (200, 133)
    assert "http" not in shown
    assert dataclasses.replace(result, images=())._repr_html_() is None


def test_a_notebook_shows_some_of_many(result):
    many = {name: np.repeat(getattr(result, name), 20, axis=0) for name in ("maps", "class_indices", "logits", "bias")}
    many |= {"probabilities": np.repeat(result.probabilities, 20, axis=0), "images": result.images * 20}
    shown = dataclasses.replace(result, **many)._repr_html_()
    assert shown.count("<img") == 12 * 3 and "and 28 more images" in shown


# signals and volumes


@pytest.fixture(params=RANKS)
def other(request):
    return two_of(request.param)


def drawn_by(other, image, slot, limits, lines, **options):
    draw = draw_signal if other.images[0].ndim == 2 else montage
    return draw(other.images[image], other.heatmaps(None)[image][slot], limits, lines, **options)


def test_signals_and_volumes_have_their_own_pictures(other):
    panels, overlays = other.panels(), other.overlays(normalize="batch", signed=True)
    assert [len(row) for row in panels] == [len(row) for row in overlays] == [2, 2]
    assert_array_equal(panels[0][0], drawn_by(other, 0, 0, (0, 4), [f"image 0: {NAMES[0]} 50.0%"]))
    assert_array_equal(panels[0][1], drawn_by(other, 0, 1, (0, 0), [f"image 0: {NAMES[1]} 25.0% (empty map)"]))
    assert_array_equal(overlays[1][0], drawn_by(other, 1, 0, (-8, 8), [], signed=True))
    assert_array_equal(
        other.first(1).panels(width=300)[0][0], drawn_by(other, 0, 0, (0, 4), [f"{NAMES[0]} 50.0%"], width=300)
    )


def test_a_sheet_of_signals_or_volumes_has_a_row_of_classes_for_each(other):
    panels, sheet = other.panels(), other.sheet()
    assert sheet.shape[0] > 2 * panels[0][0].shape[0] and sheet.shape[1] > 2 * panels[0][0].shape[1]
    row = sheet[13 : 13 + panels[0][0].shape[0], 13 : 13 + panels[0][0].shape[1]]
    assert_array_equal(row, panels[0][0])
    assert other.sheet(columns=2).shape[1] > 1.8 * sheet.shape[1]


def test_a_figure_of_signals_or_volumes(other):
    drawing = other.plot(signed=True, normalize="batch")
    FigureCanvasAgg(drawing).draw()
    found = " ".join(text.get_text() for text in drawing.findobj(matplotlib.text.Text))
    assert "image 1: $x^ 70.0%" in found and len(drawing.axes) == (8 if other.images[0].ndim == 2 else 4)


def test_a_notebook_shows_signals_and_volumes(other):
    shown = other._repr_html_()
    pictures = [PIL.Image.open(BytesIO(b64decode(code))) for code in re.findall(r"base64,([^\"]+)", shown)]
    assert len(pictures) == 4 and all(picture.width >= 350 for picture in pictures)


@pytest.mark.parametrize("marks", [{"boxes": 0.2}, {"truth": [(0, 0, 1, 1), None]}], ids=str)
@pytest.mark.parametrize("draw", ["overlays", "panels", "sheet", "plot"])
def test_boxes_are_for_pictures(other, draw, marks):
    with pytest.raises(InvalidDataError, match=r"drawn on pictures. Received: heat maps over (signals|volumes), \(2, "):
        getattr(other, draw)(**marks)
