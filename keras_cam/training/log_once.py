"""What a callback says while a model trains: each thing once, on a line of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from keras_cam.errors import InvalidOptionError

logger = logging.getLogger("keras_cam")


class LogOnce:
    """Logs warnings and errors, each once in a training; the line break before leaves the line of Keras' progress bar.

    Args:
        on_error: "log", or "raise" to let errors through.

    Raises:
        InvalidOptionError: another `on_error`.
    """

    def __init__(self, on_error: str) -> None:
        if on_error not in ("log", "raise"):
            raise InvalidOptionError(f"on_error must be 'log' or 'raise'. Received: {on_error!r}.")
        self.on_error = on_error
        self.begin()

    def begin(self) -> None:
        """Start a new training, in which all may be said again."""
        self._said: set[str] = set()

    def has_said(self, about: str) -> bool:
        """Whether `warn` was called about this."""
        return about in self._said

    def warn(self, about: str, words: str) -> None:
        """Log a warning, unless there was one about this before."""
        if about not in self._said:
            self._said.add(about)
            logger.warning("\nCAMCallback%s", words)

    @contextmanager
    def kept(self, when: str, where: str = "") -> Iterator[None]:
        """Keep an error from ending the training, unless that is wanted; those that differ in a number are one."""
        try:
            yield
        except Exception as error:
            if self.on_error == "raise":
                raise
            message = f"{type(error).__name__}: {error}"
            known = re.sub(r"\d+", "", f"{where} {message}")  # of whatever epoch
            if known not in self._said:
                self._said.add(known)
                logger.error(
                    "\nCAMCallback could not show where the model looks %s. %s\nTraining goes on without these "
                    "pictures; CAMCallback(on_error='raise') would stop here. The same error is not logged again.",
                    f"{when} {where}".strip(),
                    message,
                )
