"""A result in one file: facts as JSON beside arrays, in a NumPy archive without pickles."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from keras_cam.errors import InvalidDataError
from keras_cam.model.grid import Grid
from keras_cam.model.receptive_field import Axis


def write(
    path: str | os.PathLike[str],
    facts: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    images: Sequence[np.ndarray],
    grids: Sequence[Grid | None],
) -> Path:
    """Write a compressed `.npz` file.

    Args:
        path: where to; ".npz" is added where it is missing.
        facts: what JSON can hold.
        arrays: arrays by name.
        images: pictures, each of its own size.
        grids: where the cells lie.

    Returns:
        The path written to.
    """
    target = Path(path)
    # ".npz" is put after the whole name: of "epoch.3" the ending is no file type.
    target = target if target.suffix == ".npz" else target.with_name(target.name + ".npz")
    # What JSON can hold is one string, an array without dimensions.
    known_grids = [None if grid is None else asdict(grid) for grid in grids]
    words = json.dumps({**facts, "grids": known_grids, "images": len(images)})
    # Images are arrays of their own, since they may differ in size.
    entries: dict[str, Any] = {"facts": np.array(words), **arrays}
    entries |= {f"image_{index}": image for index, image in enumerate(images)}
    np.savez_compressed(target, **entries)
    return target


def read(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Any]:
    """Read what `write` wrote.

    Args:
        path: the file.
        names: the arrays to read.

    Returns:
        The facts, the arrays, "images" and "grids", by name.

    Raises:
        InvalidDataError: the file is not one of ours.
    """
    target = Path(path)
    # `write` was given the name without its ending.
    if not target.exists() and target.suffix != ".npz":
        target = target.with_name(target.name + ".npz")
    try:
        with open(target, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            facts: dict[str, Any] = json.loads(file["facts"].item())
            arrays = {name: file[name] for name in names}
            images = tuple(file[f"image_{index}"] for index in range(facts["images"]))
            grids = facts["grids"]
    # What NumPy, zip and JSON say of files that are not ours, or of half a file.
    except (KeyError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidDataError(
            f"{os.fspath(path)!r} is not a saved Explanation: {error}. Write one with result.save(path)."
        ) from error
    return {**facts, **arrays, "images": images, "grids": [None if grid is None else _grid(**grid) for grid in grids]}


def _grid(axes: Sequence[Mapping[str, Any]], image: Sequence[int], **words: str) -> Grid:
    return Grid(tuple(Axis(**axis) for axis in axes), tuple(image), **words)
