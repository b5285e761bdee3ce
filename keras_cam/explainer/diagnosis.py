"""Say in words what makes a result of little use, and what to do, instead of a black picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from keras import ops

from keras_cam.graph.operations import is_layer
from keras_cam.model.affine import can_fold, fold
from keras_cam.model.cut import Cut
from keras_cam.model.head import Head
from keras_cam.results.explanation import Explanation, Finding
from keras_cam.targets import margin

WARN_SLACK = 10  # a warning is for what is left out of a score, not for the last digit of a bfloat16
FEW_CELLS = 4
SATURATED = 1 - 1e-6
ONE_CELLS_SHARE = 0.8
OVERSHOOT = 0.1  # of the highest value: what a picture of 0..255 may go below zero by being resized
MOST_NORMALIZED = 20  # no picture of a mean of 0 and a deviation of 1 goes so far, and few of 0..255 stay below it
BYTES_SCALE, BYTES_MEAN = 1 / 50, 2.0  # a scale below this, or a mean above that, is one for values of 0..255

ALARMS = ("zero_map", "incomplete")  # what is worth a warning even if nobody looks at `result.diagnosis`


def diagnose(result: Explanation, head: Head, fed: tuple[float, float], prepared: bool) -> tuple[Finding, ...]:
    """Look for what makes a result of little use.

    Args:
        result: the explanation.
        head: what was found in the model.
        fed: lowest and highest value that the model was fed.
        prepared: whether a preprocess function prepared it.

    Returns:
        What was found; empty where all is well.
    """
    # In the order in which they are listed; the largest cell of each map serves two of them.
    largest = _cells(result).max(axis=-1)
    checks = (
        _empty(result, head, largest),
        _incomplete(result, head.tolerance),
        _few_cells(result),
        _within_a_cell(result, largest),
        _saturated(result),
        _place_unknown(result),
        _range(result, head.cut, fed, prepared),
    )
    return tuple(finding for check in checks for finding in check)


def _cells(result: Explanation) -> np.ndarray:
    """The maps with their cells in a row, (N, C, cells), which takes less time to look through."""
    return result.maps.reshape(*result.maps.shape[:2], -1)


def _images(mask: np.ndarray) -> tuple[int, ...]:
    """The images for which a (N, C) mask holds for any class."""
    return tuple(np.flatnonzero(mask.any(axis=1)).tolist())


def _empty(result: Explanation, head: Head, largest: np.ndarray) -> Iterator[Finding]:
    """Maps that are zero everywhere, or nowhere positive, by the largest cell of each."""
    nothing = largest <= 0
    if not nothing.any():
        return
    zero = np.asarray(~_cells(result).any(axis=-1))
    yield from _zero_maps(result, head, zero)
    yield from _nothing_positive(result, nothing & ~zero)


def _zero_maps(result: Explanation, head: Head, zero: np.ndarray) -> Iterator[Finding]:
    images = _images(zero)
    if images:
        index = int(result.class_indices[images[0], np.flatnonzero(zero[images[0]])[0]])
        yield Finding(
            "zero_map",
            f"The map of image {images[0]} is zero everywhere: {_why_zero(result, head, index)}. So it is for "
            f"{len(images)} of {len(result)} images.",
            images,
        )


def _why_zero(result: Explanation, head: Head, class_index: int) -> str:
    """What is zero, and what to do: the weights of a class, its features, or one of the two where weights vary."""
    # The target itself, a method without a bias, a head that does not fold, its weights, and last the features.
    if head.cut.target == margin(class_index):
        return (
            f"it is the margin of {result.class_name(class_index)!r} over itself, which is nothing. Name another class "
            "with classes="
        )
    if np.isnan(result.bias).any():
        return f"{result.method!r} finds nothing at {result.layer!r} that raises the score. Compare method='auto'"
    if not can_fold(head.cut):
        return (
            f"the features of {result.layer!r} or their weights are all zero (a dead ReLU, say), and the score is the "
            "bias alone. Look at the features with keras_cam.build_feature_model(model)"
        )
    weights = ops.convert_to_numpy(fold(head.cut)[0])
    if not weights[:, 0 if head.negates else class_index].any():
        return (
            f"the weights of {result.class_name(class_index)!r} in the head are all zero, and the score is the bias "
            "alone, whatever the picture. Look at keras_cam.class_weights(model): the head is not trained, or was "
            "pruned"
        )
    return (
        f"the features of {result.layer!r} are zero wherever {result.class_name(class_index)!r} has a weight (a dead "
        "ReLU), and the score is the bias alone. Look at the features with keras_cam.build_feature_model(model), and "
        "at what the model was fed; if it is so for every picture, train again with a lower learning rate"
    )


def _nothing_positive(result: Explanation, nothing: np.ndarray) -> Iterator[Finding]:
    images = _images(nothing)
    if images:
        slot = int(np.flatnonzero(nothing[images[0]])[0])
        name, bias = result.class_name(int(result.class_indices[images[0], slot])), result.bias[images[0], slot]
        alone = "" if np.isnan(bias) else f", whose score comes from the bias ({bias:.3g}) alone"
        yield Finding(
            "nothing_positive",
            f"Everything in image {images[0]} speaks against {name!r}{alone}: its heat map is drawn empty. Look at "
            "explain(...).heatmaps(signed=True), or at the class that the image speaks for.",
            images,
        )


def _incomplete(result: Explanation, tolerance: float) -> Iterator[Finding]:
    completeness, slack = result.completeness, WARN_SLACK * tolerance
    if not (1 - completeness > slack).any():
        return
    # Measured against what is summed up, since rounding is: a logit may be a small difference of large sums.
    summed = np.abs(_cells(result)).mean(axis=-1) + np.abs(result.bias)
    largest = np.abs(result.logits).max(axis=1, keepdims=True)
    images = _images((1 - completeness) * largest > slack * np.maximum(largest, summed))
    if images:
        yield Finding(
            "incomplete",
            f"The maps account for {completeness.min():.1%} of the score on the worst image and class: the head "
            f"is {result.head}. See result.completeness.",
            images,
        )


def _few_cells(result: Explanation) -> Iterator[Finding]:
    # One cell knows nothing of where; a few are named with what is too small for them.
    cells = result.maps.shape[2:]
    everything = tuple(range(len(result)))
    if set(cells) == {1}:
        yield Finding(
            "one_cell",
            f"The maps have one cell and cannot say where: {result.layer!r} sees the whole image at once. Feed larger "
            "images, or choose an earlier layer with layer=; keras_cam.inspect_model(model) lists them.",
            everything,
        )
    elif min(cells) < FEW_CELLS:
        yield Finding(
            "few_cells",
            f"The maps have {' x '.join(map(str, cells))} cells: a cell stands for {1 / min(cells):.0%} of the image's "
            "length, and what is smaller cannot be told apart. Feed larger images, or choose an earlier layer with "
            "layer=; keras_cam.inspect_model(model) lists them.",
            everything,
        )


def _within_a_cell(result: Explanation, largest: np.ndarray) -> Iterator[Finding]:
    cells = result.maps.shape[2:]
    if min(cells) < FEW_CELLS:
        return  # said already
    # The largest cell's share of all that speaks for the class; of maps without any it is 0.
    total = np.maximum(_cells(result), 0).sum(axis=-1)
    share = np.maximum(largest, 0) / np.maximum(total, np.finfo("float32").tiny)
    images = _images(share >= ONE_CELLS_SHARE)
    if images:
        slot = int(share[images[0]].argmax())
        name = result.class_name(int(result.class_indices[images[0], slot]))
        yield Finding(
            "within_a_cell",
            f"{share[images[0], slot]:.0%} of what speaks for {name!r} in image {images[0]} lies in one of "
            f"{' x '.join(map(str, cells))} cells: the grid is coarser than what was found, whose outline cannot be "
            "read off the map. Feed larger images, or choose an earlier layer with layer=; "
            "keras_cam.inspect_model(model) lists them.",
            images,
        )


def _saturated(result: Explanation) -> Iterator[Finding]:
    if result.activation not in ("softmax", "sigmoid") or result.probabilities.max() < SATURATED:
        return
    # By the classes that are explained.
    chosen = np.take_along_axis(result.probabilities, result.class_indices, axis=1)
    images = _images(chosen >= SATURATED)
    if images:
        yield Finding(
            "saturated",
            f"The model gives image {images[0]} a probability of {chosen[images[0]].max():.7f}. The map is made from "
            "the score before the softmax or sigmoid, so it still tells; gradients of the probability would vanish.",
            images,
        )


def _place_unknown(result: Explanation) -> Iterator[Finding]:
    # The note of the first such image is told for all.
    grids = ((index, result.grid_at(index)) for index in range(len(result)))
    notes = {index: grid.note for index, grid in grids if grid is not None and grid.source == "even"}
    if notes:
        yield Finding(
            "place_unknown",
            f"Where in the image the cells of {result.layer!r} look cannot be read from the model: "
            f"{next(iter(notes.values()))}. They are drawn as if they shared it evenly, and may belong half a cell or "
            "more away.",
            tuple(notes),
        )


def _range(result: Explanation, cut: Cut, fed: tuple[float, float], prepared: bool) -> Iterator[Finding]:
    # Only pictures, and a model that begins in a way that is known; each range by what it contradicts.
    rescales = _rescales_bytes(cut)
    everything = tuple(range(len(result)))
    if not result.images or result.images[0].ndim != 3 or rescales is None:
        return
    if rescales and fed[1] <= 1 and fed[1] > fed[0]:
        yield Finding(
            "scaled_twice",
            f"The model was fed values of {fed[0]:.3g} to {fed[1]:.3g} and rescales its input itself, as for 0..255. "
            "Give images of 0..255, without a preprocess function that scales them.",
            everything,
        )
    elif rescales and fed[0] < -OVERSHOOT * fed[1]:
        yield Finding(
            "negative_values",
            f"The model was fed values of {fed[0]:.3g} to {fed[1]:.3g} and rescales its input itself, as for 0..255, "
            "where nothing is darker than 0. Give images of 0..255, without a preprocess function that shifts them.",
            everything,
        )
    elif not rescales and not prepared and fed[0] >= 0 and fed[1] > MOST_NORMALIZED:
        yield Finding(
            "not_scaled",
            f"The model was fed values of {fed[0]:.3g} to {fed[1]:.3g} and has no Rescaling or Normalization layer. If "
            "it was trained on [0, 1] or [-1, 1], pass preprocess=, such as keras.applications.NAME.preprocess_input.",
            everything,
        )


def _rescales_bytes(cut: Cut) -> bool | None:
    """Whether the model rescales values of 0..255 before its first convolution; None where it starts in another way."""
    # From the image on, to the first layer that rescales or convolves.
    slot = cut.program.inputs[cut.image_input]
    reached = {slot}
    for step in cut.program.steps:
        if not reached.intersection(step.inputs):
            continue
        reached.update(step.outputs)
        layer = step.operation
        if is_layer(layer, {"Rescaling"}):
            return True if np.abs(layer.scale).max() < BYTES_SCALE else None
        if is_layer(layer, {"Normalization"}):
            return True if float(ops.max(ops.abs(layer.mean))) > BYTES_MEAN else None
        if getattr(layer, "kernel_size", None) is not None:
            return False
    return None
