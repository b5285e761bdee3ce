"""What the user hands in, as what the model takes: pictures kept apart from tensors, side inputs beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_cam.errors import InvalidImageError
from keras_cam.explainer.cache import get_or_make, hashable
from keras_cam.imaging.display import DisplayImages, make_display_images
from keras_cam.imaging.fit import FITS, fit_image
from keras_cam.imaging.load import Images, load_images, to_input
from keras_cam.model.cut import Cut, image_shape, reads_channels_first
from keras_cam.validation import checked_range, one_of, to_numpy


@dataclass(frozen=True, eq=False)
class Inputs:
    """Images, with whatever else the model reads.

    Attributes:
        fit: how pictures are brought to the model's size: "stretch", "crop" or "pad"; signals, volumes and pictures of
            many bands are fed as they are.
        pictures: what the model looks at, channels last: pictures (height, width, channels), each at its own size,
            signals (length, channels) or volumes (depth, height, width, channels); None where it is words.
        arrays: one per input of the model, (N, ...); None in place of pictures of 1, 3 or 4 channels.
        single: whether one image was given, rather than a batch.
        cache: what `cached` inputs have made; None where nothing is cached.
    """

    cut: Cut
    fit: str
    pictures: Images | None
    arrays: list[np.ndarray | None]
    single: bool
    cache: dict[Any, Any] | None = None

    def __len__(self) -> int:
        """Number of images."""
        if self.pictures is not None:
            return len(self.pictures)
        return next(len(array) for array in self.arrays if array is not None)

    def cached(self) -> Inputs:
        """The same inputs, whose display images and batches are made once, for one who comes again and again."""
        return replace(self, cache={})

    def display_images(self, value_range: tuple[float, float] | None) -> DisplayImages:
        """What to draw on: pictures as uint8 RGB (of many bands their mean), signals and volumes as float32."""
        if self.cache is None:
            return self._make_display_images(value_range)
        key = "display images", hashable(value_range)
        images: DisplayImages = get_or_make(self.cache, key, lambda: self._make_display_images(value_range))
        return images

    def batches(
        self, batch_size: int, preprocess: Callable[[np.ndarray], Any] | None
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """Batches of consecutive images of one size, as the model takes them, and which images they are."""
        if self.cache is None:
            return self._make_batches(batch_size, preprocess)
        key = "batches", batch_size, hashable(preprocess)
        return iter(get_or_make(self.cache, key, lambda: list(self._make_batches(batch_size, preprocess))))

    def _make_display_images(self, value_range: tuple[float, float] | None) -> DisplayImages:
        if self.pictures is None:
            return DisplayImages(())
        images = self.pictures
        # Volumes and signals keep their values, cut off where a range was given; bands are shown as their mean.
        if images[0].ndim == 4 and value_range is not None:
            images = [volume.clip(*checked_range(value_range, "value_range")) for volume in images]
        if images[0].ndim != 3:
            return DisplayImages(tuple(image.astype(np.float32) for image in images))
        if not self._as_pictures:
            images = [bands.mean(axis=-1, keepdims=True) for bands in images]
        return make_display_images(images, value_range)

    @property
    def _as_pictures(self) -> bool:
        """Whether the image input takes pictures, to be brought to the model's size; else it is fed as it is."""
        return self.arrays[self.cut.image_input] is None

    def fed_size(self, picture: np.ndarray) -> tuple[int, int]:
        """Height and width of what the model is fed for a picture."""
        height, width = image_shape(self.cut)
        return (picture.shape[0], picture.shape[1]) if height is None or width is None else (height, width)

    def _make_batches(
        self, batch_size: int, preprocess: Callable[[np.ndarray], Any] | None
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        program = self.cut.program
        dtypes = [program.specs[slot].dtype for slot in program.inputs]
        start = 0
        while start < len(self):
            # At most `batch_size` images; pictures end a batch where the next would be of another size.
            part = slice(start, min(start + batch_size, len(self)))
            images = None
            if self._as_pictures and self.pictures is not None:
                images = self._as_input(self.pictures[part])
                part = slice(start, start + len(images))
            fed: list[Any] = [None if array is None else array[part] for array in self.arrays]
            if images is not None:
                fed[self.cut.image_input] = images
            # Prepared by the user's function, in the dtype of each input.
            if preprocess is not None:
                fed[self.cut.image_input] = self._preprocessed(preprocess, fed[self.cut.image_input])
            yield part, [array.astype(dtype, copy=False) for array, dtype in zip(fed, dtypes, strict=True)]
            start = part.stop

    def _preprocessed(self, preprocess: Callable[[np.ndarray], Any], batch: np.ndarray) -> np.ndarray:
        """What the user's function makes of a batch, checked: as many images, in a shape that the model takes."""
        # A copy, since functions of keras.applications may write to what they are given.
        result = preprocess(batch.copy())
        array = to_numpy(result)
        shape = self.cut.program.shape(self.cut.program.inputs[self.cut.image_input])
        fits = len(array) == len(batch) if array.ndim == batch.ndim else False
        if not fits or any(wanted not in (None, length) for wanted, length in zip(shape, array.shape, strict=True)):
            received = type(result).__name__ if array.dtype == object else f"an array of shape {array.shape}"
            raise InvalidImageError(
                f"preprocess must return a batch that the model takes, as the {batch.shape} it was given. "
                f"Received: {received}."
            )
        if not np.isfinite(array).all():
            raise InvalidImageError("preprocess returned values that are not finite (NaN or infinite). Mend it.")
        return array

    def _as_input(self, pictures: Images) -> np.ndarray:
        """The first of some pictures that come out at one size, in the model's layout."""
        shape = self.cut.program.shape(self.cut.program.inputs[self.cut.image_input])
        channels_first = reads_channels_first(self.cut)
        fed = to_input(pictures, channels=shape[1 if channels_first else 3])
        # A batch that has the model's size already is fed as it is, without a copy.
        if not isinstance(fed, np.ndarray) or fed.shape[1:3] != self.fed_size(fed[0]):
            fitted = [fit_image(picture, self.fed_size(picture), self.fit) for picture in fed]
            alike = itertools.takewhile(lambda picture: picture.shape == fitted[0].shape, fitted)
            fed = np.stack(list(alike))
        return np.moveaxis(fed, -1, 1) if channels_first else fed


def load_inputs(cut: Cut, images: Any, fit: str = "stretch") -> Inputs:
    """Read what the user hands in.

    Args:
        cut: the model, cut.
        images: for a model of one input, images in any form that `load_images` takes; for a signal or a volume an
            array as the model takes it, with or without its batch axis. For a model of several inputs a list, tuple
            or dict of them, as the model takes it.
        fit: how pictures of another size are brought to the model's: "stretch", "crop" or "pad".

    Returns:
        The inputs.

    Raises:
        InvalidImageError: not what the model takes, or inputs of different length.
    """
    # Pictures are kept at their own size; all else is an array, as the model takes it.
    program, takes_pictures = cut.program, _takes_pictures(cut)
    pictures: Images | None = None
    single = False
    arrays: list[np.ndarray | None] = []
    for index, (slot, part) in enumerate(zip(program.inputs, _one_per_input(cut, images), strict=True)):
        if index == cut.image_input and takes_pictures:
            pictures, single = load_images(_channels_last(cut, part))
            arrays.append(None)
            continue
        array = to_numpy(part)
        if array.ndim == len(program.shape(slot)) - 1:  # without its batch axis
            array, single = array[None], True
        arrays.append(_checked(array, program.specs[slot]))
    _check_lengths(program.name, [part for part in (pictures, *arrays) if part is not None])

    # A signal, a volume or bands are fed as they are, without being fitted, and drawn on too.
    fit, images_as_fed = one_of("fit", fit, FITS), arrays[cut.image_input]
    if images_as_fed is not None:
        last = np.moveaxis(images_as_fed, 1, -1) if reads_channels_first(cut) else images_as_fed
        fit, pictures = "stretch", list(last) if last.ndim > 2 else None
    return Inputs(cut, fit, pictures, arrays, single)


def _check_lengths(name: str, parts: Sequence[Any]) -> None:
    lengths = {len(part) for part in parts}
    if len(lengths) != 1:
        raise InvalidImageError(
            f"The inputs of model {name!r} have different lengths {sorted(lengths)}. Give one row per image."
        )


def _takes_pictures(cut: Cut) -> bool:
    """Whether the image input takes pictures: not a signal, a volume, or bands that cannot be shown."""
    shape = cut.program.shape(cut.program.inputs[cut.image_input])
    return len(shape) == 4 and shape[1 if reads_channels_first(cut) else -1] in (1, 3, 4, None)


def _one_per_input(cut: Cut, images: Any) -> list[Any]:
    """What the user hands in for each input of the model, in their order."""
    structure = cut.program.input_structure
    names = [cut.program.specs[slot].name for slot in cut.program.inputs]
    wanted = f"Model {cut.program.name!r} takes {len(names)} inputs {names}"
    # Keras flattens a dict in the order of its sorted keys.
    if isinstance(structure, dict):
        names = sorted(structure)
        wanted = f"{wanted}: a dict with the keys {names}"
    if isinstance(images, dict):
        if set(names) - set(images):
            raise InvalidImageError(f"{wanted}. Received: a dict with the keys {sorted(images)}.")
        return [images[name] for name in names]
    if len(names) == 1:
        return [images]
    if isinstance(structure, dict):
        raise InvalidImageError(f"{wanted}. Received: {type(images).__name__}.")
    if not isinstance(images, (list, tuple)) or len(images) != len(names):
        raise InvalidImageError(f"{wanted}: a list of {len(names)} arrays. Received: {type(images).__name__}.")
    return list(images)


def _channels_last(cut: Cut, images: Any) -> Any:
    """Arrays in the layout of a channels-first model with their channels last; anything else as it is."""
    if not reads_channels_first(cut) or not hasattr(images, "shape"):
        return images
    channels = cut.program.shape(cut.program.inputs[cut.image_input])[1]
    # Only where it cannot be mistaken: as many channels as the model wants in front, and not at the end.
    array = to_numpy(images)
    if array.ndim in (3, 4) and array.shape[-3] == channels != array.shape[-1]:
        return np.moveaxis(array, -3, -1)
    return images


def _checked(array: np.ndarray, spec: Any) -> np.ndarray:
    """An array that an input takes: of its shape, not empty, finite numbers."""
    # The first axis is that of the images, of which there may be any number but none.
    fits = array.ndim == len(spec.shape) and all(
        wanted in (None, length) for wanted, length in zip(spec.shape[1:], array.shape[1:], strict=False)
    )
    if not fits or len(array) == 0:
        raise InvalidImageError(
            f"Input {spec.name!r} has shape {tuple(spec.shape)}. Received: an array of shape {array.shape}. "
            "Give one row per image, and at least one."
        )
    if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise InvalidImageError(f"Input {spec.name!r} must hold numbers. Received: an array of {array.dtype}.")
    if not np.isfinite(array).all():
        raise InvalidImageError(f"Input {spec.name!r} holds NaN or infinite values. Clean the data first.")
    return array
