"""What Keras' operations do to a feature map: the tables that the cut and the head are read from.

Layers are looked up by name and must be Keras' own class, since a subclass may do anything, and an older Keras lacks
some; operations (`keras.ops` on symbolic tensors) by the name of their class.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from keras import layers

from keras_cam.graph.program import Program, Slot, Step

AVERAGE_POOLING = {"GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"}
MAX_POOLING = {"GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"}
ADAPTIVE_POOLING = {"AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D"}
LOCAL_POOLING = {"AveragePooling1D", "AveragePooling2D", "AveragePooling3D"}
CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D"}
NORMALIZERS = {"LayerNormalization", "RMSNormalization", "UnitNormalization"}
# With an inline activation that comes last, so that it can be taken off.
WITH_ACTIVATION = {
    *CONVOLUTIONS,
    *("Dense", "EinsumDense", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
}
# Hand the numbers on as they are when nothing is trained, at most in another shape.
PASS_THROUGH = {
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise"),
    *("AlphaDropout", "ActivityRegularization", "Identity", "Flatten", "Reshape"),
}
PASS_THROUGH_OPERATIONS = {"Squeeze", "Reshape", "ExpandDims", "Cast", "Copy"}
AFFINE = {
    *(*WITH_ACTIVATION, *PASS_THROUGH, *AVERAGE_POOLING, *ADAPTIVE_POOLING, *LOCAL_POOLING),
    *("BatchNormalization", "Rescaling", "Normalization", "Add", "Subtract", "Average", "Concatenate", "Permute"),
    *("RepeatVector", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D"),
}
AFFINE_OPERATIONS = {
    *PASS_THROUGH_OPERATIONS,
    *("Add", "Subtract", "Negative", "Mean", "Average", "Sum", "Concatenate", "Stack", "Split", "GetItem", "Take"),
    *("Transpose", "Moveaxis", "Swapaxes", "Pad", "Flip", "Repeat", "Tile", "BroadcastTo", "AveragePool", "Conv"),
    *("Slice", "Diagonal", "Trace", "Roll"),
}
BILINEAR_OPERATIONS = {"Multiply", "Matmul", "Einsum", "Dot", "Tensordot"}  # affine if one side is constant
DIVISIONS = {"Divide", "TrueDivide"}
CHOICES = {"Maximum", "Minimum"}
HIGHEST_OPERATIONS = {"Max", "Amax"}
# Act on every number alone.
ELEMENTWISE_LAYERS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}
ELEMENTWISE = {
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "hard_silu", "hard_swish", "mish"),
    *("sigmoid", "hard_sigmoid", "log_sigmoid", "tanh", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink"),
    *("softplus", "softsign", "squareplus", "exponential", "sparse_plus", "threshold"),
}
ELEMENTWISE_OPERATIONS = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "HardSilu", "Sigmoid", "HardSigmoid"),
    *("LogSigmoid", "Tanh", "HardTanh", "Softplus", "Softsign", "Abs", "Absolute", "Squareplus"),
    *("Square", "Sqrt", "Exp", "Expm1", "Log1p", "Sin", "Cos", "Arctan", "Normalize"),
}
REDUCTIONS = {"Mean", "Sum", "Max", "Min", "Amax", "Amin", "Prod", "Std", "Var", "Median", "LogSumExp"}
POOLING_MATHS = {"Power", "Square", "Clip", "Maximum", "Exp", "Log"}  # what a generalised mean does to its input
LAST_ACTIVATIONS = {*ELEMENTWISE, "softmax", "log_softmax"}
_ACTIVATION_OF_OPERATION = {"Softmax": "softmax", "LogSoftmax": "log_softmax"} | {
    name: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    for name in ELEMENTWISE_OPERATIONS
}


def is_layer(operation: Any, names: Container[str]) -> bool:
    """Whether an operation is one of Keras' own layers of these names, and no subclass of it."""
    kind = type(operation)
    return kind.__name__ in names and kind is getattr(layers, kind.__name__, None)


def is_operation(operation: Any, names: Container[str]) -> bool:
    """Whether an operation is no layer but one of `keras.ops`, of these class names."""
    return not isinstance(operation, layers.Layer) and type(operation).__name__ in names


def activation_of(operation: Any) -> str | None:
    """Name of the activation that an operation is or ends with; None if it has none or we cannot tell."""
    if is_layer(operation, {"Softmax"}):
        return "softmax"
    if is_layer(operation, WITH_ACTIVATION | {"Activation"}):
        activation = operation.activation
        return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)
    name = type(operation).__name__
    if is_layer(operation, ELEMENTWISE_LAYERS):
        return ELEMENTWISE_LAYERS[name]
    return _ACTIVATION_OF_OPERATION.get(name) if is_operation(operation, _ACTIVATION_OF_OPERATION) else None


def is_activation(operation: Any) -> bool:
    """Whether an operation is an activation and nothing else."""
    return is_layer(operation, {"Activation", "Softmax", *ELEMENTWISE_LAYERS}) or is_operation(
        operation, _ACTIVATION_OF_OPERATION
    )


def passes_through(operation: Any) -> bool:
    """Whether an operation hands its numbers on as they are in inference mode, at most in another shape."""
    if is_layer(operation, {"Activation"}):
        return activation_of(operation) == "linear"
    return is_layer(operation, PASS_THROUGH) or is_operation(operation, PASS_THROUGH_OPERATIONS)


def only_rearranges(operation: Any) -> bool:
    """Whether an operation only moves scores of positions: activations, reshapes, joins, enlargements."""
    if passes_through(operation) or is_activation(operation):
        return True
    moves = {"Concatenate", "Permute", "UpSampling1D", "UpSampling2D", "UpSampling3D", "Resizing"}
    return is_layer(operation, moves) or is_operation(operation, {"Concatenate", "GetItem", "Take", "Transpose"})


def is_elementwise(operation: Any) -> bool:
    """Whether an operation is a non-linearity that acts on every number alone, or scales it (`ops.normalize`)."""
    if is_layer(operation, {"Activation"}):
        return activation_of(operation) in ELEMENTWISE
    return is_layer(operation, ELEMENTWISE_LAYERS) or is_operation(operation, ELEMENTWISE_OPERATIONS)


def is_root_or_power(step: Step) -> bool:
    """Whether a step raises its input to a fixed power above 0, as a generalised mean does."""
    args, _ = step.arguments
    if not is_operation(step.operation, {"Power"}) or len(args) != 2 or not isinstance(args[0], Slot):
        return False
    return isinstance(args[1], (int, float)) and args[1] > 0


def is_choice(operation: Any) -> bool:
    """Whether an operation takes the largest or the smallest of its inputs, number by number."""
    return is_layer(operation, CHOICES) or is_operation(operation, CHOICES)


def is_highest(operation: Any) -> bool:
    """Whether an operation takes the maximum over some axes of each image."""
    return is_layer(operation, MAX_POOLING) or (
        is_operation(operation, HIGHEST_OPERATIONS) and operation.axis is not None and operation.initial is None
    )


def is_gate(step: Step, head_slots: set[int]) -> bool:
    """Whether a step multiplies (or divides by) what the feature maps decide: a gate, frozen at its value."""
    if len(step.inputs) != 2:
        return False
    if is_layer(step.operation, {"Multiply"}) or is_operation(step.operation, {"Multiply"}):
        return head_slots.issuperset(step.inputs)
    return is_operation(step.operation, DIVISIONS) and step.inputs[1] in head_slots


def is_affine(step: Step, head_slots: set[int]) -> bool:
    """Whether a step is affine in the slots `head_slots`, by the tables; False also where the tables do not know."""
    operation = step.operation
    if is_layer(operation, WITH_ACTIVATION):
        return activation_of(operation) == "linear"
    if is_layer(operation, AFFINE) or passes_through(operation) or is_operation(operation, AFFINE_OPERATIONS):
        return True
    if sum(slot in head_slots for slot in step.inputs) != 1:
        return False
    if is_operation(operation, DIVISIONS):
        args, _ = step.arguments
        return bool(args) and isinstance(args[0], Slot) and args[0].index in head_slots
    return is_layer(operation, {"Multiply"}) or is_operation(operation, BILINEAR_OPERATIONS)


def averages_all(step: Step, program: Program) -> bool:
    """Whether a step averages its input over all positions, and nothing else."""
    operation, shape = step.operation, program.shape(step.inputs[0])
    if is_layer(operation, AVERAGE_POOLING):
        return True
    if is_layer(operation, ADAPTIVE_POOLING):
        return set(_as_tuple(operation.output_size)) == {1}
    if is_layer(operation, LOCAL_POOLING):
        spatial = shape[2:] if operation.data_format == "channels_first" else shape[1:-1]
        return _as_tuple(operation.pool_size) == tuple(spatial)
    if not is_operation(operation, {"Mean"}) or operation.axis is None:
        return False
    axes = {axis % len(shape) for axis in _as_tuple(operation.axis)}
    channels_first = len(shape) > 3 and axes == set(range(2, len(shape)))
    return channels_first or axes == set(range(1, len(shape) - 1))


def is_known(step: Step, head_slots: set[int]) -> bool:
    """Whether the tables say what a step does."""
    return (
        is_affine(step, head_slots)
        or is_gate(step, head_slots)
        or is_elementwise(step.operation)
        or is_root_or_power(step)
        or is_choice(step.operation)
        or is_highest(step.operation)
        or is_layer(step.operation, NORMALIZERS)
    )


def _as_tuple(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
