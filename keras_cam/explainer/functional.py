"""`explain` and `compute_cam`: an `Explainer` made and called at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Any

import keras
import numpy as np

from keras_cam.classes import adds_an_axis
from keras_cam.errors import CAMWarning
from keras_cam.explainer.datasets import is_data_set
from keras_cam.explainer.explainer import Explainer
from keras_cam.results.explanation import Explanation


def explain(model: keras.Model, images: Any, *, classes: Any = "top1", **options: Any) -> Explanation:
    """Explain images by a model: maps, scores and pictures in one result.

    Args:
        model: a built Keras model that looks at pictures, signals or volumes.
        images: one image or a batch: paths, PIL images, arrays or tensors, of any size; or a data set of batches, such
            as a `tf.data.Dataset`.
        classes: index, name, "top1" (default), "topK", "all", a list of these for every image, or an integer array
            (N,) or (N, C) of classes per image.
        **options: `method`, `target`, `output`, `layer`, `image_input`, `class_names`, `preprocess`, `value_range`,
            `fit`, `augment`, `batch_size`, `verbose` and the method's own options, as for `Explainer`.

    Returns:
        The explanation: signed maps in logit units, with `.heatmaps()`, `.overlays()`, `.plot()` and `.save()`.

    Raises:
        UnsupportedModelError: the model has no feature maps; the message names what was found.
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
        model: a built Keras model that looks at pictures, signals or volumes.
        image: one image (path, PIL image, array or tensor (H, W, K)) or a batch of them; any size.
        class_index: index, name, "topK", "all", a list of these, or one index per image as an array; None (default)
            is the predicted class of each image.
        **options: `normalize` ("image", the default: positive part over its maximum, in [0, 1]; "minmax"; "batch"; a
            range; None: logit units), and all options of `explain`.

    Returns:
        float32 (H, W) for one image, (N, H, W) for a batch; several classes add an axis: (C, H, W), (N, C, H, W).
        Images of several sizes give a list. A signal gives (T,), a volume (D, H, W).

    Warns:
        CAMWarning: a map that comes out zero everywhere, with the reason, unless those of all classes were asked for.

    Raises:
        UnsupportedModelError: the model has no feature maps; the message names what was found.
        InvalidImageError: images that cannot be fed to the model.
        InvalidClassError: a class that the model does not have.

    Example:
        >>> import keras, numpy as np
        >>> from keras_cam import compute_cam
        >>> keras.utils.set_random_seed(4)  # of weights; with some, all speaks against the class, and a warning says so
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> heatmap = compute_cam(model, np.full((20, 30, 3), 99, "uint8"))
        >>> heatmap.shape, heatmap.dtype.name
        ((20, 30), 'float32')
    """
    # The first batch is looked at by itself: it says whether one image was given.
    mode = options.pop("normalize", "image")
    explainer = Explainer(model, **options)
    loaded = explainer.load(image)
    first = next(loaded)
    classes = "top1" if class_index is None else class_index
    result = explainer.explain_loaded(chain([first], loaded), classes)
    heatmaps = result.heatmaps(mode)

    # An empty heat map must not pass for an answer.
    of_all = result.class_indices.shape[1] == explainer.num_classes > 1  # some speak against, whatever the image
    for words in [] if of_all else _empty_heatmaps(result, heatmaps):
        warnings.warn(f"Model {model.name!r}: {words}", CAMWarning, stacklevel=2)

    # Without the axes that the caller did not give: of one class, of one image.
    if not adds_an_axis(classes):
        heatmaps = [maps[0] for maps in heatmaps]
    if first.single and not is_data_set(image):
        return heatmaps[0]
    return np.stack(heatmaps) if len({maps.shape for maps in heatmaps}) == 1 else heatmaps


def _empty_heatmaps(result: Explanation, heatmaps: Sequence[np.ndarray]) -> list[str]:
    """What was found of maps without a positive part, where they are drawn empty (by "minmax" they are not)."""
    found = [finding for finding in result.diagnosis if finding.name == "nothing_positive"]
    return [
        finding.words
        for finding in found
        if not all(heatmap.any() for index in finding.images for heatmap in heatmaps[index])
    ]
