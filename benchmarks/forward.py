"""The unit of cost: a model's own forward pass, compiled as the backend's users do it by hand, without keras_cam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def build(name: str, side: int) -> keras.Model:
    """A model of keras.applications for pictures of side x side pixels, with random weights."""
    keras.utils.set_random_seed(0)
    return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3))


def noise(count: int, side: int) -> np.ndarray:
    """Pictures of noise in [-1, 1], float32."""
    return np.random.default_rng(0).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def plain_forward(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the model's output, as arrays, so that it is waited for."""
    compiled = compiled_forward(model)
    return lambda images: keras.ops.convert_to_numpy(compiled(images))


def compiled_forward(model: keras.Model) -> Callable[[Any], Any]:
    """The same from tensor to tensor, which is not waited for."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _by_tensorflow(model)
    return _by_jax(model) if backend == "jax" else _by_torch(model)


def _by_tensorflow(model: keras.Model) -> Callable[[Any], Any]:
    import tensorflow as tf

    specs = [tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)]
    return tf.function(lambda images: model(images, training=False), input_signature=specs, autograph=False)


def _by_jax(model: keras.Model) -> Callable[[Any], Any]:
    import jax

    def stateless(trained: list[Any], others: list[Any], images: Any) -> Any:
        return model.stateless_call(trained, others, images, training=False)[0]

    compiled = jax.jit(stateless)
    groups = (model.trainable_variables, model.non_trainable_variables)
    return lambda images: compiled(*([variable.value for variable in group] for group in groups), images)


def _by_torch(model: keras.Model) -> Callable[[Any], Any]:
    import torch

    def forward(images: Any) -> Any:
        with torch.no_grad():
            return model(keras.ops.convert_to_tensor(images), training=False)

    return forward
