"""What Keras' operations do to a feature map: the tables that the cut and the head are read from.

Layers are looked up by their exact class, since a subclass may do anything; operations (`keras.ops` on symbolic
tensors) by the name of their class.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from keras_cam.program import Program, Step

AVERAGE_POOLING = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
MAX_POOLING = (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
NORMALIZERS = (layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization)
# With an inline activation that comes last, so that it can be taken off.
WITH_ACTIVATION = {
    layers.Dense,
    layers.EinsumDense,
    *CONVOLUTIONS,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
}
# Hand the numbers on as they are when nothing is trained, at most in another shape.
PASS_THROUGH = {
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
}
PASS_THROUGH_OPERATIONS = {"Squeeze", "Reshape", "ExpandDims", "Cast", "Copy"}
AFFINE = {
    *WITH_ACTIVATION,
    *PASS_THROUGH,
    *AVERAGE_POOLING,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.AdaptiveAveragePooling1D,
    layers.AdaptiveAveragePooling2D,
    layers.AdaptiveAveragePooling3D,
    layers.BatchNormalization,
    layers.Rescaling,
    layers.Normalization,
    layers.Add,
    layers.Subtract,
    layers.Average,
    layers.Concatenate,
    layers.Permute,
    layers.RepeatVector,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
}
AFFINE_OPERATIONS = {
    *PASS_THROUGH_OPERATIONS,
    *("Add", "Subtract", "Negative", "Mean", "Average", "Sum", "Concatenate", "Stack", "Split", "GetItem", "Take"),
    *("Transpose", "Moveaxis", "Swapaxes", "Pad", "Flip", "Repeat", "Tile", "BroadcastTo", "AveragePool", "Conv"),
    *("Slice", "Diagonal", "Trace", "Roll"),
}
BILINEAR_OPERATIONS = {"Multiply", "Matmul", "Einsum", "Dot", "Tensordot"}  # affine if one side is constant
# Act on every number alone. Replayed as u -> a(0) + u * (a(u) - a(0)) / u with the quotient frozen.
ELEMENTWISE_LAYERS = {layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU}
ELEMENTWISE = {
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "hard_silu", "hard_swish", "mish"),
    *("sigmoid", "hard_sigmoid", "log_sigmoid", "tanh", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink"),
    *("softplus", "softsign", "squareplus", "exponential", "sparse_plus", "threshold"),
}
ELEMENTWISE_OPERATIONS = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "HardSilu", "Mish", "Sigmoid"),
    *("HardSigmoid", "LogSigmoid", "Tanh", "HardTanh", "Softplus", "Softsign", "Abs", "Absolute", "Squareplus"),
}
LAST_ACTIVATIONS = {*ELEMENTWISE, "softmax", "log_softmax"}
_ACTIVATION_OF_OPERATION = {"Softmax": "softmax", "LogSoftmax": "log_softmax"} | {
    name: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    for name in ELEMENTWISE_OPERATIONS
}


def activation_of(operation: Any) -> str | None:
    """Name of the activation that an operation is or ends with; None if it has none or we cannot tell."""
    kind = type(operation)
    if kind is layers.Softmax:
        return "softmax"
    if kind is layers.Activation or kind in WITH_ACTIVATION:
        activation = operation.activation
        return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)
    if kind in ELEMENTWISE_LAYERS:
        return "".join(f"_{letter.lower()}" for letter in kind.__name__) if kind is not layers.ReLU else "relu"
    return None if isinstance(operation, layers.Layer) else _ACTIVATION_OF_OPERATION.get(kind.__name__)


def is_activation(operation: Any) -> bool:
    """Whether an operation is an activation and nothing else."""
    kind = type(operation)
    if kind in (layers.Activation, layers.Softmax) or kind in ELEMENTWISE_LAYERS:
        return True
    return not isinstance(operation, layers.Layer) and kind.__name__ in _ACTIVATION_OF_OPERATION


def passes_through(operation: Any) -> bool:
    """Whether an operation hands its numbers on as they are in inference mode, at most in another shape."""
    if type(operation) is layers.Activation:
        return activation_of(operation) == "linear"
    return type(operation) in PASS_THROUGH or _is_operation(operation, PASS_THROUGH_OPERATIONS)


def is_elementwise(operation: Any) -> bool:
    """Whether an operation is a non-linearity that acts on every number alone."""
    kind = type(operation)
    if kind is layers.Activation:
        return activation_of(operation) in ELEMENTWISE
    return kind in ELEMENTWISE_LAYERS or _is_operation(operation, ELEMENTWISE_OPERATIONS)


def is_gate(step: Step, dependent: set[int]) -> bool:
    """Whether a step multiplies (or divides by) what the feature maps decide: a gate, frozen at its value."""
    from_features = [slot for slot in step.inputs if slot in dependent]
    if type(step.operation) is layers.Multiply or _is_operation(step.operation, {"Multiply"}):
        return len(from_features) == 2 and len(step.inputs) == 2
    if _is_operation(step.operation, {"Divide", "TrueDivide"}):
        return step.inputs[-1] in dependent and len(step.inputs) == 2
    return False


def is_affine(step: Step, dependent: set[int]) -> bool:
    """Whether a step is affine in the slots `dependent`, by the tables; False also where the tables do not know."""
    operation, kind = step.operation, type(step.operation)
    if kind in WITH_ACTIVATION:
        return activation_of(operation) == "linear"
    if kind in AFFINE or passes_through(operation) or _is_operation(operation, AFFINE_OPERATIONS):
        return True
    number = sum(slot in dependent for slot in step.inputs)
    if kind is layers.Multiply or _is_operation(operation, BILINEAR_OPERATIONS):
        return number == 1
    if _is_operation(operation, {"Divide", "TrueDivide"}):
        return number == 1 and (len(step.inputs) == 1 or step.inputs[0] in dependent) and _numerator_is_tensor(step)
    return False


def averages_all(step: Step, program: Program) -> bool:
    """Whether a step averages its input over all positions, and nothing else."""
    operation, kind = step.operation, type(step.operation)
    shape = program.shape(step.inputs[0])
    if kind in AVERAGE_POOLING:
        return True
    if kind.__name__.startswith("AdaptiveAveragePooling") and kind in AFFINE:
        return set(_as_tuple(operation.output_size)) == {1}
    if kind.__name__.startswith("AveragePooling") and kind in AFFINE:
        spatial = shape[2:] if operation.data_format == "channels_first" else shape[1:-1]
        return tuple(operation.pool_size) == tuple(spatial)
    if not _is_operation(operation, {"Mean"}) or operation.axis is None:
        return False
    axes = {axis % len(shape) for axis in _as_tuple(operation.axis)}
    channels_first = len(shape) > 3 and axes == set(range(2, len(shape)))
    return channels_first or axes == set(range(1, len(shape) - 1))


def is_known(step: Step, dependent: set[int]) -> bool:
    """Whether the tables say what a step does."""
    kind = type(step.operation)
    return (
        is_affine(step, dependent)
        or is_gate(step, dependent)
        or is_elementwise(step.operation)
        or kind in NORMALIZERS
        or kind in MAX_POOLING
    )


def _numerator_is_tensor(step: Step) -> bool:
    args, _ = step.arguments
    return not args or not isinstance(args[0], (int, float))


def _is_operation(operation: Any, names: set[str]) -> bool:
    return not isinstance(operation, keras.layers.Layer) and type(operation).__name__ in names


def _as_tuple(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
