"""What the user hands in, as what the model takes: pictures kept apart from tensors, side inputs beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_cam.errors import InvalidImageError
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
    """

    cut: Cut
    fit: str
    pictures: Images | None
    arrays: list[np.ndarray | None]
    single: bool

    def __len__(self) -> int:
        """Number of images."""
        if self.pictures is not None:
            return len(self.pictures)
        return next(len(array) for array in self.arrays if array is not None)

    def shown(self, value_range: tuple[float, float] | None) -> DisplayImages:
        """What to draw on: pictures as uint8 RGB (of many bands their mean), signals and volumes as float32."""
        if self.pictures is None:
            return DisplayImages(())
        images = self.pictures
        if images[0].ndim == 4 and value_range is not None:
            images = [volume.clip(*checked_range(value_range, "value_range")) for volume in images]
        if images[0].ndim != 3:
            return DisplayImages(tuple(each.astype(np.float32) for each in images))
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

    def batches(
        self, batch_size: int, preprocess: Callable[[np.ndarray], Any] | None
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """Batches of consecutive images of one size, as the model takes them, and which images they are."""
        program = self.cut.program
        dtypes = [program.specs[slot].dtype for slot in program.inputs]
        start = 0
        while start < len(self):
            part = slice(start, min(start + batch_size, len(self)))
            fed: list[Any] = [None if array is None else array[part] for array in self.arrays]
            if self._as_pictures and self.pictures is not None:
                image = self._as_input(self.pictures[part])
                part = slice(start, start + len(image))
                fed = [None if array is None else array[: len(image)] for array in fed]
                fed[self.cut.image_input] = image
            if preprocess is not None:
                fed[self.cut.image_input] = self._preprocessed(preprocess, fed[self.cut.image_input])
            yield part, [array.astype(dtype, copy=False) for array, dtype in zip(fed, dtypes, strict=True)]
            start = part.stop

    def _preprocessed(self, preprocess: Callable[[np.ndarray], Any], batch: np.ndarray) -> np.ndarray:
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
        first = reads_channels_first(self.cut)
        fed = to_input(pictures, channels=shape[1 if first else 3])
        if not isinstance(fed, np.ndarray) or fed.shape[1:3] != self.fed_size(fed[0]):
            sized = [fit_image(picture, self.fed_size(picture), self.fit) for picture in fed]
            same = next((index for index, picture in enumerate(sized) if picture.shape != sized[0].shape), len(sized))
            fed = np.stack(sized[:same])
        return np.moveaxis(fed, -1, 1) if first else fed


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
    program = cut.program
    parts = _one_per_input(cut, images)
    is_picture = _is_picture(cut)
    pictures: Images | None = None
    single = False
    arrays: list[np.ndarray | None] = []
    for index, (slot, part) in enumerate(zip(program.inputs, parts, strict=True)):
        if index == cut.image_input and is_picture:
            pictures, single = load_images(_channels_last(cut, part))
            arrays.append(None)
            continue
        array = to_numpy(part)
        rank = len(program.shape(slot))
        if array.ndim == rank - 1:
            array, single = array[None], True
        arrays.append(_checked(array, program.specs[slot]))
    lengths = {len(array) for array in arrays if array is not None} | (set() if pictures is None else {len(pictures)})
    if len(lengths) != 1:
        raise InvalidImageError(
            f"The inputs of model {program.name!r} have different lengths {sorted(lengths)}. Give one row per image."
        )
    fit, looked_at = one_of("fit", fit, FITS), arrays[cut.image_input]
    if looked_at is not None:  # fed as it is
        fit, last = "stretch", np.moveaxis(looked_at, 1, -1) if reads_channels_first(cut) else looked_at
        pictures = list(last) if last.ndim > 2 else None
    return Inputs(cut, fit, pictures, arrays, single)


def _is_picture(cut: Cut) -> bool:
    """Whether the image input takes pictures: not a signal, a volume, or bands that cannot be shown."""
    shape = cut.program.shape(cut.program.inputs[cut.image_input])
    return len(shape) == 4 and shape[1 if reads_channels_first(cut) else -1] in (1, 3, 4, None)


def _one_per_input(cut: Cut, images: Any) -> list[Any]:
    structure = cut.program.input_structure
    names = [cut.program.specs[slot].name for slot in cut.program.inputs]
    wanted = f"Model {cut.program.name!r} takes {len(names)} inputs {names}"
    if isinstance(structure, dict):
        keys = sorted(structure)
        if isinstance(images, dict):
            if set(keys) - set(images):
                raise InvalidImageError(f"{wanted}: a dict with the keys {keys}. Received: {sorted(images)}.")
            return [images[key] for key in keys]
        if len(keys) > 1:
            raise InvalidImageError(f"{wanted}: a dict with the keys {keys}. Received: {type(images).__name__}.")
        return [images]
    if isinstance(images, dict):
        if set(names) - set(images):
            raise InvalidImageError(f"{wanted}. Received: a dict with the keys {sorted(images)}.")
        return [images[name] for name in names]
    if len(names) == 1:
        return [images]
    if not isinstance(images, (list, tuple)) or len(images) != len(names):
        raise InvalidImageError(f"{wanted}: a list of {len(names)} arrays. Received: {type(images).__name__}.")
    return list(images)


def _channels_last(cut: Cut, images: Any) -> Any:
    """Arrays in the layout of a channels-first model with their channels last; anything else as it is."""
    if not reads_channels_first(cut) or not hasattr(images, "shape"):
        return images
    channels = cut.program.shape(cut.program.inputs[cut.image_input])[1]
    array = to_numpy(images)
    if array.ndim in (3, 4) and array.shape[-3] == channels != array.shape[-1]:
        return np.moveaxis(array, -3, -1)
    return images


def _checked(array: np.ndarray, spec: Any) -> np.ndarray:
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
