"""What a callback says while a model trains: each thing once, on a line of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from keras_cam.validation import one_of

logger = logging.getLogger("keras_cam")


class LogOnce:
    """Logs warnings and errors, each once in a training; the line break before leaves the line of Keras' progress bar.

    Args:
        on_error: "log", or "raise" to let errors through.

    Raises:
        InvalidOptionError: another `on_error`.
    """

    def __init__(self, on_error: str) -> None:
        self.on_error = one_of("on_error", on_error, ("log", "raise"))
        self.reset()

    def reset(self) -> None:
        """Start a new training, in which all may be logged again."""
        self._logged: set[str] = set()

    def has_warned(self, about: str) -> bool:
        """Whether `warn` was called about this."""
        return about in self._logged

    def warn(self, about: str, words: str) -> None:
        """Log a warning, unless there was one about this before."""
        if about not in self._logged:
            self._logged.add(about)
            logger.warning("\nCAMCallback%s", words)

    @contextmanager
    def log_errors(self, when: str, where: str = "") -> Iterator[None]:
        """Log an error of the block and go on, or let it through; errors that differ in a number only are one.

        Args:
            when: in words, such as "at epoch 3".
            where: what was being written, in words.
        """
        try:
            yield
        except Exception as error:
            if self.on_error == "raise":
                raise
            # What comes again at each epoch differs in its number, of an epoch or of a file.
            message = f"{type(error).__name__}: {error}"
            kind = re.sub(r"\d+", "", f"{where} {message}")
            if kind not in self._logged:
                self._logged.add(kind)
                logger.error(
                    "\nCAMCallback could not show where the model looks %s. %s\nTraining goes on without these "
                    "pictures; CAMCallback(on_error='raise') would stop here. The same error is not logged again.",
                    f"{when} {where}".strip(),
                    message,
                )
