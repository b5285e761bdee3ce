"""What stands between the feature maps and the class scores: the logits, the pooling, the affine layers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from keras_cam.errors import UnsupportedModelError
from keras_cam.graph import Program, Slot, Step, find_features, flatten, twin

Tensor = Any
AVERAGE_POOLING = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
POINTWISE_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
# Layers and operations that hand the pooled features on as they are when nothing is trained.
PASS_THROUGH = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
    layers.Flatten,
    layers.Reshape,
)
PASS_THROUGH_OPERATIONS = ("Squeeze", "Reshape", "Identity", "ExpandDims")
LAST_ACTIVATIONS = ("softmax", "log_softmax", "sigmoid", "log_sigmoid", "hard_sigmoid", "tanh", "relu", "softplus")


@dataclass(frozen=True, eq=False)
class Head:
    """A model cut in two: what makes the feature maps, and the head from there to the logits.

    Attributes:
        program: the flat model, its last activation split off.
        features: slot of the feature maps.
        pooled: slot of their average over all positions.
        logits: slot of the scores before the last activation.
        steps: the steps from `pooled` to `logits`.
        activation: name of the last activation ("linear" where there is none).
        layer: path of the layer or operation that makes the feature maps.
    """

    program: Program
    features: int
    pooled: int
    logits: int
    steps: tuple[Step, ...]
    activation: str
    layer: str

    @property
    def num_outputs(self) -> int:
        """How many scores the model gives."""
        return math.prod(length or 1 for length in self.program.shape(self.logits)[1:])

    @property
    def is_binary(self) -> bool:
        """Whether one sigmoid unit tells two classes apart."""
        return self.num_outputs == 1 and self.activation == "sigmoid"

    @property
    def channels_first(self) -> bool:
        """Whether the channels of the feature maps come before their spatial axes."""
        reader = next(step for step in self.program.steps if self.pooled in step.outputs)
        return getattr(reader.operation, "data_format", None) == "channels_first"


def find_head(model: keras.Model) -> Head:
    """Find the feature maps, the global average pooling and the affine head of a model.

    Args:
        model: a built functional or Sequential model with one output, nested models included.

    Returns:
        The head; nothing in the model is changed.

    Raises:
        UnsupportedModelError: no feature maps, no global average pooling, or a head that is not affine; the message
            names what was found.
    """
    program = flatten(model)
    if len(program.outputs) != 1:
        raise UnsupportedModelError(
            f"Model {model.name!r} has {len(program.outputs)} outputs; a CAM explains one. "
            "Build a model with the one to explain: keras.Model(model.input, model.outputs[i])."
        )
    program, logits, activation = split_last_activation(program)
    features = find_features(program, logits)
    if not features or any(program.producer(slot) is None for slot in features):
        raise UnsupportedModelError(
            f"Model {model.name!r} has no convolutional feature maps before its output "
            f"{program.shape(program.outputs[0])}: nothing in it has a place in the image. "
            "A CAM needs convolutions, global average pooling and a Dense layer."
        )
    if len(features) > 1:
        paths = ", ".join(repr(_path(program, slot)) for slot in features)
        raise UnsupportedModelError(
            f"Model {model.name!r} pools {len(features)} feature maps ({paths}); a CAM weighs one. "
            "Build a model that pools one of them."
        )
    steps = program.steps_between(features, logits)
    pooling = steps[0] if steps else None
    if pooling is None or not _is_average(pooling, program.shape(features[0])):
        raise _no_exact_cam(model, program, features[0], logits, steps, pooling)
    pooled = pooling.outputs[0]
    chain = program.steps_between([pooled], logits)
    previous = pooled
    for step in chain:
        if step.inputs != (previous,) or not _is_affine(step, program):
            raise _no_exact_cam(model, program, features[0], logits, steps, step)
        previous = step.outputs[0]
    return Head(program, features[0], pooled, logits, chain, activation, _path(program, features[0]))


def split_last_activation(program: Program) -> tuple[Program, int, str]:
    """Take the last activation off the output, whether it is a layer of its own or part of the last layer.

    Returns:
        The program (with the last layer replaced by a linear twin and the activation as a step of its own, where the
        activation was inline), the slot of the logits, and the name of the activation.
    """
    slot = program.outputs[0]
    step = program.producer(slot)
    while step is not None:
        name = _activation_name(step.operation)
        if name in LAST_ACTIVATIONS:
            if _is_pure_activation(step.operation):
                return program, step.inputs[0], name
            return (*_split_step(program, step), name)
        if not (passes_through(step.operation) or _is_pure_activation(step.operation)) or len(step.inputs) != 1:
            break
        step = program.producer(step.inputs[0])
    return program, slot, "linear"


def fold(head: Head, select: Any = None) -> tuple[Tensor, Tensor]:
    """The head as one affine map, read from the live variables: `logits = pooled @ weights + bias`.

    Args:
        head: an affine head.
        select: optional function that takes the columns to keep out of a (K, C) kernel and a (C,) bias, along their
            last axis; without it all classes are kept.

    Returns:
        `(weights, bias)`: float32 (K, C) and (C,), or what `select` makes of the last axis.
    """
    weights = bias = None
    for step in reversed(head.steps):
        stage = _affine_stage(step.operation)
        if stage is None:
            continue
        matrix, offset = stage
        if weights is None:
            if len(matrix.shape) == 1:
                matrix = ops.diag(matrix)
            weights, bias = (matrix, offset) if select is None else (select(matrix), select(offset))
            continue
        bias = bias + ops.einsum("k,k...->...", offset, weights)
        weights = ops.einsum("k,k...->k...", matrix, weights) if len(matrix.shape) == 1 else ops.tensordot(
            matrix, weights, axes=1
        )
    if weights is None:
        weights, bias = ops.eye(head.num_outputs), ops.zeros(head.num_outputs)
        weights, bias = (weights, bias) if select is None else (select(weights), select(bias))
    return weights, bias


def _affine_stage(layer: Any) -> tuple[Tensor, Tensor] | None:
    """Matrix (K, C) or scale (K,) of an affine layer and its offset; None for a layer that passes through."""
    if isinstance(layer, (layers.Dense, *POINTWISE_CONVOLUTIONS)):
        kernel = ops.cast(layer.kernel, "float32")
        kernel = ops.reshape(kernel, kernel.shape[-2:])
        units = kernel.shape[-1]
        return kernel, ops.zeros(units) if layer.bias is None else ops.cast(layer.bias, "float32")
    if isinstance(layer, layers.BatchNormalization):
        scale = ops.rsqrt(ops.cast(layer.moving_variance, "float32") + layer.epsilon)
        if layer.scale:
            scale = scale * ops.cast(layer.gamma, "float32")
        offset = -ops.cast(layer.moving_mean, "float32") * scale
        return scale, offset + ops.cast(layer.beta, "float32") if layer.center else offset
    return None


def _is_affine(step: Step, program: Program) -> bool:
    operation = step.operation
    if isinstance(operation, POINTWISE_CONVOLUTIONS):
        on_one_cell = all(length == 1 for length in program.shape(step.inputs[0])[1:-1])
        plain = set(operation.kernel_size) == {1} and operation.groups == 1
        return on_one_cell and plain and _activation_name(operation) == "linear"
    if isinstance(operation, (layers.Dense, layers.BatchNormalization)):
        return _activation_name(operation) in ("linear", None)
    return passes_through(operation) or (_is_pure_activation(operation) and _activation_name(operation) == "linear")


def passes_through(operation: Any) -> bool:
    """Whether an operation hands the pooled features on as they are in inference mode."""
    return isinstance(operation, PASS_THROUGH) or type(operation).__name__ in PASS_THROUGH_OPERATIONS


def _is_average(step: Step, shape: tuple[int | None, ...]) -> bool:
    """Whether a step averages feature maps of this shape over all their positions."""
    if isinstance(step.operation, AVERAGE_POOLING):
        return True
    if type(step.operation).__name__ != "Mean":
        return False
    axes = step.operation.axis
    axes = {axes} if isinstance(axes, int) else set(axes or ())
    return {axis % len(shape) for axis in axes} == set(range(1, len(shape) - 1))


def _activation_name(operation: Any) -> str | None:
    """Name of the activation that an operation is or ends with; None if it can have none."""
    if isinstance(operation, layers.Softmax):
        return "softmax"
    if isinstance(operation, layers.ReLU):
        return "relu" if not operation.negative_slope and not operation.threshold else None
    activation = getattr(operation, "activation", None)
    if activation is not None:
        return getattr(activation, "__name__", type(activation).__name__)
    name = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "Relu": "relu", "Tanh": "tanh"}
    return name.get(type(operation).__name__)


def _is_pure_activation(operation: Any) -> bool:
    is_layer = isinstance(operation, keras.layers.Layer)
    return isinstance(operation, (layers.Activation, layers.Softmax, layers.ReLU)) or (
        not is_layer and _activation_name(operation) is not None
    )


def _split_step(program: Program, step: Step) -> tuple[Program, int]:
    """Put the inline activation of a step into a step of its own; returns the program and the slot between."""
    between = len(program.specs)
    layer = twin(step.operation, f"{step.operation.name}_logits", activation=keras.activations.linear)
    linear = dataclasses.replace(step, operation=layer, outputs=(between,))
    name = f"{step.operation.name}_activation"
    activation = layers.Activation(step.operation.activation, dtype=step.operation.dtype_policy, name=name)
    apply = Step(activation, ((Slot(between),), {}), (between,), step.outputs, f"{step.path}/activation")
    steps = tuple(new for old in program.steps for new in ((linear, apply) if old is step else (old,)))
    specs = (*program.specs, program.specs[step.outputs[0]])
    return dataclasses.replace(program, steps=steps, specs=specs), between


def _path(program: Program, slot: int) -> str:
    step = program.producer(slot)
    return program.specs[slot].name if step is None else step.path


def _no_exact_cam(
    model: keras.Model, program: Program, features: int, logits: int, steps: tuple[Step, ...], culprit: Step | None
) -> UnsupportedModelError:
    found = " -> ".join(f"{type(step.operation).__name__} {step.path!r}" for step in steps) or "nothing"
    reason = "" if culprit is None else f" {culprit.path!r} stands in the way."
    return UnsupportedModelError(
        f"Model {model.name!r} has no exact CAM: it needs global average pooling and then only affine layers "
        f"(Dense without activation, BatchNormalization, Dropout, 1x1 convolutions). Received: feature maps "
        f"{_path(program, features)!r} {program.shape(features)} -> {found}.{reason} "
        "End the model with GlobalAveragePooling2D and one Dense layer, or explain a model that does."
    )
