"""Class activation maps, each from its own paper's formula, in double precision and knowing nothing of keras_cam.

`cam` and `score` are Zhou et al. 2016. Where a paper and its official code differ, the docstring says which one it is.
"""

import numpy as np


def cam(features, class_weights):
    """M_c[n, i, j] = sum over k of w_k^c A_k[n, i, j].

    features (N, ..., K); class_weights (K, C), or per image (N, K, C). Returns (N, ..., C).
    """
    features, class_weights = np.asarray(features, np.float64), np.asarray(class_weights, np.float64)
    num_images, *grid, num_channels = features.shape
    num_classes = class_weights.shape[-1]
    maps = np.zeros((num_images, *grid, num_classes))
    for image in range(num_images):
        weights = class_weights[image] if class_weights.ndim == 3 else class_weights
        for cell in np.ndindex(*grid):
            for class_index in range(num_classes):
                for channel in range(num_channels):
                    maps[(image, *cell, class_index)] += (
                        weights[channel, class_index] * features[(image, *cell, channel)]
                    )
    return maps


def score(maps, bias):
    """y_c = (1/Z) sum over the cells of M_c + b_c; maps (N, ..., C), bias (C,). Returns (N, C)."""
    num_images, *grid, num_classes = maps.shape
    scores = np.zeros((num_images, num_classes))
    for image in range(num_images):
        for class_index in range(num_classes):
            total = 0.0
            for cell in np.ndindex(*grid):
                total += maps[(image, *cell, class_index)]
            scores[image, class_index] = total / np.prod(grid) + bias[class_index]
    return scores


# What follows takes one image and one class: activations A (h, w, K) of a layer and gradients G (h, w, K) of the class'
# logit there. Each returns the map (h, w) before the last ReLU of its paper; ReLUs further in are kept. None scales it.


def weighted_sum(weights, activations):
    """Sum over k of w_k A_k: a map (h, w)."""
    result = np.zeros(activations.shape[:2])
    for channel, weight in enumerate(weights):
        result += weight * activations[..., channel]
    return result


def grad_cam(activations, gradients):
    """Grad-CAM (Selvaraju et al. 2017): w_k = mean over the cells of G_k; sum of w_k A_k."""
    return weighted_sum([gradients[..., k].mean() for k in range(gradients.shape[-1])], activations)


def hires_cam(activations, gradients):
    """HiResCAM (Draelos and Carin 2020, arXiv 2011.08891): sum over k of G_k A_k, cell by cell."""
    return (gradients * activations).sum(axis=-1)


def layer_cam(activations, gradients):
    """LayerCAM (Jiang et al. 2021): sum over k of ReLU(G_k) A_k, cell by cell."""
    return (np.maximum(gradients, 0) * activations).sum(axis=-1)


def plus_plus_weights(first, second, third, activations):
    """Weights of Grad-CAM++ from the derivatives of order 1 to 3, each (h, w, K).

    alpha = second / (2 second + third * sum of A_k), the denominator 0 read as 1. As in the later version of the
    official code alpha is divided, per channel, by its sum over the cells with a positive first derivative (a sum of 0
    read as 1); w_k = sum of alpha ReLU(first).
    """
    weights = []
    for k in range(activations.shape[-1]):
        total, weight, normaliser = activations[..., k].sum(), 0.0, 0.0
        for cell in np.ndindex(*activations.shape[:2]):
            denominator = 2 * second[(*cell, k)] + third[(*cell, k)] * total
            alpha = second[(*cell, k)] / (denominator if denominator != 0 else 1)
            if first[(*cell, k)] > 0:
                weight += alpha * first[(*cell, k)]
                normaliser += alpha
        weights.append(weight / (normaliser if normaliser != 0 else 1))
    return weights


def grad_cam_plus_plus(activations, gradients):
    """Grad-CAM++ (Chattopadhay et al. 2018) as the official code (adityac94/Grad_CAM_plus_plus) has it.

    The derivatives of e^y of order p are e^y G^p. e^y cancels in alpha; the code keeps it in the weights, where it
    multiplies the whole map by one positive number: left out here. First versions of the code divide alpha by its sum
    over all cells, which can be 0 or negative; the later one (read in forks only) sums where the gradient is positive.
    """
    return weighted_sum(plus_plus_weights(gradients, gradients**2, gradients**3, activations), activations)


def smooth_grad_cam_plus_plus(activations, noisy_gradients):
    """Smooth Grad-CAM++ (Omeiza et al. 2019, arXiv 1908.01224): Grad-CAM++ with derivatives averaged over noisy copies.

    activations of the image without noise; noisy_gradients: the gradient (h, w, K) at each noisy copy. The paper's text
    could not be had: torch-cam says it prints the first derivative in alpha's numerator and takes it for a slip, as we
    do; which activations enter is not said there, torch-cam takes the clean ones. Alpha is normalised as in
    `grad_cam_plus_plus`, so that copies without noise give exactly that.
    """
    noisy = np.stack(noisy_gradients)
    means = [(noisy**order).mean(axis=0) for order in (1, 2, 3)]
    return weighted_sum(plus_plus_weights(*means, activations), activations)


def xgrad_cam(activations, gradients, *, epsilon=1e-6):
    """XGrad-CAM (Fu et al. 2020, official code): w_k = sum(G_k A_k) / (sum(A_k) + 1e-6), 0 where the divisor is 0."""
    weights = []
    for k in range(activations.shape[-1]):
        total = activations[..., k].sum() + epsilon
        weights.append((gradients[..., k] * activations[..., k]).sum() / total if total != 0 else 0.0)
    return weighted_sum(weights, activations)


def ablation_cam(activations, score, scores_without):
    """Ablation-CAM (Desai and Ramaswamy 2020): w_k = (y - y_k) / |y|, y_k the logit with channel k set to zero.

    The paper divides by y; a negative y would turn the map over, so its size is taken. Where y is 0: w_k = y - y_k.
    """
    size = abs(score) if score != 0 else 1.0
    return weighted_sum([(score - without) / size for without in scores_without], activations)


def first_component(features, guide):
    """Projection (h, w) of features (h, w, K) on their first right singular vector, not centred, agreeing with a guide.

    A singular vector has no sign: the one is taken with which the sum of projection times guide (h, w) is not negative.
    """
    matrix = features.reshape(-1, features.shape[-1])
    _, _, directions = np.linalg.svd(matrix, full_matrices=False)
    projection = (matrix @ directions[0]).reshape(features.shape[:2])
    return projection if (projection * guide).sum() >= 0 else -projection


def eigen_cam(activations):
    """Eigen-CAM (Muhammad and Yeasin 2020): first principal component of A, no class; our choice: its sum positive."""
    return first_component(activations, np.ones(activations.shape[:2]))


def eigen_grad_cam(activations, gradients):
    """Eigen-CAM of A G, element by element (a method of pytorch-grad-cam, which centres; no paper of its own).

    Our choice of sign: it agrees with HiResCAM, which is the sum over the channels of the same A G, so that evidence
    against a class stays negative.
    """
    return first_component(activations * gradients, hires_cam(activations, gradients))


def similar_classes(logits, class_index, num_references=3):
    """The other classes with the logits nearest to that of class_index, nearest first, ties by index."""
    others = [other for other in range(len(logits)) if other != class_index]
    return sorted(others, key=lambda other: (abs(logits[other] - logits[class_index]), other))[:num_references]


def finer_cam(activations, class_gradients, class_index, references, *, alpha=1.0):
    """Finer-CAM (Zhang et al. 2025, arXiv 2501.11309): Grad-CAM of y_c - alpha * mean over the references d of y_d.

    class_gradients (classes, h, w, K); references: class indices, by default of the official code the three of
    `similar_classes`, alpha 1. That code has this plain mean (FinerDefaultTarget) and one with the references' softmax
    probabilities as weights (FinerWeightedTarget, the one it uses now); the mean is followed here.
    """
    others = np.mean([class_gradients[reference] for reference in references], axis=0)
    return grad_cam(activations, class_gradients[class_index] - alpha * others)


def shapley_cam(activations, gradients, hessian_product):
    """ShapleyCAM (Cai 2025, arXiv 2501.06261): w_k = mean over the cells of G_k - (H A)_k / 2.

    hessian_product: the Hessian of the target with respect to A, times A, (h, w, K); read off the author's code merged
    in pytorch-grad-cam, where the target is the logit unless given (the paper's own is y_c + log softmax_c).
    """
    return grad_cam(activations, gradients - hessian_product / 2)


def upsample(array, size):
    """Bilinear, half-pixel centres, edges clamped, no antialiasing: (h, w) or (h, w, K) to (*size) or (*size, K)."""
    result = np.zeros((*size, *array.shape[2:]))
    for cell in np.ndindex(*size):
        corners = []
        for index, count, length in zip(cell, size, array.shape[:2], strict=True):
            place = min(max((index + 0.5) * length / count - 0.5, 0.0), length - 1.0)
            low = int(place)
            corners.append([(low, 1 - (place - low)), (min(low + 1, length - 1), place - low)])
        for row, row_share in corners[0]:
            for column, column_share in corners[1]:
                result[cell] += row_share * column_share * array[row, column]
    return result


def fuse_layer_cams(maps, shallow, size, *, gamma=2.0):
    """LayerCAM of several layers in one map (Jiang et al. 2021, eq. 9 as torch-cam cites it): element-wise maximum.

    Of each map (h, w) the positive part over its maximum is taken (a map without one stays 0), tanh(gamma * that) where
    `shallow` says so, on its own grid; then all are brought to `size`. Scaling before resizing is torch-cam's order.
    """
    scaled = []
    for one, is_shallow in zip(maps, shallow, strict=True):
        positive = np.maximum(one, 0)
        relative = positive / (positive.max() if positive.max() > 0 else 1)
        scaled.append(upsample(np.tanh(gamma * relative) if is_shallow else relative, size))
    return np.max(scaled, axis=0)
