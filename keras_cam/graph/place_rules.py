"""What each operation does to where its tensors lie in the image: one rule an operation, in one table.

A rule takes a `Call` and returns the place of what comes out, or of each of several things; None where none of it has
a place. What no rule knows has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras_cam.graph import place_products as products
from keras_cam.graph import place_shapes as shapes
from keras_cam.graph import place_slices as slices
from keras_cam.graph import place_windows as windows
from keras_cam.graph.keras_internals import inner_layer
from keras_cam.graph.operations import Trait, is_layer, is_operation, traits_of
from keras_cam.graph.place import Place
from keras_cam.graph.place_call import Call, Rule


def rule_of(operation: Any) -> Rule | None:
    """The rule for an operation; None where there is none."""
    name = type(operation).__name__
    if is_layer(operation, LAYER_RULES):
        return LAYER_RULES[name]
    if is_operation(operation, OPERATION_RULES):
        return OPERATION_RULES[name]
    traits = traits_of(operation)
    return next((rule for trait, rule in TRAIT_RULES.items() if trait in traits), None)


def _wrapped(call: Call) -> Place | list[Place | None] | None:
    """A layer that calls one inner layer on what it is called on."""
    inner = inner_layer(call.operation)
    rule = rule_of(inner)
    return None if rule is None else rule(replace(call, operation=inner))


def _placeless(call: Call) -> None:
    """What is the same for all images."""
    del call


TRAIT_RULES: dict[Trait, Rule] = {
    Trait.CONVOLUTION: windows.convolution,
    Trait.TRANSPOSED_CONVOLUTION: windows.transposed_convolution,
    Trait.POOLING: windows.pooling,
    Trait.ADAPTIVE_POOLING: windows.adaptive_pooling,
    Trait.GLOBAL_AVERAGE: windows.global_pooling,
    Trait.GLOBAL_MAXIMUM: windows.global_pooling,
    Trait.PADDING: windows.padding,
    Trait.CROPPING: windows.cropping,
    Trait.CENTER_CROPPING: windows.center_cropping,
    Trait.UPSAMPLING: windows.upsampling,
    Trait.RESIZING: windows.resizing,
    Trait.REDUCTION: products.reduction,
    Trait.NORMALIZATION: shapes.kept,
    Trait.ELEMENTWISE: shapes.kept,
    Trait.CHOICE: shapes.meeting,
    Trait.DIVISION: shapes.meeting,
}


def _rules(rows: dict[str, Rule]) -> dict[str, Rule]:
    return {name: rule for names, rule in rows.items() for name in names.split()}


LAYER_RULES = _rules(
    {
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout": shapes.kept,
        "GaussianNoise ActivityRegularization Identity Activation Softmax BatchNormalization": shapes.kept,
        "GroupNormalization Rescaling Normalization Masking": shapes.kept,
        # Augmentation, which does nothing in inference, or moves nothing.
        "RandomBrightness RandomContrast RandomColorJitter RandomColorDegeneration RandomHue": shapes.kept,
        "RandomSaturation RandomFlip RandomRotation RandomTranslation RandomZoom RandomShear": shapes.kept,
        "RandomGaussianBlur RandomInvert RandomErasing RandomGrayscale RandomPosterization": shapes.kept,
        "RandomSharpness RandomPerspective RandomElasticTransform AugMix RandAugment MixUp CutMix": shapes.kept,
        "Solarization AutoContrast Equalization": shapes.kept,
        "Add Subtract Average Multiply Maximum Minimum": shapes.merging,
        "Dense": products.dense,
        "EinsumDense": products.einsum_layer,
        "Dot": products.dot_layer,
        "MultiHeadAttention GroupedQueryAttention": products.multi_head_attention,
        "Attention AdditiveAttention": products.attention_layer,
        "Permute": shapes.permute,
        "Reshape": shapes.reshape,
        "Flatten": shapes.flatten,
        "RepeatVector": shapes.repeat_vector,
        "Concatenate": shapes.concatenate,
        "ConvLSTM1D ConvLSTM2D ConvLSTM3D": windows.recurrent_convolution,
        "SpectralNormalization": _wrapped,
    }
)
OPERATION_RULES = _rules(
    {
        "Negative Cast Copy StopGradient Clip Log Log2 Log10 Rsqrt Reciprocal Erf Erfc Sign Floor Ceil": shapes.kept,
        "Round Trunc Fabs Cbrt Softmax LogSoftmax Sparsemax Sigmoid SparseSigmoid HardShrink SoftShrink": shapes.kept,
        "TanhShrink Threshold SparsePlus NanToNum Tan Arcsin Arccos Sinh Cosh Arcsinh Arccosh Arctanh": shapes.kept,
        "Exp2 Square BatchNorm LayerNorm RMSNorm Isnan Isinf Isfinite LogicalNot SaturateCast": shapes.kept,
        "Add Subtract Multiply Power Maximum Minimum Where Mod FloorDivide Arctan2 Logaddexp": shapes.meeting,
        "DivideNoNan Fmax Fmin Fmod Hypot Heaviside Logaddexp2 Greater GreaterEqual Less LessEqual": shapes.meeting,
        "Equal NotEqual LogicalAnd LogicalOr LogicalXor": shapes.meeting,
        "ForEachImage": _placeless,
        "Transpose": shapes.transpose,
        "Moveaxis": shapes.moveaxis,
        "Swapaxes": shapes.swapaxes,
        "Reshape": shapes.reshape,
        "Ravel": shapes.ravel,
        "Squeeze": shapes.squeeze,
        "ExpandDims": shapes.expand_dims,
        "BroadcastTo": shapes.broadcast_to,
        "Repeat": shapes.repeat,
        "Tile": shapes.tile,
        "Concatenate": shapes.concatenate,
        "Stack": shapes.stack,
        "Flip": shapes.flip,
        "Rot90": shapes.rot90,
        "Roll": shapes.roll,
        "GetItem": slices.get_item,
        "Slice": slices.slice_operation,
        "Take": slices.take,
        "Split": slices.split,
        "Unstack": slices.unstack,
        "Logsumexp Average Norm Nanmean Nansum Nanmax Nanmin Any All Ptp CountNonzero": products.reduction,
        "Matmul": products.matmul,
        "Einsum": products.einsum_operation,
        "Dot": products.dot,
        "Tensordot": products.tensordot,
        "DotProductAttention": products.attention_operation,
        "MaxPool AveragePool": windows.pooling,
        "AdaptiveMaxPool AdaptiveAveragePool": windows.adaptive_pooling,
        "Conv DepthwiseConv SeparableConv": windows.convolution_operation,
        "Pad": windows.padding_operation,
        "Resize": windows.resizing,
        "ExtractPatches": windows.extract_patches,
        "DepthToSpace": windows.depth_to_space,
        "SpaceToDepth": windows.space_to_depth,
    }
)
