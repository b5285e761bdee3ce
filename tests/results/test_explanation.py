"""Explanation: what it says of itself, by hand; heat maps and overlays at the pictures' sizes; saved, loaded, drawn."""

import dataclasses

import keras
import matplotlib.figure
import numpy as np
import pytest

import keras_cam
from keras_cam import Explanation, overlay
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.graph.receptive_field import Axis
from keras_cam.model.grid import Grid, even_grid

MAPS = np.array([[[[1, 3], [-2, -2]], [[0, 2], [8, 14]]], [[[4, 4], [4, 4]], [[-1, -1], [-1, -1]]]], np.float32)
SIZES = [(2, 2), (4, 6)]


@pytest.fixture(scope="module")
def result():
    """Two pictures of different sizes, classes 2 and 0 of the first, 1 and 2 of the second, of three."""
    generator = np.random.default_rng(0)
    return Explanation(
        maps=MAPS,
        class_indices=np.array([[2, 0], [1, 2]]),
        logits=np.array([[5, -10, 0.5], [2, 4, -1]], np.float32),
        probabilities=np.array([[0.1, 0.2, 0.7], [0.25, 0.5, 0.25]], np.float32),
        bias=np.array([[0.5, -1], [0.5, 0]], np.float32),
        images=tuple(generator.integers(0, 256, (*size, 3), np.uint8) for size in SIZES),
        method="cam",
        layer="backbone/conv",
        class_names=("cat", "dog", "horse"),
    )


def test_completeness_by_hand(result):
    """Sums 0.5, 5, 4.5, -1 against scores 0.5, 5, 4, -1; the largest logits are 10 and 4."""
    np.testing.assert_allclose(result.completeness, [[1, 1], [1 - 0.5 / 4, 1]], rtol=1e-12)


def test_completeness_of_scores_of_zero_is_a_number(result):
    silent = dataclasses.replace(result, maps=MAPS * 0, bias=result.bias * 0, logits=result.logits * 0)
    assert silent.completeness.tolist() == [[1, 1], [1, 1]]


def test_it_is_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.maps = MAPS


def test_what_it_says_of_itself(result):
    assert len(result) == 2
    for words in ("2 image(s)", "2 class(es)", "2x2", "'cam'", "'backbone/conv'", "0.875"):
        assert words in repr(result)
    assert result.title(0) == "horse 70.0%" and result.title(0, 1) == "cat 10.0%" and result.title(1, 0) == "dog 50.0%"
    nameless = dataclasses.replace(result, class_names=None)
    assert nameless.title(1, 1) == "class 2 25.0%" and nameless.class_name(7) == "class 7"


# over the pictures


def test_heat_maps_by_hand(result):
    first, second = result.heatmaps()
    assert (first.shape, second.shape) == ((2, 2, 2), (2, 4, 6)) and first.dtype == second.dtype == np.float32
    np.testing.assert_allclose(first, [[[1 / 3, 1], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], rtol=1e-6)
    assert second[0].tolist() == np.ones((4, 6)).tolist() and second[1].tolist() == np.zeros((4, 6)).tolist()


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        (None, MAPS[0], (4, -1)),
        ("image", [[[1 / 3, 1], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], (1, 0)),
        ("minmax", [[[0.6, 1], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], (0, 0)),
        ("batch", [[[1 / 14, 3 / 14], [0, 0]], [[0, 1 / 7], [4 / 7, 1]]], (4 / 14, 0)),
        ((-2, 8), [[[0.3, 0.5], [0, 0]], [[0.2, 0.4], [1, 1]]], (0.6, 0.1)),
    ],
    ids=str,
)
def test_heat_maps_of_every_scale(result, mode, first, second):
    found = result.heatmaps(mode)
    np.testing.assert_allclose(found[0], first, rtol=1e-6)
    for heatmap, value in zip(found[1], second, strict=True):
        np.testing.assert_allclose(heatmap, np.full(SIZES[1], value), rtol=1e-6)


@pytest.mark.parametrize("mode", ["image", "batch", "minmax"])
def test_maps_without_anything_positive_are_zero_and_not_nan(result, mode):
    for value in (0, -3):
        nothing = dataclasses.replace(result, maps=np.full_like(MAPS, value))
        assert [heatmap.any() for heatmap in nothing.heatmaps(mode)] == [False, False]


@pytest.mark.parametrize("mode", ["softmax", (1, 0), (1, np.nan), (0, np.nan), (0, -1), 3], ids=str)
def test_a_scale_that_is_none(result, mode):
    with pytest.raises(InvalidOptionError) as caught:
        result.heatmaps(mode)
    assert str(mode) in str(caught.value).replace("np.float64(nan)", "nan")


def test_overlays_are_the_public_overlay(result):
    found = result.overlays(colormap="jet", alpha=0.4)
    assert [len(pictures) for pictures in found] == [2, 2]
    for picture, heatmaps, image in zip(found, result.heatmaps(), result.images, strict=True):
        for drawn, heatmap in zip(picture, heatmaps, strict=True):
            assert drawn.shape == image.shape and drawn.dtype == np.uint8
            np.testing.assert_array_equal(drawn, overlay(image, heatmap, colormap="jet", alpha=0.4))
    assert not np.array_equal(result.overlays()[0][1], result.images[0])


def test_plot_has_a_row_of_picture_map_bar_and_overlay_for_each_map(result):
    figure = result.plot()
    assert isinstance(figure, matplotlib.figure.Figure)
    assert len(figure.axes) == 4 * 4
    assert sum(bool(axes.images) for axes in figure.axes) >= 3 * 4
    words = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    for title in ("horse 70.0%", "cat 10.0%", "dog 50.0%", "horse 25.0%"):
        assert any(title in text for text in words), title
    figure.canvas.draw()


def test_plot_of_one_map(result):
    one = dataclasses.replace(
        result,
        **{name: getattr(result, name)[:1] for name in ("logits", "probabilities", "images")},
        **{name: getattr(result, name)[:1, :1] for name in ("maps", "class_indices", "bias")},
    )
    assert len(one.plot(colormap="turbo").axes) == 4


# over signals and volumes


def of_rank(rank, shape, maps, grid=None):
    """Two classes of one thing of so many axes: `maps` and what speaks against it."""
    maps = np.stack([maps, -np.asarray(maps)])[np.newaxis].astype(np.float32)
    assert maps.ndim == rank + 2
    return Explanation(
        maps=maps,
        class_indices=np.array([[1, 0]]),
        logits=np.zeros((1, 2), np.float32),
        probabilities=np.array([[0.25, 0.75]], np.float32),
        bias=np.zeros((1, 2), np.float32),
        images=(np.random.default_rng(0).normal(size=shape).astype(np.float32),),
        method="cam",
        layer="conv",
        grid=grid,
    )


def test_heat_maps_of_signals_and_volumes_by_hand():
    signal = of_rank(1, (4, 3), [0, 4])
    assert signal.heatmaps(None)[0].tolist() == [[0, 1, 3, 4], [0, -1, -3, -4]]
    assert signal.heatmaps()[0].tolist() == [[0, 0.25, 0.75, 1], [0, 0, 0, 0]]
    assert signal.heatmaps(signed=True)[0].tolist() == [[0, 0.25, 0.75, 1], [0, -0.25, -0.75, -1]]
    assert signal.heatmaps("minmax")[0].tolist() == [[0, 0.25, 0.75, 1], [1, 0.75, 0.25, 0]]
    volume = of_rank(3, (2, 4, 1, 1), [[[0], [4]], [[8], [12]]])
    assert volume.heatmaps("batch")[0].shape == (2, 2, 4, 1)
    np.testing.assert_allclose(volume.heatmaps(None)[0][0, ..., 0], [[0, 1, 3, 4], [8, 9, 11, 12]])


def test_the_grid_says_where_the_cells_of_a_signal_lie():
    signal = of_rank(1, (6, 1), [0, 4], Grid((Axis(2, offset=1, stride=2),), (6,)))
    assert signal.heatmaps(None)[0][0].tolist() == [0, 0, 2, 4, 4, 4]
    np.testing.assert_allclose(signal.heatmaps(None, align="stretch")[0][0], np.interp(range(6), [1, 4], [0, 4]))


def filled(shape, at):
    """Nothing but one large value."""
    signal = np.zeros((1, *shape, 1), np.float32)
    signal[(0, *at, 0)] = 5
    return signal


@pytest.mark.parametrize(
    ("kind", "shape", "at", "cell"),
    [("1D", (60,), (30,), (30,)), ("3D", (12, 22, 17), (6, 14, 10), (6, 14, 10))],
    ids=["signal", "volume"],
)
def test_heat_lies_over_what_the_cell_sees(kind, shape, at, cell):
    """Windows of 5 every 4, none before the start: cell i sees 4i..4i+4, and its centre is 4i+2."""
    layers = keras.layers
    sum_up = {"kernel_initializer": "ones", "bias_initializer": "zeros"}
    model = keras.Sequential(
        [
            keras.Input((*shape, 1)),
            getattr(layers, f"Conv{kind}")(1, 5, strides=4, **sum_up),
            getattr(layers, f"GlobalAveragePooling{kind}")(),
            layers.Dense(2, **sum_up),
        ]
    )
    given = filled(shape, at)
    result = keras_cam.explain(model, given, classes=[0], preprocess=lambda batch: batch * 2, fit="pad")
    assert result.images[0].dtype == np.float32 and result.fit == "stretch"
    np.testing.assert_array_equal(result.images[0], given[0])
    (heat,) = result.heatmaps(None)[0]
    assert heat.shape == shape and np.unravel_index(heat.argmax(), shape) == cell
    assert heat.max() == 10 and heat[tuple(place - 2 for place in cell)] > 0
    assert heat[tuple(place - 4 for place in cell)] == 0 == heat[tuple(place + 4 for place in cell)]
    np.testing.assert_array_equal(keras_cam.compute_cam(model, given[0], 0), heat / heat.max())


def network(*steps):
    return keras.Sequential([*steps, keras.layers.Dense(2)])


def test_a_volume_is_kept_within_the_range_to_draw():
    model = network(keras.Input((4, 4, 4, 1)), keras.layers.Conv3D(1, 1), keras.layers.GlobalAveragePooling3D())
    given = np.linspace(-1000, 3000, 64).reshape(1, 4, 4, 4, 1)
    result = keras_cam.explain(model, given, value_range=(-500, 500))
    np.testing.assert_allclose(result.images[0], given[0].clip(-500, 500), rtol=1e-6)


def test_bands_are_drawn_as_their_mean():
    model = network(keras.Input((6, 8, 5)), keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D())
    bands = np.linspace(0, 1, 240, dtype=np.float32).reshape(1, 6, 8, 5)
    result = keras_cam.explain(model, bands, fit="crop")
    expected = np.rint(bands[0].mean(axis=-1, keepdims=True).astype(np.float64) * 255) * np.ones(3)
    np.testing.assert_allclose(result.images[0], expected, atol=1)
    assert result.heatmaps()[0].shape == (1, 6, 8) and result.grid.source == "graph"


@pytest.mark.parametrize(
    ("rank", "shape", "maps"), [(1, (4, 3), [0, 4]), (3, (3, 4, 5, 1), np.arange(8).reshape(2, 2, 2))]
)
def test_signals_and_volumes_are_saved_and_loaded(rank, shape, maps, tmp_path):
    written = of_rank(rank, shape, maps, even_grid(np.shape(maps), shape[:-1]))
    loaded = Explanation.load(written.save(tmp_path / "result"))
    assert loaded.images[0].dtype == np.float32 and loaded.grid == written.grid
    np.testing.assert_array_equal(loaded.images[0], written.images[0])
    np.testing.assert_array_equal(loaded.heatmaps()[0], written.heatmaps()[0])
    np.testing.assert_array_equal(loaded.overlays()[0][0], written.overlays()[0][0])


def test_maps_that_lie_on_nothing(result):
    fold, convolve = keras.layers.Reshape((9, 3, 1)), keras.layers.Conv2D(2, 2)
    folded = network(keras.Input((9, 3)), fold, convolve, keras.layers.GlobalAveragePooling2D())
    nowhere = keras_cam.explain(folded, np.ones((1, 9, 3)))
    with pytest.raises(
        InvalidDataError, match=r"\(1, 1, 8, 2\) lie on no picture.*\[\(9, 3\)\] to draw on.*result\.maps"
    ):
        nowhere.heatmaps()
    assert nowhere._repr_html_() is None
    assert keras_cam.explain(folded, np.ones((1, 9, 3)), method="saliency").heatmaps()[0].shape == (1, 9)
    with pytest.raises(InvalidDataError, match=r"Received: \[\(2, 2\), \(2, 2\)\]"):
        dataclasses.replace(result, images=(np.zeros((2, 2)),) * 2).sheet()


# saved and loaded


@pytest.mark.parametrize("names", [("cat", "dog", "häst"), None], ids=["names", "no names"])
def test_what_is_saved_is_loaded(result, names, tmp_path):
    written = dataclasses.replace(result, class_names=names)
    path = written.save(tmp_path / "result")
    assert path == tmp_path / "result.npz" and path.is_file()
    loaded = Explanation.load(path)
    for name in ("maps", "class_indices", "logits", "probabilities", "bias"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
        assert getattr(loaded, name).dtype == getattr(result, name).dtype
    assert (loaded.method, loaded.layer, loaded.class_names) == ("cam", "backbone/conv", names)
    assert isinstance(loaded.images, tuple) and len(loaded.images) == 2
    for ours, theirs in zip(loaded.images, result.images, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(loaded.heatmaps(), result.heatmaps(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_name_with_its_ending_or_another_is_kept(result, tmp_path):
    assert result.save(str(tmp_path / "a.npz")).name == "a.npz"
    assert result.save(tmp_path / "epoch.3").name == "epoch.3.npz"


def test_more_than_ten_pictures_keep_their_order(result, tmp_path):
    many = {name: np.repeat(getattr(result, name), 6, axis=0) for name in ("maps", "class_indices", "logits", "bias")}
    pictures = tuple(np.full((2, 2, 3), index, np.uint8) for index in range(12))
    path = dataclasses.replace(result, **many, images=pictures).save(tmp_path / "many")
    assert [int(picture[0, 0, 0]) for picture in Explanation.load(path).images] == list(range(12))


def write_text(path):
    path.write_text("not an archive")


def write_half(path):
    np.savez(path, maps=MAPS)
    path.write_bytes(path.read_bytes()[:-40])


def write_other(path):
    np.savez(path, maps=MAPS)


def write_array(path):
    with open(path, "wb") as file:
        np.save(file, MAPS)


@pytest.mark.parametrize("write", [write_text, write_other, write_half, write_array])
def test_files_that_are_not_ours(write, tmp_path):
    path = tmp_path / "other.npz"
    write(path)
    with pytest.raises(InvalidDataError, match=r"other\.npz' is not a saved Explanation.*result\.save\(path\)"):
        Explanation.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Explanation.load(tmp_path / "nowhere.npz")
