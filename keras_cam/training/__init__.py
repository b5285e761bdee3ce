"""`CAMCallback`: when to look while a model trains, what is shown, and where it goes.

`Look` is what the function given as `CAMCallback(on_look=...)` is called with: the maps of the probes, and the numbers
that say where the model looks; docs/training.md lists what it holds. Both names are loaded at first use, for they load
Keras.

>>> from keras_cam.training import CAMCallback, Look
>>> Look.__module__
'keras_cam.training.look'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_cam.training.callback import CAMCallback as CAMCallback
    from keras_cam.training.look import Look as Look

__all__ = ["CAMCallback", "Look"]

_WHERE = {"CAMCallback": "callback", "Look": "look"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
