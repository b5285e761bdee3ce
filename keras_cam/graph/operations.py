"""What is known of each of Keras' layers and operations: one table, which all that reads a model asks.

Layers are looked up by name and must be Keras' own class, since a subclass may do anything, and an older Keras lacks
some; operations (`keras.ops` on symbolic tensors) by the name of their class. A layer or operation that is in no row
is unknown: nothing is assumed of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import Flag, auto
from typing import Any

from keras import layers

from keras_cam.graph.program import Program, Slot, Step


class Trait(Flag):
    """What a layer or operation does to feature maps, and to the scores that are made of them."""

    NONE = 0
    # where cells lie
    CONVOLUTION = auto()
    TRANSPOSED_CONVOLUTION = auto()
    POOLING = auto()
    ADAPTIVE_POOLING = auto()
    PADDING = auto()
    CROPPING = auto()
    CENTER_CROPPING = auto()
    UPSAMPLING = auto()
    RESIZING = auto()
    REDUCTION = auto()  # over axes of its choice
    REORDERING = auto()  # may put other places into the cells
    REARRANGING = auto()  # moves scores of positions, and nothing else
    # how scores depend on features
    AFFINE = auto()  # where nothing is trained
    PASS_THROUGH = auto()  # hands the numbers on as they are, at most in another shape
    INLINE_ACTIVATION = auto()  # may end with an activation, which can be taken off
    GLOBAL_AVERAGE = auto()
    GLOBAL_MAXIMUM = auto()
    AVERAGE = auto()  # of windows, which may be the whole map
    BILINEAR = auto()  # affine if one side is constant
    DIVISION = auto()
    CHOICE = auto()  # of the largest or smallest of several, number by number
    MAXIMUM = auto()  # over axes of its choice
    NORMALIZATION = auto()
    ELEMENTWISE = auto()  # a non-linearity on every number alone
    POOLING_MATH = auto()  # what a generalised mean does to its input before and after it averages


T = Trait


def _table(rows: Mapping[str, Trait]) -> dict[str, Trait]:
    """Name to traits, from rows of several names each; what several rows say of a name is joined."""
    table: dict[str, Trait] = {}
    for names, traits in rows.items():
        for name in names.split():
            table[name] = table.get(name, Trait.NONE) | traits
    return table


LAYERS = _table(
    {
        "Conv1D Conv2D Conv3D": T.CONVOLUTION | T.AFFINE | T.INLINE_ACTIVATION,
        "DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D": (
            T.CONVOLUTION | T.AFFINE | T.INLINE_ACTIVATION
        ),
        "Conv1DTranspose Conv2DTranspose Conv3DTranspose": T.TRANSPOSED_CONVOLUTION | T.AFFINE | T.INLINE_ACTIVATION,
        "Dense EinsumDense": T.AFFINE | T.INLINE_ACTIVATION,
        "MaxPooling1D MaxPooling2D MaxPooling3D": T.POOLING,
        "AveragePooling1D AveragePooling2D AveragePooling3D": T.POOLING | T.AFFINE | T.AVERAGE,
        "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D": T.ADAPTIVE_POOLING,
        "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D": (
            T.ADAPTIVE_POOLING | T.AFFINE | T.AVERAGE
        ),
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D": T.GLOBAL_AVERAGE | T.AFFINE,
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D": T.GLOBAL_MAXIMUM | T.MAXIMUM,
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D": T.PADDING | T.AFFINE,
        "Cropping1D Cropping2D Cropping3D": T.CROPPING | T.AFFINE,
        "CenterCrop": T.CENTER_CROPPING,
        "UpSampling1D UpSampling2D UpSampling3D": T.UPSAMPLING | T.AFFINE | T.REARRANGING,
        "Resizing": T.RESIZING | T.REARRANGING,
        "Concatenate Permute": T.AFFINE | T.REARRANGING,
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout": T.PASS_THROUGH,
        "GaussianDropout GaussianNoise ActivityRegularization Identity Flatten Reshape": T.PASS_THROUGH,
        "BatchNormalization Rescaling Normalization Add Subtract Average RepeatVector": T.AFFINE,
        "LayerNormalization RMSNormalization UnitNormalization": T.NORMALIZATION,
        "Multiply Dot": T.BILINEAR,
        "Maximum Minimum": T.CHOICE,
        "ReLU LeakyReLU PReLU ELU": T.ELEMENTWISE,
    }
)
OPERATIONS = _table(
    {
        "Squeeze Reshape ExpandDims Cast Copy": T.PASS_THROUGH,
        "Add Subtract Negative Average Stack Split Moveaxis Pad Repeat Tile BroadcastTo": T.AFFINE,
        "ReadVariable ForEachImage": T.AFFINE,  # ours: what depends on no image
        "AveragePool Conv Slice Diagonal Trace Swapaxes": T.AFFINE,
        "Concatenate GetItem Take Transpose": T.AFFINE | T.REARRANGING,
        "Flip Roll Take": T.AFFINE | T.REORDERING,
        "Rot90 TakeAlongAxis": T.REORDERING,
        "Mean Sum": T.AFFINE | T.REDUCTION,
        "Max Amax": T.REDUCTION | T.MAXIMUM,
        "Min Amin Prod Std Var Median LogSumExp": T.REDUCTION,
        "Multiply Matmul Einsum Dot Tensordot": T.BILINEAR,
        "Divide TrueDivide": T.DIVISION,
        "Maximum Minimum": T.CHOICE,
        "Relu Relu6 LeakyRelu Elu Selu Celu Gelu Silu HardSilu Sigmoid HardSigmoid LogSigmoid Tanh": T.ELEMENTWISE,
        "HardTanh Softplus Softsign Squareplus Abs Absolute Square Sqrt Exp Expm1 Log1p Sin Cos Clip": T.ELEMENTWISE,
        "Arctan Normalize ReLU": T.ELEMENTWISE,
        "Power Square Clip Maximum Exp Log": T.POOLING_MATH,
    }
)
# What `keras.activations` calls those that act on every number alone.
ELEMENTWISE_ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "hard_silu", "hard_swish", "mish"),
    *("sigmoid", "hard_sigmoid", "log_sigmoid", "tanh", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink"),
    *("softplus", "softsign", "squareplus", "exponential", "sparse_plus", "threshold"),
}
LAST_ACTIVATIONS = {*ELEMENTWISE_ACTIVATIONS, "softmax", "log_softmax"}
ACTIVATION_LAYERS = {"Softmax": "softmax", "ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}
ACTIVATION_OPERATIONS = (
    {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
    | {
        name: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        for name, traits in OPERATIONS.items()
        if T.ELEMENTWISE in traits
    }
    | {"ReLU": "relu"}
)


def is_layer(operation: Any, names: Container[str]) -> bool:
    """Whether an operation is one of Keras' own layers of these names, and no subclass of it."""
    kind = type(operation)
    return isinstance(operation, layers.Layer) and kind.__name__ in names and kind.__module__.startswith("keras.")


def is_operation(operation: Any, names: Container[str]) -> bool:
    """Whether an operation is no layer but one of `keras.ops`, of these class names."""
    return not isinstance(operation, layers.Layer) and type(operation).__name__ in names


def is_callers(operation: Any) -> bool:
    """Whether what an operation does is written by the caller: a layer of his own, a function, a whole model."""
    return is_layer(operation, {"Lambda"}) or not type(operation).__module__.startswith("keras.")


def traits_of(operation: Any) -> Trait:
    """What is known of an operation; `Trait.NONE` of one that is in no row.

    >>> Trait.AFFINE in traits_of(layers.Conv2D(1, 1)), traits_of(layers.LSTM(1))
    (True, <Trait.NONE: 0>)
    """
    if is_layer(operation, LAYERS):
        return LAYERS[type(operation).__name__]
    return OPERATIONS[type(operation).__name__] if is_operation(operation, OPERATIONS) else Trait.NONE


def has_trait(operation: Any, *any_of: Trait) -> bool:
    """Whether an operation is known to have one of these traits."""
    traits = traits_of(operation)
    return any(trait in traits for trait in any_of)


def activation_of(operation: Any) -> str | None:
    """Name of the activation that an operation is or ends with; None if it has none or we cannot tell."""
    if has_trait(operation, T.INLINE_ACTIVATION) or is_layer(operation, {"Activation"}):
        activation = operation.activation
        return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)
    if is_layer(operation, ACTIVATION_LAYERS):
        return ACTIVATION_LAYERS[type(operation).__name__]
    return ACTIVATION_OPERATIONS[type(operation).__name__] if is_operation(operation, ACTIVATION_OPERATIONS) else None


def is_activation(operation: Any) -> bool:
    """Whether an operation is an activation and nothing else."""
    return is_layer(operation, {"Activation", *ACTIVATION_LAYERS}) or is_operation(operation, ACTIVATION_OPERATIONS)


def passes_through(operation: Any) -> bool:
    """Whether an operation hands its numbers on as they are in inference mode, at most in another shape."""
    if is_layer(operation, {"Activation"}):
        return activation_of(operation) == "linear"
    return has_trait(operation, T.PASS_THROUGH)


def only_rearranges(operation: Any) -> bool:
    """Whether an operation only moves scores of positions: activations, reshapes, joins, enlargements."""
    return passes_through(operation) or is_activation(operation) or has_trait(operation, T.REARRANGING)


def is_elementwise(operation: Any) -> bool:
    """Whether an operation is a non-linearity that acts on every number alone, or scales it (`ops.normalize`)."""
    if is_layer(operation, {"Activation"}):
        return activation_of(operation) in ELEMENTWISE_ACTIVATIONS
    return has_trait(operation, T.ELEMENTWISE)


def is_root_or_power(step: Step) -> bool:
    """Whether a step raises its input to a fixed power above 0, as a generalised mean does."""
    args, _ = step.arguments
    if not is_operation(step.operation, {"Power"}) or len(args) != 2 or not isinstance(args[0], Slot):
        return False
    return isinstance(args[1], (int, float)) and args[1] > 0


def is_maximum(operation: Any) -> bool:
    """Whether an operation takes the maximum over some axes of each image."""
    if not has_trait(operation, T.MAXIMUM):
        return False
    return has_trait(operation, T.GLOBAL_MAXIMUM) or (operation.axis is not None and operation.initial is None)


def is_gate(step: Step, head_slots: set[int]) -> bool:
    """Whether a step multiplies (or divides by) what the feature maps decide: a gate, frozen at its value."""
    if len(step.inputs) != 2:
        return False
    if is_layer(step.operation, {"Multiply"}) or is_operation(step.operation, {"Multiply"}):
        return head_slots.issuperset(step.inputs)
    return has_trait(step.operation, T.DIVISION) and step.inputs[1] in head_slots


def is_affine(step: Step, head_slots: set[int]) -> bool:
    """Whether a step is affine in the slots `head_slots`, by the table; False also where the table does not know."""
    operation = step.operation
    if has_trait(operation, T.INLINE_ACTIVATION):
        return activation_of(operation) == "linear"
    if has_trait(operation, T.AFFINE) or passes_through(operation):
        return True
    if sum(slot in head_slots for slot in step.inputs) != 1 or getattr(operation, "normalize", False):
        return False
    if has_trait(operation, T.DIVISION):
        args, _ = step.arguments
        return bool(args) and isinstance(args[0], Slot) and args[0].index in head_slots
    return has_trait(operation, T.BILINEAR)


def averages_all(step: Step, program: Program) -> bool:
    """Whether a step averages its input over all positions, and nothing else."""
    operation, shape = step.operation, program.shape(step.inputs[0])
    traits = traits_of(operation)
    if T.GLOBAL_AVERAGE in traits:
        return True
    if T.ADAPTIVE_POOLING | T.AVERAGE in traits:
        return set(_as_tuple(operation.output_size)) == {1}
    if T.POOLING | T.AVERAGE in traits:
        spatial = shape[2:] if operation.data_format == "channels_first" else shape[1:-1]
        return _as_tuple(operation.pool_size) == tuple(spatial)
    if not is_operation(operation, {"Mean"}) or operation.axis is None:
        return False
    axes = {axis % len(shape) for axis in _as_tuple(operation.axis)}
    channels_first = len(shape) > 3 and axes == set(range(2, len(shape)))
    return channels_first or axes == set(range(1, len(shape) - 1))


def is_known(step: Step, head_slots: set[int]) -> bool:
    """Whether the table says how scores depend on what a step does."""
    operation = step.operation
    return (
        is_affine(step, head_slots)
        or is_gate(step, head_slots)
        or is_elementwise(operation)
        or is_root_or_power(step)
        or is_maximum(operation)
        or has_trait(operation, T.CHOICE, T.NORMALIZATION)
    )


def _as_tuple(value: int | Iterable[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
