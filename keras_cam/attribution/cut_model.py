"""What may be asked of a cut model, as functions of tensors: features, scores, and gradients of scores by features.

Everything here is to be traced: `keras_cam.explainer.map_function` compiles it, whole or in parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_cam.attribution.class_activation_map import weighted_sum
from keras_cam.attribution.decomposition import decompose, integrate
from keras_cam.backend import gradient, hessian_product
from keras_cam.errors import UnsupportedModelError
from keras_cam.graph.program import InferenceLayer, Step, ancestors_of, call_step, run
from keras_cam.model.affine import can_fold, fold
from keras_cam.model.cut import reads_channels_first
from keras_cam.model.head import INTEGRATED, Head

Tensor = Any
FEWEST_POINTS, MOST_POINTS = 8, 64  # of an integrated gradient


class ForwardPass(NamedTuple):
    """What one forward pass leaves behind: what the head gives, and all that it reads."""

    logits: Tensor
    output: Tensor
    features: list[Tensor]  # as the model makes them
    head_inputs: list[Tensor]  # where the head begins for each: their averages, or the maps themselves
    side_inputs: list[Tensor]


class CutModel:
    """A cut model whose images and feature maps may be changed, and whose scores may be differentiated by them.

    Scores are float32 (N, classes). `weights` (N, C, classes) choose what is differentiated: C weighted sums of the
    scores of each image, all in one backward pass. Compiled functions take and return flat lists of tensors, so that
    of a forward pass they hand on `values`, those of `forward_slots`; `forward_pass_of` gives them their names.

    Args:
        head: the head of the model.
        num_points: at how many points gradients are taken where they are integrated.
    """

    def __init__(self, head: Head, num_points: int = FEWEST_POINTS) -> None:
        self.num_points = num_points
        self.head, self.cut, self.program = head, head.cut, head.cut.program
        self.image_slot = self.program.inputs[self.cut.image_input]
        self.channels_first = reads_channels_first(self.cut)
        self._feature_slots = [feature.slot for feature in self.cut.features]
        self._steps_after_features = self.program.with_constants(
            self.program.steps_between(self._feature_slots, self.cut.logits)
        )

    # the forward pass, and what it leaves

    @property
    def forward_slots(self) -> list[int]:
        """The slots whose values a `ForwardPass` holds, in its order."""
        head_inputs = [feature.head_input for feature in self.cut.features]
        return [self.cut.logits, self.cut.output, *self._feature_slots, *head_inputs, *self.cut.side_inputs]

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The model's one forward pass: the values of `forward_slots`."""
        steps = ancestors_of(self.forward_slots, self.program.steps)
        return infer(steps, dict(zip(self.program.inputs, inputs, strict=True)), self.forward_slots)

    def forward_pass_of(self, values: Sequence[Tensor]) -> ForwardPass:
        """The values of `forward_slots` by name."""
        logits, output, *tensors = values
        count = len(self._feature_slots)
        return ForwardPass(logits, output, tensors[:count], tensors[count : 2 * count], tensors[2 * count :])

    def decomposition(self, forward_pass: ForwardPass, class_indices: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each score taken apart into a map and a bias: mean(map) + bias is the score.

        Args:
            forward_pass: what the forward pass left.
            class_indices: int32 (N, C); None: all classes, of a head that folds.

        Returns:
            `(maps, bias)`: float32 (N, C, *grid) and (N, C).
        """
        cut, feature = self.cut, self.cut.features[0]
        if not can_fold(cut):
            side_inputs = dict(zip(cut.side_inputs, forward_pass.side_inputs, strict=True))
            read = (self.head, forward_pass.features, forward_pass.head_inputs, side_inputs, class_indices)
            return integrate(*read, self.num_points) if self.head.kind == INTEGRATED else decompose(*read)
        # A head that folds is one matrix: the CAM itself, without a gradient.
        features = feature.layout.to_grid(forward_pass.features[0])
        if class_indices is None:
            weights, bias = fold(cut, self._columns_of_classes)
            maps, bias = weighted_sum(features, weights, per_image=False), bias[None]
        else:
            weights, bias = fold(cut, lambda matrix: ops.take(self._columns_of_classes(matrix), class_indices, axis=-1))
            maps = weighted_sum(features, ops.moveaxis(weights, 0, 1), per_image=True)
        maps = ops.moveaxis(maps, -1, 1)
        return maps, ops.broadcast_to(bias, ops.shape(maps)[:2])

    def _columns_of_classes(self, matrix: Tensor) -> Tensor:
        """The columns of the classes: one sigmoid unit stands for two, class 0 with the sign turned."""
        return ops.concatenate([-matrix, matrix], axis=-1) if self.head.negates else matrix

    # images

    def check_pixels(self, num_axes: int | None = None) -> None:
        """Raise where the model's input has no pixels, or other axes than so many."""
        spec = self.program.specs[self.image_slot]
        if len(spec.shape) < 3 or num_axes not in (None, len(spec.shape) - 2):
            wanted = "one or more" if num_axes is None else f"{num_axes}, as its feature maps have,"
            raise UnsupportedModelError(
                f"This method works on the pixels of the image, and needs an input with {wanted} axes for places. "
                f"Received: input {spec.name!r} {self.program.shape(self.image_slot)} of model {self.program.name!r}. "
                "Use a method of the feature maps, such as 'grad_cam'."
            )

    def images_of(self, inputs: Sequence[Tensor]) -> Tensor:
        """The images (N, H, W, K) among the inputs, float32, channels last."""
        images = inputs[self.cut.image_input]
        return ops.cast(ops.moveaxis(images, 1, -1) if self.channels_first else images, "float32")

    def with_images(self, inputs: Sequence[Tensor], images: Tensor) -> list[Tensor]:
        """The inputs with other images, channels last; rounded where the model takes integers."""
        changed, dtype = list(inputs), self.program.specs[self.image_slot].dtype
        images = ops.moveaxis(images, -1, 1) if self.channels_first else images
        if "int" in dtype:
            images = ops.clip(ops.round(images), np.iinfo(dtype).min, np.iinfo(dtype).max)
        changed[self.cut.image_input] = ops.cast(images, dtype)
        return changed

    # scores

    def scores(self, inputs: Sequence[Tensor]) -> Tensor:
        """Scores of inputs."""
        steps = ancestors_of([self.cut.logits], self.program.steps)
        values = dict(zip(self.program.inputs, inputs, strict=True))
        return self.head.scores(infer(steps, values, [self.cut.logits])[0])

    def scores_of_features(self, features: Sequence[Tensor], side_inputs: Sequence[Tensor]) -> Tensor:
        """Scores of feature maps, as the model makes them: what comes before them is not run."""
        values = dict(zip((*self._feature_slots, *self.cut.side_inputs), (*features, *side_inputs), strict=True))
        return self.head.scores(infer(self._steps_after_features, values, [self.cut.logits])[0])

    def scores_of_changed_images(
        self,
        index: int,
        change: Callable[..., Tensor],
        inputs: Sequence[Tensor],
        values: Sequence[Tensor],
        class_indices: Tensor,
        rows: Tensor,
        channels: Tensor,
        *extras: Tensor,
    ) -> Tensor:
        """Scores (B, C) of the images in `rows` (B,), each changed by a channel (B,) of feature map `index`."""
        # The channel of each row, out of all channels of all images in one axis.
        features = self.cut.features[index].layout.to_grid(self.forward_pass_of(values).features[index])
        by_channel = ops.moveaxis(features, -1, 1)
        grid = ops.shape(by_channel)[2:]
        chosen = ops.take(ops.reshape(by_channel, (-1, *grid)), rows * features.shape[-1] + channels, axis=0)
        # The images of the rows, changed by it, through the whole model.
        inputs = [ops.take(tensor, rows, axis=0) for tensor in inputs]
        changed = self.with_images(inputs, change(self.images_of(inputs), chosen, *extras))
        return ops.take_along_axis(self.scores(changed), ops.take(class_indices, rows, axis=0), axis=-1)

    def scores_of_ablated_channels(
        self, index: int, values: Sequence[Tensor], class_indices: Tensor, rows: Tensor, channels: Tensor
    ) -> Tensor:
        """Scores (B, C) of the images in `rows` (B,), each with a channel (B,) of feature map `index` set to zero."""
        forward_pass = self.forward_pass_of([ops.take(tensor, rows, axis=0) for tensor in values])
        feature, tensor = self.cut.features[index], forward_pass.features[index]
        # 0 for the channel of each row and 1 for all others, over all its cells.
        grid = feature.layout.to_grid(tensor)
        factors = 1 - ops.one_hot(channels, grid.shape[-1], dtype="float32")
        factors = ops.reshape(factors, (-1, *[1] * (len(grid.shape) - 2), grid.shape[-1]))
        # The head alone, by the ablated feature map in the layout that it reads.
        features = [*forward_pass.features]
        features[index] = feature.layout.from_grid(grid * factors, tensor)
        scores = self.scores_of_features(features, forward_pass.side_inputs)
        return ops.take_along_axis(scores, ops.take(class_indices, rows, axis=0), axis=-1)

    # gradients of scores

    def gradients(self, index: int, forward_pass: ForwardPass, weights: Tensor) -> Tensor:
        """Gradient of weighted scores by one feature map (N, C, *grid, K); what comes before it is not run.

        Where the head reads only the average of the map it is the same for every cell, and its grid has length 1.
        """
        point, total = self._weighted_scores(index, forward_pass, weights)
        (by_input,), _ = gradient(lambda points: (total(points[0]), []), [point], self.head.gradient_scale)
        return self._gradient_by_cell(index, forward_pass, by_input, weights)

    def hessian_products(self, index: int, forward_pass: ForwardPass, weights: Tensor) -> tuple[Tensor, Tensor]:
        """`gradients`, and in the same form the Hessian times the feature map."""
        point, total = self._weighted_scores(index, forward_pass, weights)
        by_input, product = hessian_product(total, point, self.head.gradient_scale)
        by_cell = self._gradient_by_cell(index, forward_pass, by_input, weights)
        return by_cell, self._gradient_by_cell(index, forward_pass, product, weights)

    def _weighted_scores(
        self, index: int, forward_pass: ForwardPass, weights: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Where the head begins for one feature map, for each class, and the sum of weighted scores as a function."""
        # Every class has its own copy of what the head reads, so that one backward pass serves all.
        slots = [*(feature.head_input for feature in self.cut.features), *self.cut.side_inputs]
        tensors, flat_weights = per_class([*forward_pass.head_inputs, *forward_pass.side_inputs], weights)

        def total(point: Tensor) -> Tensor:
            values = {**dict(zip(slots, tensors, strict=True)), slots[index]: point}
            return ops.sum(self.head.scores(infer(self.cut.steps, values, [self.cut.logits])[0]) * flat_weights)

        return tensors[index], total

    def _gradient_by_cell(self, index: int, forward_pass: ForwardPass, by_input: Tensor, weights: Tensor) -> Tensor:
        """A gradient by where the head begins as one by the cells of the feature map, (N, C, *grid, K)."""
        feature = self.cut.features[index]
        if not feature.pooled:
            return by_class(feature.layout.to_grid(by_input), weights)
        # By the average: what a cell adds to that is the same for all cells, and one stands for them.
        *grid, channels = ops.shape(feature.layout.to_grid(forward_pass.features[index]))[1:]
        by_input = ops.reshape(ops.cast(by_input, "float32"), (-1, ops.shape(weights)[1], *[1] * len(grid), channels))
        return by_input / ops.cast(math.prod(grid), "float32")


def infer(
    steps: Sequence[Step],
    values: Mapping[int, Tensor],
    wanted: Sequence[int],
    call: Callable[[Step, tuple[Any, ...], dict[str, Any]], Any] = call_step,
) -> list[Tensor]:
    """Run steps as inside `model.predict`; returns the values of the slots `wanted`."""
    slots = list(values)

    # Inside a layer in inference mode, which layers that ask for the mode of the call around them see.
    def inner(*tensors: Tensor) -> list[Tensor]:
        results = run(steps, dict(zip(slots, tensors, strict=True)), call)
        return [results[slot] for slot in wanted]

    return list(InferenceLayer(inner)(*values.values()))


def per_class(tensors: Sequence[Tensor], weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """Tensors (N, ...) repeated for each of C classes as (N * C, ...), and weights (N, C, n) as (N * C, n)."""
    _, count, classes = ops.shape(weights)
    return [ops.repeat(tensor, count, axis=0) for tensor in tensors], ops.reshape(weights, (-1, classes))


def by_class(tensor: Tensor, weights: Tensor) -> Tensor:
    """A tensor (N * C, ...) as (N, C, ...), C the classes of weights (N, C, n)."""
    return ops.reshape(tensor, (-1, ops.shape(weights)[1], *ops.shape(tensor)[1:]))


def in_parts(count: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Parts of one width, at most `most`, that cover a count; with each, what of it the parts before have not had.

    >>> [(part.start, part.stop, new.start) for part, new in in_parts(7, 3)]
    [(0, 3, 0), (3, 6, 0), (4, 7, 2)]
    """
    width = -(-count // -(-count // max(most, 1)))
    for start in range(0, count, width):
        first = min(start, count - width)  # one width: what is compiled for each shape is compiled once
        yield slice(first, first + width), slice(start - first, None)
