"""Looks at the probes as picture files: a card for each look, and a film of each probe at the end."""

from __future__ import annotations

import atexit
import logging
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from keras_cam.drawing.encode import save_gif, save_png
from keras_cam.drawing.layout import contact_sheet, scale_to_width
from keras_cam.errors import InvalidDataError
from keras_cam.imaging.load import load_images
from keras_cam.tensorboard.records import probe_id
from keras_cam.training.look import Look

logger = logging.getLogger("keras_cam")

FILM_WIDTH = 350
FRAMES = 200  # of a film at most: of more, as many are taken evenly
FAST = 1  # compression of a PNG: a third of the time, a fifth more to store


class FileSink:
    """Writes each probe's card as a PNG at each look, and a strip and an animation of them at the end.

    The films are made of the files that lie there: those of this training, and of epochs before it where it goes on
    from one. After a training that was interrupted they are made when the next one begins, or when Python ends.

    Args:
        directory: where to; each probe has a subdirectory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._written: dict[int, list[Path]] = {}

    def __call__(self, look: Look) -> None:
        """Write a look."""
        # A training that is interrupted has no end, and would leave no films.
        if not self._written:
            atexit.register(self._end_at_exit)
        for row, card in enumerate(look.cards):
            path = self._directory / probe_id(row) / f"{look.unit}_{look.step:06d}.png"
            picture = PIL.Image.fromarray(card)
            _save(path, partial(picture.save, format="PNG", compress_level=FAST))
            self._written.setdefault(row, []).append(path)

    def end(self) -> None:
        """Write the films, each probe's on its own; the first error is raised when all others are done."""
        atexit.unregister(self._end_at_exit)
        written, self._written = self._written, {}
        errors: list[Exception] = []
        for row, paths in written.items():
            try:
                self._write_films(probe_id(row), paths)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def __getstate__(self) -> dict[str, Any]:
        """What can be copied: films are made by the one that wrote the pictures."""
        return {**self.__dict__, "_written": {}}

    def _write_films(self, probe: str, written: list[Path]) -> None:
        paths = self._frames_of(probe, written)
        if not paths:
            raise InvalidDataError(
                f"The pictures that were to make a film have been taken away from {str(self._directory)!r}."
            )
        # Of very many pictures some, evenly; cards may differ in height, where another class has a map.
        kept = np.linspace(0, len(paths) - 1, min(len(paths), FRAMES)).round().astype(int)
        frames = [scale_to_width(load_images(paths[index])[0][0], FILM_WIDTH) for index in kept]
        strip = contact_sheet(frames, min(len(frames), 4))
        _save(self._directory / f"{probe}.gif", partial(save_gif, pictures=frames))
        _save(self._directory / f"{probe}.png", partial(save_png, image=strip))

    def _frames_of(self, probe: str, written: list[Path]) -> list[Path]:
        """The pictures of a probe that are still there: those of steps before this training's first, and its own."""
        unit, first = _unit_and_step(written[0])
        present = {path: _unit_and_step(path) for path in (self._directory / probe).glob("*_*.png")}
        earlier = [path for path, (its_unit, step) in present.items() if its_unit == unit and step < first]
        return [*sorted(earlier, key=lambda path: present[path][1]), *(path for path in written if path in present)]

    def _end_at_exit(self) -> None:
        try:
            self.end()
        except Exception as error:  # Python is ending: there is nobody left to raise it to
            logger.error("CAMCallback could not make films in save_dir. %s: %s", type(error).__name__, error)


def _save(path: Path, save: Callable[[Path], Any]) -> None:
    """Save a file whole, or leave what was there."""
    # Written beside it and put in its place when it is whole: a disk may be full.
    part = path.with_name(f".{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _unit_and_step(path: Path) -> tuple[str, int]:
    unit, _, step = path.stem.partition("_")
    return (unit, int(step)) if re.fullmatch(r"-?\d+", step) else ("", 0)
