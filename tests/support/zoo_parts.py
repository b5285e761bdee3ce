"""What the zoo's models are made of: a small backbone, callers' own layers and models, and what is done to models."""

import pickle
import tempfile
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

HEIGHT, WIDTH, CHANNELS, CLASSES = 8, 12, 5, 3


def image_input(*shape, **options):
    return keras.Input(shape or (HEIGHT, WIDTH, 3), **options)


def convolutions(x, data_format="channels_last"):
    """(N, 4, 6, 5) feature maps; layer names that every backbone has."""
    x = layers.Conv2D(4, 3, strides=2, padding="same", data_format=data_format, name="conv_1")(x)
    x = layers.BatchNormalization(axis=1 if data_format == "channels_first" else -1, name="norm_1")(x)
    x = layers.ReLU(name="act_1")(x)
    return layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", data_format=data_format, name="conv_2")(x)


def backbone(name="backbone", pooled=False, shape=(HEIGHT, WIDTH, 3)):
    inputs = image_input(*shape)
    x = convolutions(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="gap")(x) if pooled else x, name=name)


def gap(**options):
    return layers.GlobalAveragePooling2D(**options)


def dense(units=CLASSES, **options):
    return layers.Dense(units, **{"activation": "softmax", "name": "scores", **options})


def chain(*steps):
    """Functional model: an image input, then these layers and functions."""
    inputs = x = image_input()
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x)


def after_maps(*steps):
    """Functional model: feature maps, then these."""
    return chain(convolutions, *steps)


def after_pooling(*steps):
    """Functional model: feature maps, global average pooling, then these."""
    return chain(convolutions, gap(), *steps)


def sequential(*steps):
    return keras.Sequential([image_input(), *steps])


# what a caller may write himself


@keras.saving.register_keras_serializable("zoo")
class HeadLayer(layers.Layer):
    """Pooling, Dropout and classifier in one layer."""

    def __init__(self, units=CLASSES, hidden=None, **options):
        super().__init__(**options)
        self.units, self.hidden = units, hidden
        self.pooling, self.dropout = layers.GlobalAveragePooling2D(), layers.Dropout(0.5)
        self.first = None if hidden is None else layers.Dense(7, activation=hidden)
        self.last = layers.Dense(units, activation="softmax")

    def build(self, shape):
        width = shape[-1]
        if self.first is not None:
            self.first.build((None, width))
            width = 7
        self.last.build((None, width))

    def call(self, features, training=None):
        x = self.dropout(self.pooling(features), training=training)
        return self.last(x if self.first is None else self.first(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "hidden": self.hidden}


@keras.saving.register_keras_serializable("zoo")
class BackboneLayer(layers.Layer):
    """Augmentation, convolutions and, if wanted, pooling and classifier in one layer."""

    def __init__(self, ends="maps", **options):
        super().__init__(**options)
        self.ends = ends
        self.flip, self.rescale = layers.RandomFlip(), layers.Rescaling(2.0, offset=-1.0)
        self.conv_1 = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="inner_1")
        self.conv_2 = layers.Conv2D(CHANNELS, 3, padding="same", activation="relu")
        self.pooling, self.dropout, self.last = gap(), layers.Dropout(0.5), dense()

    def build(self, shape):
        self.conv_1.build(shape)
        self.conv_2.build((*shape[:-1], 4))
        if self.ends == "scores":
            self.last.build((None, CHANNELS))

    def call(self, images, training=None):
        x = self.conv_2(self.conv_1(self.rescale(self.flip(images, training=training))))
        if self.ends == "maps":
            return x
        x = self.dropout(self.pooling(x), training=training)
        return x if self.ends == "pooled" else self.last(x)

    def get_config(self):
        return {**super().get_config(), "ends": self.ends}


@keras.saving.register_keras_serializable("zoo")
class Scale(layers.Layer):
    """A layer of nobody's table with weights of its own, affine."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return x * self.scale + 1.0


@keras.saving.register_keras_serializable("zoo")
class Warp(layers.Layer):
    """A layer of nobody's table that no table can take apart: its maths is not a gate, and raw."""

    def call(self, x):
        return tf.math.log1p(tf.math.square(x)) if keras.backend.backend() == "tensorflow" else ops.log1p(x * x)


@keras.saving.register_keras_serializable("zoo")
class GeneralizedMean(layers.Layer):
    """GeM with its usual epsilon, made of operations."""

    def call(self, x):
        return ops.mean(ops.maximum(x, 1e-6) ** 3, axis=(1, 2)) ** (1 / 3)


@keras.saving.register_keras_serializable("zoo")
class PrefixToken(layers.Layer):
    """Puts a learned token before the tokens (N, T, K), and learned positions on all of them."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal", name="token")
        self.place = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), initializer="random_normal", name="place")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1) + self.place


@keras.saving.register_keras_serializable("zoo")
class Convolution(layers.Conv2D):
    """A subclass of a Keras layer that does something else."""

    def call(self, x):
        return super().call(x) * 2.0 + 0.5


@keras.saving.register_keras_serializable("zoo")
class RawLayer(layers.Layer):
    """TensorFlow's own operations before the feature maps; no Keras layer inside."""

    def call(self, images):
        return tf.image.adjust_contrast(tf.reverse(images, [2]), 0.7)


@keras.saving.register_keras_serializable("zoo")
class Subclassed(keras.Model):
    """The model of a tutorial: layers in `__init__`, their use in `call`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(CHANNELS, 3, strides=2, padding="same", activation="relu")
        self.flip, self.dropout, self.last = layers.RandomFlip(), layers.Dropout(0.5), dense()

    def call(self, images, training=None):
        x = self.conv(self.flip(images, training=training))
        return self.last(self.dropout(ops.mean(x, axis=(1, 2)), training=training))


@keras.saving.register_keras_serializable("zoo")
class SubclassedAroundBackbone(keras.Model):
    """A subclassed model that holds a functional one and a custom head."""

    def __init__(self, **options):
        super().__init__(**options)
        self.features, self.head = backbone(), HeadLayer()

    def call(self, images):
        return self.head(self.features(images))


@keras.saving.register_keras_serializable("zoo")
class SubclassedTwoOutputs(keras.Model):
    """Takes a dict, gives a dict."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(CHANNELS, 3, strides=2, padding="same", activation="relu")
        self.pooling, self.kind, self.size = gap(), dense(name="kind"), dense(1, activation=None, name="size")

    def call(self, inputs):
        x = self.pooling(self.conv(inputs["image"]))
        return {"size": self.size(x), "kind": self.kind(x)}


@keras.saving.register_keras_serializable("zoo")
class SubclassedRaw(keras.Model):
    """Raw TensorFlow operations inside `call`, between Keras layers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv, self.last = layers.Conv2D(CHANNELS, 3, activation="relu"), dense()

    def call(self, images):
        return self.last(tf.reduce_mean(tf.nn.relu6(self.conv(images)), axis=[1, 2]))


@keras.saving.register_keras_serializable("zoo")
class SubclassedTemperature(Subclassed):
    """Computes with a weight of its own: what a graph on paper would keep of it is the number of the day."""

    def build(self, shape):
        self.conv.build(shape)
        self.last.build((None, CHANNELS))
        self.log_temperature = self.add_weight(shape=(), initializer="ones", name="log_temperature")
        self.built = True

    def call(self, images, training=None):
        x = ops.mean(self.conv(images), axis=(1, 2))
        return self.last(x * ops.exp(self.log_temperature))


@keras.saving.register_keras_serializable("zoo")
class CosineHead(layers.Layer):
    """A layer made of layers that reads the kernel of one of them."""

    def __init__(self, **options):
        super().__init__(**options)
        self.pooling, self.last = layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, use_bias=False)

    def build(self, shape):
        self.last.build((None, shape[-1]))

    def call(self, features):
        return ops.matmul(self.pooling(features), ops.normalize(self.last.kernel, axis=0))


@keras.saving.register_keras_serializable("zoo")
class OwnTrainStep(keras.Model):
    """A functional model with a `train_step` of its own."""

    def train_step(self, data):
        return super().train_step(data)


# what is done to models


def reloaded(model, suffix=".keras"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model{suffix}")
        model.save(path)
        return keras.models.load_model(path, safe_mode=False)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def from_json(model):
    return keras.models.model_from_json(model.to_json())


def fitted(model):
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, HEIGHT, WIDTH, 3)), np.zeros(2), verbose=0)
    return model


def compiled(model, loss):
    model.compile("sgd", loss)
    return model


def built(model, *inputs):
    """A model that knows its shapes from one call."""
    model(*inputs or (np.zeros((1, HEIGHT, WIDTH, 3), "float32"),))
    return model


def changed(model, change):
    change(model)
    return model


def served(model):
    """The model as a SavedModel, read back as one opaque layer."""
    folder = tempfile.mkdtemp()
    model.export(folder, verbose=False)
    return sequential(layers.TFSMLayer(folder, call_endpoint="serve"))


@contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def under(name, build):
    """A builder run under a dtype policy."""

    def run():
        with policy(name):
            return build()

    return run
