"""Explanation: what it says of itself and holds, by hand; overlays and figures at the pictures' sizes."""

import dataclasses

import keras
import matplotlib.figure
import numpy as np
import pytest
from support.results import MAPS, network, two_pictures

import keras_cam
from keras_cam import overlay


@pytest.fixture(scope="module")
def result():
    return two_pictures()


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


# what there is to draw on


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
