"""Where cells lie: against real Keras layers that average a ramp, and against the gradient of real networks."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import zoo, zoo_parts
from support.applications import MEMBERS
from support.zoo_kinds import by_kind

from keras_cam import Explanation, build_feature_model, explain
from keras_cam.explainer.map_function import MapFunction
from keras_cam.graph.program import run
from keras_cam.graph.receptive_field import Axis
from keras_cam.methods import METHODS, Method
from keras_cam.model.cut import cut, reads_channels_first
from keras_cam.model.grid import even_grid

layers = keras.layers


def axes_of(model, size):
    """The grid as results have it."""
    shape = build_feature_model(model)(np.zeros((1, *size, model.input_shape[-1]), "float32"))["features"].shape[1:-1]
    return MapFunction(model).grid(size, tuple(shape))


def with_head(stack, size, channels=1):
    inputs = keras.Input((*size, channels))
    x = inputs
    for layer in stack:
        x = layer(x)
    pool = getattr(layers, f"GlobalAveragePooling{len(size)}D")()
    return keras.Model(inputs, layers.Dense(2)(pool(x)))


def centres_by_averaging(model, size):
    """What averaging layers make of a picture whose pixels are their own rows, where no padding is in sight."""
    features = build_feature_model(model)
    row = np.broadcast_to(np.arange(size[0], dtype="float64")[:, None, None], (*size, 1))
    ramp, ones = (features(picture[None].astype("float32"))["features"] for picture in (row, np.ones_like(row)))
    ramp, ones = (keras.ops.convert_to_numpy(each)[0, :, :, 0] for each in (ramp, ones))
    middle = ones.shape[1] // 2
    untouched = np.isclose(ones[:, middle], 1, atol=1e-5)
    return np.flatnonzero(untouched), ramp[untouched, middle]


# worked by hand


def test_one_window_by_hand():
    """3 wide, stride 2, 'same': an even length pads 0 before, an odd one 1."""
    conv = {"filters": 1, "kernel_size": 3, "strides": 2, "padding": "same"}
    assert axes_of(with_head([layers.Conv2D(**conv)], (8, 9)), (8, 9)).axes == (
        Axis(length=4, offset=1.0, stride=2.0, field=3.0),
        Axis(length=5, offset=0.0, stride=2.0, field=3.0),
    )


def test_two_windows_by_hand():
    """Valid 3 then valid pooling of 2: centres 1, 2, ... then 1.5, 3.5, ...; what a cell sees is 4 wide."""
    stack = [layers.Conv2D(1, 3), layers.AveragePooling2D(2)]
    (rows, _) = axes_of(with_head(stack, (11, 11)), (11, 11)).axes
    assert rows == Axis(length=4, offset=1.5, stride=2.0, field=4.0)


def test_sharing_evenly_by_hand():
    (rows, columns) = even_grid((2, 5), (8, 10)).axes
    assert (rows.offset, rows.stride, columns.offset, columns.stride) == (1.5, 4.0, 0.5, 2.0)


# exact on plain stacks


def averaging(kernel, strides=1, padding="valid", dilation_rate=1):
    """A convolution that averages its window."""
    return layers.Conv2D(
        1,
        kernel,
        strides,
        padding,
        dilation_rate=dilation_rate,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(1 / kernel**2),
    )


PADDINGS = st.sampled_from(["valid", "same"])
LAYERS = st.one_of(
    st.builds(averaging, st.integers(1, 5), st.integers(1, 3), PADDINGS),
    st.builds(averaging, st.integers(1, 3), st.just(1), PADDINGS, st.integers(1, 3)),
    st.builds(layers.AveragePooling2D, st.integers(1, 3), st.integers(1, 3), st.just("valid")),
    st.builds(layers.Cropping2D, st.integers(0, 3)),
    st.builds(lambda a, b: layers.ZeroPadding2D(((a, b), (b, a))), st.integers(0, 2), st.integers(0, 2)),
    st.builds(layers.UpSampling2D, st.integers(1, 2), interpolation=st.just("bilinear")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=4), st.integers(40, 57))
def test_centres_are_where_averaging_puts_them(stack, length):
    size = (length, 48)
    try:
        model = with_head(stack, size)
    except ValueError:  # nothing is left of the picture
        assume(False)
    grid = axes_of(model, size)
    assert grid.source == "graph"
    cells, centres = centres_by_averaging(model, size)
    edge = repeated_edge(stack)
    inner = (cells >= edge) & (cells < grid.axes[0].length - edge)
    np.testing.assert_allclose(
        grid.axes[0].offset + grid.axes[0].stride * cells[inner], centres[inner], rtol=0, atol=1e-3
    )


def repeated_edge(stack):
    """How many cells on each side bilinear upsampling may have made of a repeated edge, at most."""
    edge = 0
    for layer in stack:
        if isinstance(layer, layers.UpSampling2D):
            edge = layer.size[0] * edge + layer.size[0] - 1
        elif edge and isinstance(layer, layers.ZeroPadding2D):
            edge += max(layer.padding[0])
        elif edge and hasattr(layer, "strides"):
            size = getattr(layer, "kernel_size", None) or layer.pool_size
            edge = -(-(edge + size[0] * getattr(layer, "dilation_rate", (1,))[0]) // layer.strides[0])
    return edge


def alike(kind, *arguments, **options):
    """A layer of equal weights, one channel in and out."""
    return getattr(layers, kind)(1, *arguments, kernel_initializer="ones", use_bias=False, **options)


LINES = {  # by what is laid over a line of pixels: the layers
    "causal": lambda: [alike("Conv1D", 3, padding="causal"), alike("Conv1D", 2, padding="causal", dilation_rate=4)],
    "dilated": lambda: [alike("Conv1D", 3, padding="same", dilation_rate=3), alike("Conv1D", 2, 2)],
    "transposed, same": lambda: [alike("Conv1D", 3, 2, padding="same"), alike("Conv1DTranspose", 4, 2, padding="same")],
    "transposed, valid": lambda: [alike("Conv1D", 2, 2), alike("Conv1DTranspose", 5, 2)],
    "transposed, dilated": lambda: [alike("Conv1D", 2, 2), alike("Conv1DTranspose", 3, dilation_rate=4)],
    "repeated": lambda: [alike("Conv1D", 3, 2), layers.UpSampling1D(3)],
    "cut off": lambda: [layers.ZeroPadding1D((3, 1)), alike("Conv1D", 3, 2), layers.Cropping1D((2, 5))],
}
PLANES = {  # the same on rows and columns, of different sizes
    "bilinear": lambda: [alike("Conv2D", 3, 2), layers.UpSampling2D((2, 3), interpolation="bilinear")],
    "bicubic": lambda: [alike("Conv2D", 3, 2), layers.UpSampling2D((3, 2), interpolation="bicubic")],
    "nearest": lambda: [alike("Conv2D", 2, 2), layers.UpSampling2D((3, 2))],
    "resized": lambda: [alike("Conv2D", 3, 2), layers.Resizing(46, 45)],
    "shrunk": lambda: [alike("Conv2D", 3), layers.Resizing(23, 15, antialias=True)],
    "middle": lambda: [alike("Conv2D", 2, 2), layers.CenterCrop(13, 20)],
    "sliced": lambda: [layers.Lambda(lambda x: x[:, 4:-2, 3:]), alike("Conv2D", 3, 2, padding="same")],
    "thinned": lambda: [alike("Conv2D", 2), layers.Lambda(lambda x: x[:, 1::2, ::3])],
}


@pytest.mark.parametrize("name", [*LINES, *PLANES])
def test_what_middle_cells_see(name):
    """Pictures of one bright line each say what a cell is made of: its centre in the mean of a period, and its ends."""
    size = (48,) if name in LINES else (48, 47)
    model = with_head({**LINES, **PLANES}[name](), size)
    grid = axes_of(model, size)
    assert grid.source == "graph"
    features = build_feature_model(model)
    for dimension, (axis, length) in enumerate(zip(grid.axes, size, strict=True)):
        lines = np.eye(length, dtype="float32").reshape(
            length, *(length if d == dimension else 1 for d in range(len(size))), 1
        )
        shares = keras.ops.convert_to_numpy(features(np.broadcast_to(lines, (length, *size, 1)))["features"])[..., 0]
        if len(size) == 2:
            shares = shares.take(shares.shape[2 - dimension] // 2, axis=2 - dimension)
        period = 6  # a whole number of times what is repeated
        cells = np.arange(axis.length // 2 - period // 2, axis.length // 2 + period // 2)
        shares = shares[:, cells]
        centres = np.arange(length) @ shares / shares.sum(axis=0)
        assert np.mean(centres - axis.offset - axis.stride * cells) == pytest.approx(0, abs=1e-4)
        seen = [np.ptp(np.flatnonzero(np.abs(each) > 1e-6)) + 1 for each in shares.T]
        assert 0 <= axis.field - max(seen) <= (name == "shrunk"), seen  # whose weights fade out


def test_transposed_convolution_undoes_its_convolution():
    for padding, size in (("same", 4), ("valid", 2), ("valid", 5)):
        stack = [layers.Conv2D(2, size, 2, padding), layers.Conv2DTranspose(2, size, 2, padding)]
        (rows, _) = axes_of(with_head(stack, (21 if size == 5 else 20, 20)), (21 if size == 5 else 20, 20)).axes
        assert (rows.offset, rows.stride) == (0.0, 1.0)


def test_every_rank():
    for rank, shape in ((1, (40,)), (3, (20, 18, 16))):
        inputs = keras.Input((*shape, 2))
        x = getattr(layers, f"Conv{rank}D")(3, 3, strides=2)(inputs)
        x = getattr(layers, f"ZeroPadding{rank}D")(1)(getattr(layers, f"MaxPooling{rank}D")(2)(x))
        x = getattr(layers, f"GlobalAveragePooling{rank}D")()(x)
        lengths = tuple(((length - 3) // 2 + 1) // 2 + 2 for length in shape)
        grid = MapFunction(keras.Model(inputs, layers.Dense(2)(x))).grid(shape, lengths)
        assert grid.source == "graph"
        assert {(axis.offset, axis.stride) for axis in grid.axes} == {(-2.0, 4.0)}


# branches, unknown layers


def test_branches_that_differ_are_averaged_and_the_spread_is_kept():
    inputs = keras.Input((16, 16, 3))
    one, other = layers.Conv2D(4, 1, 2, "same")(inputs), layers.Conv2D(4, 3, 2, "same")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Add()([one, other]))))
    (rows, _) = axes_of(model, (16, 16)).axes
    assert rows == Axis(length=8, offset=0.5, stride=2.0, field=3.0, spread=1.0)


def test_a_branch_pooled_to_one_cell_is_passed_over():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, 2, "same")(inputs)
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))))
    (rows, _) = axes_of(model, (16, 16)).axes
    assert rows == Axis(length=8, offset=1.0, stride=2.0, field=3.0)


STRIPS = {
    "pooled": (layers.AveragePooling2D((1, 8)), layers.AveragePooling2D((8, 1))),
    "reduced": (lambda x: keras.ops.mean(x, axis=2, keepdims=True), lambda x: keras.ops.max(x, axis=1, keepdims=True)),
}


@pytest.mark.parametrize("kind", STRIPS)
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_gate_pooled_along_one_axis_has_no_place_along_it(kind, first):
    """Strip pooling and coordinate attention: rows are pooled for one gate, columns for the other, in any order."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, 2, "same")(inputs)
    parts = [x, *(layers.Conv2D(4, 1, activation="sigmoid")(pool(x)) for pool in STRIPS[kind])]
    x = layers.Multiply()(parts[first:] + parts[:first])
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert axes_of(model, (16, 16)).axes == (Axis(length=8, offset=1.0, stride=2.0, field=3.0),) * 2


def test_a_map_pooled_along_one_axis_keeps_the_other():
    for pool in STRIPS["pooled"][0], STRIPS["reduced"][0]:
        inputs = keras.Input((16, 16, 3))
        x = layers.Conv2D(4, 1)(pool(layers.Conv2D(4, 3, 2, "same")(inputs)))
        model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
        rows, columns = axes_of(model, (16, 16)).axes
        assert rows == Axis(length=8, offset=1.0, stride=2.0, field=3.0)
        assert columns == Axis(length=1, offset=8.0, stride=16.0, field=17.0)


class Shuffle(layers.Layer):
    """Puts the cells in an order of its own."""

    def call(self, inputs):
        return keras.ops.convert_to_tensor(keras.ops.convert_to_numpy(inputs)[:, ::2, [5, 0, 3, 1, 4, 2]])

    def compute_output_shape(self, shape):
        return shape[0], (shape[1] + 1) // 2, shape[2] // 2, shape[3]


def test_an_unknown_layer_falls_back_and_says_so():
    grid = axes_of(with_head([layers.Conv2D(2, 3, name="conv"), Shuffle(name="shuffle")], (14, 14)), (14, 14))
    assert grid.source == "even" and grid.axes[0].stride == 14 / 6
    assert "'shuffle' (Shuffle)" in grid.note


def unread(x):
    if keras.ops.is_tensor(x):
        raise AssertionError("run on values, which may do anything")
    return keras.ops.convert_to_numpy(x)[:, ::-1]


MIRRORS = {  # which axis of the image each axis of the map is, and whether it runs backwards
    "flip": (lambda x: keras.ops.flip(x, axis=2), (0, 1), (False, True)),
    "flip all": (lambda x: keras.ops.flip(x), (0, 1), (True, True)),
    "transpose": (lambda x: keras.ops.transpose(x, (0, 2, 1, 3)), (1, 0), (False, False)),
    "Permute": (layers.Permute((2, 1, 3)), (1, 0), (False, False)),
    "slice": (lambda x: x[:, :, ::-1], (0, 1), (False, True)),
    "slices": (lambda x: x[:, ::-1, ..., ::-1], (0, 1), (True, False)),
    "rot90": (lambda x: keras.ops.rot90(x, axes=(1, 2)), (1, 0), (True, False)),
    "Lambda": (lambda x: layers.Lambda(lambda y: y[:, ::-1])(x), (0, 1), (True, False)),
}


@pytest.mark.parametrize("mirror", MIRRORS)
def test_maps_come_out_as_the_image_lies(mirror):
    """A hot cell of the image is the hot cell of its map, however the model turns it."""
    turn, _, _ = MIRRORS[mirror]
    inputs = keras.Input((12, 12, 1))
    pool = layers.MaxPooling2D(2)
    model = keras.Model(
        inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(pool(turn(inputs))))
    )
    image = np.zeros((1, 12, 12, 1), "float32")
    image[0, 2:4, 8:10] = 1
    result = explain(model, image, classes=[0])
    assert result.grid.source == "graph" and [axis.stride for axis in result.grid.axes] == [2, 2]
    assert np.argwhere(result.maps[0, 0]).tolist() == [[1, 4]]
    heat = result.heatmaps(interpolation="nearest")[0][0]
    assert np.argwhere(heat).min(0).tolist() == [2, 8] and np.argwhere(heat).max(0).tolist() == [3, 9]


UNREAD = [
    lambda x: keras.ops.roll(x, 3, axis=1),
    lambda x: layers.Lambda(unread, output_shape=(12, 12, 3))(x),
]


@pytest.mark.parametrize("unread", UNREAD)
def test_places_that_cannot_be_read_are_no_claim(unread):
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, 2, "same")(unread(inputs))
    grid = MapFunction(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))).grid((12, 12), (6, 6))
    assert grid.source == "even"
    assert any(words in grid.note for words in ("rolled image", "layer of its own kind", "does not run on an example"))


@pytest.mark.parametrize(
    "turn",
    [
        lambda x: x[..., ::-1],
        lambda x: keras.ops.flip(x, axis=-1),
        lambda x: keras.ops.take(x, [2, 1, 0], axis=3),
        lambda x: layers.Lambda(lambda y: keras.ops.stack([y[..., 2], y[..., 1], y[..., 0]], axis=-1) / 255)(x),
    ],
)
def test_turning_the_channels_round_moves_no_places(turn):
    """From RGB to BGR, as many networks begin."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, 2, "same")(turn(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    grid = MapFunction(model).grid((12, 12), (6, 6))
    assert grid.source == "graph" and grid.axes[0] == Axis(length=6, offset=1.0, stride=2.0, field=3.0)


def test_a_map_as_large_as_the_image_has_a_grid_too():
    """Causal windows look back; a layer in front mirrors; maps at the pixels lie at the pixels."""
    causal = with_head([layers.Conv1D(2, 3, padding="causal", dilation_rate=2)], (12,))
    assert MapFunction(causal).grid((12,), (12,)).axes == (Axis(length=12, offset=-2.0, field=5.0),)
    mirrored = with_head([layers.Lambda(lambda x: x[:, ::-1]), layers.Conv2D(2, 3, padding="same")], (12, 12))
    assert MapFunction(mirrored).grid((12, 12), (12, 12)).axes == (Axis(length=12, field=3.0),) * 2
    pixels = (Axis(length=12),)
    assert MapFunction(causal, METHODS["saliency"]).grid((12,), (12,)).axes == pixels
    strided = with_head([layers.Conv1D(2, 3, 2)], (12,))
    own = MapFunction(strided, Method(lambda view: view.images, compiled=False)).grid((12,), (12,))
    assert own.axes == pixels and own.source == "graph"


def test_moving_the_channels_moves_no_places():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, 2, "same")(inputs)
    x = keras.ops.transpose(keras.ops.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1)(x))))
    (rows, _) = axes_of(model, (12, 12)).axes
    assert rows == Axis(length=6, offset=1.0, stride=2.0, field=3.0)


@pytest.mark.skipif(not hasattr(layers, "AdaptiveAveragePooling2D"), reason="new in Keras 3.13")
def test_pooling_to_a_size_and_a_wrapped_convolution():
    inputs = keras.Input((12, 12, 3))
    x = layers.SpectralNormalization(layers.Conv2D(4, 3, 2, "same"))(inputs)
    x = layers.AdaptiveAveragePooling2D(3)(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    (rows, _) = axes_of(model, (12, 12)).axes
    assert rows == Axis(length=3, offset=2.0, stride=4.0, field=5.0)


def test_a_model_of_any_size():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, 2, "same")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    found = cut(model)
    assert [line.cells.stride for line in found.places().lines(found.features[0].slot)] == [2.0, 2.0]
    for length, offset in ((8, 1.0), (9, 0.0)):
        (rows, _) = axes_of(model, (length, 8)).axes
        assert (rows.offset, rows.length) == (offset, (length + 1) // 2)


def test_tokens_lie_where_their_patches_lie():
    inputs = keras.Input((16, 24, 3))
    x = layers.Reshape((24, 5))(layers.Conv2D(5, 4, 4)(inputs))
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(1, 4)(x, x)]))
    grid = explain(
        keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))), np.ones((1, 16, 24, 3))
    ).grid
    assert [(axis.length, axis.offset, axis.stride) for axis in grid.axes] == [(4, 1.5, 4.0), (6, 1.5, 4.0)]


# against the gradient


def gradient_centroid(model, size, draws):
    """Mean position, by squared gradient, of the pixels that a middle cell depends on."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the gradient is TensorFlow's")
    tf = pytest.importorskip("tensorflow")
    features = build_feature_model(model)
    rng = np.random.default_rng(0)
    total = 0.0
    for _ in range(draws):
        pictures = tf.constant(rng.uniform(size=(1, *size, 3)).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            maps = features(pictures)["features"]
            row, column = maps.shape[1] // 2, maps.shape[2] // 2
            score = tf.reduce_sum(maps[:, row, column] * rng.normal(size=maps.shape[-1]).astype("float32"))
        total = total + np.square(tape.gradient(score, pictures).numpy().astype("float64")).sum(axis=(0, 3))
    rows, columns = np.indices(size)
    return (row, column), ((rows * total).sum() / total.sum(), (columns * total).sum() / total.sum())


# By how they pad: name -> size, large enough that a middle cell's field of view, or where its weight is, lies in the
# picture. The first of each stands for the others, which are in the sweep.
PADDINGS = {
    "on one side": {"MobileNet": (352, 384), "MobileNetV2": (160, 192), "EfficientNetB0": (256, 224)},
    "on both sides": {"ResNet50": (224, 256), "ResNet50V2": (224, 256), "DenseNet121": (160, 192)},
    "as TensorFlow does": {"MobileNetV3Small": (256, 224), "EfficientNetV2B0": (160, 192)},
    "not where it strides": {"VGG16": (224, 256)},
    "not at all, in branches": {
        "InceptionV3": (299, 299),
        "InceptionResNetV2": (299, 299),
        "NASNetMobile": (256, 224),
        "Xception": (299, 299),
    },
    "not, in patches": {"ConvNeXtTiny": (128, 160)},
}
DRAWS = {"ConvNeXtTiny": 1, "VGG16": 2}  # whose gradient takes seconds, and is the same at each draw


def families():
    for sizes in PADDINGS.values():
        for index, (name, size) in enumerate(sizes.items()):
            yield pytest.param(name, size, marks=[pytest.mark.sweep] * (index > 0), id=name)


@pytest.mark.parametrize(("name", "size"), list(families()))
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow")
def test_centres_agree_with_the_gradient(name, size):
    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(*size, 3), pooling="avg")
    model = keras.Model(base.input, layers.Dense(2)(base.output))
    grid = axes_of(model, size)
    assert grid.source == "graph"
    index, centroid = gradient_centroid(model, size, DRAWS.get(name, 4))
    for axis, cell, found in zip(grid.axes, index, centroid, strict=True):
        assert abs(axis.offset + axis.stride * cell - found) <= 0.1 * axis.stride


def test_the_gradient_is_asked_of_one_member_of_each_family():
    assert {name for sizes in PADDINGS.values() for name in sizes} == {
        name for name, member in MEMBERS.items() if member.small
    }


# against the gradient, over the zoo

UNPLACED = {
    "attention between places, then mean": "attention alone, with nothing beside it: all cells look at the same pixels",
    "custom layer of raw TensorFlow in front": "TensorFlow has no gradient of what it is made of",
}
NO_CLAIM = {
    "flat pixels": "a row of pixels has no places",
    "raw TensorFlow in call": "whose convolutions are inside",
    "AdaptiveAveragePooling": "every cell sees the border",
    **dict.fromkeys(
        [name for name in zoo.ZOO if name.startswith("ViT, ") and name != "ViT, class token"],
        "after attention, every cell sees the whole image",
    ),
}
LARGER = (32, 48)


def whole_cells(axis, length):
    """The cells whose field of view lies in the picture, the middle one first."""
    centres = {cell: axis.offset + axis.stride * cell for cell in range(axis.length)}
    reach = (axis.field - 1) / 2
    whole = [cell for cell, centre in centres.items() if reach <= centre <= length - 1 - reach]
    return sorted(whole, key=lambda cell: abs(centres[cell] - (length - 1) / 2))


def mirror_kernels(model):
    """Make kernels symmetric in space, which random ones are on average only: that would take hundreds of draws."""
    for layer in model._flatten_layers():
        axes = tuple(range(len(getattr(layer, "kernel_size", ()))))
        for variable in layer.weights if axes else ():
            if len(variable.shape) == len(axes) + 2:
                kernel = keras.ops.convert_to_numpy(variable)
                variable.assign((kernel + np.flip(kernel, axes)) / 2)


def run_to_features(found, inputs):
    """The feature maps (N, cells..., K), without tokens that have no place."""
    values = run(found.program.steps, dict(zip(found.program.inputs, inputs, strict=True)))
    for feature in found.features:
        yield feature.layout.to_grid(values[feature.slot])


@functools.cache
def placed(name):
    """A model of the zoo, cut, with inputs and grids; made larger where no cell's field of view fits in the picture."""
    with pytest.MonkeyPatch.context() as patch:
        small = _placed(name, patch)
        if all(whole_cells(*each) for grid in small[2] for each in zip(grid.axes, grid.image, strict=True)):
            return small
        for module in (zoo, zoo_parts):
            patch.setattr(module, "HEIGHT", LARGER[0])
            patch.setattr(module, "WIDTH", LARGER[1])
        patch.setattr(zoo_parts.backbone, "__defaults__", ("backbone", False, (*LARGER, 3)))
        return _placed(name, patch)


def _placed(name, patch):
    model = zoo.fresh(name)
    mirror_kernels(model)
    patch.setattr(zoo, "model", {name: model}.get)  # which says what shapes the inputs have
    function = MapFunction(model, **zoo.ZOO[name].options)
    found = function.head.cut
    inputs = [keras.ops.convert_to_tensor(one) for one in keras.tree.flatten(zoo.inputs(name, 64))]
    shape = inputs[found.image_input].shape
    size = tuple(shape[2:] if reads_channels_first(found) else shape[1:-1])
    if not size:  # a row of pixels
        return found, inputs, []
    maps = run_to_features(found, inputs)
    return found, inputs, [function.grid(size, tuple(each.shape[1:-1])) for each in maps]


def seen_by(found, inputs, number, cells):
    """Squared gradient per pixel of one cell of one feature map, over all pictures and a random sum of channels."""
    import tensorflow as tf

    image = inputs[found.image_input]
    with tf.GradientTape() as tape:
        tape.watch(image)
        maps = list(run_to_features(found, inputs))[number]
        cell = maps[(slice(None), *cells)]
        score = tf.reduce_sum(cell * np.random.default_rng(0).normal(size=cell.shape).astype("float32"))
    squares = np.square(tape.gradient(score, image).numpy().astype("float64"))
    return squares.sum(axis=(0, 1) if reads_channels_first(found) else (0, -1))


def centre_of(energy, field):
    """The centroid within the stretch of a field's length that holds the most: attention also sees all the rest."""
    length = min(round(field), len(energy))
    held = np.convolve(energy, np.ones(length), "valid")
    window = slice(held.argmax(), held.argmax() + length)
    return np.average(np.arange(len(energy))[window], weights=energy[window])


def checkable(name):
    """(number of the feature map, grid) for each that is read from the graph, with a cell that sees no border."""
    if name in UNPLACED:
        return []
    grids = [(number, grid) for number, grid in enumerate(placed(name)[2]) if grid.source == "graph"]
    return [each for each in grids if all(whole_cells(*one) for one in zip(each[1].axes, each[1].image, strict=True))]


@by_kind()
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow")
def test_centres_agree_with_the_gradient_over_the_zoo(name):
    grids = checkable(name)
    if name in UNPLACED | NO_CLAIM:
        assert not grids, f"{name} can be checked now: take it out of the table"
        pytest.skip((UNPLACED | NO_CLAIM)[name])
    assert grids, f"{name}: the grid is no claim (even, or none), or every cell sees the border"
    found, inputs, _ = placed(name)
    for number, grid in grids:
        cells = [whole_cells(axis, length)[0] for axis, length in zip(grid.axes, grid.image, strict=True)]
        energy = seen_by(found, inputs, number, cells)
        assert energy.max() > 0
        for dimension, (axis, cell) in enumerate(zip(grid.axes, cells, strict=True)):
            others = tuple(each for each in range(energy.ndim) if each != dimension)
            off = centre_of(energy.sum(axis=others), axis.field) - axis.offset - axis.stride * cell
            assert abs(off) <= 0.1 * axis.stride, f"feature map {number}, axis {dimension}: {off:.2f} pixels off"


# in the result


def test_heat_lies_on_what_the_cell_sees():
    """A bright dot makes one cell hot: the heat map has its maximum at the dot, the stretched one beside it."""
    inputs = keras.Input((33, 33, 1))
    x = inputs
    for _ in range(3):  # ResNet-style padding: one before and after, stride 2
        x = averaging(3, 2)(layers.ZeroPadding2D(1)(x))
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))
    picture = np.zeros((33, 33, 1), "float32")
    picture[8, 24] = 1
    result = explain(model, picture, value_range=(0, 1))
    assert [(axis.offset, axis.stride) for axis in result.grid.axes] == [(0.0, 8.0)] * 2
    placed, stretched = (result.heatmaps(align=align)[0][0] for align in ("receptive_field", "stretch"))
    assert np.unravel_index(placed.argmax(), placed.shape) == (8, 24)
    assert np.unravel_index(stretched.argmax(), stretched.shape) != (8, 24)


def test_heat_of_a_causal_network_lies_on_what_it_saw():
    """A spike at sample 60: cells see it up to 126 samples later, and are drawn where they look, around it."""
    stack = [alike("Conv1D", 3, padding="causal", dilation_rate=2**level) for level in range(6)]
    signal = np.zeros((1, 256, 1), "float32")
    signal[0, 60] = 1
    result = explain(with_head(stack, (256,)), signal, classes=[0])
    heat = np.abs(result.heatmaps(None)[0][0])
    assert result.grid.axes[0].offset == -63
    assert np.average(np.arange(256), weights=heat) == pytest.approx(60, abs=1)


def test_images_of_several_sizes_with_as_many_cells_have_a_grid_each(tmp_path):
    """Of 64 and of 63 pixels stride 2 makes 8 cells after three layers, a pixel apart."""
    inputs = keras.Input((None, None, 1))
    x = inputs
    for _ in range(3):
        x = averaging(3, 2, "same")(x)
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))
    pictures = [np.zeros((size, size, 1), "float32") for size in (64, 63, 64)]
    for picture in pictures:
        picture[31, 15] = 1
    result = explain(model, pictures, value_range=(0, 1))
    assert result.grid is None and [grid.axes[0].offset for grid in result.grids] == [7, 6, 7]
    loaded = Explanation.load(result.save(tmp_path / "result"))
    assert loaded.grids == result.grids and loaded.first(2).grids == result.grids[:2]
    for index, picture in enumerate(pictures):
        alone = explain(model, picture, value_range=(0, 1))
        assert alone.grids == () and alone.grid == result.grid_at(index)
        for kept in (result, loaded):
            np.testing.assert_allclose(kept.heatmaps()[index], alone.heatmaps()[0], atol=1e-6)
