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

    Raises:
        InvalidImageError: not a picture.
        InvalidOptionError: letters that are too small.

    >>> caption(np.zeros((40, 60, 3), "uint8"), ["fox 98%"], width=120, text_size=12).shape
    (104, 120, 3)
    """
    picture = checked_picture(image)
    if width is not None:
        picture = resize(picture, (max(1, round(picture.shape[0] * width / picture.shape[1])), width))
    text_size = checked_text_size(text_size, max(11, round(picture.shape[1] / 25)))
    return np.concatenate([picture, text_picture(lines, text_size, picture.shape[1])])


def beside(pictures: Sequence[np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Put pictures side by side on white, each centred in the height of the tallest.

    Args:
        pictures: one or more, uint8 RGB (height, width, 3).
        gap: pixels of white between them.

    Returns:
        One uint8 RGB picture.

    Raises:
        InvalidImageError: no picture, or something that is none.

    >>> beside([np.zeros((40, 60, 3), "uint8"), np.zeros((20, 30, 3), "uint8")], gap=10).shape
    (40, 100, 3)
    """
    return _grid([pictures], gap)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int, *, gap: int = 4) -> np.ndarray:
    """Put pictures in rows on white, each centred in its row and column.

    Args:
        pictures: one or more, uint8 RGB (height, width, 3).
        columns: how many in a row, at least 1.
        gap: pixels of white between them.

    Returns:
        One uint8 RGB picture.

    Raises:
        InvalidImageError: no picture, or something that is none.
        InvalidOptionError: no column.

    >>> contact_sheet([np.zeros((40, 60, 3), "uint8")] * 3, 2, gap=10).shape
    (90, 130, 3)
    """
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

    Raises:
        InvalidImageError: something that is not a picture.
        InvalidOptionError: no pictures, not one label for each row and column, or letters that are too small.

    >>> strip = filmstrip([[np.zeros((40, 60, 3), "uint8")] * 3], ["fox"], ["epoch 0", "epoch 1", "epoch 2"])
    >>> strip.shape[0] > 40 and strip.shape[1] > 3 * 60
    True
    """
    if not any(map(len, rows)) or len(row_labels) != len(rows) or len(column_labels) != max(map(len, rows)):
        raise InvalidOptionError(
            "A filmstrip needs pictures, a label for each row and a label for each column. Received: rows of "
            f"{[len(row) for row in rows]} pictures, {len(row_labels)} row labels, {len(column_labels)} column labels."
        )
    widest = max(picture.shape[1] for row in rows for picture in row)
    text_size = checked_text_size(text_size, min(max(12, round(widest / 9)), 20))
    # Labels become pictures of text: a first column, and a first row.
    lines = [label.split("\n") for label in row_labels]
    label_width = max(text_width(label, text_size) for label in lines)  # one width for all, so that they align left
    labels = [text_picture(label, text_size, label_width) for label in lines]
    heads = [text_picture([label], text_size) for label in column_labels]
    # The corner is empty.
    labelled = [[label, *row] for label, row in zip(labels, rows, strict=True)]
    return _grid([[blank_paper(1, 1), *heads], *labelled], gap)


def _grid(rows: Sequence[Sequence[np.ndarray]], gap: int) -> np.ndarray:
    """Rows of pictures on white, each in the middle of its cell; rows are as high and columns as wide as need be."""
    rows = [[checked_picture(picture) for picture in row] for row in rows]
    if not any(rows):
        raise InvalidImageError("No picture to lay out. Received: none. Give at least one uint8 RGB picture.")
    # A row is as high as its highest picture, a column as wide as its widest.
    heights = [max((picture.shape[0] for picture in row), default=1) for row in rows]
    widths = [max(row[index].shape[1] for row in rows if index < len(row)) for index in range(max(map(len, rows)))]
    tops, lefts = _starts(heights, gap), _starts(widths, gap)
    sheet = blank_paper(tops[-1] + heights[-1], lefts[-1] + widths[-1])
    for row, top, height in zip(rows, tops, heights, strict=True):
        for picture, left, width in zip(row, lefts, widths, strict=False):  # a row may be shorter
            paste_centred(sheet[top : top + height, left : left + width], picture)
    return sheet


def _starts(lengths: Sequence[int], gap: int) -> list[int]:
    """Where each of several lengths begins, one after the other."""
    return [sum(lengths[:index]) + gap * index for index in range(len(lengths))]


def blank_paper(height: int, width: int) -> np.ndarray:
    """A white picture."""
    return np.full((height, width, 3), PAPER, np.uint8)


def paste_centred(cell: np.ndarray, picture: np.ndarray) -> None:
    """Write the picture into the middle of the cell, a view of the sheet."""
    top, left = ((cell.shape[axis] - picture.shape[axis]) // 2 for axis in (0, 1))
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def scale_to_width(picture: np.ndarray, width: int) -> np.ndarray:
    """Scale a picture to a width, or to twice that in height where it would be taller still.

    Args:
        picture: uint8 RGB (height, width, 3).
        width: in pixels.

    Returns:
        The picture scaled, its proportions kept; one of that size already as it is.

    >>> scale_to_width(np.zeros((40, 60, 3), "uint8"), 30).shape
    (20, 30, 3)
    >>> scale_to_width(np.zeros((400, 20, 3), "uint8"), 30).shape
    (60, 3, 3)
    """
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    # A tall picture is held to twice the width, and made narrower.
    if height > 2 * width:
        height, width = 2 * width, max(1, round(2 * width * width / height))
    return resize(picture, (height, width))
