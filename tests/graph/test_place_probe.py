"""Operations that cannot be read: where they put cells is found out by running them."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.measured_places import changes, check_centres, check_largest, check_windows, place_of

from keras_cam.graph.descent import places_in
from keras_cam.graph.trace import trace

POSITIVE = {"kernel_initializer": keras.initializers.RandomUniform(0.5, 1.0, seed=0)}


class RealOnly(layers.Layer):
    """Runs a function on tensors that have values, and on no others."""

    def __init__(self, function, shape, inner=None, **options):
        super().__init__(**options)
        self.function, self.shape_after, self.inner = function, shape, inner

    def build(self, tensor_shape, other_shape=None):
        if self.inner is not None:
            self.inner.build(tensor_shape)

    def call(self, tensor, other=None):
        tensors = [tensor] if other is None else [tensor, other]
        if any(isinstance(each, keras.KerasTensor) for each in tensors):
            raise TypeError("no values")
        return self.function(*tensors) if self.inner is None else self.function(self.inner, *tensors)

    def compute_output_shape(self, tensor_shape, other_shape=None):
        return (None, *self.shape_after)


def model_of(function, shape_after, shape=(16, 12, 3), inner=None, before=None):
    """A model of one layer that only runs on real tensors, behind other layers."""
    inputs = keras.Input(shape)
    x = inputs if before is None else before(inputs)
    return keras.Model(inputs, RealOnly(function, shape_after, inner)(x))


def reason_of(model):
    """Why nothing is claimed of a model's output."""
    program = trace(model)
    places = places_in(program, program.inputs[0])
    assert program.outputs[0] not in places.by_slot
    return places.unknown[program.outputs[0]]


def shuffled(x):
    order = np.random.default_rng(3).permutation(x.shape[1] * x.shape[2])
    cells = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
    return ops.reshape(ops.take(cells, order, axis=1), (-1, *x.shape[1:]))


def attend(x):
    """Attention of all cells to all, without a way past it."""
    cells = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
    weights = ops.softmax(ops.matmul(cells, ops.transpose(cells, (0, 2, 1))))
    return ops.reshape(ops.matmul(weights, cells), (-1, *x.shape[1:]))


@pytest.mark.parametrize(
    ("layer", "shape_after"),
    [
        (lambda: layers.Conv2D(4, 3, 2, **POSITIVE), (7, 5, 4)),
        (lambda: layers.Conv2D(4, (3, 4), 2, "same", **POSITIVE), (8, 6, 4)),
        (lambda: layers.Conv2D(4, 4, 4, **POSITIVE), (4, 3, 4)),
        (lambda: layers.AveragePooling2D(2), (8, 6, 3)),
        (lambda: layers.MaxPooling2D(3, 2), (7, 5, 3)),
        (lambda: layers.Cropping2D(((1, 2), (3, 0))), (13, 9, 3)),
    ],
    ids=["valid", "same", "patches", "average", "maximum", "cropped"],
)
def test_windows_inside_a_layer_are_those_of_its_own_layer(layer, shape_after):
    inputs = keras.Input((16, 12, 3))
    known = place_of(keras.Model(inputs, layer()(inputs)))
    model = model_of(lambda inner, x: inner(x), shape_after, inner=layer())
    assert place_of(model) == known
    check_windows(changes(model), known)


def test_windows_of_windows():
    """Cells 2 apart from 0.5 on, then every other of them from the first on, three wide: 2.5, 6.5, ..."""
    inner = layers.Conv2D(2, 3, 2, **POSITIVE)
    model = model_of(lambda inner, x: inner(x), (3, 2, 2), inner=inner, before=layers.AveragePooling2D(2))
    rows = place_of(model).lines()[0].cells
    assert (rows.offset, rows.stride, rows.field) == (2.5, 4.0, 6.0)
    check_windows(changes(model), place_of(model))


def test_two_patches_that_fill_the_image():
    inner = layers.Conv2D(2, 6, 6, **POSITIVE)
    model = model_of(lambda inner, x: inner(x), (2, 2, 2), (12, 12, 3), inner=inner)
    assert place_of(model).lines()[0].cells.offset == 2.5
    check_windows(changes(model), place_of(model))


def test_of_windows_that_the_border_cuts_off_too_few_are_whole():
    """Of two windows of 5 of 6 pixels, both are cut off: where their centres are cannot be seen."""
    inner = layers.Conv2D(2, 5, 3, "same", **POSITIVE)
    assert "unevenly" in reason_of(model_of(lambda inner, x: inner(x), (2, 2, 2), (6, 6, 3), inner=inner))


def test_one_cell_that_reads_all():
    model = model_of(lambda x: ops.mean(x, axis=(1, 2), keepdims=True), (1, 1, 3))
    assert place_of(model).lines()[0].cells.offset == 7.5
    check_windows(changes(model), place_of(model))


def test_an_enlargement():
    model = model_of(lambda x: ops.repeat(ops.repeat(x, 2, axis=1), 3, axis=2), (32, 36, 3))
    check_centres(changes(model), place_of(model), tolerance=1)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 + 1,
        lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True) / 4,
        lambda x: x + attend(x) / 4,
    ],
    ids=["numbers", "centred", "attention beside the image"],
)
def test_what_changes_its_own_cell_most_keeps_its_place(function):
    model = model_of(function, (16, 12, 3))
    inputs = keras.Input((16, 12, 3))
    assert place_of(model) == place_of(keras.Model(inputs, layers.ReLU()(inputs)))


def test_tokens_keep_their_place():
    model = model_of(lambda x: ops.exp(x), (192, 3), before=layers.Reshape((192, 3)))
    assert set(place_of(model).lines()) == {0, 1}
    check_windows(changes(model), place_of(model))


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_mirrors_are_seen(axes):
    model = model_of(lambda x: functools.reduce(ops.flip, axes, x), (16, 12, 3))
    lines = place_of(model).lines()
    assert [lines[axis].cells.stride for axis in (0, 1)] == [-1 if axis + 1 in axes else 1 for axis in (0, 1)]
    check_largest(changes(model), place_of(model))


def test_a_convolution_of_the_mirrored_image():
    """The first of 7 cells is the last: rows 13, 14, 15 of 16, then two less each."""
    inner = layers.Conv2D(2, 3, 2, **POSITIVE)
    model = model_of(lambda inner, x: inner(ops.flip(x, 1)), (7, 5, 2), inner=inner)
    rows = place_of(model).lines()[0].cells
    assert (rows.offset, rows.stride, rows.field) == (14.0, -2.0, 3.0)
    check_windows(changes(model), place_of(model))


@pytest.mark.parametrize(
    ("function", "shape_after"),
    [
        (shuffled, (12, 12, 3)),
        (attend, (12, 12, 3)),
        (lambda x: ops.transpose(x, (0, 2, 1, 3)), (12, 12, 3)),
        (lambda x: ops.rot90(x, axes=(1, 2)), (12, 12, 3)),
        (lambda x: ops.roll(x, 5, axis=1), (12, 12, 3)),
        (lambda x: ops.sort(x, axis=1), (12, 12, 3)),
        (lambda x: ops.mean(x, axis=(1, 2), keepdims=True) + ops.zeros_like(x), (12, 12, 3)),
        (lambda x: ops.ones_like(x), (12, 12, 3)),
        (lambda x: ops.mean(x, axis=(1, 2)), (3,)),
        (lambda x: ops.reshape(x, (-1, 144, 3)), (144, 3)),
        (lambda x: x[:, :2], (2, 12, 3)),
        (lambda x: ops.cast(x > 1, "float32")[:, ::2], (6, 12, 3)),
    ],
    ids=[
        *("shuffled", "attention", "transposed", "turned", "rolled", "sorted", "average everywhere", "constant"),
        *("a row", "tokens", "two rows of twelve", "no gradient"),
    ],
)
def test_where_cells_have_no_even_windows_nothing_is_claimed(function, shape_after):
    assert "RealOnly" in reason_of(model_of(function, shape_after, (12, 12, 3)))


def test_rows_and_columns_that_are_joined_are_not_read_apart():
    model = model_of(lambda x: x[:, ::2], (96, 3), before=layers.Reshape((192, 3)))
    assert "rows and columns are joined" in reason_of(model)


def test_what_does_not_run_is_said():
    def fails(x):
        raise RuntimeError("no camera")

    assert "does not run on an example: RuntimeError" in reason_of(model_of(fails, (16, 12, 3)))


def test_a_further_input_is_an_example():
    inputs, others = keras.Input((16, 12, 3)), keras.Input((3,))
    layer = RealOnly(lambda x, other: x[:, ::2] * ops.exp(other)[:, None, None], (8, 12, 3))
    model = keras.Model([inputs, others], layer(inputs, others))
    rows = place_of(model).lines()[0].cells
    assert (rows.offset, rows.stride, rows.field) == (0.0, 2.0, 1.0)


def test_half_precision():
    inner = layers.Conv2D(2, 2, 2, dtype="mixed_float16", **POSITIVE)
    model = model_of(
        lambda inner, x: inner(x), (8, 6, 2), inner=inner, before=layers.Rescaling(1.0, dtype="mixed_float16")
    )
    rows = place_of(model).lines()[0].cells
    assert (rows.offset, rows.stride, rows.field) == (0.5, 2.0, 2.0)


def test_an_image_of_any_size_is_probed_at_one():
    inner = layers.Conv2D(2, 4, 4, **POSITIVE)
    model = model_of(lambda inner, x: inner(x), (None, None, 2), (None, None, 1), inner=inner)
    rows = place_of(model).lines()[0].cells
    assert (rows.offset, rows.stride, rows.field) == (1.5, 4.0, 4.0)


# raw functions


@pytest.mark.parametrize("strides", [1, 2])
def test_a_raw_function_in_a_lambda(tf, strides):
    inputs = keras.Input((16, 12, 3))
    kernel = np.random.default_rng(0).uniform(0.5, 1, size=(3, 3, 3, 2)).astype("float32")
    model = keras.Model(inputs, layers.Lambda(lambda x: tf.nn.conv2d(x, kernel, strides, "SAME"))(inputs))
    program = trace(model)
    place = places_in(program, program.inputs[0]).by_slot[program.outputs[0]]
    check_windows(changes(model), place)


def test_a_function_in_numpy_is_followed_by_its_values(tf):
    """It has no gradient, but what changes says enough where every cell has its own."""
    inputs = keras.Input((16, 12, 3))

    def mirror(x):
        result = tf.numpy_function(lambda array: array[:, :, ::-1], [x], tf.float32)
        return tf.ensure_shape(result, x.shape)

    model = keras.Model(inputs, layers.Lambda(mirror)(inputs))
    assert place_of(model).lines()[1].cells.stride == -1
