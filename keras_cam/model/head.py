"""What the head is, as a value and in words: affine, affine for this image, or not to be taken apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.backend import gradient
from keras_cam.graph.operations import is_affine
from keras_cam.model.choices import known_activation
from keras_cam.model.cut import Cut, cut
from keras_cam.model.linearize import run_linearized

Tensor = Any
AFFINE = "affine"
AFFINE_NONNEGATIVE = "affine_nonnegative"
POSITION_DEPENDENT = "position_dependent"
AFFINE_PER_SAMPLE = "affine_per_sample"
INTEGRATED = "integrated"
WORDS = {
    AFFINE: "affine: one weight per channel and class; the map and the bias add up to the score",
    AFFINE_NONNEGATIVE: "affine where the features are not negative, as they are after a ReLU; the map and the bias "
    "add up to the score",
    POSITION_DEPENDENT: "position-dependent: every cell has weights of its own, so there is no one weight per channel; "
    "gradient times features (HiResCAM), gates frozen, and the bias add up to the score",
    AFFINE_PER_SAMPLE: "affine for each image, with its gates and divisors frozen at their values; the map and the "
    "bias add up to the score",
    INTEGRATED: "not affine, nor with its gates frozen: gradients integrated on the way from no features to the "
    "image's, and the head's answer to no features, add up to the score",
}
EXACT = (AFFINE, AFFINE_NONNEGATIVE, POSITION_DEPENDENT, AFFINE_PER_SAMPLE, INTEGRATED)
TOLERANCE = {"float32": 1e-5, "float64": 1e-5, "float16": 2e-3, "bfloat16": 2e-3, "int8": 2e-2}
HALF_SCALE = 2.0**10  # float16 ends at 6e-8 and 65504: gradients by the pixels are often below, seldom 64 for a logit
PROBE_SLACK = 50  # random features are harder on rounding than an image's
PROBE_IMAGES = 8  # too few may all lie on one side of a kink
MOST_NAMES = 4  # of feature maps: a transformer has one for each block
OPEN_LENGTH = 5  # stands for an open axis when the head is probed


@dataclass(frozen=True, eq=False)
class Head:
    """A cut model and what its head is.

    Attributes:
        cut: the model, cut.
        activation: what turns its logits into probabilities: "softmax", "sigmoid", ... or "linear" where its outputs
            are values; a model that is compiled with `from_logits=True` has that of its loss.
    """

    cut: Cut
    activation: str

    @property
    def num_scores(self) -> int:
        """How many scores there are in the cut."""
        return self._count(self.cut.logits)

    @property
    def is_binary(self) -> bool:
        """Whether one sigmoid unit tells two classes apart."""
        return self._count(self.cut.output) == 1 and self.activation == "sigmoid"

    @property
    def negates(self) -> bool:
        """Whether one score stands for two classes, class 0 having the negated one."""
        return self.is_binary and self.num_scores == 1

    @property
    def num_classes(self) -> int:
        """How many classes there are to explain."""
        return 2 if self.is_binary else self.num_scores

    @property
    def layer(self) -> str:
        """Path of the layer that makes the feature maps; several joined by " + ", of many the first and the last."""
        names = [feature.layer for feature in self.cut.features]
        return " + ".join(names if len(names) <= MOST_NAMES else [names[0], "...", names[-1]])

    @cached_property
    def kind(self) -> str:
        """What the head is: a key of `WORDS`."""
        pooled = all(feature.pooled for feature in self.cut.features)
        if pooled and all(is_affine(step, self.cut.head_slots) for step in self.cut.steps):
            return AFFINE
        return _probe(self)

    @property
    def words(self) -> str:
        """What the head is, in words."""
        return WORDS[self.kind]

    @cached_property
    def tolerance(self) -> float:
        """How far map and bias may be from the logit, as a share of the largest: by the head's least exact dtype."""
        modes = [getattr(step.operation, "quantization_mode", None) for step in self.cut.program.steps]
        if any(modes):
            return TOLERANCE["int8"]
        return max(TOLERANCE.get(dtype, TOLERANCE["float32"]) for dtype in self._dtypes)

    @property
    def gradient_scale(self) -> float:
        """What a score is multiplied with while gradients are taken, so that those of a float16 model are not zero."""
        return HALF_SCALE if "float16" in self._dtypes else 1.0

    @cached_property
    def _dtypes(self) -> set[str]:
        """What the model computes in."""
        return {str(getattr(step.operation, "compute_dtype", "float32")) for step in self.cut.program.steps}

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The model's outputs as float32 (N, classes); where they are logits by its loss, through its activation."""
        if self.activation != self.cut.activation:
            outputs = ops.softmax(outputs) if self.activation == "softmax" else ops.sigmoid(outputs)
        outputs = ops.cast(ops.reshape(outputs, (-1, self._count(self.cut.output))), "float32")
        return ops.concatenate([1 - outputs, outputs], axis=-1) if self.is_binary else outputs

    def scores(self, logits: Tensor) -> Tensor:
        """Logits as float32 (N, classes); for one sigmoid unit class 0 has the negated score."""
        scores = ops.cast(ops.reshape(logits, (-1, self.num_scores)), "float32")
        return ops.concatenate([-scores, scores], axis=-1) if self.negates else scores

    def _count(self, slot: int) -> int:
        return math.prod(length or 1 for length in self.cut.program.shape(slot)[1:])


def find_head(model: keras.Model, **choices: Any) -> Head:
    """Cut a model and say what its head is; arguments and errors as for `keras_cam.model.cut.cut`."""
    found = cut(model, **choices)
    return Head(found, known_activation(model, found.activation) if found.per_class else found.activation)


def _probe(head: Head) -> str:
    """What a head is, found out by what it does to random features."""
    positive = [_respond(head, seed, signed=False) for seed in (0, 1)]
    signed = _respond(head, 2, signed=True)
    slack = PROBE_SLACK * head.tolerance
    if any(error > slack for _, error in positive):
        return INTEGRATED
    (one, _), (other, _), (third, error) = *positive, signed
    if not all(
        _is_constant_over_positions(array, feature.pooled, slack)
        for array, feature in zip(one, head.cut.features, strict=True)
    ):
        return POSITION_DEPENDENT
    if not _agree(one, other, slack):
        return AFFINE_PER_SAMPLE
    return AFFINE if error <= slack and _agree(one, third, slack) else AFFINE_NONNEGATIVE


def _respond(head: Head, seed: int, *, signed: bool) -> tuple[list[np.ndarray], float]:
    """Gradients of one class at random features (channels last), and how far the decomposition is from the logits.

    The side_inputs keep their values from call to call.
    """
    dtypes = head.cut.program.specs
    class_index = head.num_classes - 1

    def draw(slot: int, rng: np.random.Generator, *, signed: bool) -> Tensor:
        shape = [OPEN_LENGTH if length is None else length for length in head.cut.shape(slot)[1:]]
        values = rng.normal(size=(PROBE_IMAGES, *shape))
        return ops.convert_to_tensor((values if signed else np.abs(values)).astype("float32"), dtype=dtypes[slot].dtype)

    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    side_inputs = {slot: draw(slot, fixed, signed=False) for slot in head.cut.side_inputs}
    head_inputs = [feature.head_input for feature in head.cut.features]
    points = [draw(slot, rng, signed=signed) for slot in head_inputs]

    def score(points: list[Tensor]) -> tuple[Tensor, Any]:
        logits, frozen = run_linearized(head.cut, {**side_inputs, **dict(zip(head_inputs, points, strict=True))})
        return ops.sum(head.scores(logits)[:, class_index]), (head.scores(logits), frozen)

    gradients, (scores, frozen) = gradient(score, points, head.gradient_scale)
    zeros = {slot: ops.zeros_like(point) for slot, point in zip(head_inputs, points, strict=True)}
    bias = head.scores(run_linearized(head.cut, {**side_inputs, **zeros}, frozen)[0])[:, class_index]
    parts = [
        np.sum(_numpy(each) * _numpy(point), axis=tuple(range(1, len(point.shape))))
        for each, point in zip(gradients, points, strict=True)
    ]
    scores, bias = _numpy(scores), _numpy(bias)
    error = np.abs(sum(parts) + bias - scores[:, class_index]).max() / max(float(np.abs(scores).max()), 1e-30)
    arrays = [_numpy(each) for each in gradients]
    pairs = zip(arrays, head.cut.features, strict=True)
    on_grids = [array if feature.pooled else feature.layout.to_grid(array) for array, feature in pairs]
    return [_numpy(array) for array in on_grids], float(error)


def _numpy(tensor: Tensor) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")


def _agree(ones: list[np.ndarray], others: list[np.ndarray], slack: float) -> bool:
    pairs = zip(ones, others, strict=True)
    return all(np.abs(one - other).max() <= slack * max(np.abs(one).max(), 1e-30) for one, other in pairs)


def _is_constant_over_positions(gradients: np.ndarray, pooled: bool, slack: float) -> bool:
    if pooled:
        return True
    spatial = tuple(range(1, gradients.ndim - 1))
    return bool(np.ptp(gradients, axis=spatial).max() <= slack * max(np.abs(gradients).max(), 1e-30))
