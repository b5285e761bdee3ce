"""`compute_cam`, `explain` and the `Explainer` behind them: images in, maps out."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_cam.classes import adds_an_axis, resolve_classes
from keras_cam.errors import InvalidClassError, InvalidImageError, InvalidOptionError, UnsupportedModelError
from keras_cam.explanation import Explanation
from keras_cam.images import load_images, to_display, to_input, value_range_of
from keras_cam.maps import MapFunction, Maps

_MAP_FUNCTIONS: weakref.WeakKeyDictionary[keras.Model, MapFunction] = weakref.WeakKeyDictionary()


class Explainer:
    """Explains images by one model: cut and compiled once, called many times, following the model's training.

    Args:
        model: a built Keras model that ends in global average pooling and affine layers.
        class_names: names of the model's classes, in order.
        preprocess: called on a float32 batch (N, H, W, K) at the model's size, 0..255 where the images were uint8;
            returns what the model wants, such as `keras.applications.resnet50.preprocess_input`.
        value_range: (black, white) of the images, to draw them; default: 0..255 for integers, for floats the first of
            (0, 1), (-1, 1), (0, 255) that holds them all.
        batch_size: how many images go through the model at once.

    Raises:
        UnsupportedModelError: the model has no exact CAM; the message names what was found.

    Example:
        >>> import keras, numpy as np
        >>> from keras_cam import Explainer
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> result = Explainer(model)(np.ones((1, 8, 8, 3)), classes="all")
        >>> result.maps.shape
        (1, 2, 6, 6)
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        class_names: Sequence[str] | None = None,
        preprocess: Callable[[np.ndarray], Any] | None = None,
        value_range: tuple[float, float] | None = None,
        batch_size: int = 32,
    ) -> None:
        if batch_size < 1:
            raise InvalidOptionError(f"batch_size must be 1 or more. Received: {batch_size}.")
        self._map_function = _map_function_of(model)
        self._model_name = model.name
        self.num_classes = 2 if self._map_function.head.is_binary else self._map_function.head.num_outputs
        self.class_names = None if class_names is None else tuple(map(str, class_names))
        self.preprocess, self.value_range, self.batch_size = preprocess, value_range, batch_size
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise InvalidClassError(
                f"class_names must name each of the {self.num_classes} classes of model {model.name!r}. "
                f"Received: {len(self.class_names)} names."
            )

    def __call__(self, images: Any, classes: Any = "top1") -> Explanation:
        """Explain images.

        Args:
            images: one image or a batch: a path, PIL image, array or tensor (H, W, K) or (N, H, W, K), or a list of
                these; any size (resized to the model's input), integers or floats (values are fed as they are).
            classes: index, name, "top1" (default), "topK", "all", a list of these for every image, or an integer array
                (N,) or (N, C) of classes per image.

        Returns:
            The explanation.

        Raises:
            InvalidImageError: images that cannot be fed to the model.
            InvalidClassError: a class that the model does not have.
        """
        pictures, _ = load_images(images)
        return self.explain_loaded(pictures, classes)

    def explain_loaded(self, pictures: list[np.ndarray], classes: Any) -> Explanation:
        """Explain images that `load_images` has loaded; else as calling the explainer."""
        indices = resolve_classes(classes, len(pictures), self.num_classes, self.class_names)
        parts = list(self._parts(pictures, indices))
        grids = {part.maps.shape[2:] for part in parts}
        if len(grids) > 1:
            raise InvalidImageError(
                f"Images of several sizes give maps of several sizes {sorted(grids)} in model {self._model_name!r}, "
                "which takes any size. Resize the images to one size, or explain them one by one."
            )
        found = Maps(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        if not np.isfinite(found.logits).all():
            raise UnsupportedModelError(
                f"Model {self._model_name!r} gives scores that are not finite for image "
                f"{int(np.argmin(np.isfinite(found.logits).all(axis=1)))}: {found.logits.min()} to "
                f"{found.logits.max()}. Look for NaN in its weights, or a preprocess function that overflows."
            )
        low_high = value_range_of(pictures) if self.value_range is None else self.value_range
        return Explanation(
            maps=found.maps,
            class_indices=found.class_indices,
            logits=found.logits,
            probabilities=found.predictions,
            bias=found.bias,
            images=tuple(to_display(picture, low_high) for picture in pictures),
            method="cam",
            layer=self._map_function.head.layer,
            class_names=self.class_names,
        )

    def _parts(self, pictures: list[np.ndarray], indices: np.ndarray | None) -> Iterator[Maps]:
        """Maps of consecutive pictures of one size, `batch_size` at a time."""
        program = self._map_function.head.program
        height, width, channels = program.shape(program.inputs[0])[1:]
        size = None if height is None or width is None else (height, width)
        start = 0
        while start < len(pictures):
            batch = to_input(pictures[start : start + self.batch_size], size=size, channels=channels)
            stop = next((i for i, image in enumerate(batch) if image.shape != batch[0].shape), len(batch))
            fed = np.stack(batch[:stop])
            if self.preprocess is not None:
                fed = np.asarray(self.preprocess(fed))
            yield self._map_function(
                [fed.astype(program.specs[program.inputs[0]].dtype)],
                None if indices is None else indices[start : start + stop],
            )
            start += stop


def explain(model: keras.Model, images: Any, *, classes: Any = "top1", **options: Any) -> Explanation:
    """Explain images by a model: maps, scores and pictures in one result.

    Args:
        model: a built Keras model that ends in global average pooling and affine layers.
        images: one image or a batch: paths, PIL images, arrays or tensors, of any size.
        classes: index, name, "top1" (default), "topK", "all", a list of these for every image, or an integer array
            (N,) or (N, C) of classes per image.
        **options: `class_names`, `preprocess`, `value_range`, `batch_size`, as for `Explainer`.

    Returns:
        The explanation: signed maps in logit units, with `.heatmaps()`, `.overlays()`, `.plot()` and `.save()`.

    Raises:
        UnsupportedModelError: the model has no exact CAM; the message names what was found.
        InvalidImageError: images that cannot be fed to the model.
        InvalidClassError: a class that the model does not have.

    Example:
        >>> import keras, numpy as np
        >>> from keras_cam import explain
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")])
        >>> result = explain(model, np.ones((2, 8, 8, 3)), classes="top2")
        >>> result.maps.shape, bool((result.completeness > 0.99999).all())
        ((2, 2, 6, 6), True)
    """
    return Explainer(model, **options)(images, classes)


def compute_cam(model: keras.Model, image: Any, class_index: Any = None, **options: Any) -> Any:
    """Compute the class activation map of an image at its own size (Zhou et al. 2016, arXiv 1512.04150).

    The compiled function is kept, weakly, per model: a second call costs a forward pass.

    Args:
        model: a built Keras model that ends in global average pooling and affine layers.
        image: one image (path, PIL image, array or tensor (H, W, K)) or a batch of them; any size.
        class_index: index, name, "topK", "all", a list of these, or one index per image as an array; None (default)
            is the predicted class of each image.
        **options: `normalize` ("image", the default: positive part over its maximum, in [0, 1]; "minmax"; "batch"; a
            range; None: logit units), and `class_names`, `preprocess`, `value_range`, `batch_size` as for `Explainer`.

    Returns:
        float32 (H, W) for one image, (N, H, W) for a batch; several classes add an axis: (C, H, W), (N, C, H, W).
        Images of several sizes give a list.

    Raises:
        UnsupportedModelError: the model has no exact CAM; the message names what was found.
        InvalidImageError: images that cannot be fed to the model.
        InvalidClassError: a class that the model does not have.

    Example:
        >>> import keras, numpy as np
        >>> from keras_cam import compute_cam
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> heatmap = compute_cam(model, np.zeros((20, 30, 3), "uint8"))
        >>> heatmap.shape, heatmap.dtype.name
        ((20, 30), 'float32')
    """
    mode = options.pop("normalize", "image")
    pictures, single = load_images(image)
    classes = "top1" if class_index is None else class_index
    result = Explainer(model, **options).explain_loaded(pictures, classes)
    heatmaps = result.heatmaps(mode)
    if not adds_an_axis(classes):
        heatmaps = [maps[0] for maps in heatmaps]
    if single:
        return heatmaps[0]
    return np.stack(heatmaps) if len({maps.shape for maps in heatmaps}) == 1 else heatmaps


def _map_function_of(model: keras.Model) -> MapFunction:
    if model not in _MAP_FUNCTIONS:
        _MAP_FUNCTIONS[model] = MapFunction(model)
    return _MAP_FUNCTIONS[model]
