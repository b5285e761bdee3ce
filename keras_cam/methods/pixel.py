"""Maps at the pixels of the image, by gradients through the whole model.

The channels of the image are one map by their largest magnitude, but for integrated gradients, whose channels add up.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_cam.attribution.resample import stretch
from keras_cam.methods.baseline import empty_image
from keras_cam.methods.gradient import grad_cam, noisy_images
from keras_cam.methods.view import View
from keras_cam.validation import whole_number

Tensor = Any


def saliency(view: View) -> Tensor:
    """The gradient by the image (Simonyan et al. 2013, arXiv 1312.6034): which pixels the score reacts to.

    Args:
        view: what to explain.

    Returns:
        (N, C, H, W), not negative.
    """
    return _largest(view.image_gradients())


def smooth_grad(view: View, *, samples: int = 25, noise: float = 0.15, seed: int = 0) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825): the gradient, averaged over noisy copies of the image.

    Args:
        view: what to explain.
        samples: how many copies.
        noise: standard deviation of the noise, as a share of the range of each image.
        seed: of the noise, drawn as for `smooth_grad_cam_plus_plus`.

    Returns:
        (N, C, H, W), not negative.
    """
    total: Any = 0.0
    for images in noisy_images(view, samples, noise, seed):
        total = total + view.image_gradients(images)
    return _largest(total / samples)


def integrated_gradients(view: View, *, samples: int = 25, baseline: Any = 0.0) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365): the way from an empty image, added up.

    The map's sum is the score minus that of the empty image, up to the error of the sum (midpoint rule).

    Args:
        view: what to explain.
        samples: how many steps.
        baseline: the empty image as the model is fed it: a number, or an array that broadcasts to one image, channels
            last; default: 0.

    Returns:
        (N, C, H, W), signed.
    """
    samples = whole_number("samples", samples)
    empty = ops.convert_to_tensor(empty_image(baseline, view.images))
    # Straight from the baseline to the image.
    path = view.images - empty
    total: Any = 0.0
    for step in view.steps(samples):
        total = total + view.image_gradients(empty + (step + 0.5) / samples * path)  # at the middle of each step
    return ops.sum(ops.expand_dims(path, 1) * total / samples, axis=-1)


def guided_backprop(view: View) -> Tensor:
    """Guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806): a ReLU passes back only what is positive.

    Sharp, and hardly about the class: it fails the sanity checks of Adebayo et al. 2018 (arXiv 1810.03292).

    Args:
        view: what to explain.

    Returns:
        (N, C, H, W), not negative.
    """
    return _largest(view.image_gradients(guided=True))


def guided_grad_cam(view: View) -> Tensor:
    """Guided Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): guided backpropagation times Grad-CAM's positive part.

    Fails the same sanity checks as its first factor.

    Args:
        view: what to explain.

    Returns:
        (N, C, H, W), not negative.
    """
    # Cells to pixels, by all feature maps of the model together.
    heat = view.add_on_finest_grid([grad_cam(at_feature) for at_feature in view.feature_maps()])
    return _largest(view.image_gradients(guided=True)) * view.stretched(ops.relu(heat))


def full_grad(view: View) -> Tensor:
    """FullGrad (Srinivas and Fleuret 2019, arXiv 1905.00780): input x gradient and bias x gradient of every layer.

    Each part's magnitudes are scaled to [0, 1], stretched over the image and added up over channels and layers. As the
    authors' code, but for the 1e-6 that it adds to each maximum.

    Args:
        view: what to explain.

    Returns:
        (N, C, H, W), not negative.
    """
    # (N, C, H, W, K) at the pixels, and (N, C, h, w, k) at the cells of each layer.
    image, parts = view.input_and_bias_gradients()
    sizes = [ops.shape(image)[axis] for axis in range(2, len(image.shape) - 1)]
    # Stretching is linear: what has one size is added up before, to be stretched once.
    by_size: dict[Any, Tensor] = {}
    for index, part in enumerate(parts):
        size = tuple(part.shape[2:-1])
        key = index if None in size else size
        by_size[key] = by_size.get(key, 0.0) + ops.sum(_scaled(part), axis=-1)
    # The image's own part, and those of all layers at its size.
    total = ops.sum(_scaled(image), axis=-1)
    for maps in by_size.values():
        total = total + stretch(maps, sizes, 2)
    return total


def _scaled(part: Tensor) -> Tensor:
    """Magnitudes of (N, C, ..., k), from their least to their largest as [0, 1]; zeros where they are all equal."""
    part = ops.abs(part)
    axes = tuple(range(2, len(part.shape)))
    low, high = ops.min(part, axis=axes, keepdims=True), ops.max(part, axis=axes, keepdims=True)
    varies = high > low  # where nothing does, divided by 1 and left out
    return ops.where(varies, (part - low) / ops.where(varies, high - low, ops.ones_like(high)), 0.0)


def _largest(gradients: Tensor) -> Tensor:
    """The largest magnitude among the channels of each pixel."""
    return ops.max(ops.abs(gradients), axis=-1)
