"""Targets: the number that a map explains, computed from what the model gives.

A target is a name, or any function that takes the model's outputs, in the structure the model gives them, and returns
one number per image (N,), or one per image and class (N, C). Written with `keras.ops` it is taken apart with the model,
so that its map is exact where the model's is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_cam.errors import InvalidOptionError

__all__ = ["Target", "box_score", "find_target", "margin", "rest", "segmentation", "similarity"]

Tensor = Any


@dataclass(frozen=True)
class Target:
    """What to explain.

    Attributes:
        name: what it is called in pictures.
        function: takes the model's outputs, or its logits (N, n); returns (N,) or (N, C).
        reads: "outputs" (as the model gives them), "logits" (before the last activation, of the chosen output) or
            "probabilities" (these, through the last activation or that of the loss).
        per_class: whether it gives one number for each of the model's classes.
    """

    name: str
    function: Callable[[Any], Tensor]
    reads: str = "outputs"
    per_class: bool = False


def margin(other: int | None = None) -> Target:
    """By how much the logit of a class is above another: what speaks for this one and not for that one.

    Args:
        other: index of the other class; default: the best of all others.

    Returns:
        The target.

    Example:
        >>> import numpy as np
        >>> from keras_cam import targets
        >>> logits = np.array([[1.0, 5.0, 2.0]], "float32")
        >>> np.asarray(targets.margin(2).function(logits)).tolist()
        [[-1.0, 3.0, 0.0]]
    """

    def against_all(logits: Tensor) -> Tensor:
        count = logits.shape[-1]
        own = ops.convert_to_tensor(np.eye(count, dtype="float32") * 1e9)
        return logits - ops.max(ops.expand_dims(logits, 1) - ops.cast(own, logits.dtype), axis=-1)

    def against_one(logits: Tensor) -> Tensor:
        if not 0 <= (other or 0) < logits.shape[-1]:
            raise InvalidOptionError(f"The model has {logits.shape[-1]} classes. Received: margin({other}).")
        return logits - ops.take(logits, [other], axis=-1)

    function = against_all if other is None else against_one
    return Target("margin" if other is None else f"margin over {other}", function, "logits", per_class=True)


def rest() -> Target:
    """Each logit plus its log-probability, ReST (Cai 2025, arXiv 2501.06261): ShapleyCAM's own target.

    Returns:
        The target.
    """
    return Target("rest", lambda logits: logits + ops.log_softmax(logits), "logits", per_class=True)


def segmentation(class_index: int, mask: Any = None) -> Target:
    """A class of a model that scores every pixel: the mean of its logits, over the picture or inside a mask.

    As Seg-Grad-CAM (Vinogradova et al. 2020, arXiv 2002.11434), which sums.

    Args:
        class_index: the class, the last axis of the model's output (N, H, W, classes).
        mask: None (default): the whole picture; "predicted": the pixels that the model gives this class; or an array
            (H, W), true inside.

    Returns:
        The target.

    Raises:
        InvalidOptionError: a mask that is empty, or neither of these.
    """
    array = None
    if not (mask is None or isinstance(mask, str)):
        array = np.asarray(mask) != 0
    if (isinstance(mask, str) and mask != "predicted") or (array is not None and not array.any()):
        received = mask if isinstance(mask, str) else "a mask with nothing inside"
        raise InvalidOptionError(f"mask must be None, 'predicted' or an array with something inside. Got: {received}.")

    def function(logits: Tensor) -> Tensor:
        classes = logits.shape[-1]
        if not 0 <= class_index < classes:
            raise InvalidOptionError(f"The model scores {classes} classes. Received: class_index={class_index}.")
        scores = logits[..., class_index]
        axes = tuple(range(1, len(scores.shape)))
        if mask is None:
            return ops.mean(scores, axis=axes)
        if array is None:
            others = ops.max(logits, axis=-1) if classes > 1 else ops.zeros_like(scores)
            inside = ops.stop_gradient(ops.cast(scores >= others, scores.dtype))
            return ops.sum(scores * inside, axis=axes) / ops.maximum(ops.sum(inside, axis=axes), 1)
        if tuple(scores.shape[1:]) != array.shape:
            raise InvalidOptionError(f"The model scores {scores.shape[1:]} pixels. Received: a mask {array.shape}.")
        return ops.sum(scores * (array / array.sum())[None].astype("float32"), axis=axes)

    return Target(f"class {class_index}", function, "logits")


def box_score(box: int, class_index: int, output: str | int | None = None) -> Target:
    """The score that a detector gives one of its boxes for a class.

    Args:
        box: which box: the row of the output (N, boxes, classes), as in the model's raw predictions.
        class_index: the class.
        output: name (or index) of the output with the class scores, such as "cls_logits" of KerasHub's RetinaNet;
            default: the only output.

    Returns:
        The target.
    """

    def function(outputs: Any) -> Tensor:
        scores = outputs if output is None else outputs[output]
        return scores[:, box, class_index]

    return Target(f"box {box}, class {class_index}", function)


def similarity(embedding: Any) -> Target:
    """How alike an image's embedding is to another picture's: the cosine between them, in [-1, 1].

    Args:
        embedding: (D,), or (1, D): what the model gives for the other picture, such as `model.predict(picture)[0]`.

    Returns:
        The target.

    Raises:
        InvalidOptionError: not one vector of finite numbers, or all zeros.
    """
    vector = np.asarray(embedding, "float32")
    vector = vector[0] if vector.ndim == 2 and len(vector) == 1 else vector
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
    if not np.isfinite(length) or length == 0:
        raise InvalidOptionError(
            f"similarity takes the embedding of one picture, a vector (D,) of finite numbers that are not all zero. "
            f"Received: an array {np.shape(embedding)}. Pass model.predict(picture)[0]."
        )

    def function(outputs: Tensor) -> Tensor:
        if outputs.shape[-1] != len(vector):
            raise InvalidOptionError(f"The model gives {outputs.shape[-1]} numbers. Received: {len(vector)}.")
        lengths = ops.sqrt(ops.maximum(ops.sum(outputs**2, axis=-1), 1e-12))
        return ops.sum(outputs * (vector / length)[None], axis=-1) / lengths

    return Target("similarity", function)


def find_target(target: Any) -> Target | None:
    """The target of a name or a function; None for the logits.

    Args:
        target: "logit", "probability", "increase" or "decrease" (of a regression output), a `Target`, or a function of
            the model's outputs.

    Returns:
        The target.

    Raises:
        InvalidOptionError: none of these.
    """
    if target == "logit":
        return None
    if isinstance(target, str) and target in NAMED:
        return NAMED[target]
    if isinstance(target, Target):
        return target
    if callable(target):
        return Target(getattr(target, "__name__", "target").replace("<lambda>", "target"), target)
    known = ", ".join(map(repr, ("logit", *NAMED)))
    raise InvalidOptionError(
        f"target must be one of {known}, one of keras_cam.targets, or a function of the model's outputs. "
        f"Received: {target!r}."
    )


NAMED = {
    "probability": Target("probability", lambda probabilities: probabilities, "probabilities", per_class=True),
    "increase": Target("increase", lambda outputs: outputs, per_class=True),
    "decrease": Target("decrease", lambda outputs: -outputs, per_class=True),
}
