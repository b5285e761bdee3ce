"""keras_cam shows where a Keras CNN looks, while it trains and after.

Names are loaded at first use, so that `import keras_cam` costs nothing: no TensorFlow, no Keras.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Box": "imaging.boxes",
    "CAMCallback": "training.callback",
    "CAMError": "errors",
    "CAMWarning": "errors",
    "Explainer": "explainer.explainer",
    "Explanation": "results.explanation",
    "InvalidClassError": "errors",
    "InvalidDataError": "errors",
    "InvalidImageError": "errors",
    "InvalidOptionError": "errors",
    "METHODS": "methods",
    "UnsupportedModelError": "errors",
    "build_cam_model": "model.submodels",
    "build_feature_model": "model.submodels",
    "class_activation_map": "attribution.class_activation_map",
    "class_weights": "model.submodels",
    "compute_cam": "explainer.functional",
    "explain": "explainer.functional",
    "inspect_model": "model.inspection",
    "overlay": "drawing.overlay",
    "save_film": "results.film",
}

if TYPE_CHECKING:
    from keras_cam.attribution.class_activation_map import class_activation_map as class_activation_map
    from keras_cam.drawing.overlay import overlay as overlay
    from keras_cam.errors import CAMError as CAMError
    from keras_cam.errors import CAMWarning as CAMWarning
    from keras_cam.errors import InvalidClassError as InvalidClassError
    from keras_cam.errors import InvalidDataError as InvalidDataError
    from keras_cam.errors import InvalidImageError as InvalidImageError
    from keras_cam.errors import InvalidOptionError as InvalidOptionError
    from keras_cam.errors import UnsupportedModelError as UnsupportedModelError
    from keras_cam.explainer.explainer import Explainer as Explainer
    from keras_cam.explainer.functional import compute_cam as compute_cam
    from keras_cam.explainer.functional import explain as explain
    from keras_cam.imaging.boxes import Box as Box
    from keras_cam.methods import METHODS as METHODS
    from keras_cam.model.inspection import inspect_model as inspect_model
    from keras_cam.model.submodels import build_cam_model as build_cam_model
    from keras_cam.model.submodels import build_feature_model as build_feature_model
    from keras_cam.model.submodels import class_weights as class_weights
    from keras_cam.results.explanation import Explanation as Explanation
    from keras_cam.results.film import save_film as save_film
    from keras_cam.training.callback import CAMCallback as CAMCallback

_MODULES = ("methods", "targets")

__all__ = sorted([*_WHERE, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"keras_cam.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"keras_cam.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
