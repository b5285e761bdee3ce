"""Other ways to a heat map, each as a function of a model that gives a function of a batch of images.

    python -m benchmarks performance --only batches --table rivals --page docs/performance.md
        --rival benchmarks.rivals:hand_written --rival benchmarks.rivals:keras_recipe
        --rival benchmarks.rivals:tf_keras_vis --rival benchmarks.rivals:tf_explain

(in one line). The libraries have to be installed beside keras_cam: tf-keras-vis, tf-explain. All on TensorFlow, and
all but the first for one class that is given: finding the predicted one would cost them a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

Explain = Callable[[np.ndarray], np.ndarray]
CLASS = 0


def hand_written(model: keras.Model) -> Explain:
    """The least that a CAM can cost: top-1, one compiled function, for a model that ends in pooling and one Dense."""
    import tensorflow as tf

    both, kernel = keras.Model(model.inputs, [feature_maps(model), model.output]), model.layers[-1].kernel

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))], autograph=False)
    def maps(images: tf.Tensor) -> tf.Tensor:
        features, predictions = both(images, training=False)
        weights = tf.gather(tf.transpose(kernel), tf.argmax(predictions, axis=-1))
        return tf.einsum("nhwk,nk->nhw", features, weights)

    return lambda images: np.asarray(maps(images))


def keras_recipe(model: keras.Model) -> Explain:
    """Grad-CAM as Keras' own guide has it: a model made anew for each call, a tape, nothing compiled, one image."""
    import tensorflow as tf

    def explain(images: np.ndarray) -> np.ndarray:
        both = keras.Model(model.inputs, [feature_maps(model), model.output])
        with tf.GradientTape() as tape:
            features, predictions = both(images[:1])
            score = predictions[:, CLASS]
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(0, 1, 2))
        heat = tf.nn.relu(tf.squeeze(features[0] @ weights[:, tf.newaxis]))
        return (heat / tf.reduce_max(heat)).numpy()

    return explain


def tf_keras_vis(model: keras.Model) -> Explain:
    """Grad-CAM of tf-keras-vis, its object made once."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    gradcam = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    return lambda images: np.asarray(gradcam(CategoricalScore([CLASS] * len(images)), images))


def tf_explain(model: keras.Model) -> Explain:
    """Grad-CAM of tf-explain, told the layer; it draws the pictures too, and cannot be asked not to."""
    from tf_explain.core.grad_cam import GradCAM

    layer, explainer = feature_maps(model)._keras_history.operation.name, GradCAM()
    return lambda images: explainer.explain((images, None), model, class_index=CLASS, layer_name=layer)


def feature_maps(model: keras.Model) -> keras.KerasTensor:
    """What the global average pooling of a model of keras.applications reads."""
    pooling = next(layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    return pooling.input
