"""Functional sub-models that share a model's layers: the final conv output, the class weights, the maps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.keras_internals import alias, for_any_rank
from keras_cam.graph.operations import passes_through
from keras_cam.graph.program import Program, Step, call_step, run
from keras_cam.model.affine import can_fold, fold, unfoldable_step
from keras_cam.model.cut import Cut, cut, describe

Tensor = Any


def build_feature_model(model: keras.Model, *, output: int | str | None = None) -> keras.Model:
    """Build the functional sub-model that exposes the final conv output and the scores before the last activation.

    It shares the layers of `model`: it follows training and holds no weights of its own. Nothing in `model` changes.
    It runs in inference mode (Dropout and augmentation rest) unless it is called with `training=True`.

    Args:
        model: a built Keras model with convolutional feature maps, nested backbones included.
        output: which output to explain, by name or index; needed where the model has several.

    Returns:
        A `keras.Model` from the inputs of `model` to a dict: `"features"` (N, h, w, K), the feature maps that the
        pooling reads (a list where several scales are pooled); `"logits"` (N, C); `"predictions"`, bit for bit those
        of `model`.

    Raises:
        UnsupportedModelError: the model has no exact CAM; the message names what was found.

    Example:
        >>> import keras, numpy as np
        >>> from keras_cam import build_feature_model
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> outputs = build_feature_model(model)(np.zeros((1, 8, 8, 3)))
        >>> {name: tuple(value.shape) for name, value in sorted(outputs.items())}
        {'features': (1, 6, 6, 4), 'logits': (1, 2), 'predictions': (1, 2)}
    """
    found = cut(model, output=output)
    inputs, values = _replay(found.program)
    features = [values[feature.slot] for feature in found.features]
    outputs = {
        "features": features[0] if len(features) == 1 else features,
        "logits": values[found.logits],
        "predictions": values[found.output],
    }
    return keras.Model(inputs, outputs, name=f"{model.name}_features")


def build_cam_model(model: keras.Model, *, output: int | str | None = None) -> keras.Model:
    """Build the functional sub-model from image to predictions and the class activation maps of all classes.

    It has no custom objects, so it can be saved, exported and served, and loads where keras_cam is not installed. It
    shares the layers of `model` and follows training.

    Args:
        model: a built Keras model that ends in global average pooling and affine layers.
        output: as for `build_feature_model`.

    Returns:
        A `keras.Model` from the inputs of `model` to a dict: `"predictions"`, bit for bit those of `model`; `"cams"`
        (N, h, w, C) in logit units, signed, on the native grid: their mean over h and w plus the head's bias is the
        logit (Zhou et al. 2016, arXiv 1512.04150). A one-unit head has one map, that of its unit.

    Raises:
        UnsupportedModelError: the model has no exact CAM; the message names what was found.

    Example:
        >>> import keras, numpy as np
        >>> from keras_cam import build_cam_model
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> tuple(build_cam_model(model)(np.zeros((1, 8, 8, 3)))["cams"].shape)
        (1, 6, 6, 2)
    """
    found = _foldable_cut(model, output)
    inputs, values = _replay(found.program)
    features = values[found.features[0].slot]
    if found.features[0].channels_first:
        features = ops.moveaxis(features, 1, -1)
    spatial = tuple(range(1, len(features.shape) - 1))
    cams, bias = features, ops.zeros_like(ops.mean(features, axis=spatial, keepdims=True))
    for layer in _cell_layers(found):
        cams, bias = layer(cams), layer(bias)
    cams = ops.subtract(cams, bias)
    outputs = {"predictions": values[found.output], "cams": cams}
    return keras.Model(inputs, outputs, name=f"{model.name}_cams")


def class_weights(model: keras.Model, *, output: int | str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The class weights of a model's head as they are now, read from the live layers.

    Args:
        model: as for `build_cam_model`.
        output: as for `build_feature_model`.

    Returns:
        `(kernel, bias)`: float32 (K, C) and (C,), with `logits = mean(features) @ kernel + bias`. BatchNormalization
        and further affine layers between the pooling and the output are folded in.

    Raises:
        UnsupportedModelError: the model has no exact CAM; the message names what was found.

    Example:
        >>> import keras
        >>> from keras_cam import class_weights
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> kernel, bias = class_weights(model)
        >>> kernel.shape, bias.shape
        ((4, 2), (2,))
    """
    kernel, bias = fold(_foldable_cut(model, output))
    return ops.convert_to_numpy(kernel), ops.convert_to_numpy(bias)


def _replay(program: Program) -> tuple[Any, dict[int, Tensor]]:
    """Call the model's operations on fresh inputs; returns these inputs in the model's structure, and all values.

    Fresh inputs, since a functional model over the caller's own inner tensors can take his inputs over, after which
    his `get_config()` fails.
    """
    recorded = next((step for step in program.steps if not isinstance(step.operation, keras.Operation)), None)
    if recorded is not None:
        raise UnsupportedModelError(
            f"Model {program.name!r} has no graph that a sub-model could be built of: {recorded.path!r} runs on real "
            "tensors only. Write it with Keras layers and keras.ops; keras_cam.explain(model, images) takes it so."
        )
    fresh = [
        keras.Input(batch_shape=program.shape(slot), dtype=program.specs[slot].dtype, name=program.specs[slot].name)
        for slot in program.inputs
    ]
    owners: dict[str, Any] = {}

    def call(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Two nested models may each have a layer of the same name, which one flat model may not.
        name = step.operation.name
        if owners.setdefault(name, step.operation) is not step.operation:
            name = step.path.replace("/", "_")
            if name not in owners:
                owners[name] = alias(step.operation, name)
        return call_step(Step(owners[name], step.arguments, step.inputs, step.outputs, step.path), args, kwargs)

    values = run(program.steps, dict(zip(program.inputs, fresh, strict=True)), call)
    return keras.tree.pack_sequence_as(program.input_structure, fresh), values


def _foldable_cut(model: keras.Model, output: int | str | None) -> Cut:
    """The cut of a model whose head is one matrix, or an error that says what it is instead."""
    found = cut(model, output=output)
    if not can_fold(found):
        culprit = unfoldable_step(found)
        in_the_way = "" if culprit is None else f" {culprit.path!r} stands in the way."
        raise UnsupportedModelError(
            f"Model {model.name!r} has no class weights, and so no exact CAM: that needs global average pooling and "
            "then only affine layers (Dense without activation, BatchNormalization, Dropout, 1x1 convolutions). "
            f"{describe(found)}{in_the_way} End the model with GlobalAveragePooling2D and one Dense layer, or use "
            "keras_cam.explain(model, images), which takes other heads apart too."
        )
    return found


def _cell_layers(found: Cut) -> list[Any]:
    """The layers of an affine head as they act on cells (N, h, w, K) instead of pooled features (N, K)."""
    cell_layers = []
    for step in found.steps:
        layer = step.operation
        if isinstance(layer, layers.BatchNormalization):  # built for fewer axes: an alias takes more
            layer = for_any_rank(layer, f"{layer.name}_cells")
        if not passes_through(layer):
            cell_layers.append(layer)
    return cell_layers
