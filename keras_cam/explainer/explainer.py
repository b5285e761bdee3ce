"""`Explainer`: images in, maps out, by one model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_cam.classes import ClassNames, resolve_classes
from keras_cam.errors import CAMError, CAMWarning, InvalidImageError, UnsupportedModelError
from keras_cam.explainer.datasets import batches_of, is_data_set
from keras_cam.explainer.diagnosis import ALARMS, diagnose
from keras_cam.explainer.ensemble import MapEnsemble
from keras_cam.explainer.inputs import Inputs, load_inputs
from keras_cam.explainer.map_function import Maps, check_finite
from keras_cam.imaging.display import merge_display_images
from keras_cam.imaging.fit import FITS
from keras_cam.methods.registry import METHODS, Method, find_method
from keras_cam.model.cut import describe
from keras_cam.model.grid import Grid
from keras_cam.model.head import AFFINE, INTEGRATED, Head
from keras_cam.results.explanation import Explanation
from keras_cam.validation import one_of, whole_number


class Explainer:
    """Explains images by one model: cut and compiled once, called many times, following the model's training.

    Args:
        model: a built Keras model that looks at pictures, signals or volumes.
        method: "auto" (default): the decomposition of the score that is exact for the model's head, which for global
            average pooling and affine layers is the CAM; "cam": Zhou's CAM, an error where the head is not affine;
            another key of `keras_cam.METHODS`; or a function of your own that takes a `keras_cam.methods.View`.
        target: what to explain: "logit" (default: each class's score), "probability", "increase" or "decrease" (of a
            regression output), one of `keras_cam.targets`, or a function of the model's outputs.
        output: which output to explain, by name or index; needed where the model has several.
        layer: path or name of the layer whose output to map, or the layer itself; default: the last whose output is
            spatial. Of several, in any order, the maps are fused: the largest of each cell, all but the deepest
            layer's through LayerCAM's tanh.
        image_input: which input to explain where several are images, by name or index; default: the first.
        class_names: names of the model's classes, in order.
        preprocess: called on a float32 batch (N, H, W, K) at the model's size, 0..255 where the images were uint8;
            returns what the model wants, such as `keras.applications.resnet50.preprocess_input`.
        value_range: (black, white) of the images, to draw them; default: 0..255 for integers, for floats the first of
            (0, 1), (-1, 1), (0, 255) that holds them all.
        fit: how pictures of another size are brought to the model's: "stretch" (default), "crop" (scaled to cover,
            the rest cut off) or "pad" (scaled to fit, zeros around). Maps are placed through it, back on the picture.
        augment: test-time augmentation: the maps are averaged over each image and its augmentations, brought back to
            their place: "flip" (mirrored), "scale" (at 0.75 and 1.25), a scale, or several of these; default: none.
        batch_size: how many images go through the model at once; for methods that change images, how many of those;
            for methods at the pixels, which run each image once for each class, and those of the gradient at a layer of
            your choice, which so run what comes after it, how many images times classes.
        verbose: 1 shows the progress of methods that run the model many times; default: 0.
        **method_options: what the method takes besides, such as `max_channels` for "score_cam".

    Raises:
        UnsupportedModelError: the model has no feature maps, or no exact CAM where one is asked for; the message names
            what was found.
        InvalidOptionError: an argument outside the values it may take.

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
        method: str | Callable[..., Any] | Method = "auto",
        target: Any = "logit",
        output: int | str | None = None,
        layer: str | keras.layers.Layer | Sequence[str | keras.layers.Layer] | None = None,
        image_input: int | str | None = None,
        class_names: Sequence[str] | None = None,
        preprocess: Callable[[np.ndarray], Any] | None = None,
        value_range: tuple[float, float] | None = None,
        fit: str = "stretch",
        augment: Any = None,
        batch_size: int = 32,
        verbose: int = 0,
        **method_options: Any,
    ) -> None:
        # What is wrong with an option is said before the model is looked at.
        chosen = find_method(method, method_options)
        batch_size = whole_number("batch_size", batch_size)
        layers = list(layer) if isinstance(layer, (list, tuple)) else [layer]
        choices = {"output": output, "image_input": image_input, "target": target}
        self._ensemble = MapEnsemble(model, chosen, method_options, layers, augment, batch_size, verbose, **choices)
        self._model_name = model.name
        self._warned = False

        # A target that is one number has no names of classes.
        target = self.head.cut.target
        if target is not None and not target.per_class:
            class_names = (target.name,) if self.num_classes == 1 else None
        self.names = ClassNames.checked(class_names, self.num_classes, model.name)
        self.preprocess, self.value_range = preprocess, value_range
        self.fit, self.batch_size = one_of("fit", fit, FITS), batch_size

        # "auto" takes any head apart; "cam" promises that the result is Zhou's.
        self._method = _name_of(method, chosen, self.head)
        if method == "cam" and self.head.kind != AFFINE:
            raise UnsupportedModelError(
                f"Model {model.name!r} has no exact CAM (method='cam'). {describe(self.head.cut)} Its head is "
                f"{self.head.words}. Use method='auto', or end the model with global average pooling and Dense."
            )

    @property
    def head(self) -> Head:
        """What was found: the cut and the head of the model."""
        return self._ensemble.head

    @property
    def num_classes(self) -> int:
        """How many classes there are to explain."""
        return self.head.num_classes

    def __call__(self, images: Any, classes: Any = "top1") -> Explanation:
        """Explain images.

        Args:
            images: one image or a batch: a path, PIL image, array or tensor (H, W, K) or (N, H, W, K), or a list of
                these; any size (resized to the model's input), integers or floats (values are fed as they are). For a
                model of several inputs a list, tuple or dict as the model takes it. Or a data set of batches, as for
                `model.predict`: a `tf.data.Dataset`, `keras.utils.PyDataset` or another iterable, of images or of
                tuples that begin with them.
            classes: index, name, "top1" (default), "topK", "all", a list of these for every image, or an integer array
                (N,) or (N, C) of classes per image.

        Returns:
            The explanation.

        Raises:
            InvalidImageError: images that cannot be fed to the model.
            InvalidClassError: a class that the model does not have.
        """
        return self.explain_loaded(self.load(images), classes)

    def stream(self, data: Any, classes: Any = "top1") -> Iterator[Explanation]:
        """Explain a data set batch by batch, for what does not fit in memory as a whole.

        Args:
            data: a data set of batches, as for calling the explainer.
            classes: as for calling the explainer, but for arrays of classes per image.

        Yields:
            The explanation of each batch.
        """
        for batch in batches_of(data):
            yield self(batch, classes)

    def load(self, images: Any) -> Iterator[Inputs]:
        """Read images, or a data set batch by batch.

        Args:
            images: as for calling the explainer.

        Yields:
            The images, read: all at once, or each batch of a data set.
        """
        self.refresh()
        for batch in batches_of(images) if is_data_set(images) else [images]:
            yield load_inputs(self.head.cut, batch, self.fit)

    def refresh(self) -> None:
        """See the model as it is now; `load` does so too, and what was loaded before stays as it is."""
        self._ensemble.refresh()

    def explain_loaded(self, loaded: Iterable[Inputs], classes: Any) -> Explanation:
        """Explain what `load` has read.

        Args:
            loaded: the images, read.
            classes: as for calling the explainer.

        Returns:
            The explanation of all.
        """
        # Batch by batch: what is shown, which values the model was fed, its maps and where their cells lie.
        parts, grids, shown, fed = list[Maps](), list[Grid | None](), [], (np.inf, -np.inf)
        for inputs in loaded:
            indices = resolve_classes(classes, len(inputs), self.names)
            shown.append(inputs.display_images(self.value_range))
            for part, batch in inputs.batches(self.batch_size, self.preprocess):
                image = batch[self.head.cut.image_input]
                fed = min(fed[0], float(image.min())), max(fed[1], float(image.max()))
                found, grid = self._run(batch, None if indices is None else indices[part])
                parts.append(found)
                grids += [grid] * len(found.maps)

        # All batches as one result.
        result = self._explanation(self._joined(parts), grids, images=merge_display_images(shown), fit=inputs.fit)
        return self._diagnosed(result, fed)

    def _joined(self, parts: Sequence[Maps]) -> Maps:
        """The maps of several batches as those of one, finite throughout."""
        shapes = {part.maps.shape[2:] for part in parts}
        if len(shapes) > 1:
            raise InvalidImageError(
                f"Images of several sizes give maps of several sizes {sorted(shapes)} in model {self._model_name!r}, "
                "which takes any size. Resize the images to one size, or explain them one by one."
            )
        found = parts[0] if len(parts) == 1 else Maps(*map(np.concatenate, zip(*parts, strict=True)))
        check_finite(found, self.head.cut)
        return found

    def _explanation(self, found: Maps, grids: Sequence[Grid | None], **shown: Any) -> Explanation:
        """Maps with all that is known of them, and what they are shown on."""
        # One grid for all images, unless a model of any size was fed several sizes.
        agree = len(set(grids)) == 1
        return Explanation(
            maps=found.maps,
            class_indices=found.class_indices,
            logits=found.logits,
            probabilities=found.predictions,
            bias=found.bias,
            method=self._method,
            layer=self._ensemble.layer,
            head=self.head.words,
            activation=self.head.activation,
            class_names=self.names.names,
            grid=grids[0] if agree else None,
            grids=() if agree else tuple(grid for grid in grids if grid is not None),
            **shown,
        )

    def _run(self, batch: list[np.ndarray], indices: np.ndarray | None) -> tuple[Maps, Grid | None]:
        """The maps of a batch; what fails in the backend is said in the user's words."""
        try:
            return self._ensemble(batch, indices)
        except CAMError:
            raise
        except Exception as error:  # whatever the backend says of a batch that the model cannot take
            shapes = ", ".join(str(array.shape) for array in batch)
            raise CAMError(
                f"Model {self._model_name!r}, explained by {self._method!r}, failed on a batch of shape {shapes}: "
                f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}. Check that model.predict "
                "takes it."
            ) from error

    def _diagnosed(self, result: Explanation, fed: tuple[float, float]) -> Explanation:
        """The result with what was found amiss, of which the worst is warned of, once for each explainer."""
        found = diagnose(result, self.head, fed, self.preprocess is not None)
        for finding in found:
            if finding.name in ALARMS and not self._warned:
                warnings.warn(f"Model {self._model_name!r}: {finding.words}", CAMWarning, stacklevel=4)
                self._warned = True
        return replace(result, diagnosis=found)


def _name_of(method: Any, chosen: Method, head: Head) -> str:
    """What a result says its maps were made by."""
    if chosen is METHODS["cam"]:
        return "cam" if head.kind == AFFINE else "integrated" if head.kind == INTEGRATED else "frozen"
    return method if isinstance(method, str) else getattr(chosen.function, "__name__", "method")
