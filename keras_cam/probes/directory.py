"""A directory with a subdirectory of pictures for each class, as data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_cam.errors import InvalidDataError

# What PIL reads of what people have; keras.utils.image_dataset_from_directory takes the first five.
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class PictureDirectory(Sequence[Path]):
    """The pictures of a directory, class by class.

    Attributes:
        paths: of the pictures.
        labels: int64 class of each.
        class_names: names of the classes.
    """

    def __init__(self, paths: list[Path], labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        self.paths, self.labels, self.class_names = paths, labels, class_names

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Path:  # type: ignore[override]
        """The path of one picture."""
        return self.paths[index]


def find_pictures(directory: str | os.PathLike[str]) -> PictureDirectory:
    """Find the pictures in the subdirectories of a directory; each subdirectory is a class, in the order of names.

    Args:
        directory: as `keras.utils.image_dataset_from_directory` takes it; hidden subdirectories are no classes.

    Returns:
        The files; none is opened.

    Raises:
        InvalidDataError: no directory, or no picture in any subdirectory.
    """
    # Each directory with its pictures, in the order of names: that is the order of the classes.
    root = Path(directory)
    classes = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".") if root.is_dir() else []
    pictures = [sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES) for folder in classes]
    paths = [path for of_class in pictures for path in of_class]
    if not paths:
        raise InvalidDataError(
            f"Probes are taken from a directory with a subdirectory of pictures for each class. Received: "
            f"{os.fspath(directory)!r}, {'which has none' if root.is_dir() else 'which is no directory'}."
        )
    # The class of a picture is the place of its directory; one without pictures counts too.
    labels = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in pictures])
    return PictureDirectory(paths, labels.astype(np.int64), tuple(folder.name for folder in classes))
