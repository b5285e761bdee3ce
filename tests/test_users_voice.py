"""What users of other libraries ask for and stumble over: the items of ../shared/FIELD.md, section 2, a test each."""

import keras
import numpy as np
import pytest
from keras import layers
from support import zoo
from support.zoo_parts import Subclassed, after_maps, after_pooling, built, chain, convolutions, dense, gap, policy

from keras_cam import CAMWarning, UnsupportedModelError, build_feature_model, compute_cam, explain, overlay
from keras_cam.imaging.fit import visible_region

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 8, 12, 3)).astype("float32")


def exact(result):
    return result.completeness.min() > 1 - 1e-5


def mobile_net(top=False, **options):
    """A backbone as users have it: its name has dots, its layers have the names that all of them have."""
    return keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=top, weights=None, **options)


PHOTOS = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")


# 1. "Graph disconnected" / KeyError with a nested backbone


@pytest.mark.parametrize("wiring", ["in Sequential", "as a layer", "two deep", "with its pooling", "input_tensor"])
def test_01_nested_backbone(wiring):
    inputs = keras.Input((32, 32, 3))
    if wiring == "in Sequential":
        model = keras.Sequential([inputs, mobile_net(), gap(), layers.Dropout(0.2), dense()])
    elif wiring == "as a layer":
        model = keras.Model(inputs, dense()(gap()(mobile_net()(layers.Rescaling(0.5)(inputs), training=False))))
    elif wiring == "two deep":
        inner = keras.Sequential([keras.Input((32, 32, 3)), layers.RandomFlip(), mobile_net()], name="features")
        model = keras.Model(inputs, dense()(gap()(inner(inputs))))
    elif wiring == "with its pooling":
        model = keras.Sequential([inputs, mobile_net(pooling="avg"), dense()])
    else:
        model = keras.Model(inputs, dense()(gap()(mobile_net(input_tensor=inputs).output)))
    result = explain(model, PHOTOS, classes="all")
    assert exact(result) and result.method == "cam"
    assert result.layer.split("/")[-1] == "out_relu"  # after its activation, not the last convolution
    assert ("mobilenetv2_0.35_32/" in result.layer) == (wiring != "input_tensor")


# 2. Keras 3 broke everything


def test_02_keras_3():
    """No `layer.output_shape`, no `model.output` of a Sequential that was never called, nothing rebuilt or renamed."""
    convolution = layers.Conv2D(5, 3, activation="relu")
    assert not hasattr(convolution, "output_shape")
    model = keras.Sequential([convolution, gap(), dense()])
    model(IMAGES)  # "The layer sequential has never been called" is what others say from here on
    assert exact(explain(model, IMAGES, classes="all"))
    single = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 1), gap()])
    assert exact(explain(chain(zoo.model("functional")), IMAGES)) and exact(explain(single, IMAGES[:, :, :8]))


# 3. Which layer? The automatic choice is wrong


@pytest.mark.parametrize(
    ("head", "layer"),
    [
        ((gap(keepdims=True), layers.Conv2D(7, 1), layers.Conv2D(3, 1), layers.Flatten()), "conv_2"),  # not 1x1 ones
        ((layers.BatchNormalization(name="norm"), layers.ReLU(name="act"), gap(), dense()), "act"),  # not before it
        ((layers.SeparableConv2D(6, 3, name="separable"), gap(), dense()), "separable"),  # is no Conv2D
        ((layers.AveragePooling2D(2, name="pool"), gap(), dense()), "pool"),  # what the averaging reads
    ],
)
def test_03_which_layer(head, layer):
    result = explain(after_maps(*head), IMAGES, classes="all")
    assert (result.layer, result.maps.shape[2] > 1) == (layer, True)
    assert exact(result)


# 4. All-black / all-blue / zero map


def test_04_zero_map_is_named():
    """Dead features: the map is zero, and the warning says of what and why."""
    model = after_pooling(dense())
    model.get_layer("conv_2").set_weights([np.zeros((3, 3, 4, 5)), -np.ones(5)])
    with pytest.warns(CAMWarning, match="zero everywhere: the features of 'conv_2'.*dead ReLU"):
        assert not compute_cam(model, IMAGES).any()


def test_04_evidence_against_a_class_is_kept():
    """All evidence negative: black after the positive part is taken, and there in full in the signed map."""
    model = after_pooling(dense(2, activation=None))
    zoo.randomize(model)
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([-np.abs(kernel), bias])
    maps = compute_cam(model, IMAGES, "all", normalize=None)
    assert maps.max() <= 0 and maps.min() < -0.1
    assert np.ptp(compute_cam(model, IMAGES, "all", normalize="minmax"), axis=(2, 3)).min() > 0.99


# 5. NaN from zero maps / division by zero


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize("normalize", ["image", "minmax", "batch", (0.0, 1.0), None])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e-30, 1e6])
@pytest.mark.parametrize("name", ["functional", "LayerNormalization, as in ConvNeXt", "cosine", "GeM of operations"])
def test_05_no_nan(name, value, normalize):
    constant = np.full((2, 8, 12, 3), value, "float32")
    heatmaps = compute_cam(zoo.model(name), constant, "all", normalize=normalize)
    assert np.isfinite(heatmaps).all()


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize(
    "name", [name for name, entry in zoo.ZOO.items() if entry.kind in ("affine_per_sample", "position_dependent")]
)
def test_05_no_nan_of_dead_features(name):
    """Features that are zero: lengths, means and maxima of nothing, and what is divided by them."""
    model = zoo.fresh(name)
    for layer in model._flatten_layers():
        if type(layer).__name__ in ("Conv1D", "Conv2D", "Conv3D", "BatchNormalization"):
            layer.set_weights([np.zeros(weight.shape) for weight in layer.get_weights()])
    options = zoo.ZOO[name].options
    if not np.isfinite(keras.tree.flatten(zoo.called(model, zoo.inputs(name)))[0]).all():
        with pytest.raises(UnsupportedModelError, match="not finite"):  # the model's own NaN is said to be its own
            explain(model, zoo.inputs(name), **options)
        return
    result = explain(model, zoo.inputs(name), classes="all", **options)
    assert np.isfinite(result.maps).all() and np.isfinite(result.bias).all()


# 6. Softmax or logits?


@pytest.mark.parametrize("name", ["functional", "softmax layer", "softmax as Activation", "softmax operation"])
def test_06_saturated_softmax(name):
    """Probabilities that are 1.0 to the last bit leave no gradient; the map is of the score before them."""
    model = zoo.fresh(name)
    scores = model.get_layer("scores")
    scores.set_weights([1e4 * weight for weight in scores.get_weights()])
    activation = scores.activation
    result = explain(model, IMAGES)
    assert result.probabilities.max(axis=1).tolist() == [1, 1, 1] and result.activation == "softmax"
    assert np.abs(result.maps).max() > 1e3 and exact(result)
    usual = explain(zoo.fresh(name), IMAGES, classes=result.class_indices)
    np.testing.assert_allclose(result.maps, 1e4 * usual.maps, rtol=1e-3, atol=1)
    assert scores.activation is activation  # read, not replaced


# 11. Wrong-range overlays


def object_finder(head):
    """A convolution that answers to what is dark, BatchNormalization that turns that round, ReLU, and a head."""
    model = keras.Sequential(
        [
            keras.Input((16, 24, 3)),
            layers.Conv2D(2, 3, padding="same", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(),
            head,
        ]
    )
    model.get_layer("conv").set_weights([np.full((3, 3, 3, 2), -1 / 27), np.zeros(2)])
    model.get_layer("norm").set_weights([-np.ones(2), np.zeros(2), np.full(2, -0.5), np.ones(2)])
    return model


OBJECT = np.zeros((16, 24), bool)
OBJECT[4:11, 13:21] = True
PHOTO = np.random.default_rng(3).integers(0, 100, (16, 24, 3), "uint8")
PHOTO[OBJECT] = 255
PHOTO[0, 0] = 0  # black and white, so that a range is told by its ends
RANGES = {  # the picture as users have it, and what brings it to [0, 1]
    "uint8": (PHOTO, lambda batch: batch / 255),
    "floats of 0..255": (PHOTO.astype("float32"), lambda batch: batch / 255),
    "[0, 1]": (PHOTO / 255, None),
    "[-1, 1]": (PHOTO / 127.5 - 1, lambda batch: (batch + 1) / 2),
}


@pytest.mark.parametrize("name", RANGES)
def test_11_one_picture_in_any_range_has_one_overlay(name):
    picture, preprocess = RANGES[name]
    model = object_finder(layers.Dense(2, kernel_initializer="ones"))
    result = explain(model, picture, classes=0, preprocess=preprocess)
    expected = explain(model, PHOTO.astype("float32") / 255, classes=0)
    np.testing.assert_array_equal(result.images[0], PHOTO)  # what is shown is not what is fed
    np.testing.assert_allclose(result.maps, expected.maps, atol=1e-6)
    drawn, wanted = (each.overlays()[0][0].astype(int) for each in (result, expected))
    assert np.abs(drawn - wanted).max() <= 1
    cold = result.heatmaps()[0][0] == 0
    assert cold.mean() > 0.5
    np.testing.assert_array_equal(drawn[cold], PHOTO[cold])  # neither brighter nor darker where there is no heat
    assert np.abs(drawn[OBJECT] - PHOTO[OBJECT]).max(axis=-1).min() > 25


# 13. Inverted map / opposite of the object


def with_object(array):
    """Correlation of a map with where the object is."""
    return np.corrcoef(np.ravel(array), np.ravel(OBJECT))[0, 1]


def test_13_map_is_on_the_object_where_that_of_the_last_conv2d_is_on_all_else():
    model = object_finder(layers.Dense(2, activation="softmax", name="scores"))
    weights = np.array([[1.0, -1.0], [2.0, -2.0]])
    model.get_layer("scores").set_weights([weights, np.zeros(2)])
    convolved = keras.Model(model.inputs, model.get_layer("conv").output).predict(PHOTO[None] / 255, verbose=0)
    assert with_object(convolved[0] @ weights[:, 0]) < -0.9  # the map that choosing the last Conv2D gives
    result = explain(model, PHOTO / 255)
    assert result.class_indices.tolist() == [[0]] and result.layer == "relu"
    assert with_object(result.maps[0, 0]) > 0.8
    heat = compute_cam(model, PHOTO / 255)
    assert heat[OBJECT].sum() > 0.9 * heat.sum()


def test_13_binary_model_class_0_is_the_negative_and_only_the_positive_part_is_drawn():
    model = object_finder(layers.Dense(1, activation="sigmoid", name="scores"))
    model.get_layer("scores").set_weights([np.array([[1.0], [2.0]]), np.array([-0.1])])
    result = explain(model, PHOTO / 255, classes="all")
    against, speaks_for = result.maps[0]
    np.testing.assert_array_equal(against, -speaks_for)
    assert with_object(speaks_for) > 0.8 and with_object(against) < -0.8
    assert speaks_for.min() >= 0 and speaks_for.max() == pytest.approx(1.5, rel=1e-3)  # (1 + 2) of what is above 0.5
    drawn, signed = result.heatmaps()[0], result.heatmaps(signed=True)[0]
    assert not drawn[0].any()  # not turned into heat on everything but the object
    assert drawn[1].max() == 1 and signed[0].min() == -1
    np.testing.assert_array_equal(drawn[1], signed[1])
    np.testing.assert_array_equal(result.overlays()[0][0], result.images[0])
    assert "nothing_positive" in [finding.name for finding in result.diagnosis]


# 16. Binary / single-sigmoid models


def test_16_one_sigmoid_unit():
    model = zoo.model("one sigmoid unit")
    result = explain(model, IMAGES, classes="all", class_names=["benign", "malignant"])
    np.testing.assert_allclose(result.probabilities[:, 1:], model.predict(IMAGES, verbose=0), rtol=1e-5)
    np.testing.assert_array_equal(result.maps[:, 0], -result.maps[:, 1])
    np.testing.assert_array_equal(result.logits[:, 0], -result.logits[:, 1])
    assert exact(result)
    np.testing.assert_allclose(
        compute_cam(model, IMAGES, "benign", class_names=["benign", "malignant"], normalize=None),
        compute_cam(model, IMAGES, 0, normalize=None),
    )


def test_16_multi_label():
    """Each label is explained by itself: the others' scores do not come into it."""
    model = zoo.fresh("multi-label")
    before = explain(model, IMAGES, classes=0)
    kernel, bias = model.get_layer("scores").get_weights()
    kernel[:, 1:] = 9
    model.get_layer("scores").set_weights([kernel, bias])
    np.testing.assert_array_equal(explain(model, IMAGES, classes=0).maps, before.maps)


# 17. Multi-input


def test_17_siamese_takes_the_call_that_was_asked_for():
    """A shared layer's `output` is that of its first call only; each image gets the map of its own call."""
    model = zoo.model("siamese side by side")
    left, right = IMAGES, IMAGES[::-1].copy()
    one = explain(model, [left, right], classes="all")
    other = explain(model, [left, right], classes="all", image_input="right")
    assert exact(one) and exact(other)
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5)
    moved = explain(model, [left, np.roll(right, 1, axis=2)], classes="all")
    np.testing.assert_allclose(moved.maps, one.maps, rtol=1e-4, atol=1e-6)  # the left map is of the left image alone
    turned = explain(model, [left, np.roll(right, 1, axis=2)], classes="all", image_input="right")
    assert np.abs(turned.maps - other.maps).max() > 1e-3


def test_17_image_and_table():
    """One map, of the image, whichever way the inputs are handed in; the table is part of the bias."""
    model = zoo.model("image and table")
    table = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    result = explain(model, [IMAGES, table], classes="all")
    by_name = explain(model, {"image": IMAGES, "table": table}, classes="all")
    other_table = explain(model, [IMAGES, table + 1], classes="all")
    assert exact(result) and result.maps.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(by_name.maps, result.maps)
    np.testing.assert_allclose(other_table.maps, result.maps, rtol=1e-5, atol=1e-6)
    moved = (other_table.logits - result.logits) - (other_table.bias - result.bias)
    np.testing.assert_allclose(moved, 0, atol=1e-5)


# 18. Multi-output


def test_18_multi_output():
    """The output that was asked for; the other's head, and what only it needs, is not even run."""
    model = zoo.model("output beyond it")
    main, auxiliary = (explain(model, IMAGES, classes="all", output=name) for name in ("main", "auxiliary"))
    assert exact(main) and exact(auxiliary)
    assert main.maps.shape != auxiliary.maps.shape  # the auxiliary head pools one layer earlier
    predictions = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(main.probabilities, predictions["main"], rtol=1e-5)
    np.testing.assert_allclose(auxiliary.probabilities, predictions["auxiliary"], rtol=1e-5)


# 19. Regression


def test_19_regression():
    """The value itself: the signed map adds up to it, and 'more' and 'less' are its two signs."""
    model = zoo.model("regression")
    result = explain(model, IMAGES, classes="all")
    values = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(result.maps.mean(axis=(2, 3)) + result.bias, values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.probabilities, values, rtol=1e-5)
    assert (result.maps < 0).any() and (result.maps > 0).any() and result.activation == "linear"
    assert result.title(0, 1).startswith("class 1: ")  # a value, not a percentage


# 24. Mixed precision crashes


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_float16, nested", "mixed_bfloat16", "mixed_float16, ReLU"])
def test_24_mixed_precision(name):
    half, full = zoo.fresh(name), zoo.fresh({"mixed_float16, nested": "nested two deep"}.get(name, "functional"))
    result = explain(half, IMAGES, classes="all")
    assert all(array.dtype == np.float32 for array in (result.maps, result.bias, result.logits, result.probabilities))
    assert 1 - result.completeness.min() < zoo.ZOO[name].tolerance
    if "ReLU" not in name:
        full.set_weights(half.get_weights())
        expected = explain(full, IMAGES, classes="all").maps
        np.testing.assert_allclose(result.maps, expected, atol=0.02 * np.abs(expected).max())


def test_24_features_beyond_the_range_of_float16():
    """Sums over many cells are made in float32: no overflow at 65504."""
    with policy("mixed_float16"):
        inputs = keras.Input((64, 64, 1))
        x = layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(inputs)
        model = keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))
    result = explain(model, np.full((1, 64, 64, 1), 1000.0, "float32"), classes="all")
    np.testing.assert_allclose(result.maps, 1000, rtol=1e-3)


# 25. Custom layers / cloning breaks


class Unregistered(layers.Layer):
    """Cannot be saved, cloned or pickled: no `get_config`, and an argument that Keras knows nothing of."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def test_25_custom_layers_are_neither_cloned_nor_serialised():
    model = chain(
        Unregistered(lambda x: x - 0.5), convolutions, layers.Lambda(lambda x: keras.ops.relu(x)), gap(), dense()
    )
    with pytest.raises(Exception):  # noqa: B017 - whatever Keras says: it cannot be cloned
        keras.models.clone_model(model)
    result = explain(model, IMAGES, classes="all")
    assert exact(result)
    np.testing.assert_array_equal(result.probabilities, model.predict(IMAGES, verbose=0))


def test_25_a_method_of_the_callers_stays_his():
    model = built(Subclassed())
    call = type(model).call
    before = dict(vars(model))
    explain(model, IMAGES)
    assert type(model).call is call and "call" not in vars(model)
    assert {key: id(value) for key, value in before.items()} == {
        key: id(value) for key, value in vars(model).items() if key in before
    }


# 29. Shifted / blocky / edge-artefact maps


def averages(*paddings, size):
    """A network whose map is the picture, averaged in windows of 3 with stride 2, one after the other."""
    inputs = x = keras.Input((*size, 1))
    for padding in paddings:
        if padding == "resnet":
            x, padding = layers.ZeroPadding2D(1)(x), "valid"
        x = layers.Conv2D(1, 3, 2, padding, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 9))(x)
    return keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("padding", ["same", "resnet"])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_29_heat_lies_over_the_dot(fit, padding):
    """Cells are 16 to 32 pixels of the picture long. The middle of the heat is off by 4 at most, and to no side."""
    model = averages(padding, padding, padding, size=(64, 64))
    off = {"receptive_field": [], "stretch": []}
    for dot in ((40, 100), (70, 130), (100, 160), (60, 90), (51, 141)):
        picture = np.zeros((128, 256, 1), "uint8")
        picture[dot[0] - 8 : dot[0] + 8, dot[1] - 8 : dot[1] + 8] = 255
        result = explain(model, picture, classes=0, fit=fit, value_range=(0, 255))
        for align, found in off.items():
            heat = result.heatmaps(align=align)[0][0]
            middle = [np.average(indices + 0.5, weights=heat) for indices in np.indices(heat.shape)]
            found.append(np.subtract(middle, dot))
    assert np.abs(off["receptive_field"]).max() <= 4
    assert np.abs(np.mean(off["receptive_field"], axis=0)).max() <= 1.5
    assert np.abs(np.mean(off["stretch"], axis=0)).min() >= 6  # what others draw


def test_29_nearest_shows_the_cells():
    """Cells of 4 x 4 pixels, the middle of the first at pixel 3: its block goes from the edge to pixel 4."""
    picture = np.random.default_rng(5).uniform(size=(40, 48, 1)).astype("float32")
    result = explain(averages("same", "same", size=(40, 48)), picture, classes=0)
    assert [(axis.length, axis.offset, axis.stride) for axis in result.grid.axes] == [(10, 3, 4), (12, 3, 4)]
    heat = result.heatmaps(None, interpolation="nearest")[0][0]
    blocks = np.kron(result.maps[0, 0], np.ones((4, 4)))
    np.testing.assert_allclose(heat[1:, 1:], blocks[:-1, :-1], rtol=1e-6)
    np.testing.assert_array_equal(heat[0], heat[1])
    np.testing.assert_array_equal(heat[:, 0], heat[:, 1])
    assert len(np.unique(heat)) == result.maps.size  # and no value that no cell has


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(33, 47), (200, 90), (9, 7)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_29_constant_map_is_constant_up_to_the_edges(interpolation, size, fit):
    """No bright or dark frame: beyond the outermost cells their values go on, and not zeros."""
    model = keras.Sequential(
        [
            keras.Input((32, 48, 1)),
            layers.Conv2D(1, 3, 4, padding="same", kernel_initializer="zeros", bias_initializer="ones"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, kernel_initializer=keras.initializers.Constant(2.5)),
        ]
    )
    picture = np.full((*size, 1), 0.5, "float32")
    result = explain(model, picture, classes=0, fit=fit, value_range=(0, 1))
    for align in ("receptive_field", "stretch"):
        heat = result.heatmaps(None, interpolation=interpolation, align=align)[0][0]
        rows, columns = visible_region(size, (32, 48), fit)
        np.testing.assert_allclose(heat[rows, columns], 2.5, rtol=1e-5)
        assert fit == "crop" or heat.shape == heat[rows, columns].shape  # all of the picture, but for what is cut off
        drawn = overlay(result.images[0], heat[rows, columns] / heat.max())
        assert np.ptp(drawn[:, :, 0]) == np.ptp(drawn[:, :, 1]) == np.ptp(drawn[:, :, 2]) == 0


# 30. Gradients are None


def test_30_backbone_called_on_its_own_input(tf):
    """KerasHub's wiring: the inner layers' `output` hangs on the inputs and does not lead to the logits."""
    model = zoo.model("KerasHub wiring")
    inner = model.get_layer("backbone")
    naive = keras.Model(model.input, [inner.get_layer("conv_2").output, model.output])
    with tf.GradientTape() as tape:
        features, predictions = naive(IMAGES)
        tape.watch(features)
        score = predictions[:, 0]
    assert tape.gradient(score, features) is None  # what the others do
    result = explain(model, IMAGES, classes="all")
    assert exact(result) and result.layer == "backbone/conv_2"
    np.testing.assert_allclose(build_feature_model(model)(IMAGES)["features"], inner(IMAGES), rtol=1e-6)


@pytest.mark.parametrize("name", ["KerasHub wiring", "nested two deep", "layer called twice", "subclassed"])
def test_30_every_channel_counts(name):
    """A change of any weight behind the feature maps moves the maps: the graph is connected all the way."""
    model = zoo.fresh(name)
    before = explain(model, IMAGES, classes="all")
    for variable in model.trainable_variables:
        kept = variable.numpy()
        variable.assign(kept + 0.5)
        after = explain(model, IMAGES, classes="all")
        assert np.abs(after.maps - before.maps).max() + np.abs(after.bias - before.bias).max() > 1e-4, variable.path
        variable.assign(kept)
