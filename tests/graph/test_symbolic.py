"""Own layers opened: their call on symbolic tensors says the same as the layer, follows training, leaves no trace."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.descent import places_in
from keras_cam.graph.open_layers import open_callers_layers, open_layer
from keras_cam.graph.program import run
from keras_cam.graph.symbolic import ForEachImage, ReadVariable, record
from keras_cam.graph.trace import trace

IMAGES = np.random.default_rng(0).uniform(size=(5, 8, 6, 3)).astype("float32")


class Own(layers.Layer):
    """A layer of the caller's, with a token and a scale of its own."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal", name="token")
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="scale")


def tokens(x):
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


class Repeated(Own):
    def call(self, x):
        return ops.concatenate([ops.repeat(self.token, ops.shape(x)[0], axis=0), tokens(x)], axis=1)


class Broadcast(Own):
    def call(self, x):
        return ops.concatenate([ops.broadcast_to(self.token, (ops.shape(x)[0], 1, 3)), tokens(x)], axis=1)


class Tiled(Own):
    def call(self, x):
        return ops.concatenate([ops.tile(self.token, (ops.shape(x)[0], 1, 1)), tokens(x)], axis=1)


class Scaled(Own):
    """What is repeated is made of weights, by operations."""

    def call(self, x):
        token = ops.tanh(self.token * self.scale) + 1
        return ops.concatenate([ops.repeat(token, ops.shape(x)[0], axis=0), tokens(x) * self.scale], axis=1)


class Zeros(Own):
    """A plain number times a variable's shape: `zeros_like` of what is not the image."""

    def call(self, x):
        return tokens(x) + ops.zeros_like(self.token) + ops.cast(ops.arange(48), x.dtype)[:, None] / 48


class Reshaped(Own):
    def call(self, x):
        return ops.reshape(x * self.scale, (ops.shape(x)[0], 48, 3))


class ReshapedOpen(Own):
    def call(self, x):
        batch, height, _, channels = ops.shape(x)
        return ops.reshape(x * self.scale, (batch, -1, height * channels))


class JoinedWithBatch(Own):
    """Frames into the batch and out of it again."""

    def call(self, x):
        rows = ops.reshape(x, (ops.shape(x)[0] * 8, 6, 3)) * self.scale
        return ops.reshape(rows, (ops.shape(x)[0], 8, 6, 3))


class Nested(Own):
    """A layer of layers, one of them the caller's too."""

    def __init__(self):
        super().__init__()
        self.first, self.conv = Repeated(), layers.Conv2D(3, 3, padding="same")

    def call(self, x):
        return self.first(self.conv(x) * self.scale)


class Several(Own):
    """Takes two tensors and gives two."""

    def call(self, x, y, factor=2.0):
        return x * self.scale * factor, {"sum": x + y}


class Handed(Own):
    """Hands on what comes in."""

    def call(self, x):
        return x


def model_of(layer):
    inputs = keras.Input(IMAGES.shape[1:])
    return keras.Model(inputs, layer(inputs))


def expected_of(model, images=IMAGES):
    return ops.convert_to_numpy(model(images, training=False))


def opened(model):
    """The program with all own layers opened; fails where one stays as it is."""
    program = open_callers_layers(trace(model))
    kinds = {type(step.operation) for step in program.steps}
    assert not any(issubclass(kind, Own) for kind in kinds), kinds
    return program


def outputs_of(program, images=IMAGES):
    values = run(program.steps, {program.inputs[0]: ops.convert_to_tensor(images)})
    return [ops.convert_to_numpy(values[slot]) for slot in program.outputs]


LAYERS = [Repeated, Broadcast, Tiled, Scaled, Zeros, Reshaped, ReshapedOpen, JoinedWithBatch, Nested, Handed]


@pytest.mark.parametrize("kind", LAYERS)
def test_an_opened_layer_gives_what_the_layer_gives(kind):
    """For any number of images, not only for those that it was opened with."""
    model = model_of(kind())
    program = opened(model)
    for images in (IMAGES, IMAGES[:1]):
        np.testing.assert_allclose(outputs_of(program, images)[0], expected_of(model, images), rtol=1e-5, atol=1e-6)
    assert all(spec.shape[0] is None for spec in (program.specs[slot] for slot in program.outputs))


@pytest.mark.parametrize("kind", [*LAYERS[:-1]])
def test_weights_that_change_after_tracing_are_seen(kind):
    model = model_of(kind())
    program = opened(model)
    model.set_weights([2 * weight + 1 for weight in model.get_weights()])
    np.testing.assert_allclose(outputs_of(program)[0], expected_of(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [Repeated, Broadcast, Tiled, Scaled, Nested])
def test_a_token_in_front_is_counted(kind):
    program = opened(model_of(kind()))
    place = places_in(program, program.inputs[0]).by_slot[program.outputs[0]]
    assert (place.axes[1].before, place.axes[1].after, set(place.lines())) == (1, 0, {0, 1})


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind is not Nested])  # whose layers have other policies
def test_mixed_precision(kind):
    """Variables are cast as Keras casts them inside a call."""
    model = model_of(kind(dtype="mixed_float16"))
    program = opened(model)
    assert program.specs[program.outputs[0]].dtype == "float16"
    found, expected = outputs_of(program)[0], expected_of(model)
    assert found.dtype == expected.dtype == "float16"
    np.testing.assert_array_equal(found, expected)


def test_several_tensors_in_and_out():
    inputs, others = keras.Input(IMAGES.shape[1:]), keras.Input(IMAGES.shape[1:])
    layer = Several()
    scaled, sums = layer(inputs, others, factor=3.0)
    model = keras.Model([inputs, others], [scaled, sums["sum"]])
    program = opened(model)
    values = run(
        program.steps, dict(zip(program.inputs, map(ops.convert_to_tensor, (IMAGES, IMAGES / 2)), strict=True))
    )
    for slot, expected in zip(program.outputs, model([IMAGES, IMAGES / 2]), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(values[slot]), ops.convert_to_numpy(expected), rtol=1e-6)


class Twice(Own):
    """Gives the same tensor twice, as KerasHub's DINOv2 encoder does."""

    def call(self, x):
        scaled = x * self.scale
        return scaled, scaled


def test_one_tensor_that_is_handed_out_twice():
    inputs = keras.Input(IMAGES.shape[1:])
    first, second = Twice()(inputs)
    model = keras.Model(inputs, first * 2 + second)
    np.testing.assert_allclose(outputs_of(opened(model))[0], expected_of(model), rtol=1e-6)


def test_in_inference_mode():
    class Dropped(Own):
        def __init__(self):
            super().__init__()
            self.dropout, self.norm = layers.Dropout(0.5), layers.BatchNormalization()

        def call(self, x, training=False):
            return self.norm(self.dropout(x * self.scale, training=training), training=training) + float(training)

    model = model_of(Dropped())
    np.testing.assert_allclose(outputs_of(opened(model))[0], expected_of(model), rtol=1e-5)


def test_variables_that_nothing_reads_are_not_computed():
    program = opened(model_of(Repeated()))
    read = [step for step in program.steps if isinstance(step.operation, ReadVariable)]
    assert {step.operation.name.split("/")[-1] for step in read} == {"token", "scale"}
    assert any(isinstance(step.operation, ForEachImage) for step in program.steps)
    assert all(step.operation.variables == [step.operation.variable] for step in read)


# nothing is left behind


def test_no_nodes_are_left_on_the_callers_layers():
    layer = Nested()
    model = model_of(layer)
    everything = [layer, layer.first, layer.conv]
    before = [(len(each._inbound_nodes), len(each._outbound_nodes)) for each in everything]
    opened(model)
    assert [(len(each._inbound_nodes), len(each._outbound_nodes)) for each in everything] == before


def test_nothing_in_the_layer_changes():
    layer = Repeated()
    model = model_of(layer)
    attributes, weights = dict(layer.__dict__), model.get_weights()
    opened(model)
    assert {name: id(value) for name, value in layer.__dict__.items()} == {
        name: id(value) for name, value in attributes.items()
    }
    assert layer.weights == [layer.token, layer.scale]
    for found, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)


# what is refused


class Precomputed(Own):
    """Computes with weights of an inner layer before the images come in."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(3, 3)

    def build(self, shape):
        self.conv.build(shape)

    def call(self, x):
        return x * ops.sum(self.conv.kernel.value)


class RealOnly(Own):
    def call(self, x):
        return x * float(ops.convert_to_numpy(ops.sum(x)) > 0)

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Precomputed, "computes with its own weights"), (RealOnly, "does not run on symbolic tensors")],
)
def test_what_cannot_be_opened_stays_as_it_is(kind, words):
    model = model_of(kind())
    program = trace(model)
    (step,) = [step for step in program.steps if isinstance(step.operation, kind)]
    assert open_layer(program, step) is None
    with pytest.raises(UnsupportedModelError, match=words):
        record(step.operation, (keras.KerasTensor((None, 8, 6, 3)),), {})
    np.testing.assert_allclose(outputs_of(open_callers_layers(program))[0], expected_of(model), rtol=1e-6)


class CountsImages(Own):
    """Computes with the number of images."""

    def call(self, x):
        return x * self.scale / ops.cast(ops.shape(x)[0], x.dtype)


class ImageByImage(Own):
    """Repeats the images by their number: each with each."""

    def call(self, x):
        return ops.repeat(x[:, :1, :1], ops.shape(x)[0], axis=1)


class EachToItself(Own):
    """Broadcasts the images to a shape with their number in it."""

    def call(self, x):
        return ops.broadcast_to(x[:, :, :1], (ops.shape(x)[0], 8, 6, 3))


@pytest.mark.parametrize("kind", [CountsImages, ImageByImage, EachToItself])
def test_the_number_of_images_is_never_frozen(kind):
    """Whether it is opened or not: what comes out is what the layer gives, for any number of images."""
    model = model_of(kind())
    program = open_callers_layers(trace(model))
    for images in (IMAGES, IMAGES[:2]):
        np.testing.assert_allclose(outputs_of(program, images)[0], expected_of(model, images), rtol=1e-5, atol=1e-6)


class Subclassed(keras.Model):
    """As in RetinaNet: the number of images is asked for, and a length is left open."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = layers.Conv2D(4, 3), layers.Dense(2)

    def call(self, x):
        cells = ops.reshape(self.conv(x), (ops.shape(x)[0], -1, 4))
        return self.dense(ops.mean(cells, axis=1))


@pytest.mark.xfail(strict=True, reason="trace() calls a subclassed model with an open number of images only")
def test_a_subclassed_model_that_asks_for_the_number_of_images():
    model = Subclassed()
    expected = expected_of(model)
    program = open_callers_layers(trace(model))
    np.testing.assert_allclose(outputs_of(program)[0], expected, rtol=1e-5)
    places = places_in(program, program.inputs[0])
    row = next(slot for slot, place in places.by_slot.items() if len(place.axes) == 3)
    assert set(places.by_slot[row].lines()) == {0, 1}
