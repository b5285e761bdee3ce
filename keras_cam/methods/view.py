"""What a method is shown of one batch: features, scores and gradients, each computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.attribution.cut_model import CutModel, ForwardPass, in_parts
from keras_cam.attribution.feature_layout import to_grid
from keras_cam.attribution.input_gradients import has_rectifiers, image_gradients, input_and_bias_gradients
from keras_cam.attribution.multiscale import add_on_finest_grid
from keras_cam.attribution.resample import stretch
from keras_cam.errors import UnsupportedModelError

Tensor = Any
# Runs a function of tensors, compiled: run(key, function, inputs, values, *tensors), `values` those of a forward pass.
Run = Callable[..., Any]


class View:
    """One batch of N images in a model, at one feature map, with C classes each.

    Arrays are float32 with channels last, `grid` stands for the spatial axes of the feature map (h, w for pictures).
    A class is a score of the model's target: a logit, unless `target=` says otherwise.

    Attributes:
        class_indices: int (N, C).
        batch_size: how many changed images or feature maps may be run at once, and how many images times classes may
            be differentiated. Where the method is compiled whole, whoever calls it sees to that.
    """

    def __init__(
        self,
        cut_model: CutModel,
        run: Run | None,
        inputs: Sequence[Tensor],
        values: Sequence[Tensor],
        class_indices: Tensor,
        *,
        index: int = 0,
        batch_size: int = 32,
        verbose: int = 0,
    ) -> None:
        self.class_indices, self.batch_size = class_indices, batch_size
        self._cut_model, self._run_compiled, self._inputs, self._values = cut_model, run, list(inputs), list(values)
        self._index, self._verbose = index, verbose

    @property
    def images(self) -> Tensor:
        """The images as the model is fed them, (N, H, W, K)."""
        return self._cut_model.images_of(self._inputs)

    @cached_property
    def features(self) -> Tensor:
        """The feature map, (N, *grid, K)."""
        return to_grid(self._cut_model.cut.features[self._index], self._forward_pass.features[self._index])

    @cached_property
    def all_scores(self) -> Tensor:
        """The scores of all n classes, (N, n)."""
        return self._cut_model.head.scores(self._forward_pass.logits)

    @property
    def scores(self) -> Tensor:
        """The scores of the chosen classes, (N, C)."""
        return ops.take_along_axis(self.all_scores, self.class_indices, axis=-1)

    def decomposition(self) -> tuple[Tensor, Tensor]:
        """The scores taken apart: maps (N, C, *grid) and biases (N, C), mean(map) + bias = score where that can be."""
        return self._cut_model.decomposition(self._forward_pass, self.class_indices)

    def gradients(self, weights: Tensor | None = None, *, per_cell: bool = True) -> Tensor:
        """Gradient of each chosen score by the feature map: one backward pass for all, from the scores to the map.

        Args:
            weights: (N, C, n), to differentiate weighted sums of the scores instead of the chosen ones.
            per_cell: False gives one gradient in place of as many equal ones where the head reads only the average of
                the feature map: what is made of it need not be made for each cell.

        Returns:
            (N, C, *grid, K); where `per_cell` is False and every cell has the same, (N, C, 1, ..., K).
        """
        cut_model, index = self._cut_model, self._index  # what is compiled is cached, and must not hold this batch
        gradients = self._by_class(
            "gradients",
            lambda _, values, part: cut_model.gradients(index, cut_model.forward_pass_of(values), part),
            weights,
        )
        if not per_cell:
            return gradients
        # A gradient that all cells share is written out for each.
        *grid, channels = ops.shape(self.features)[1:]
        return ops.broadcast_to(gradients, (*ops.shape(gradients)[:2], *grid, channels))

    def hessian_products(self) -> tuple[Tensor, Tensor]:
        """`gradients(per_cell=False)`, and in the same form the Hessian of each score times the feature map."""
        cut_model, index = self._cut_model, self._index
        both: tuple[Tensor, Tensor] = self._by_class(
            "hessian_products",
            lambda _, values, part: cut_model.hessian_products(index, cut_model.forward_pass_of(values), part),
        )
        return both

    def image_gradients(self, images: Tensor | None = None, *, guided: bool = False) -> Tensor:
        """Gradient of each chosen score by the image, through the whole model.

        Args:
            images: (N, H, W, K), other images to take it at.
            guided: True lets a ReLU pass back only what is positive both ways.

        Returns:
            (N, C, H, W, K).

        Raises:
            UnsupportedModelError: the input has no pixels; or `guided`, and the model has no ReLU to guide.
        """
        cut_model = self._cut_model
        cut_model.check_pixels()
        if guided and not has_rectifiers(cut_model):
            raise UnsupportedModelError(
                f"Model {cut_model.program.name!r} has no ReLU, so that guided backpropagation is the plain gradient. "
                "Use method='saliency' or 'grad_cam'."
            )
        inputs = self._inputs if images is None else cut_model.with_images(self._inputs, images)
        return self._by_class(
            ("image_gradients", guided),
            lambda inputs, _, part: image_gradients(cut_model, inputs, part, guided=guided),
            inputs=inputs,
        )

    def input_and_bias_gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Image x gradient (N, C, H, W, K), and bias x gradient (N, C, h, w, k) of each layer that is spatial."""
        cut_model = self._cut_model
        cut_model.check_pixels()
        parts: tuple[Tensor, list[Tensor]] = self._by_class(
            "input_and_bias_gradients", lambda inputs, _, part: input_and_bias_gradients(cut_model, inputs, part)
        )
        return parts

    def at(self, images: Tensor) -> View:
        """The same view of other images (N, H, W, K), the classes kept: one forward pass."""
        cut_model = self._cut_model
        inputs = cut_model.with_images(self._inputs, images)
        values = self._run("forward", lambda inputs, _: cut_model.forward(inputs), inputs=inputs)
        return self._view_of(inputs, values, self._index)

    def feature_maps(self) -> list[View]:
        """This view at each of the feature maps of a model that has several, else itself alone."""
        return [self._view_of(self._inputs, self._values, index) for index in range(len(self._cut_model.cut.features))]

    def add_on_finest_grid(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C, *grid), one for each of `feature_maps()`, added up on the finest of their grids."""
        return add_on_finest_grid(maps, self._cut_model.cut)

    def rescore(
        self,
        change: Callable[..., Tensor],
        channels: np.ndarray,
        *extras: Callable[[int, np.ndarray], Any],
        samples: int = 1,
    ) -> np.ndarray:
        """Scores of images changed by one channel of the feature map at a time, `batch_size` at once.

        Args:
            change: takes images (B, H, W, K), the channel (B, *grid) of each, and the extras (B, ...); returns images.
                It is compiled, and that is cached by the function: give one that lives on, of a module say. One
                written anew for each call is compiled anew for each call.
            channels: int (N, k), which channels of each image.
            *extras: each called with the number of the sample and the channels (B,) of a batch for a float32 array
                (B, ...).
            samples: how many times over, with other extras each time.

        Returns:
            (N, C, k), the mean over the samples.
        """
        # The channel is a mask of the image, and needs as many axes.
        self._cut_model.check_pixels(len(self.features.shape) - 2)
        function = partial(self._cut_model.scores_of_changed_images, self._index, change)
        return self._batched(("rescore", change), function, channels, extras, samples)

    def ablate(self, channels: np.ndarray) -> np.ndarray:
        """Scores with one channel of the feature map at a time set to zero: the head alone is run.

        Args:
            channels: int (N, k), which channels of each image.

        Returns:
            (N, C, k).
        """
        cut_model, index = self._cut_model, self._index

        def ablated(_: Any, values: Sequence[Tensor], *tensors: Tensor) -> Tensor:
            return cut_model.scores_of_ablated_channels(index, values, *tensors)

        return self._batched("ablate", ablated, channels)

    def steps(self, count: int) -> Any:
        """Count up to a number, with a progress bar where it is asked for.

        Args:
            count: how far.

        Yields:
            0, 1, ...
        """
        bar = keras.utils.Progbar(count, unit_name="batch") if self._verbose else None
        for step in range(count):
            yield step
            if bar is not None:
                bar.update(step + 1)

    def stretched(self, maps: Tensor) -> Tensor:
        """Maps (N, C, *grid) linearly stretched to the size of the images, (N, C, H, W)."""
        self._cut_model.check_pixels(len(maps.shape) - 2)
        return stretch(maps, ops.shape(self.images)[1:-1], 2)

    @property
    def _forward_pass(self) -> ForwardPass:
        return self._cut_model.forward_pass_of(self._values)

    def _view_of(self, inputs: Sequence[Tensor], values: Sequence[Tensor], index: int) -> View:
        """A view of the same classes in the same model, by a forward pass of these inputs, at one feature map."""
        options = {"index": index, "batch_size": self.batch_size, "verbose": self._verbose}
        return View(self._cut_model, self._run_compiled, inputs, values, self.class_indices, **options)

    def _weights(self, weights: Tensor | None) -> Tensor:
        """Weights (N, C, n) of the scores; by default those of the chosen classes alone."""
        if weights is not None:
            return ops.cast(weights, "float32")
        return ops.one_hot(self.class_indices, self._cut_model.head.num_classes, dtype="float32")

    def _run(self, key: Any, function: Run, *tensors: Tensor, inputs: Sequence[Tensor] | None = None) -> Any:
        """Run a function of inputs, values of a forward pass and tensors: compiled, or as part of what is compiled."""
        # The key stands for the function, which is a new object at each call, at this feature map.
        if self._run_compiled is None:
            return function(inputs or self._inputs, self._values, *tensors)
        return self._run_compiled((key, self._index), function, inputs or self._inputs, self._values, *tensors)

    def _by_class(
        self, key: Any, function: Run, weights: Tensor | None = None, inputs: Sequence[Tensor] | None = None
    ) -> Any:
        """What a function of weights (N, C, n) gives for each class, so many at once that `batch_size` holds."""
        weights = self._weights(weights)
        images, count, _ = weights.shape
        # Inside a function that is compiled whole, who calls that has seen to the number of classes.
        if self._run_compiled is None or images * count <= self.batch_size:
            return self._run(key, function, weights, inputs=inputs)
        # Some classes at a time, joined again along their axis in each of the tensors that come.
        results = []
        for part, new in in_parts(count, self.batch_size // images):
            result = self._run(key, function, weights[:, part], inputs=inputs)
            results.append(keras.tree.map_structure(lambda tensor, new=new: tensor[:, new], result))
        return keras.tree.map_structure(lambda *parts: ops.concatenate(parts, axis=1), *results)

    def _batched(
        self,
        key: Any,
        function: Run,
        channels: np.ndarray,
        extras: Sequence[Callable[[int, np.ndarray], Any]] = (),
        samples: int = 1,
    ) -> np.ndarray:
        """A function of rows and channels for all of them, in batches of one size, its mean over samples."""
        # One image and one channel to a row; the last batch is filled up with the first ones again.
        channels = np.asarray(channels, "int32")
        rows = np.repeat(np.arange(len(channels), dtype="int32"), channels.shape[1])
        flat, size = channels.reshape(-1), min(self.batch_size, channels.size)
        num_batches, results = -(-len(flat) // size), []

        for step in self.steps(samples * num_batches):
            sample, batch = divmod(step, num_batches)
            part = np.arange(batch * size, (batch + 1) * size) % len(flat)
            drawn = [np.asarray(extra(sample, flat[part]), "float32") for extra in extras]
            tensors = (ops.convert_to_tensor(array) for array in (rows[part], flat[part], *drawn))
            results.append(ops.convert_to_numpy(self._run(key, function, self.class_indices, *tensors)))

        # (samples x batches, size, C) to (N, C, k), without what the last batch was filled up with.
        scores = np.stack(results).reshape(samples, num_batches * size, -1)[:, : len(flat)].mean(axis=0)
        return np.moveaxis(scores.reshape(*channels.shape, -1), 2, 1)
