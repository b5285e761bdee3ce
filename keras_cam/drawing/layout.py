"""Text under pictures, and pictures laid out in rows, sheets and strips: uint8 RGB in and out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.drawing.text import PAPER, Title, checked_text_size, text_picture, text_width
from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.display import checked_picture
from keras_cam.imaging.load import resize


def caption(
    image: np.ndarray, lines: Sequence[str | Title], *, width: int | None = None, text_size: int | None = None
) -> np.ndarray:
    """Write lines of text under a picture.

    Args:
        image: uint8 RGB (height, width, 3).
        lines: one string for each line, which ends in an ellipsis where it is too long, or a `Title`, which keeps its
            value.
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


def scale_to_width(picture: np.ndarray, width: int) -> np.ndarray:
    """Scale a picture to `width`, or to twice that in height where it is taller still."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    if height > 2 * width:
        height, width = 2 * width, max(1, round(2 * width * width / height))
    return resize(picture, (height, width))
