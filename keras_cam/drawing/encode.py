"""Pictures as files and bytes: uint8 RGB in, JPEG, PNG or GIF out."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from keras_cam.drawing.layout import blank_paper, paste_centred
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.display import checked_picture


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    r"""Encode a picture as JPEG.

    Args:
        image: uint8 RGB (height, width, 3), at most 65500 pixels a side.
        quality: from 1, the smallest, to 100, the best.

    Returns:
        The file's bytes.

    Raises:
        InvalidImageError: not such a picture.
        InvalidOptionError: another quality.

    >>> encode_jpeg(np.zeros((4, 6, 3), "uint8"))[:3]
    b'\xff\xd8\xff'
    """
    if not 1 <= quality <= 100:
        raise InvalidOptionError(f"quality must lie in 1..100. Received: {quality!r}.")
    picture = cv2.cvtColor(checked_picture(image), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidImageError(f"A JPEG has at most 65500 pixels a side. Received: {picture.shape}. Make it smaller.")
    return encoded.tobytes()


def encode_png(image: np.ndarray) -> bytes:
    r"""Encode a picture as PNG.

    Args:
        image: uint8 RGB (height, width, 3).

    Returns:
        The file's bytes.

    Raises:
        InvalidImageError: not such a picture.

    >>> encode_png(np.zeros((4, 6, 3), "uint8"))[:4]
    b'\x89PNG'
    """
    with io.BytesIO() as stream:
        PIL.Image.fromarray(checked_picture(image)).save(stream, format="PNG")
        return stream.getvalue()


def save_png(path: str | os.PathLike[str], image: np.ndarray) -> Path:
    """Write a picture as PNG.

    Args:
        path: where to; the folder is made where it is missing.
        image: uint8 RGB (height, width, 3).

    Returns:
        The path.

    Raises:
        InvalidImageError: not such a picture.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save_png(f"{folder}/new/black.png", np.zeros((4, 6, 3), "uint8")).name
    'black.png'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(checked_picture(image)).save(target, format="PNG")
    return target


def save_gif(path: str | os.PathLike[str], pictures: Sequence[np.ndarray], *, seconds: float = 0.5) -> Path:
    """Write uint8 RGB pictures as an animated GIF that plays for ever, its last picture held for four times as long.

    Args:
        path: where to; the folder is made where it is missing.
        pictures: one or more; smaller ones are centred on white.
        seconds: how long each is shown, at least 0.02.

    Returns:
        The path.

    Raises:
        InvalidImageError: something that is not a picture.
        InvalidOptionError: no pictures, or too short a time.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save_gif(f"{folder}/new/black.gif", [np.zeros((4, 6, 3), "uint8")] * 2).name
    'black.gif'
    """
    if not pictures or not seconds >= 0.02:
        raise InvalidOptionError(
            "A GIF needs pictures, each shown for 0.02 seconds or more. "
            f"Received: {len(pictures)} pictures, seconds={seconds!r}."
        )
    # Frames of one size, smaller pictures in the middle.
    height, width = (max(checked_picture(picture).shape[axis] for picture in pictures) for axis in (0, 1))
    frames = []
    for picture in pictures:
        frame = blank_paper(height, width)
        paste_centred(frame, picture)
        frames.append(frame)
    # One palette for all, so that colours do not flicker; about eight of the frames are enough to choose it.
    every = max(1, len(frames) // 8)
    palette = PIL.Image.fromarray(np.concatenate(frames[::-every])).quantize(256)
    pages = [PIL.Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    times = [round(seconds * 1000)] * (len(pages) - 1) + [round(seconds * 4000)]
    pages[0].save(target, "GIF", save_all=True, append_images=pages[1:], duration=times, loop=0)
    return target
