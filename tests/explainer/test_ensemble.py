"""Several layers fused, and augmentations of an image averaged: positions by hand, and where the heat comes out."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from support import reference, zoo

from keras_cam import explain, inspect_model
from keras_cam.errors import InvalidOptionError
from keras_cam.explainer.ensemble import checked_augmentations, regrid, transform_images
from keras_cam.graph.receptive_field import Axis
from keras_cam.model.grid import Grid, even_grid

IMAGE = (24, 32)
RNG = np.random.default_rng(0)


def network(padding="same", seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((*IMAGE, 3))
    x = layers.Conv2D(6, 3, strides=2, padding=padding, activation="relu", name="shallow")(inputs)
    x = layers.Conv2D(6, 3, strides=2, padding=padding, activation="relu", name="middle")(x)
    x = layers.Conv2D(8, 3, strides=2, padding=padding, activation="relu", name="deep")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def images(count=2):
    return RNG.uniform(size=(count, *IMAGE, 3)).astype("float32")


# one grid from another


def test_cells_read_between_cells_by_hand():
    source = Grid((Axis(length=3, offset=1.0, stride=4.0),), (12,))  # centres 1, 5, 9
    target = Grid((Axis(length=6, offset=0.0, stride=2.0),), (12,))  # centres 0, 2, ... 10
    maps, covered = regrid(np.array([[10.0, 20.0, 40.0]]), source, target)
    np.testing.assert_allclose(maps, [[10.0, 12.5, 17.5, 25.0, 35.0, 40.0]])
    assert covered.all()


def test_a_mirrored_map_by_hand():
    """Cells at 1, 5, 9 of 12 mirrored pixels lie at 10, 6, 2: read at 1, 5 and 9 again."""
    grid = Grid((Axis(length=3, offset=1.0, stride=4.0),), (12,))
    maps, covered = regrid(np.array([[10.0, 20.0, 40.0]]), grid, grid, [(-1.0, 11.0)])
    np.testing.assert_allclose(maps, [[40.0, 25.0, 12.5]])
    assert covered.all()


def test_what_is_scaled_out_of_the_image_is_not_covered():
    grid = even_grid((8,), (8,))
    _, covered = regrid(np.ones((1, 8)), grid, grid, [(2.0, -3.5)])
    assert covered.tolist() == [False, False, True, True, True, True, False, False]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(9, 40))
def test_a_ramp_stays_a_ramp(before, after, length):
    source, target = even_grid((before,), (length,)), even_grid((after,), (length,))
    centres = [axis.offset + axis.stride * np.arange(axis.length) for axis in (source.axes[0], target.axes[0])]
    maps, _ = regrid(centres[0][None], source, target)
    np.testing.assert_allclose(maps[0], np.clip(centres[1], centres[0][0], centres[0][-1]), atol=1e-4)


def test_transformed_images():
    pictures = images()
    np.testing.assert_array_equal(transform_images(pictures, [(1.0, 0.0), (-1.0, 31.0)]), pictures[:, :, ::-1])
    half = transform_images(pictures, [(0.5, -0.25), (1.0, 0.0)])  # two pixels in one, the edge repeated below
    np.testing.assert_allclose(half[:, :12], pictures[:, 1::2] * 0.5 + pictures[:, ::2] * 0.5, atol=1e-6)


# layers


def test_fused_layers_are_the_largest_of_each_on_the_finest_grid():
    model, pictures = network(), images()
    names = ["shallow", "middle", "deep"]
    found = explain(model, pictures, classes=1, method="layer_cam", layer=names)
    single = [explain(model, pictures, classes=1, method="layer_cam", layer=name) for name in names]
    assert found.maps.shape[2:] == single[0].maps.shape[2:] == (12, 16) and found.layer == "shallow + middle + deep"
    assert found.grid == single[0].grid and np.isnan(found.completeness).all()
    for image in range(2):
        wanted = np.zeros((12, 16))
        for one, shallow in zip(single, (True, True, False), strict=True):
            positive = np.maximum(one.maps[image, 0].astype("float64"), 0)
            share = np.tanh(2 * positive / positive.max()) if shallow else positive / positive.max()
            wanted = np.maximum(wanted, regrid(share[None], one.grid, found.grid)[0][0])
        np.testing.assert_allclose(found.maps[image, 0], wanted, atol=1e-5)


def test_fused_layers_as_the_paper_where_grids_share_the_picture_evenly():
    """Convolutions of stride and size 2 see what stretching gives them; the reference stretches."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 2, strides=2, activation="relu", name="shallow")(inputs)
    deep = layers.Conv2D(5, 2, strides=2, activation="relu", name="deep")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(deep)))
    picture = RNG.uniform(size=(1, 16, 16, 3)).astype("float32")
    found = explain(model, picture, classes=0, method="layer_cam", layer=["shallow", "deep"])
    maps = [
        explain(model, picture, classes=0, method="layer_cam", layer=name).maps[0, 0] for name in ("shallow", "deep")
    ]
    wanted = reference.fuse_layer_cams(maps, [True, False], (8, 8))
    np.testing.assert_allclose(found.maps[0, 0], wanted, atol=1e-5)


@pytest.mark.parametrize("method", ["layer_cam", "auto"])
def test_the_order_in_which_layers_are_named_does_not_matter(method):
    model, pictures = network(), images()
    ordered = explain(model, pictures, classes="top2", method=method, layer=["shallow", "middle", "deep"])
    for names in (["deep", "middle", "shallow"], ["middle", "deep", "shallow"]):
        found = explain(model, pictures, classes="top2", method=method, layer=names)
        assert found.layer == ordered.layer == "shallow + middle + deep" and found.head == ordered.head
        np.testing.assert_array_equal(found.maps, ordered.maps)


def test_layers_inside_custom_layers_are_ordered_too():
    name = "backbone is a custom layer"
    model, inputs = zoo.model(name), zoo.inputs(name)
    last = explain(model, inputs).layer
    shallow = f"{last.split('/')[0]}/inner_1"
    found = explain(model, inputs, method="layer_cam", layer=[last, "inner_1"])
    assert found.layer == f"{shallow} + {last}"
    custom = next(layer for layer in model.layers if layer.name == last.split("/")[0])
    assert last == f"{custom.name}/{custom.conv_2.name}"
    paths = [last, shallow]
    by_path, by_object = (
        explain(model, inputs, method="layer_cam", layer=several) for several in (paths, [custom.conv_2, custom.conv_1])
    )
    assert by_object.layer == by_path.layer == " + ".join(paths[::-1])
    np.testing.assert_array_equal(by_object.maps, by_path.maps)


def test_layers_themselves_may_be_named():
    """By the object, nested ones and several as well."""
    inner = network()
    inputs = keras.Input((*IMAGE, 3))
    model = keras.Model(inputs, keras.Model(inner.inputs, inner.outputs, name="inner")(layers.Rescaling(0.5)(inputs)))
    pictures = images(1)
    for names in ("middle", ["deep", "shallow"]):
        objects = inner.get_layer(names) if isinstance(names, str) else [inner.get_layer(name) for name in names]
        by_name, found = (explain(model, pictures, method="layer_cam", layer=layer) for layer in (names, objects))
        assert found.layer == by_name.layer
        np.testing.assert_array_equal(found.maps, by_name.maps)
    chosen = inspect_model(model, layer=inner.get_layer("middle"))
    assert chosen.reason == "asked for by layer='middle'"
    assert [layer.path for layer in chosen.layers if layer.chosen] == ["inner/middle"]


def test_layers_that_are_none():
    model, pictures = network(), images(1)
    for layer, words in (
        (network().get_layer("deep"), "has no layer object 'deep' on the way"),
        (model.layers[-1], r"layer object 'dense.*' has shape \(None, 3\) and no place"),
        (2, r"Received: 2\. .*model.layers\[number\]"),
        ([1, 2], r"Received: 1\. .*model.layers\[number\]"),
        (2.5, "Received: 2.5"),
    ):
        with pytest.raises(InvalidOptionError, match=words):
            explain(model, pictures, layer=layer)
    np.testing.assert_array_equal(
        explain(model, pictures, layer=model.layers[2]).maps, explain(model, pictures, layer="middle").maps
    )


def test_layers_of_one_place_and_of_none():
    model, pictures = network(), images(1)
    both = explain(model, pictures, classes=0, method="grad_cam", layer=["deep"])
    np.testing.assert_array_equal(both.maps, explain(model, pictures, classes=0, method="grad_cam", layer="deep").maps)
    with pytest.raises(InvalidOptionError, match="empty list"):
        explain(model, pictures, layer=[])
    with pytest.raises(InvalidOptionError, match="no layer 'deepest'"):
        explain(model, pictures, layer=["deep", "deepest"])


# test-time augmentation


def test_flipping_makes_the_map_of_a_mirrored_picture_the_mirrored_map():
    """At the pixels, where the mirrored grid is the grid."""
    model, pictures = network(), images()
    plain, mirrored = (
        explain(model, each, classes=2, method="integrated_gradients", samples=3, augment="flip").maps
        for each in (pictures, pictures[:, :, ::-1].copy())
    )
    np.testing.assert_allclose(plain, mirrored[..., ::-1], atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("augment", ["flip", "scale", ["flip", 1.5]])
def test_heat_stays_on_the_dot(padding, augment):
    """A network of averages that sees brightness: its heat is where the dot is, whatever augmentations are averaged."""
    inputs = keras.Input((48, 64, 1))
    x = inputs
    for _ in range(2):
        x = layers.Conv2D(1, 3, 2, padding, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 9))(x)
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))
    rows, columns = np.indices((48, 64))
    for row, column in ((14, 40), (30, 18)):
        dot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 30)[..., None].astype("float32")
        found = explain(model, dot, augment=augment, value_range=(0, 1))
        heat = found.heatmaps()[0][0]
        middle = [(heat * axis).sum() / heat.sum() for axis in (rows, columns)]
        assert np.hypot(middle[0] - row, middle[1] - column) < 1.5
        assert np.isnan(found.bias).all()


def test_augmentations_are_averaged():
    model, pictures = network(), images()
    plain = explain(model, pictures, classes=0)
    mirrored = explain(model, pictures[:, :, ::-1].copy(), classes=0)
    back, _ = regrid(mirrored.maps, plain.grid, plain.grid, [(1.0, 0.0), (-1.0, IMAGE[1] - 1)])
    found = explain(model, pictures, classes=0, augment="flip")
    np.testing.assert_allclose(found.maps, (plain.maps + back) / 2, atol=1e-6)
    np.testing.assert_array_equal(found.logits, plain.logits)


def test_the_class_is_that_of_the_image_itself():
    model, pictures = network(), images(4)
    found = explain(model, pictures, classes="top2", augment=["flip", "scale"])
    np.testing.assert_array_equal(found.class_indices, explain(model, pictures, classes="top2").class_indices)


def test_augmentations_that_are_none():
    assert checked_augmentations(["flip", "scale", 2]) == ("flip", 0.75, 1.25, 2.0)
    for augment in ("rotate", 0, -1.0, ["flip", "up"], True, 99):
        with pytest.raises(InvalidOptionError, match="augment must be"):
            checked_augmentations(augment)


def test_a_signal_is_mirrored_in_time():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((40, 2))
    x = layers.Conv1D(6, 5, strides=2, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    signals = RNG.normal(size=(2, 40, 2)).astype("float32")
    plain = explain(model, signals, classes=0)
    mirrored = explain(model, signals[:, ::-1].copy(), classes=0)
    back, _ = regrid(mirrored.maps, plain.grid, plain.grid, [(-1.0, 39.0)])
    found = explain(model, signals, classes=0, augment="flip")
    np.testing.assert_allclose(found.maps, (plain.maps + back) / 2, atol=1e-6)


@pytest.mark.parametrize("method", ["saliency", "guided_grad_cam"])
def test_pixels_have_no_layers_to_fuse(method):
    with pytest.raises(InvalidOptionError, match=r"pixels of the image\. Name one layer, or none"):
        explain(network(), images(1), method=method, layer=["shallow", "deep"])


def test_options_that_are_arrays():
    model, pictures = network(), images(1)
    black = explain(model, pictures, classes=0, method="integrated_gradients", samples=2)
    array = explain(
        model, pictures, classes=0, method="integrated_gradients", samples=2, baseline=np.zeros((24, 32, 3))
    )
    np.testing.assert_allclose(array.maps, black.maps, atol=1e-6)


@pytest.mark.parametrize("returns", [lambda view: view.features, lambda view: 3, lambda view: np.ones((1, 1, 5))])
def test_a_method_of_ones_own_that_returns_no_maps(returns):
    with pytest.raises(InvalidOptionError, match=r"maps \(N, C, \*grid\), here \(1, 1, 3, 4\)"):
        explain(network(), images(1), method=returns)
