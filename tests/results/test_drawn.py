"""Pictures of a result: colours with zero neutral, bars with numbers, boxes with IoU, letters of any script, films."""

import dataclasses
import json
import re
from base64 import b64decode
from io import BytesIO

import matplotlib.text
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_allclose, assert_array_equal

from keras_cam import Box, CAMWarning, Explanation, overlay, save_film
from keras_cam.drawing import text
from keras_cam.drawing.colorbar import color_bar
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.encode import save_gif
from keras_cam.drawing.figure import figure
from keras_cam.drawing.layout import caption, filmstrip
from keras_cam.drawing.panel import panel
from keras_cam.drawing.signal import draw_signal
from keras_cam.drawing.text import Title, drawable, text_picture, text_width
from keras_cam.drawing.volume import montage
from keras_cam.errors import InvalidDataError, InvalidImageError, InvalidOptionError
from keras_cam.imaging.boxes import find_boxes, find_contours, find_mask
from keras_cam.imaging.colormaps import COLORMAPS, SIGNED_COLORMAPS, colorize
from keras_cam.imaging.normalize import limits_of, normalize
from keras_cam.imaging.resample import place
from keras_cam.model.grid import Grid
from keras_cam.model.receptive_field import Axis
from keras_cam.results.explanation import ARRAYS

NAMES = ("袋鼠", "<script>alert(1)</script>", "$x^")
MAPS = np.array([[[[4, 0], [0, -8]], [[-1, -1], [-2, -1]]], [[[2, 2], [2, 2]], [[1, 0], [0, 0]]]], np.float32)


def flat(height, width, value=90):
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def result():
    """Two pictures of 20 x 30 and 40 x 40 pixels, two classes each; nothing speaks for the second of the first."""
    return Explanation(
        maps=MAPS,
        class_indices=np.array([[0, 1], [2, 0]]),
        logits=np.array([[1, -1, 0], [0.25, 0, 2]], np.float32),
        probabilities=np.array([[0.5, 0.25, 0.25], [0.2, 0.1, 0.7]], np.float32),
        bias=np.array([[2, 0.25], [0, 0]], np.float32),
        images=(flat(20, 30), flat(40, 40)),
        method="cam",
        layer="conv",
        class_names=NAMES,
    )


# signed maps


def test_signed_scales_by_hand():
    maps = [[[-1.0, 2.0, 4.0]], [[-8.0, 2.0, 0.0]]]
    assert_array_equal(normalize(maps, signed=True), [[[-0.25, 0.5, 1]], [[-1, 0.25, 0]]])
    assert_array_equal(normalize(maps, "batch", signed=True), [[[-0.125, 0.25, 0.5]], [[-1, 0.25, 0]]])
    assert_array_equal(normalize(maps, (0, 4), signed=True), [[[-0.25, 0.5, 1]], [[-1, 0.5, 0]]])
    assert_array_equal(normalize(np.zeros((2, 2)), signed=True), np.zeros((2, 2)))
    with pytest.raises(InvalidOptionError, match=r"minmax.*would move zero"):
        normalize(maps, "minmax", signed=True)


def test_limits_are_what_normalize_draws_as_its_ends():
    maps = np.array([[[-1.0, 2.0, 4.0]], [[-8.0, 2.0, 0.0]]])
    for mode, signed, low, high in [
        ("image", False, [0, 0], [4, 2]),
        ("image", True, [-4, -8], [4, 8]),
        ("batch", False, [0, 0], [4, 4]),
        ("batch", True, [-8, -8], [8, 8]),
        ("minmax", False, [-1, -8], [4, 2]),
        ((-1, 3), False, [-1, -1], [3, 3]),
        ((-1, 3), True, [-3, -3], [3, 3]),
    ]:
        found = limits_of(maps, mode, signed=signed)
        assert [end.ravel().tolist() for end in found] == [low, high], mode


@pytest.mark.parametrize("name", SIGNED_COLORMAPS)
def test_zero_is_neutral_and_the_signs_are_two_hues_of_like_strength(name):
    against, zero, speaks = colorize([[-1.0, 0.0, 1.0]], name, signed=True)[0].astype(int)
    assert np.ptp(zero) == 0 and zero[0] > 230
    assert np.abs(against - speaks).max() > 100
    luma = [color @ (0.299, 0.587, 0.114) for color in (against, speaks)]
    assert abs(luma[0] - luma[1]) < 40 and max(luma) < 100


def test_where_a_signed_map_is_zero_the_picture_stays():
    drawn = overlay(flat(1, 3), [[-1.0, 0.0, 1.0]], signed=True, alpha=1)
    assert_array_equal(
        drawn[0], [colorize([[-1.0]], signed=True)[0, 0], [90] * 3, colorize([[1.0]], signed=True)[0, 0]]
    )


def test_signs_and_colours_must_fit():
    with pytest.raises(InvalidImageError, match=r"from -1 to 1.*signed=True"):
        overlay(flat(1, 2), [[-1.0, 1.0]])
    with pytest.raises(InvalidOptionError, match=r"signed map must be one of 'blue_orange', 'purple_green'.*'jet'"):
        overlay(flat(1, 2), [[-1.0, 1.0]], signed=True, colormap="jet")
    with pytest.raises(InvalidOptionError, match="'blue_orange'"):
        overlay(flat(1, 2), [[0.0, 1.0]], colormap="blue_orange")


def test_maps_that_can_be_compared(result):
    """FIELD.md 28: raw values, one scale for all pictures, and signs."""
    assert [maps.min() for maps in result.heatmaps(None)] == [-8, 0]
    assert [maps.max() for maps in result.heatmaps("batch")] == [1, 0.5]
    signed = result.heatmaps("batch", signed=True)
    assert [float(maps.min()) for maps in signed] == [-1, 0] and [float(maps.max()) for maps in signed] == [0.5, 0.25]
    assert_array_equal(result.heatmaps((0, 16), signed=True)[1], place(MAPS[1], (40, 40)) / 16)


# colour bars


def test_the_colour_bar_runs_from_its_upper_to_its_lower_limit():
    """FIELD.md 12: what the colours mean is written beside them, and they are RGB."""
    bar = color_bar(101, (0.0, 2.5), colormap="jet")
    assert_array_equal(bar[0, 0], [128, 0, 0])  # dark red is hot
    assert_array_equal(bar[-1, 0], [0, 0, 128])
    signed = color_bar(101, (-2.5, 2.5), signed=True)
    assert_array_equal(signed[[0, 50, 100], 0], colorize([[1.0], [0.0], [-1.0]], signed=True)[:, 0])
    dark = np.flatnonzero((bar[:, 12:] < 128).any(axis=(1, 2)))
    assert dark[0] <= 1 and dark[-1] >= 99 and ((dark > 40) & (dark < 60)).any()  # three numbers
    assert (color_bar(101, (0.0, 2.6)) != color_bar(101, (0.0, 2.5))).any()


@pytest.mark.parametrize("height", [1, 2, 9, 30])
@pytest.mark.parametrize("limits", [(0.0, 0.0), (-1e-30, 1e30), (0.0, 1e-45), (-3.4e38, 3.4e38)])
def test_colour_bars_of_any_height_and_numbers(height, limits):
    assert color_bar(height, limits, text_size=11).shape[0] == height


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
    for signed, picture in ((False, result), (True, dataclasses.replace(result, maps=MAPS * 0))):
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


def test_boxes_outlines_and_masks_lie_on_the_map_that_was_asked_for(result):
    placed = dataclasses.replace(result, grid=PLACED)
    for align in ("stretch", "receptive_field"):
        for image, maps in enumerate(placed.heatmaps(None, align=align)):
            for slot, heat in enumerate(maps):
                assert placed.boxes(0.3, align=align)[image][slot] == find_boxes(heat, 0.3)
                assert_array_equal(placed.masks(0.3, align=align)[image][slot], find_mask(heat, 0.3))
                assert_array_equal(placed.contours(0.3, align=align)[image][slot], find_contours(heat, 0.3))
        assert placed.to_coco(0.3, align=align)[0]["bbox"] == placed.boxes(0.3, align=align)[0][0][0].to_coco()
        drawn = draw_boxes(placed.overlays(align=align)[0][0], placed.boxes(0.3, align=align)[0][0])
        assert_array_equal(placed.overlays(boxes=0.3, align=align)[0][0], drawn)
        heat = placed.heatmaps(None, align=align)[0][0]
        drawn = panel(placed.images[0], heat, (0, heat.max()), [], boxes=find_boxes(heat, 0.3))
        assert_array_equal(placed.panels(boxes=0.3, align=align, titles=False)[0][0], drawn)
    assert placed.boxes(0.3) != placed.boxes(0.3, align="stretch")


@pytest.mark.parametrize("draw", ["overlays", "panels", "sheet", "plot"])
def test_logit_units_have_no_colours(result, draw):
    with pytest.raises(InvalidOptionError, match=r"no colours. Received: normalize=None.*heatmaps\(None\)"):
        getattr(result, draw)(normalize=None)


# boxes of a result


def test_boxes_of_a_result_are_in_the_pixels_of_its_pictures(result):
    """FIELD.md 22: boxes by a documented threshold, the largest part or all, ready for COCO."""
    boxes = result.boxes(0.5)
    assert [[len(found) for found in slots] for slots in boxes] == [[1, 0], [1, 1]]
    # 4 and 0 lie at columns 7 and 22 of 30: half of 4 is exceeded up to column 14; at rows 4.5 and 14.5 up to row 9.
    assert tuple(boxes[0][0][0]) == (0, 0, 15, 10)
    assert boxes[1][0] == [Box(0, 0, 40, 40)]
    masks, outlines = result.masks(0.5), result.contours(0.5)
    assert [mask.shape for mask in masks] == [(2, 20, 30), (2, 40, 40)] and masks[0].dtype == bool
    assert not masks[0][1].any() and outlines[0][1] == []
    assert_array_equal(outlines[0][0][0].max(axis=0), [14, 9])
    assert_array_equal(np.argwhere(masks[0][0]).max(axis=0), [9, 14])


def test_coco_results_by_hand(result):
    found = result.to_coco(0.5, image_ids=[11, 12], category_ids=[7, 8, 9])
    assert found[0] == {"image_id": 11, "category_id": 7, "bbox": [0.0, 0.0, 15.0, 10.0], "score": 0.5}
    assert [(each["image_id"], each["category_id"]) for each in found] == [(11, 7), (12, 9), (12, 7)]
    assert found[1]["score"] == pytest.approx(0.7)
    assert json.loads(json.dumps(found)) == found
    assert [each["image_id"] for each in result.to_coco()] == [0, 1, 1]
    with pytest.raises(InvalidDataError, match=r"image_ids has one id for each of 2. Received: 3"):
        result.to_coco(image_ids=[1, 2, 3])


def test_coco_segmentations_are_the_masks(result):
    found = result.to_coco(0.5, segmentation=True)
    plain = [{name: value for name, value in each.items() if name != "segmentation"} for each in found]
    assert plain == result.to_coco(0.5) and json.loads(json.dumps(found)) == found
    masks = [mask for masks in result.masks(0.5) for mask in masks if mask.any()]
    for each, mask in zip(found, masks, strict=True):
        counts = each["segmentation"]["counts"]
        pixels = np.repeat(np.arange(len(counts)) % 2, counts).reshape(mask.shape, order="F")
        assert_array_equal(pixels, mask)
        assert each["segmentation"]["size"] == list(mask.shape)


def test_boxes_as_json(result):
    numbers = json.loads(json.dumps(result.boxes(0.5), default=Box.to_dict))
    assert numbers[0] == [[{"left": 0, "top": 0, "right": 15, "bottom": 10, "score": 1}], []]
    assert [[[Box(**one) for one in slot] for slot in image] for image in numbers] == result.boxes(0.5)


def test_a_drawn_box_lies_on_its_outermost_pixels():
    drawn = draw_boxes(flat(20, 30), (5, 6, 15, 12))
    white = np.argwhere((drawn == 255).all(axis=-1))
    assert (*white.min(axis=0), *white.max(axis=0)) == (6, 5, 11, 14)
    assert len(white) == 2 * 10 + 2 * 4
    assert_array_equal(drawn[:5], 90)
    assert_array_equal(drawn[8, 8], [90] * 3)


def test_the_iou_is_written_where_the_truth_is_known():
    def draw(*arguments, **options):
        return draw_boxes(flat(60, 200), *arguments, text_size=12, **options)

    assert (draw([(0, 30, 90, 50)], truth=(0, 30, 90, 50)) != draw([(0, 30, 90, 50)])).any()
    label = text_picture(["IoU 0.50"], 12)
    drawn = draw([(20, 30, 60, 50)], truth=(20, 30, 60, 40))
    assert any(
        (drawn[top : top + len(label), 20 : 20 + label.shape[1]] == label).all() for top in range(60 - len(label))
    )


@pytest.mark.parametrize("size", [(32, 32), (300, 40), (40, 300)])
def test_no_iou_covers_a_small_picture(size):
    """A third of the width, half of the height."""
    box = (4, 4, 30, 30)
    assert_array_equal(
        draw_boxes(flat(*size), box, truth=box, text_size=13), draw_boxes(draw_boxes(flat(*size), None, truth=box), box)
    )


def test_what_is_true_is_dashed_and_what_was_found_is_not():
    """Eight pixels of green and four of the dark edge, along every side."""
    box, green = (5, 6, 65, 46), (0, 230, 118)
    drawn = draw_boxes(flat(60, 80), None, truth=box, line_width=1)
    top, left = (drawn[6, 5:65] == green).all(axis=-1), (drawn[6:46, 5] == green).all(axis=-1)
    assert_array_equal(top, np.arange(60) % 12 < 8)
    assert_array_equal(left, np.arange(40) % 12 < 8)
    assert (draw_boxes(flat(60, 80), box, line_width=1)[6, 5:65] == 255).all()


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.lists(st.tuples(*[st.floats(-1e5, 1e5)] * 2, *[st.floats(0.1, 1e5)] * 2), max_size=2),
    st.booleans(),
)
def test_any_box_on_any_picture(size, corners, with_truth):
    boxes = [Box(left, top, left + width, top + height) for left, top, width, height in corners]
    assert draw_boxes(flat(*size), boxes, truth=boxes if with_truth else None).shape == (*size, 3)


# sheets, panels, films


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 60),
    st.booleans(),
)
def test_any_finite_map_makes_a_panel_of_the_asked_width(heat, size, width, signed):
    low, high = (end.item() for end in limits_of(heat, signed=signed))
    drawn = panel(flat(*size), heat, (low, high), ["x"], width=width, signed=signed)
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3
    shown = width if size[0] <= 2 * size[1] else max(1, round(2 * width * size[1] / size[0]))
    assert drawn.shape[1] >= min(shown, width)


def test_a_panel_by_hand():
    """100 x 3 pixels become 50 x 2: its boxes shrink by a half across and by a third down; its bar has the limits."""
    limits, options = (-1.0, 7.0), {"width": 50, "text_size": 6}
    drawn = panel(flat(3, 100), np.zeros((3, 100)), limits, [], boxes=[Box(10, 0, 60, 3)], alpha=0, **options)
    assert_array_equal(drawn[:, :50], draw_boxes(flat(2, 50), Box(5, 0, 30, 2), text_size=6))
    drawn = panel(flat(60, 50), np.ones((60, 50)), limits, [], **options)
    assert_array_equal(drawn[:, 54:], color_bar(60, limits, text_size=6))
    assert_array_equal(drawn[:, :50], overlay(flat(60, 50), np.full((60, 50), 0.25)))


def test_the_display_picture_is_not_what_was_fed(result):
    """FIELD.md 11: pictures come out as they went in, whatever range the model was fed."""
    blank = dataclasses.replace(result, maps=MAPS * 0)
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

RANKS = {"signal": (30, 2), "volume": (6, 8, 10, 1)}


@pytest.fixture(params=RANKS)
def other(request):
    """Two signals, or two volumes, of two classes each; the second class of the first has nothing positive."""
    shape = RANKS[request.param]
    maps = np.zeros((2, 2, *(2,) * (len(shape) - 1)), np.float32)
    maps[0, 0, ..., 1], maps[0, 1], maps[1, 0], maps[1, 1, 0] = 4, -1, 2, 8
    generator = np.random.default_rng(0)
    return Explanation(
        maps=maps,
        class_indices=np.array([[0, 1], [2, 0]]),
        logits=np.zeros((2, 3), np.float32),
        probabilities=np.array([[0.5, 0.25, 0.25], [0.2, 0.1, 0.7]], np.float32),
        bias=np.zeros((2, 2), np.float32),
        images=tuple(generator.normal(size=shape).astype(np.float32) for _ in range(2)),
        method="cam",
        layer="conv",
        class_names=NAMES,
    )


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


@pytest.mark.parametrize("find", ["boxes", "contours", "masks", "to_coco"])
def test_boxes_outlines_and_masks_are_of_pictures(other, find):
    with pytest.raises(InvalidDataError, match=r"Boxes, outlines and masks.*result.heatmaps\(\)"):
        getattr(other, find)()


# films


def test_a_film_as_strip_and_as_animation(result, tmp_path):
    later = dataclasses.replace(result, maps=MAPS[..., ::-1, :].copy())
    with PIL.Image.open(save_film(tmp_path / "new" / "film.png", [result, later], width=60)) as strip:
        assert strip.width > 3 * 60 and strip.height > 4 * 40
    with PIL.Image.open(save_film(tmp_path / "film.gif", [result, later, result], width=60, seconds=0.1)) as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (3, 0, 100)
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(1)
        assert np.abs(np.asarray(film.convert("RGB")) - first).max() > 50
        film.seek(2)
        assert film.info["duration"] == 400


def test_a_film_runs_forwards(tmp_path):
    shades = [20, 120, 220]
    with PIL.Image.open(save_gif(tmp_path / "film.gif", [flat(4, 4, shade) for shade in shades])) as film:
        for frame, shade in enumerate(shades):
            film.seek(frame)
            assert_allclose(np.asarray(film.convert("RGB")), shade, atol=8)


def test_a_film_scales_all_its_maps_by_one_where_asked(result, tmp_path):
    weaker = dataclasses.replace(result, maps=MAPS / 4)

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


# letters


def test_a_long_name_is_cut_and_its_number_kept(result):
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
    long = dataclasses.replace(result, class_names=(name * 9,) * 3)
    panel = long.panels()[0][1]
    caption = text_picture([Title(name * 9, "25.0% (empty map)")], 13, panel.shape[1])
    assert_array_equal(panel[-len(caption) :], caption)
    first, second = (text.get_text() for text in long.plot().texts[:2])
    assert first.startswith(name) and first.endswith("… 50.0%") and second.endswith("… 25.0% (empty map)")


def test_text_size_is_asked_for_and_not_grown_with_the_picture():
    wide = caption(flat(2, 1400), ["Evidence for the true class"], text_size=16)
    assert wide.shape == (2 + text_picture(["x"], 16).shape[0], 1400, 3)
    rows = [[flat(400, 400)]]
    assert filmstrip(rows, ["a"], ["b"], text_size=12).shape < filmstrip(rows, ["a"], ["b"]).shape
    with pytest.raises(InvalidOptionError, match=r"at least 6. Received: 3"):
        caption(flat(2, 40), ["x"], text_size=3)


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


def test_a_figure_with_any_title():
    drawing = figure([flat(4, 4)] * 2, [np.eye(2)] * 2, ["कंगारू \U000f0000 袋鼠 $a_", "x" * 500], text_size=20)
    drawing.canvas.draw()


def test_every_colour_map_draws_the_same_places():
    heat = np.array([[0.0, 1.0]])
    for name in COLORMAPS:
        drawn = overlay(flat(1, 2), heat, colormap=name, alpha=1)
        assert_array_equal(drawn[0, 0], [90] * 3)
    assert_allclose(normalize(heat), heat)
