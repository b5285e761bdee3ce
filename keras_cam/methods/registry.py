"""The table of methods, and how a method is found in it.

A method takes a `View` of one batch and returns maps (N, C, *grid), or maps and biases (N, C) where these add up to the
scores.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from keras_cam.errors import InvalidOptionError
from keras_cam.methods.activation import cam, eigen_cam, eigen_grad_cam, random_cam
from keras_cam.methods.gradient import (
    finer_cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    shapley_cam,
    smooth_grad_cam_plus_plus,
    xgrad_cam,
)
from keras_cam.methods.perturbation import ablation_cam, is_cam, score_cam, ss_cam
from keras_cam.methods.pixel import (
    full_grad,
    guided_backprop,
    guided_grad_cam,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from keras_cam.methods.view import View


@dataclass(frozen=True)
class Method:
    """One way to make maps.

    Attributes:
        function: takes a `View` and its own options by keyword; returns maps (N, C, *grid), or (N, C, H, W) at the
            pixels; or `(maps, biases)` where mean(map) + bias is the score.
        paper: where it was published.
        cost: in forward passes of the whole model; K channels, n samples, C classes, "backward" a pass back through all
            of it, "head" a pass through what comes after the feature map, "layers" some work on the output of every
            layer.
        at_pixels: whether its maps are at the pixels of the image, rather than at the cells of the feature map.
        compiled: whether it is traced whole, into one function with the forward pass; else it is called as it stands,
            on tensors with values, and what it asks of its view is compiled.
    """

    function: Callable[..., Any]
    paper: str = ""
    cost: str = ""
    at_pixels: bool = False
    compiled: bool = True

    @property
    def joins_features(self) -> bool:
        """Whether it sees to all feature maps at once where there are several, rather than one at a time."""
        return self.at_pixels or self.function is cam

    @property
    def options(self) -> tuple[str, ...]:
        """Names of what may be set."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def _looped(function: Callable[..., Any], paper: str, cost: str, *, at_pixels: bool = False) -> Method:
    """A method that runs the model many times, and is called as it stands."""
    return Method(function, paper, cost, at_pixels, compiled=False)


AUTO = "auto"

# The command, the callback, the docs and the contract tests all read this table.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        # the feature map weighted by the head, or by gradients of the head
        "cam": Method(cam, "Zhou et al. 2016, arXiv 1512.04150", "1"),
        "grad_cam": Method(grad_cam, "Selvaraju et al. 2017, arXiv 1610.02391", "1 + head"),
        "grad_cam_plus_plus": Method(grad_cam_plus_plus, "Chattopadhay et al. 2018, arXiv 1710.11063", "1 + head"),
        "hires_cam": Method(hires_cam, "Draelos and Carin 2020, arXiv 2011.08891", "1 + head"),
        "layer_cam": Method(layer_cam, "Jiang et al. 2021, IEEE TIP 30", "1 + head"),
        "xgrad_cam": Method(xgrad_cam, "Fu et al. 2020, arXiv 2008.02312", "1 + head"),
        "finer_cam": Method(finer_cam, "Zhang et al. 2025, arXiv 2501.11309", "1 + head"),
        "shapley_cam": Method(shapley_cam, "Cai 2025, arXiv 2501.06261", "1 + 2 head"),
        "smooth_grad_cam_plus_plus": _looped(
            smooth_grad_cam_plus_plus, "Omeiza et al. 2019, arXiv 1908.01224", "1 + n (1 + head), n = 25"
        ),
        # along the first principal direction
        "eigen_cam": Method(eigen_cam, "Muhammad and Yeasin 2020, arXiv 2008.00299", "1 + eigenvectors"),
        "eigen_grad_cam": Method(eigen_grad_cam, "Gildenblat 2021, pytorch-grad-cam", "1 + head + eigenvectors"),
        # by scores of changed images or feature maps
        "score_cam": _looped(score_cam, "Wang et al. 2020, arXiv 1910.01279", "1 + K"),
        "ss_cam": _looped(ss_cam, "Wang et al. 2020, arXiv 2006.14255", "1 + n K, n = 10"),
        "is_cam": _looped(is_cam, "Naidu et al. 2020, arXiv 2010.03023", "1 + n K, n = 10"),
        "ablation_cam": _looped(ablation_cam, "Desai and Ramaswamy 2020, WACV", "1 + K head"),
        # a baseline
        "random_cam": Method(random_cam, "none: a baseline", "1"),
        # at the pixels, by gradients through the whole model
        "saliency": Method(saliency, "Simonyan et al. 2013, arXiv 1312.6034", "1 + C (1 + backward)", at_pixels=True),
        "smooth_grad": _looped(
            smooth_grad, "Smilkov et al. 2017, arXiv 1706.03825", "1 + n C (1 + backward), n = 25", at_pixels=True
        ),
        "integrated_gradients": _looped(
            integrated_gradients,
            "Sundararajan et al. 2017, arXiv 1703.01365",
            "1 + n C (1 + backward), n = 25",
            at_pixels=True,
        ),
        "full_grad": Method(
            full_grad, "Srinivas and Fleuret 2019, arXiv 1905.00780", "1 + C (1 + backward + layers)", at_pixels=True
        ),
        "guided_backprop": Method(
            guided_backprop, "Springenberg et al. 2014, arXiv 1412.6806", "1 + C (1 + backward)", at_pixels=True
        ),
        "guided_grad_cam": Method(
            guided_grad_cam, "Selvaraju et al. 2017, arXiv 1610.02391", "1 + head + C (1 + backward)", at_pixels=True
        ),
    }
)


def find_method(method: Any, options: Mapping[str, Any]) -> Method:
    """The method of a name, or of a user's own function, with its options checked.

    Args:
        method: "auto", a key of `METHODS`, a `Method`, or a function with the same signature.
        options: the options given for it.

    Returns:
        The method.

    Raises:
        InvalidOptionError: no such method, or an option that it does not have.
    """
    found = _method_of(method)
    # Before a pass is run: what the method does not have is said with what it has.
    unknown = sorted(set(options) - set(found.options))
    if unknown:
        name = method if isinstance(method, str) else getattr(found.function, "__name__", "the method")
        raise _unknown_options(found, name, unknown)
    return found


def _method_of(method: Any) -> Method:
    """The method that a name, a function or a `Method` stands for."""
    if method == AUTO:
        return METHODS["cam"]  # the decomposition, which is the CAM where the head is affine
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]
    if isinstance(method, Method):
        return method
    if callable(method):  # a user's own: called as it stands, so that it may use NumPy
        return Method(method, compiled=False)
    known = ", ".join(map(repr, (AUTO, *METHODS)))
    raise InvalidOptionError(
        f"method must be one of {known}, or a function that takes a keras_cam.methods.View. Received: {method!r}."
    )


def _unknown_options(method: Method, name: str, unknown: list[str]) -> InvalidOptionError:
    """The error that names options which a method does not have, or has by place and not by keyword."""
    positional = [option for option in unknown if option in inspect.signature(method.function).parameters]
    if positional:
        return InvalidOptionError(
            f"Options of a method are keyword-only: write def {name}(view, *, {', '.join(positional)}). Received: "
            f"{', '.join(map(repr, positional))}, which can be given by place as well."
        )
    return InvalidOptionError(
        f"There is no option {', '.join(map(repr, unknown))}: neither an option of keras_cam.Explainer nor one of "
        f"method {name!r}, which has {', '.join(map(repr, method.options)) or 'none of its own'}."
    )


def is_built_in(method: Method) -> bool:
    """Whether a method is one of the table, rather than a user's own."""
    return method in METHODS.values()


def check_maps(result: Any, view: View) -> None:
    """Raise where a user's method has returned something else than maps.

    Args:
        result: what it has returned.
        view: what it was given.

    Raises:
        InvalidOptionError: not (N, C, *grid), nor of the size of the image.
    """
    # Whatever it is has to have a shape, (N, C) and then cells or pixels.
    maps = result[0] if isinstance(result, tuple) else result
    received, classes = tuple(getattr(maps, "shape", ())), tuple(view.class_indices.shape)
    shapes = [(*classes, *tuple(array.shape)[1:-1]) for array in (view.features, view.images)]
    if received not in shapes:
        raise InvalidOptionError(
            f"A method must return maps (N, C, *grid), here {shapes[0]}, or maps of the size of the image. Received: "
            f"{received or type(maps).__name__}."
        )
