"""What a method is shown of one batch: features, scores and gradients, each computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.attribution.cut_model import CutModel, ForwardPass, in_parts
from keras_cam.attribution.input_gradients import has_rectifiers, image_gradients, input_and_bias_gradients
from keras_cam.attribution.resample import stretch
from keras_cam.errors import UnsupportedModelError

Tensor = Any
Run = Callable[..., Any]  # runs a function of tensors, compiled: run(key, function, inputs, read, *others)


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
        network: CutModel,
        run: Run | None,
        inputs: Sequence[Tensor],
        read: Sequence[Tensor],
        class_indices: Tensor,
        *,
        index: int = 0,
        batch_size: int = 32,
        verbose: int = 0,
    ) -> None:
        self.class_indices, self.batch_size = class_indices, batch_size
        self._network, self._run_compiled, self._inputs, self._read = network, run, list(inputs), list(read)
        self._index, self._verbose = index, verbose

    @property
    def images(self) -> Tensor:
        """The images as the model is fed them, (N, H, W, K)."""
        return self._network.picture(self._inputs)

    @cached_property
    def features(self) -> Tensor:
        """The feature map, (N, *grid, K)."""
        return self._network.cut.features[self._index].layout.to_grid(self._reading.features[self._index])

    @cached_property
    def all_scores(self) -> Tensor:
        """The scores of all n classes, (N, n)."""
        return self._network.head.scores(self._reading.logits)

    @property
    def scores(self) -> Tensor:
        """The scores of the chosen classes, (N, C)."""
        return ops.take_along_axis(self.all_scores, self.class_indices, axis=-1)

    def decomposition(self) -> tuple[Tensor, Tensor]:
        """The scores taken apart: maps (N, C, *grid) and biases (N, C), mean(map) + bias = score where that can be."""
        return self._network.decomposition(self._reading, self.class_indices)

    def gradients(self, weights: Tensor | None = None, *, per_cell: bool = True) -> Tensor:
        """Gradient of each chosen score by the feature map: one backward pass for all, from the scores to the map.

        Args:
            weights: (N, C, n), to differentiate weighted sums of the scores instead of the chosen ones.
            per_cell: False gives one gradient in place of as many equal ones where the head reads only the average of
                the feature map: what is made of it need not be made for each cell.

        Returns:
            (N, C, *grid, K); where `per_cell` is False and every cell has the same, (N, C, 1, ..., K).
        """
        network, index = self._network, self._index  # what is compiled is kept, and must not hold this batch
        gradients = self._by_class(
            "gradients", lambda _, read, each: network.gradients(index, network.reading(read), each), weights
        )
        if not per_cell:
            return gradients
        *grid, channels = ops.shape(self.features)[1:]
        return ops.broadcast_to(gradients, (*ops.shape(gradients)[:2], *grid, channels))

    def hessian_products(self) -> tuple[Tensor, Tensor]:
        """`gradients(per_cell=False)`, and in the same form the Hessian of each score times the feature map."""
        network, index = self._network, self._index
        both: tuple[Tensor, Tensor] = self._by_class(
            "hessian_products", lambda _, read, each: network.hessian_products(index, network.reading(read), each)
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
        self._network.check_pixels()
        if guided and not has_rectifiers(self._network):
            raise UnsupportedModelError(
                f"Model {self._network.program.name!r} has no ReLU, so that guided backpropagation is the plain "
                "gradient. Use method='saliency' or 'grad_cam'."
            )
        network = self._network
        inputs = self._inputs if images is None else network.with_picture(self._inputs, images)
        return self._by_class(
            ("image_gradients", guided),
            lambda given, _, each: image_gradients(network, given, each, guided=guided),
            inputs=inputs,
        )

    def input_and_bias_gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Image x gradient (N, C, H, W, K), and bias x gradient (N, C, h, w, k) of each layer with a place."""
        network = self._network
        network.check_pixels()
        parts: tuple[Tensor, list[Tensor]] = self._by_class(
            "input_and_bias_gradients", lambda given, _, each: input_and_bias_gradients(network, given, each)
        )
        return parts

    def at(self, images: Tensor) -> View:
        """The same view of other images (N, H, W, K), the classes kept: one forward pass."""
        network = self._network
        inputs = network.with_picture(self._inputs, images)
        read = self._run("read", lambda inputs, read: network.read(inputs), inputs=inputs)
        return self._other(inputs, read, self._index)

    def feature_maps(self) -> list[View]:
        """This view at each of the feature maps of a model that has several, else itself alone."""
        return [self._other(self._inputs, self._read, index) for index in range(len(self._network.cut.features))]

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
                It is compiled, and that is kept by the function: give one that lives on, of a module say. One written
                anew for each call is compiled anew for each call.
            channels: int (N, k), which channels of each image.
            *extras: each called with the number of the sample and the channels (B,) of a batch for a float32 array
                (B, ...).
            samples: how many times over, with other extras each time.

        Returns:
            (N, C, k), the mean over the samples.
        """
        self._network.check_pixels(len(self.features.shape) - 2)
        function = partial(self._network.rescored, self._index, change)
        return self._batched(("rescore", change), function, channels, extras, samples)

    def ablate(self, channels: np.ndarray) -> np.ndarray:
        """Scores with one channel of the feature map at a time set to zero: the head alone is run.

        Args:
            channels: int (N, k), which channels of each image.

        Returns:
            (N, C, k).
        """
        return self._batched("ablate", partial(self._network.ablated, self._index), channels)

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
        self._network.check_pixels(len(maps.shape) - 2)
        return stretch(maps, _sizes(self.images), 2)

    @property
    def _reading(self) -> ForwardPass:
        return self._network.reading(self._read)

    def _other(self, inputs: Sequence[Tensor], read: Sequence[Tensor], index: int) -> View:
        options = {"index": index, "batch_size": self.batch_size, "verbose": self._verbose}
        return View(self._network, self._run_compiled, inputs, read, self.class_indices, **options)

    def _weights(self, weights: Tensor | None) -> Tensor:
        if weights is not None:
            return ops.cast(weights, "float32")
        return ops.one_hot(self.class_indices, self._network.head.num_classes, dtype="float32")

    def _run(self, key: Any, function: Run, *others: Tensor, inputs: Sequence[Tensor] | None = None) -> Any:
        if self._run_compiled is None:
            return function(inputs or self._inputs, self._read, *others)
        return self._run_compiled((key, self._index), function, inputs or self._inputs, self._read, *others)

    def _by_class(
        self, key: Any, function: Run, weights: Tensor | None = None, inputs: Sequence[Tensor] | None = None
    ) -> Any:
        """What a function of weights (N, C, n) gives for each class, so many at once that `batch_size` holds."""
        weights = self._weights(weights)
        images, count, _ = weights.shape
        if self._run_compiled is None or images * count <= self.batch_size:
            return self._run(key, function, weights, inputs=inputs)
        results = [
            keras.tree.map_structure(
                lambda tensor, new=new: tensor[:, new], self._run(key, function, weights[:, part], inputs=inputs)
            )
            for part, new in in_parts(count, self.batch_size // images)
        ]
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
        channels = np.asarray(channels, "int32")
        rows = np.repeat(np.arange(len(channels), dtype="int32"), channels.shape[1])
        flat, size = channels.reshape(-1), min(self.batch_size, channels.size)
        batches, results = -(-len(flat) // size), []
        for step in self.steps(samples * batches):
            sample, batch = divmod(step, batches)
            part = np.arange(batch * size, (batch + 1) * size) % len(flat)  # the last batch is filled up
            drawn = [np.asarray(extra(sample, flat[part]), "float32") for extra in extras]
            tensors = (ops.convert_to_tensor(array) for array in (rows[part], flat[part], *drawn))
            results.append(ops.convert_to_numpy(self._run(key, function, self.class_indices, *tensors)))
        scores = np.stack(results).reshape(samples, batches * size, -1)[:, : len(flat)].mean(axis=0)
        return np.moveaxis(scores.reshape(*channels.shape, -1), 2, 1)


def _sizes(images: Tensor) -> list[Any]:
    return [ops.shape(images)[axis] for axis in range(1, len(images.shape) - 1)]
