"""Pictures to draw on, and where text was written."""

import numpy as np

WHITE = 255


def flat(height, width, value=90):
    return np.full((height, width, 3), value, np.uint8)


def inked(picture):
    """Rows and columns of a text on white that hold ink: (first row, last row, first column, last column)."""
    rows, columns = np.nonzero((picture < 128).all(axis=-1))
    return rows.min(), rows.max(), columns.min(), columns.max()
