"""How a picture of any shape fills the frame that a model wants: stretched, cropped, or padded; and the way back."""

from __future__ import annotations

import numpy as np

from keras_cam.imaging.load import resize
from keras_cam.validation import one_of

FITS = ("stretch", "crop", "pad")


def fit_image(image: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """Bring a picture to the size of a frame.

    Args:
        image: (height, width, channels).
        size: (height, width) of the frame.
        fit: "stretch": both axes are resized to the frame; "crop": the picture is scaled until it covers the frame
            and what stands over is cut off on both sides; "pad": it is scaled until the frame holds it, with zeros
            around it.

    Returns:
        The picture at the size of the frame.

    Raises:
        InvalidOptionError: an unknown fit.

    >>> fit_image(np.ones((2, 4, 1)), (2, 2), "crop").shape
    (2, 2, 1)
    >>> fit_image(np.ones((2, 4, 1)), (2, 2), "pad")[..., 0].tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    one_of("fit", fit, FITS)
    if fit == "stretch":
        return resize(image, size)
    scaled = resize(image, _scaled_size(image.shape[:2], size, fit))
    top, left = _frame_start(scaled.shape[:2], size)
    if fit == "crop":
        return scaled[top : top + size[0], left : left + size[1]]
    # Padding: the frame begins outside of the picture, so that top and left are negative.
    framed = np.zeros((*size, *image.shape[2:]), image.dtype)
    framed[-top : -top + scaled.shape[0], -left : -left + scaled.shape[1]] = scaled
    return framed


def placement(picture: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[tuple[float, float], ...]:
    """Say where the pixels of a fitted frame lie in the picture.

    Args:
        picture: (height, width) of the picture.
        size: (height, width) of the frame that it was brought to.
        fit: as for `fit_image`.

    Returns:
        (scale, shift) for rows and for columns: a point x of the frame, measured from its edge in pixels, is the point
        `scale * x + shift` of the picture, measured from its edge.

    Raises:
        InvalidOptionError: an unknown fit.

    >>> placement((100, 200), (50, 50), "crop")
    ((2.0, 0.0), (2.0, 50.0))
    """
    scaled = _scaled_size(picture, size, one_of("fit", fit, FITS))
    starts = (0, 0) if fit == "stretch" else _frame_start(scaled, size)
    scales = [length / scaled_length for length, scaled_length in zip(picture, scaled, strict=True)]
    return tuple((scale, scale * start) for scale, start in zip(scales, starts, strict=True))


def visible_region(picture: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[slice, slice]:
    """Say which part of a picture a model was fed: all of it, unless it was cropped.

    Args:
        picture: (height, width) of the picture.
        size: (height, width) of the frame that it was brought to.
        fit: as for `fit_image`.

    Returns:
        The rows and the columns.

    Raises:
        InvalidOptionError: an unknown fit.

    >>> visible_region((100, 200), (50, 50), "crop")
    (slice(0, 100, None), slice(50, 150, None))
    """
    # The frame's edges in the picture, to the nearest pixel.
    spans = [
        slice(max(0, round(shift)), min(length, round(shift + scale * frame)))
        for (scale, shift), length, frame in zip(placement(picture, size, fit), picture, size, strict=True)
    ]
    return spans[0], spans[1]


def _scaled_size(picture: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[int, int]:
    """What a picture is resized to before it is cut or padded."""
    if fit == "stretch":
        return size
    # One scale for both axes, so that proportions stay.
    ratios = [frame / length for frame, length in zip(size, picture, strict=True)]
    scale = max(ratios) if fit == "crop" else min(ratios)  # to cover the frame, or to lie within it
    height, width = (max(1, round(length * scale)) for length in picture)
    return height, width


def _frame_start(scaled: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Where in the scaled picture the frame begins; negative where it begins outside."""
    starts = [
        (length - frame) // 2 if length >= frame else -((frame - length) // 2)  # rounded towards zero on both sides
        for length, frame in zip(scaled, size, strict=True)
    ]
    return starts[0], starts[1]
