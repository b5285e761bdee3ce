"""Pictures out: colours and blends worked by hand, text that is there and not cut, layouts to the pixel."""

import io

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from keras_cam.drawing.encode import encode_jpeg, save_png
from keras_cam.drawing.figure import figure
from keras_cam.drawing.layout import beside, caption, contact_sheet, filmstrip
from keras_cam.drawing.overlay import overlay
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.colormaps import COLORMAPS, colorize
from keras_cam.imaging.normalize import normalize
from keras_cam.imaging.resample import place

WHITE = 255
FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


def flat(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def inked(picture):
    """Rows and columns of a text on white that hold ink: (first row, last row, first column, last column)."""
    rows, columns = np.nonzero((picture < 128).all(axis=-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


# colour


def test_colours_are_opencvs_in_rgb_order():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis]
    levels = np.arange(256, dtype=np.uint8)[np.newaxis]
    for name, code in COLORMAPS.items():
        assert_array_equal(colorize(ramp, name), cv2.applyColorMap(levels, code)[..., ::-1])
    assert {"viridis", "plasma", "inferno", "turbo", "jet"} <= set(COLORMAPS)
    assert_array_equal(colorize([[1.0]], "jet"), [[[128, 0, 0]]])  # dark red, not dark blue


def test_heat_of_any_real_dtype():
    assert_array_equal(colorize(np.array([[True, False]]), "bone"), [[[255] * 3, [0] * 3]])
    assert_array_equal(colorize(np.array([[0.5]], np.float16), "bone"), colorize([[0.5]], "bone"))


# blend


def test_overlay_by_hand():
    # Opacity is alpha * min(2 * heat, 1); "bone" is white at 1.
    drawn = overlay(flat(1, 3, 100), [[0.0, 0.25, 1.0]], colormap="bone", alpha=0.4)
    quarter = colorize([[0.25]], "bone")[0, 0]
    assert_array_equal(drawn[0, 0], [100] * 3)
    assert_array_equal(drawn[0, 1], np.rint(0.8 * 100 + 0.2 * quarter))
    assert_array_equal(drawn[0, 2], [0.6 * 100 + 0.4 * 255] * 3)


def test_alpha_zero_is_the_picture_and_alpha_one_the_colours():
    rng = np.random.default_rng(0)
    picture, heat = rng.integers(0, 256, (6, 7, 3), np.uint8), rng.uniform(0.5, 1, (6, 7))
    assert_array_equal(overlay(picture, heat, alpha=0), picture)
    assert_array_equal(overlay(picture, heat, alpha=1), colorize(heat))
    assert_array_equal(overlay(picture, np.zeros((6, 7)), alpha=1), picture)


def test_a_small_map_is_stretched_over_the_picture():
    drawn = overlay(flat(4, 4, 0), [[0.0, 1.0]], colormap="bone", alpha=1)
    assert (np.diff(drawn[..., 0].astype(int), axis=1) >= 0).all()
    assert_array_equal(drawn[:, 0], 0)
    assert_array_equal(drawn[:, -1], WHITE)


@pytest.mark.parametrize(
    "image",
    [
        np.full((2, 3), 51, np.uint8),
        np.full((2, 3, 4), 51, np.uint8),
        np.full((1, 2, 3, 3), 0.2, np.float32),
        [np.full((2, 3, 1), 51.0)],
        PIL.Image.new("L", (3, 2), 51),
    ],
)
def test_one_image_of_any_kind(image):
    assert_array_equal(overlay(image, np.zeros((2, 3))), flat(2, 3, 51))


def test_the_value_range_can_be_said():
    image = np.array([[[0.0], [5.0], [10.0]]])
    assert_array_equal(overlay(image, np.zeros((1, 3)), value_range=(0, 10))[0, :, 0], [0, 128, 255])
    assert_array_equal(overlay(image, np.zeros((1, 3)))[0, :, 0], [0, 5, 10])


def test_the_callers_arrays_stay_as_they_are():
    picture, heat = flat(3, 3, 9), np.full((3, 3), 0.7, np.float32)
    overlay(picture, heat)
    assert (picture == 9).all() and (heat == np.float32(0.7)).all()


@pytest.mark.parametrize(
    ("heat", "words"),
    [
        (np.array([[0.0, 3.0]]), "from 0 to 3.*normalize"),
        (np.array([[-0.5, 1.0]]), "from -0.5 to 1"),
        (np.zeros((1, 2, 2)), r"\(1, 2, 2\).*Pick one"),
        (np.array([[np.nan]]), "1 NaN"),
        (np.zeros((0, 2)), "at least one cell"),
    ],
)
def test_a_map_that_is_no_heat_is_named(heat, words):
    with pytest.raises(InvalidImageError, match=f"(?s){words}"):
        overlay(flat(2, 2, 0), heat)


def test_bad_options_are_named():
    with pytest.raises(InvalidOptionError, match=r"alpha must lie in \[0, 1\]. Received: 1.5"):
        overlay(flat(2, 2, 0), np.zeros((2, 2)), alpha=1.5)
    with pytest.raises(InvalidOptionError, match=r"viridis.*'magenta'"):
        overlay(flat(2, 2, 0), np.zeros((2, 2)), colormap="magenta")
    with pytest.raises(InvalidImageError, match=r"one image\. Received: 2"):
        overlay(np.zeros((2, 4, 4, 3)), np.zeros((4, 4)))


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=FINITE),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(sorted(COLORMAPS)),
    st.sampled_from(["image", "minmax", "batch", (-1.0, 1.0)]),
)
def test_any_finite_map_makes_a_picture_of_the_asked_size(heatmap, size, colormap, mode):
    drawn = overlay(flat(*size, 7), normalize(heatmap, mode), colormap=colormap)
    assert drawn.shape == (*size, 3) and drawn.dtype == np.uint8


# text


@pytest.mark.parametrize("width", [350, 700, 1400])
def test_captions_are_fourteen_pixels_at_350(width):
    written = caption(flat(20, 40, 0), ["Ép"], width=width)
    picture_height = width // 2
    assert written.shape[1] == width
    assert (written[:picture_height] == 0).all()
    top, bottom, left, _ = inked(written[picture_height:])
    assert 12 <= (bottom - top) * 350 / width <= 18  # from the accent to the tail
    assert top > 0 and bottom < written.shape[0] - picture_height - 1 and left > 0


@pytest.mark.parametrize("width", [8, 33, 100, 350])
def test_long_lines_end_before_the_edge(width):
    written = caption(flat(1, width, 0), ["W" * 500, "gjpqy " * 500])
    assert written.shape[1] == width
    if width >= 33:
        assert inked(written[1:])[3] < width - 1
    if width == 350:
        assert inked(written[1:])[3] > 0.9 * width  # as much as fits is kept


def test_each_line_is_drawn_below_the_other_and_different_words_look_different():
    one, two = caption(flat(5, 200, 0), ["epoch 1"]), caption(flat(5, 200, 0), ["epoch 1", "kangaroo 71%"])
    assert two.shape[0] > one.shape[0]
    assert inked(two[5:])[1] > inked(one[5:])[1]
    assert (caption(flat(5, 200, 0), ["epoch 2"]) != one).any()


def test_line_breaks_inside_a_line_are_spaces():
    assert_array_equal(caption(flat(5, 200, 0), ["red\nfox"]), caption(flat(5, 200, 0), ["red fox"]))


def test_no_lines_no_text():
    assert (caption(flat(5, 50, 0), [])[5:] == WHITE).all()


# layout


def test_beside_to_the_pixel():
    row = beside([flat(2, 2, 10), flat(4, 3, 20)], gap=1)
    expected = np.full((4, 6), WHITE)
    expected[1:3, :2] = 10
    expected[:, 3:] = 20
    assert_array_equal(row, np.repeat(expected[..., np.newaxis], 3, axis=-1))


def test_contact_sheet_to_the_pixel():
    sheet = contact_sheet([flat(1, 1, value) for value in (1, 2, 3)], 2, gap=1)
    assert_array_equal(sheet[..., 0], [[1, WHITE, 2], [WHITE, WHITE, WHITE], [3, WHITE, WHITE]])
    assert_array_equal(contact_sheet([flat(2, 2, 5)], 9), flat(2, 2, 5))


def test_a_filmstrip_holds_every_picture_and_label():
    rows = [[flat(40, 60, 10), flat(40, 60, 40)], [flat(40, 60, 70)]]
    strip = filmstrip(rows, ["fox\nprobe 0", "a name much wider than the picture"], ["epoch 0", "epoch 1"])
    for value in (10, 40, 70):
        assert np.count_nonzero((strip == value).all(axis=-1)) >= 40 * 60
    first = np.argwhere((strip == 10).all(axis=-1))
    left = first[:, 1].min() if len(first) == 40 * 60 else strip.shape[1] - 2 * 64
    labels, heads = strip[:, : left - 1], strip[:15]
    assert inked(labels)[2] > 0 and inked(labels)[3] < left
    assert inked(heads)[3] > left


def test_filmstrip_labels_must_match():
    with pytest.raises(InvalidOptionError, match=r"rows of \[2, 1\] pictures, 1 row labels, 2 column labels"):
        filmstrip([[flat(2, 2, 0)] * 2, [flat(2, 2, 0)]], ["a"], ["b", "c"])
    with pytest.raises(InvalidOptionError, match="needs pictures"):
        filmstrip([], [], [])


@pytest.mark.parametrize("lay_out", [beside, lambda pictures: contact_sheet(pictures, 3)])
def test_only_pictures_are_laid_out(lay_out):
    with pytest.raises(InvalidImageError, match="at least one uint8 RGB"):
        lay_out([])
    for wrong in (np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(InvalidImageError, match="uint8 RGB of shape"):
            lay_out([wrong])
    with pytest.raises(InvalidOptionError, match="columns"):
        contact_sheet([flat(1, 1, 0)], 0)


# figure


def test_figure_shows_the_units_and_the_title():
    heat = np.array([[-2.0, 8.0]])
    drawing = figure([flat(20, 30, 9)] * 2, [heat, -heat], ["fox: 98% $x^{", "dog"], limits=[(-8, 8), (0, 4)])
    first = drawing.axes[:4]
    assert [text.get_text() for text in drawing.texts] == ["fox: 98% $x^{", "dog"]
    assert_array_equal(first[0].images[0].get_array(), flat(20, 30, 9))
    assert_array_equal(first[1].images[0].get_array(), heat)
    assert first[1].images[0].get_clim() == (-8, 8)
    assert tuple(first[1].images[0].get_extent()) == (0, 30, 20, 0)  # the two cells share the picture's area
    assert first[2].get_ylim() == (-8, 8) and "5.0" in [tick.get_text() for tick in first[2].get_yticklabels()]
    expected = overlay(flat(20, 30, 9), normalize(place(heat, (20, 30)), (-8, 8)))
    assert_array_equal(first[3].images[0].get_array(), expected)
    assert drawing.axes[6].get_ylim() == (0, 4)
    drawing.savefig(io.BytesIO())


def test_figure_limits_are_zero_and_the_maximum_unless_said():
    picture = flat(8, 8, 9)
    drawing = figure([picture] * 2, [[[1.0, 3.0]], [[-1.0, -3.0]]], ["", ""])
    assert drawing.axes[1].images[0].get_clim() == (0, 3)
    assert drawing.axes[5].images[0].get_clim() == (0, 1)
    assert_array_equal(drawing.axes[7].images[0].get_array(), picture)  # no positive evidence: nothing is drawn


@pytest.mark.parametrize("shape", [(10, 10), (4, 90), (90, 4)])
def test_figure_cuts_nothing_off(shape):
    drawing = figure([flat(*shape, 0)] * 3, [np.eye(2)] * 3, ["Épq " * 99] * 3)
    drawn = io.BytesIO()
    drawing.savefig(drawn, dpi=60, format="png")
    pixels = np.asarray(PIL.Image.open(drawn).convert("RGB"))
    assert (pixels[[0, -1]] == WHITE).all() and (pixels[:, [0, -1]] == WHITE).all()


def test_figure_rows_must_match():
    with pytest.raises(InvalidOptionError, match="1 images, 1 heat maps, 2 titles"):
        figure([flat(2, 2, 0)], [np.eye(2)], ["a", "b"])
    with pytest.raises(InvalidOptionError, match=r"limits \[\]"):
        figure([flat(2, 2, 0)], [np.eye(2)], ["a"], limits=[])
    with pytest.raises(InvalidOptionError, match="0 images"):
        figure([], [], [])


# files


def test_jpeg_comes_back_as_the_same_picture():
    red = flat(16, 16, 0) + np.array([200, 40, 20], np.uint8)
    encoded = encode_jpeg(red)
    decoded = PIL.Image.open(io.BytesIO(encoded))
    assert decoded.format == "JPEG"
    assert_allclose(np.asarray(decoded), red, atol=4)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(noise, quality=30)) < len(encode_jpeg(noise))
    with pytest.raises(InvalidOptionError, match=r"1\.\.100. Received: 0"):
        encode_jpeg(red, quality=0)


def test_png_comes_back_to_the_bit(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = save_png(tmp_path / "new" / "folder" / "picture", picture)
    with PIL.Image.open(path) as read:
        assert read.format == "PNG"
        assert_array_equal(np.asarray(read), picture)


def test_a_photograph_stays_visible_where_nothing_is(shared_data):
    photograph = shared_data / "animals" / "raccoon" / "raccoon-1.jpg"
    picture = np.asarray(PIL.Image.open(photograph).convert("RGB"))
    heat = np.zeros((7, 7))
    heat[3, 3] = 1
    drawn = overlay(photograph, heat)
    assert drawn.shape == picture.shape
    assert_array_equal(drawn[:100, :100], picture[:100, :100])
    assert np.abs(drawn.astype(int) - picture)[209, 325].max() > 60
