"""Looks at maps that are made by hand."""

import numpy as np
from support.callback_models import NAMES

from keras_cam import Explanation
from keras_cam.probes.probe_set import ProbeImages
from keras_cam.training.look import Look, PreviousLook
from keras_cam.training.measures import take_measures

GRID = 8


def blob(row, column, *, side=2, noise=0.0, seed=0):
    """A map that is hot in one square."""
    heat = noise * np.random.default_rng(seed).uniform(size=(GRID, GRID))
    heat[row : row + side, column : column + side] += 1
    return heat


def look_at_maps(maps, labels, previous=None, step=0, images=None, mapped=None):
    """A look at maps (N, h, w), each of the picture's true class, or of class 0, or of the classes `mapped`."""
    count = len(maps)
    images = [np.full((16, 16, 3), index, np.float32) for index in range(count)] if images is None else images
    classes = np.array([[0 if label is None else label] for label in (mapped or labels)])
    probabilities = np.full((count, 3), 0.25, np.float32)
    np.put_along_axis(probabilities, classes, 0.5, axis=1)
    result = Explanation(
        maps=np.asarray(maps, np.float32)[:, np.newaxis],
        class_indices=classes,
        logits=np.log(probabilities),
        probabilities=probabilities,
        bias=np.zeros((count, 1), np.float32),
        images=tuple(np.zeros((16, 16, 3), np.uint8) for _ in images),
        method="cam",
        layer="conv",
        class_names=NAMES,
    )
    probes = ProbeImages(images, list(labels), [""] * count, [None] * count)
    before = None if previous is None else PreviousLook(previous.probes.fingerprints, previous.shares)
    look = Look.of(result, probes, step, "epoch", before)
    take_measures(look)
    return look
