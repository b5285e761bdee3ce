"""The words of errors: caught, and looked through for what they must hold."""

import pytest

from keras_cam import CAMError


def message(kind, call, *args, **kwargs):
    """The words of the error that the call ends in."""
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert isinstance(caught.value, CAMError) and isinstance(caught.value, ValueError)
    return str(caught.value)


def missing(words, text):
    """Those of the words that a text does not hold."""
    return [word for word in words if word not in text]
