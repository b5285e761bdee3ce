"""Tiny convolutional networks in NumPy, float64, with forward and backward pass written by hand.

A network is a list of layers; `forward` gives every value on the way, `gradient` the exact gradient of a class' logit
with respect to any of them. Nothing here knows Keras, but the layouts are Keras': channels last, kernels (height,
width, in, out), `padding="same"` as TensorFlow pads (half of it, rounded down, before). `weights` of a layer can be
given to the `set_weights` of a Keras Conv2D or Dense as it stands.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layer:
    """One layer; kind is "conv", "dense", "relu", "gap" or "flatten". The first two have weights (kernel, bias)."""

    kind: str
    weights: tuple = ()
    stride: int = 1
    padding: str = "valid"


FEATURES = 4  # index in the values of a tiny_network: the output of its second ReLU, the last feature map


def tiny_network(head, seed, *, channels=2, features=4, num_classes=3):
    """Two convolutions with ReLU, then a head, for pictures of 7 x 9 x channels.

    head: "gap" (mean, dense), "flatten" (flatten, dense) or "mlp" (mean, dense, ReLU, dense).
    Even seeds: the second convolution has stride 2 and uneven "same" padding, feature map 4 x 5; odd seeds: stride 1,
    no padding, 5 x 8.
    """
    random = np.random.default_rng(seed)

    def affine(*shape):
        scale = 1.5 / np.sqrt(np.prod(shape[:-1]))
        return random.normal(0, scale, shape), random.normal(0.1, 0.2, shape[-1])

    body = [
        Layer("conv", affine(3, 3, channels, 3), padding="same"),
        Layer("relu"),
        Layer("conv", affine(3, 2, 3, features), **({"stride": 2, "padding": "same"} if seed % 2 == 0 else {})),
        Layer("relu"),
    ]
    cells = 4 * 5 if seed % 2 == 0 else 5 * 8
    heads = {
        "gap": lambda: [Layer("gap"), Layer("dense", affine(features, num_classes))],
        "flatten": lambda: [Layer("flatten"), Layer("dense", affine(cells * features, num_classes))],
        "mlp": lambda: [
            Layer("gap"),
            Layer("dense", affine(features, 6)),
            Layer("relu"),
            Layer("dense", affine(6, num_classes)),
        ],
    }
    return body + heads[head]()


def picture(seed, *, size=(7, 9), channels=2):
    """A random picture (height, width, channels), float64, mean 0 and deviation 1."""
    return np.random.default_rng(1000 + seed).normal(size=(*size, channels))


def windows(layer, shape):
    """Where a convolution looks: padded shape, pads before, and [(output cell, slices of the padded input)]."""
    kernel = layer.weights[0].shape[:2]
    stride, before, padded, out = layer.stride, [], [], []
    for length, width in zip(shape[:2], kernel, strict=True):
        count = -(-length // stride) if layer.padding == "same" else (length - width) // stride + 1
        total = max((count - 1) * stride + width - length, 0) if layer.padding == "same" else 0
        before.append(total // 2)
        padded.append(length + total)
        out.append(count)
    places = []
    for row, column in np.ndindex(*out):
        top, left = row * stride, column * stride
        places.append(((row, column), (slice(top, top + kernel[0]), slice(left, left + kernel[1]))))
    return padded, before, out, places


def inside(before, shape):
    """Slices of the padded array that hold the array itself."""
    return tuple(slice(pad, pad + length) for pad, length in zip(before, shape[:2], strict=True))


def run(layer, value):
    """Output of one layer."""
    if layer.kind == "conv":
        kernel, bias = layer.weights
        padded_shape, before, out, places = windows(layer, value.shape)
        padded = np.zeros((*padded_shape, value.shape[2]))
        padded[inside(before, value.shape)] = value
        result = np.zeros((*out, kernel.shape[3]))
        for cell, place in places:
            result[cell] = np.einsum("hwi,hwio->o", padded[place], kernel) + bias
        return result
    if layer.kind == "dense":
        return value @ layer.weights[0] + layer.weights[1]
    if layer.kind == "relu":
        return np.maximum(value, 0)
    return value.mean(axis=(0, 1)) if layer.kind == "gap" else value.reshape(-1)


def run_back(layer, value, upstream, *, guided=False):
    """Gradient at a layer's input `value`, from the gradient at its output; ReLU'(0) is 0.

    guided: the backward rule of guided backpropagation, which also drops what is negative in `upstream` at a ReLU.
    """
    if layer.kind == "conv":
        kernel = layer.weights[0]
        padded_shape, before, _, places = windows(layer, value.shape)
        padded = np.zeros((*padded_shape, value.shape[2]))
        for cell, place in places:
            padded[place] += np.einsum("hwio,o->hwi", kernel, upstream[cell])
        return padded[inside(before, value.shape)]
    if layer.kind == "dense":
        return layer.weights[0] @ upstream
    if layer.kind == "relu":
        return upstream * (value > 0) * ((upstream > 0) if guided else 1)
    if layer.kind == "gap":
        return np.broadcast_to(upstream / (value.shape[0] * value.shape[1]), value.shape).copy()
    return upstream.reshape(value.shape)


def forward(network, image, *, start=0):
    """Every value on the way: [image, output of layer 0, ..., logits]. start: `image` is the value with this index."""
    values = [np.asarray(image, np.float64)]
    for layer in network[start:]:
        values.append(run(layer, values[-1]))
    return values


def logits(network, image, *, start=0):
    """Output of the last layer; start: `image` is the value with this index, so the layers before it do not run."""
    return forward(network, image, start=start)[-1]


def gradient(network, image, class_index, *, at=0, guided=False):
    """Gradient of one class' logit with respect to the value with index `at` (0: the image)."""
    values = forward(network, image)
    upstream = np.eye(len(values[-1]))[class_index]
    for index in reversed(range(at, len(network))):
        upstream = run_back(network[index], values[index], upstream, guided=guided)
    return upstream


def jacobian(network, image, *, at=0):
    """The gradients of all logits: (classes, *shape of the value with index `at`)."""
    num_classes = len(network[-1].weights[1])
    return np.stack([gradient(network, image, class_index, at=at) for class_index in range(num_classes)])


def biases_and_gradients(network, image, class_index, kinds=("conv", "dense")):
    """[(bias of a layer, gradient of the logit at that layer's output)], from the first layer to the last."""
    return [
        (layer.weights[1], gradient(network, image, class_index, at=index + 1))
        for index, layer in enumerate(network)
        if layer.kind in kinds
    ]


def without_channels(network, image, class_index, *, at=FEATURES):
    """Logit of the class with one channel of the value `at` set to zero, for each channel: (K,)."""
    features = forward(network, image)[at]
    scores = []
    for channel in range(features.shape[-1]):
        cut = features.copy()
        cut[..., channel] = 0
        scores.append(logits(network, cut, start=at)[class_index])
    return np.array(scores)


def through_softmax(jacobian, scores, class_index, target):
    """Gradient of a smooth target of the logits, and its Hessian times a vector, by the chain rule.

    Exact where the logits are linear round the value at hand (dense and ReLU layers): for the gradients J (classes,
    *shape) of the logits, gradient J^T t and product J^T T J v with t, T the target's own gradient and Hessian.
    target: "probability" (softmax of the class) or "rest" (y_c + log softmax_c, the ShapleyCAM paper's).
    Returns the gradient and a function of v.
    """
    odds = np.exp(scores - scores.max())
    probability = odds / odds.sum()
    one = np.eye(len(scores))[class_index]
    curvature = np.diag(probability) - np.outer(probability, probability)  # Hessian of log sum exp
    if target == "rest":
        slope, bend = 2 * one - probability, -curvature
    else:
        slope = probability[class_index] * (one - probability)
        bend = probability[class_index] * (np.outer(one - probability, one - probability) - curvature)
    rows = jacobian.reshape(len(scores), -1)

    def product(vector):
        return (rows.T @ (bend @ (rows @ vector.reshape(-1)))).reshape(vector.shape)

    return (rows.T @ slope).reshape(jacobian.shape[1:]), product
