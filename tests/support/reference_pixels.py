"""Explanations at the pixels from their papers, float64.

One image (height, width, channels) as the model takes it, one class; gradients are of the class' logit. Where a method
needs the gradient at other images, `gradient_of(image)` gives it. Maps are (height, width), not scaled.
"""

import numpy as np
from support.reference import upsample


def saliency(gradient):
    """Saliency map (Simonyan et al. 2013): the largest size of the gradient over the channels."""
    return np.abs(gradient).max(axis=-1)


def smooth_grad(gradient_of, noisy_images):
    """SmoothGrad (Smilkov et al. 2017): the gradients at noisy copies averaged with their sign, then as `saliency`."""
    return saliency(np.mean([gradient_of(image) for image in noisy_images], axis=0))


def integrated_gradients(gradient_of, image, baseline, num_steps):
    """Integrated gradients (Sundararajan et al. 2017) on the straight line from the baseline, summed over the channels.

    The integral is a midpoint sum, steps at (i - 1/2) / n; the paper's own sum takes the right ends i / n.
    """
    total = np.zeros_like(image)
    for step in range(1, num_steps + 1):
        total += gradient_of(baseline + (step - 0.5) / num_steps * (image - baseline)) / num_steps
    return ((image - baseline) * total).sum(axis=-1)


def guided_backprop(guided_gradient):
    """Guided backpropagation (Springenberg et al. 2014), from the gradient with the guided rule at the ReLUs."""
    return saliency(guided_gradient)


def guided_grad_cam(guided_gradient, grad_cam_map):
    """Guided Grad-CAM (Selvaraju et al. 2017): guided gradient times the upsampled positive part of Grad-CAM."""
    heat = upsample(np.maximum(grad_cam_map, 0), guided_gradient.shape[:2])
    return saliency(guided_gradient * heat[..., None])


def rescaled(values):
    """Sizes stretched to [0, 1] over all cells and channels at once; 0 where they are all the same."""
    size = np.abs(values)
    return (size - size.min()) / np.ptp(size) if np.ptp(size) > 0 else np.zeros_like(size)


def full_grad(image, gradient, biases_and_gradients):
    """FullGrad (Srinivas and Fleuret 2019, arXiv 1905.00780): input times gradient, and bias times gradient per layer.

    biases_and_gradients: (bias (K,), gradient (h, w, K) at the layer's output before its activation) of each
    convolution; dense layers have no place and are left out, as in the official code. Each layer's product is rescaled
    over its cells and channels together, as there, upsampled and summed over the channels. Two things are not as
    there: the code adds 1e-6 to the maximum, which would tie the map to the logit's scale, and upsamples with aligned
    corners, where all of ours has half-pixel centres.
    """
    result = rescaled(image * gradient).sum(axis=-1)
    for bias, layer_gradient in biases_and_gradients:
        result += upsample(rescaled(bias * layer_gradient), image.shape[:2]).sum(axis=-1)
    return result


def full_gradient_sum(image, gradient, biases_and_gradients):
    """What equals the logit of a ReLU network if every bias is given, dense ones too: the paper's completeness."""
    return (image * gradient).sum() + sum((bias * upstream).sum() for bias, upstream in biases_and_gradients)
