"""Blend, caption, lay out and write: arrays in, uint8 RGB pictures out."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from keras_cam.colors import checked_heat, colors_of
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.heatmap import place
from keras_cam.images import load_images, resize
from keras_cam.shown import to_display, value_range_of
from keras_cam.text import PAPER, text_picture, text_width

__all__ = ["beside", "caption", "checked_picture", "contact_sheet", "encode_jpeg", "encode_png", "filmstrip", "fitted"]
__all__ += ["overlay", "save_gif", "save_png"]


def overlay(
    image: Any,
    heatmap: Any,
    *,
    colormap: str | None = None,
    alpha: float = 0.6,
    value_range: tuple[float, float] | None = None,
    signed: bool = False,
) -> np.ndarray:
    """Draw a heat map over its picture; where there is no heat, the picture stays as it is.

    Opacity rises with the heat up to `alpha` at half heat; from there on the colour alone tells more from less.

    Args:
        image: one image, as an array, tensor, PIL image or path.
        heatmap: (h, w), values in [0, 1]; stretched to the picture's size where it differs.
        colormap: "plasma" (default), "viridis", "turbo", "jet" or another colour map of OpenCV; for signed maps
            "blue_orange" (default) or "purple_green".
        alpha: opacity where the heat is 0.5 or more, in [0, 1].
        value_range: (black, white) of `image`; default: (0, 255) for integers, for floats the first of (0, 1),
            (-1, 1), (0, 255) that holds them, else their smallest and largest value.
        signed: True for a heat map in [-1, 1]: what speaks for the class in one colour, what speaks against it in
            another, opacity by the magnitude.

    Returns:
        uint8 RGB (height, width, 3), the picture's size.

    Raises:
        InvalidImageError: more than one image, or a heat map of another rank or outside [0, 1].
        InvalidOptionError: an unknown colour map or an impossible alpha.

    >>> overlay(np.full((2, 2, 3), 9, "uint8"), np.zeros((2, 2)))[0, 0].tolist()
    [9, 9, 9]
    """
    if not 0 <= alpha <= 1:
        raise InvalidOptionError(f"alpha must lie in [0, 1]. Received: {alpha!r}.")
    arrays, _ = load_images(image)
    if len(arrays) != 1:
        raise InvalidImageError(f"overlay draws on one image. Received: {len(arrays)}. Call it once for each.")
    value_range = value_range_of(arrays) if value_range is None else value_range
    picture = to_display(arrays[0], value_range, copy=False)
    heat = checked_heat(heatmap, signed=signed)
    if heat.shape != picture.shape[:2]:
        heat = place(heat, picture.shape[:2])
    opacity = np.abs(heat) * np.float32(2 * alpha) if signed else heat * np.float32(2 * alpha)
    np.minimum(opacity, np.float32(alpha), out=opacity)
    return cv2.blendLinear(picture, colors_of(heat, colormap, signed=signed), 1 - opacity, opacity)


def caption(
    image: np.ndarray, lines: Sequence[str], *, width: int | None = None, text_size: int | None = None
) -> np.ndarray:
    """Write lines of text under a picture.

    Args:
        image: uint8 RGB (height, width, 3).
        lines: one string for each line; one that is too long ends in an ellipsis, or has it before a tab, so that what
            stands behind that is kept.
        width: width to scale the picture to first, its proportions kept; default: as it is. Pictures narrower than
            about 200 pixels need it, or little text fits.
        text_size: height of the letters in pixels, at least 6; default: 1/25 of the width, to be read when the result
            is shown 350 pixels wide. A picture to be shown at its own size wants 12 to 20.

    Returns:
        uint8 RGB, `width` wide, the caption below the picture.
    """
    picture = checked_picture(image)
    if width is not None:
        picture = resize(picture, (max(1, round(picture.shape[0] * width / picture.shape[1])), width))
    text_size = checked_text_size(text_size, max(11, round(picture.shape[1] / 25)))
    return np.concatenate([picture, text_picture(lines, text_size, picture.shape[1])])


def beside(pictures: Sequence[np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Put uint8 RGB pictures side by side on white, `gap` pixels apart, each centred in the height of the tallest."""
    return _grid([pictures], gap)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int, *, gap: int = 4) -> np.ndarray:
    """Put uint8 RGB pictures in rows of `columns` on white, each centred in its row and column."""
    if columns < 1:
        raise InvalidOptionError(f"columns must be at least 1. Received: {columns!r}.")
    return _grid([pictures[start : start + columns] for start in range(0, len(pictures), columns)], gap)


def filmstrip(
    rows: Sequence[Sequence[np.ndarray]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    gap: int = 4,
    text_size: int | None = None,
) -> np.ndarray:
    r"""Put rows of uint8 RGB pictures under labelled columns, as in probes by epochs.

    Args:
        rows: the pictures of each row; rows may be of different lengths.
        row_labels: one for each row, written to its left; "\n" starts a new line.
        column_labels: one for each column, written at the head of it.
        gap: pixels of white between pictures.
        text_size: height of the letters in pixels, at least 6; default: 1/9 of a picture's width, 12 to 20.

    Returns:
        One uint8 RGB picture. Rows and columns grow where a label needs more room than the pictures.
    """
    if not any(map(len, rows)) or len(row_labels) != len(rows) or len(column_labels) != max(map(len, rows)):
        raise InvalidOptionError(
            "A filmstrip needs pictures, a label for each row and a label for each column. Received: rows of "
            f"{[len(row) for row in rows]} pictures, {len(row_labels)} row labels, {len(column_labels)} column labels."
        )
    widest = max(picture.shape[1] for row in rows for picture in row)
    text_size = checked_text_size(text_size, min(max(12, round(widest / 9)), 20))
    lines = [label.split("\n") for label in row_labels]
    label_width = max(text_width(label, text_size) for label in lines)  # one width for all, so that they align left
    labels = [text_picture(label, text_size, label_width) for label in lines]
    heads = [text_picture([label], text_size) for label in column_labels]
    labelled = [[label, *row] for label, row in zip(labels, rows, strict=True)]
    return _grid([[_paper(1, 1), *heads], *labelled], gap)


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Encode a uint8 RGB picture as JPEG; `quality` from 1 to 100."""
    if not 1 <= quality <= 100:
        raise InvalidOptionError(f"quality must lie in 1..100. Received: {quality!r}.")
    picture = cv2.cvtColor(checked_picture(image), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidImageError(f"A JPEG has at most 65500 pixels a side. Received: {picture.shape}. Make it smaller.")
    return encoded.tobytes()


def encode_png(image: np.ndarray) -> bytes:
    """Encode a uint8 RGB picture as PNG."""
    with io.BytesIO() as stream:
        PIL.Image.fromarray(checked_picture(image)).save(stream, format="PNG")
        return stream.getvalue()


def save_png(path: str | os.PathLike[str], image: np.ndarray) -> Path:
    """Write a uint8 RGB picture as PNG, making the folder where it is missing, and return the path."""
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
    """
    if not pictures or not seconds >= 0.02:
        raise InvalidOptionError(
            "A GIF needs pictures, each shown for 0.02 seconds or more. "
            f"Received: {len(pictures)} pictures, seconds={seconds!r}."
        )
    height, width = (max(checked_picture(picture).shape[axis] for picture in pictures) for axis in (0, 1))
    frames = []
    for picture in pictures:
        frame = _paper(height, width)
        _paste(frame, picture)
        frames.append(frame)
    every = max(1, len(frames) // 8)  # one palette for all, found on some, so that colours do not flicker
    palette = PIL.Image.fromarray(np.concatenate(frames[::-every])).quantize(256)
    pages = [PIL.Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    times = [round(seconds * 1000)] * (len(pages) - 1) + [round(seconds * 4000)]
    pages[0].save(target, "GIF", save_all=True, append_images=pages[1:], duration=times, loop=0)
    return target


def fitted(picture: np.ndarray, width: int) -> np.ndarray:
    """Scale a picture to `width`, or to twice that in height where it is taller still."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    if height > 2 * width:
        height, width = 2 * width, max(1, round(2 * width * width / height))
    return resize(picture, (height, width))


def checked_picture(picture: Any) -> np.ndarray:
    """The picture, or an error where it is not uint8 RGB."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or array.size == 0:
        raise InvalidImageError(
            f"A picture to draw on is uint8 RGB of shape (height, width, 3). Received: dtype {array.dtype}, "
            f"shape {array.shape}. keras_cam.shown.to_display makes one."
        )
    return array


def checked_text_size(text_size: int | None, default: int) -> int:
    """The asked text size, the default for None, or an error."""
    if text_size is None:
        return default
    if text_size < 6:
        raise InvalidOptionError(f"text_size is the height of letters in pixels, at least 6. Received: {text_size!r}.")
    return round(text_size)


def _grid(rows: Sequence[Sequence[np.ndarray]], gap: int) -> np.ndarray:
    """Rows of pictures on white, each in the middle of its cell; rows are as high and columns as wide as need be."""
    rows = [[checked_picture(picture) for picture in row] for row in rows]
    if not any(rows):
        raise InvalidImageError("No picture to lay out. Received: none. Give at least one uint8 RGB picture.")
    heights = [max((picture.shape[0] for picture in row), default=1) for row in rows]
    widths = [max(row[index].shape[1] for row in rows if index < len(row)) for index in range(max(map(len, rows)))]
    sheet = _paper(sum(heights) + gap * (len(heights) - 1), sum(widths) + gap * (len(widths) - 1))
    for row_index, row in enumerate(rows):
        top = sum(heights[:row_index]) + gap * row_index
        for column_index, picture in enumerate(row):
            left = sum(widths[:column_index]) + gap * column_index
            _paste(sheet[top : top + heights[row_index], left : left + widths[column_index]], picture)
    return sheet


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _paste(cell: np.ndarray, picture: np.ndarray) -> None:
    """Write the picture into the middle of the cell, a view of the sheet."""
    top, left = ((cell.shape[axis] - picture.shape[axis]) // 2 for axis in (0, 1))
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
