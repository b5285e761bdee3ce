"""The class activation map as the paper writes it (Zhou et al. 2016): loops in double precision."""

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
