"""What keras_cam raises and warns: every message says what came, what was wanted and what to do."""

from __future__ import annotations


class CAMError(ValueError):
    """Base of every error that keras_cam raises on purpose."""


class UnsupportedModelError(CAMError):
    """The model, or a layer asked for, cannot be explained in the way that was asked."""


class InvalidImageError(CAMError):
    """An image or a batch cannot be fed to the model or drawn."""


class InvalidClassError(CAMError):
    """A class index or name that the model does not have."""


class InvalidDataError(CAMError):
    """Data or labels given to a callback that no probes can be taken from."""


class InvalidOptionError(CAMError):
    """An argument outside the values it may take."""


class CAMWarning(UserWarning):
    """Something that the user should know although the work goes on."""
