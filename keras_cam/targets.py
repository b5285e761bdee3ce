"""Targets: the number that a map explains, computed from what the model gives.

A target is a name, or any function that takes the model's outputs, in the structure the model gives them, and returns
one number per image (N,), or one per image and class (N, C). Written with `keras.ops` it is taken apart with the model,
so that its map is exact where the model's is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_cam.errors import InvalidOptionError
from keras_cam.validation import whole_number

__all__ = ["Target", "box_score", "find_target", "margin", "rest", "segmentation", "similarity"]

Tensor = Any


@dataclass(frozen=True)
class Target:
    """What to explain. Targets that are equal share what is compiled.

    Attributes:
        name: what it is called in pictures.
        function: takes the model's outputs, its logits (N, n) or its probabilities; returns (N,) or (N, C). Those made
            here are equal by their parameters, one of your own only to itself: keep it, rather than write it anew.
        reads: "outputs" (as the model gives them), "logits" (before the last activation, of the chosen output) or
            "probabilities" (these, through the last activation or that of the loss).
        per_class: whether it gives one number for each of the model's classes. Then it reads two logits -z and z, or
            two probabilities 1 - p and p, where one sigmoid unit tells two classes apart.
    """

    name: str
    function: Callable[[Any], Tensor]
    reads: str = "outputs"
    per_class: bool = False


@dataclass(frozen=True, eq=False)
class Given:
    """A function of outputs with its parameters given; equal to another of the same, arrays by their numbers."""

    function: Callable[..., Tensor]
    parameters: tuple[Any, ...]

    def __call__(self, outputs: Any) -> Tensor:
        """Call the function."""
        return self.function(outputs, *self.parameters)

    @property
    def _key(self) -> tuple[Any, ...]:
        arrays = ((one.shape, one.tobytes()) if isinstance(one, np.ndarray) else one for one in self.parameters)
        return self.function, *arrays

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Given) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def margin(other: int | None = None) -> Target:
    """By how much the logit of a class is above another: what speaks for this one and not for that one.

    One sigmoid unit has two logits, -z and z: the margin of one class over the other is 2z or -2z.

    Args:
        other: index of the other class; default: the best of all others.

    Returns:
        The target.

    Raises:
        InvalidOptionError: no index; and when it is used, a class that the model does not have.

    Example:
        >>> import numpy as np
        >>> from keras_cam import targets
        >>> logits = np.array([[1.0, 5.0, 2.0]], "float32")
        >>> np.asarray(targets.margin(2).function(logits)).tolist()
        [[-1.0, 3.0, 0.0]]
    """
    index = None if other is None else whole_number("other of targets.margin", other, 0)
    return Target("margin" if other is None else f"margin over {index}", Given(_margin, (index,)), "logits", True)


def _margin(logits: Tensor, other: int | None) -> Tensor:
    count = logits.shape[-1]
    if count < 2 or (other or 0) >= count:
        raise InvalidOptionError(
            f"A margin is between two classes. The model has {count} class{'es' if count > 1 else ''}. Received: "
            f"targets.margin({'' if other is None else other})."
        )
    if other is not None:
        return logits - ops.take(logits, [other], axis=-1)
    own = ops.convert_to_tensor(np.eye(count, dtype="float32") * 1e9)
    return logits - ops.max(ops.expand_dims(logits, 1) - ops.cast(own, logits.dtype), axis=-1)


def rest() -> Target:
    """Each logit plus its log-softmax, ReST (Cai 2025, arXiv 2501.06261): ShapleyCAM's own target.

    Returns:
        The target.
    """
    return Target("rest", _rest, "logits", per_class=True)


def _rest(logits: Tensor) -> Tensor:
    return logits + ops.log_softmax(logits)


def segmentation(class_index: int, mask: Any = None) -> Target:
    """A class of a model that scores every pixel: the mean of its logits, over the picture or inside a mask.

    As Seg-Grad-CAM (Vinogradova et al. 2020, arXiv 2002.11434), which sums.

    Args:
        class_index: the class, the last axis of the model's output (N, H, W, classes).
        mask: None (default): the whole picture; "predicted": the pixels that the model gives this class; or an array
            (H, W), true inside, the same for every image.

    Returns:
        The target.

    Raises:
        InvalidOptionError: a class that is no index; a mask that is empty, or none of these.
    """
    index = whole_number("class_index of targets.segmentation", class_index, 0)
    inside = mask
    if not (mask is None or isinstance(mask, str)):
        inside = np.asarray(mask) != 0
    if (isinstance(mask, str) and mask != "predicted") or (isinstance(inside, np.ndarray) and not inside.any()):
        received = mask if isinstance(mask, str) else "a mask with nothing inside"
        raise InvalidOptionError(f"mask must be None, 'predicted' or an array with something inside. Got: {received}.")
    return Target(f"class {index}", Given(_segmentation, (index, inside)), "logits")


def _segmentation(logits: Tensor, class_index: int, mask: Any) -> Tensor:
    classes = logits.shape[-1]
    if class_index >= classes:
        raise InvalidOptionError(f"The model scores {classes} classes. Received: class_index={class_index}.")
    scores = logits[..., class_index]
    axes = tuple(range(1, len(scores.shape)))
    if mask is None:
        return ops.mean(scores, axis=axes)
    if isinstance(mask, str):
        others = ops.max(logits, axis=-1) if classes > 1 else ops.zeros_like(scores)
        inside = ops.stop_gradient(ops.cast(scores >= others, scores.dtype))
        return ops.sum(scores * inside, axis=axes) / ops.maximum(ops.sum(inside, axis=axes), 1)
    if tuple(scores.shape[1:]) != mask.shape:
        raise InvalidOptionError(
            f"The model scores {scores.shape[1:]} pixels. Received: a mask {mask.shape}. One mask serves all images; "
            "explain images with masks of their own one by one."
        )
    return ops.sum(scores * (mask / mask.sum())[None].astype("float32"), axis=axes)


def box_score(box: int, class_index: int, output: str | int | None = None) -> Target:
    """The score that a detector gives one of its boxes for a class.

    Args:
        box: which box: the row of the output (N, boxes, classes), as in the model's raw predictions.
        class_index: the class.
        output: name (or index) of the output with the class scores, such as "cls_logits" of KerasHub's RetinaNet;
            default: the only output.

    Returns:
        The target.

    Raises:
        InvalidOptionError: no index; and when it is used, no such output, box or class.
    """
    indices = (
        whole_number("box of targets.box_score", box, 0),
        whole_number("class_index of targets.box_score", class_index, 0),
    )
    return Target(f"box {indices[0]}, class {indices[1]}", Given(_box_score, (*indices, output)))


def _box_score(outputs: Any, box: int, class_index: int, output: str | int | None) -> Tensor:
    scores = _one_of(outputs, output, "targets.box_score(box, class_index, output)")
    shape = tuple(getattr(scores, "shape", ()))
    sizes = [math.inf if length is None else length for length in shape[1:]]
    if len(shape) != 3 or box >= sizes[0] or class_index >= sizes[1]:
        raise InvalidOptionError(
            f"targets.box_score reads an output (N, boxes, classes). Received: box {box} and class {class_index} of "
            f"an output {shape}. The model gives {_described(outputs)}."
        )
    return scores[:, box, class_index]


def similarity(embedding: Any) -> Target:
    """How alike an image's embedding is to another picture's: the cosine between them, in [-1, 1].

    Args:
        embedding: (D,), or (1, D): what the model gives for the other picture, such as `model.predict(picture)[0]`.

    Returns:
        The target.

    Raises:
        InvalidOptionError: not one vector of finite numbers, or all zeros.
    """
    vector = np.array(embedding, "float32")
    vector = vector[0] if vector.ndim == 2 and len(vector) == 1 else vector
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
    if not np.isfinite(length) or length == 0:
        raise InvalidOptionError(
            f"similarity takes the embedding of one picture, a vector (D,) of finite numbers that are not all zero. "
            f"Received: an array {np.shape(embedding)}. Pass model.predict(picture)[0]."
        )
    return Target("similarity", Given(_similarity, (vector / length,)))


def _similarity(outputs: Any, direction: np.ndarray) -> Tensor:
    outputs = _one_of(outputs, None, "output=, an option of explain beside target=")
    if outputs.shape[-1] != len(direction):
        raise InvalidOptionError(f"The model gives {outputs.shape[-1]} numbers. Received: {len(direction)}.")
    lengths = ops.sqrt(ops.maximum(ops.sum(outputs**2, axis=-1), 1e-12))
    return ops.sum(outputs * direction[None], axis=-1) / lengths


def _described(outputs: Any) -> str:
    """What a model gives, by names (or indices) with shapes, for an error message."""
    given = (f"{name!r} {tuple(getattr(one, 'shape', ()))}" for name, one in _by_name(outputs).items())
    return ", ".join(given).removeprefix("None ")  # which a single output is called


def _by_name(outputs: Any) -> dict[Any, Any]:
    """A model's outputs by name or index; a single one by None."""
    if isinstance(outputs, (list, tuple)):
        return dict(enumerate(outputs))
    return outputs if isinstance(outputs, dict) else {None: outputs}


def _one_of(outputs: Any, output: str | int | None, words: str) -> Tensor:
    """One tensor out of a model's outputs; the only one where none is named."""
    named = _by_name(outputs)
    if output not in named:
        raise InvalidOptionError(
            f"The model gives {_described(outputs)}. Received: output={output!r}. Choose one with {words}."
        )
    return named[output]


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
    if isinstance(target, str) and target in ("logit", *NAMED):
        return NAMED.get(target)
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
