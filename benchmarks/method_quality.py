"""How good a method's maps are: small networks with three kinds of head, held against boxes and against themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_cam
from benchmarks.box_scores import centre_gaussian, energy, max_box_accuracy, overlaps_by_threshold, pointing
from benchmarks.faithfulness import deletion, drop_and_increase, insertion
from benchmarks.scenes import SIZE, Pictures, draw_scenes, load_photos, load_small_photos
from benchmarks.small_networks import build_network, train
from keras_cam.imaging.normalize import normalize

PADDING = "ResNet-style"
HEADS = ("pooling", "two Dense", "flatten")
DEFAULT, BASELINE = "auto", "centre Gaussian"
FEW = {"max_channels": 32}  # of 128
LONG: Mapping[str, dict[str, Any]] = {"ss_cam": {**FEW, "samples": 2}, "is_cam": {**FEW, "samples": 2}}
ROWS: Mapping[str, tuple[str, dict[str, Any]]] = {
    DEFAULT: (DEFAULT, {}),
    **{name: (name, LONG.get(name, {})) for name in keras_cam.METHODS if name != "cam"},
    "score_cam, 32 channels": ("score_cam", FEW),
}
SHALLOW_ROWS = (
    *(DEFAULT, "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam", "eigen_cam"),
    *("score_cam", "ablation_cam", "random_cam"),
)
FLIPPED, FUSED, BRIGHTNESS = "auto, augment='flip'", "layer_cam, three layers", "brightness, no network"


@dataclass(frozen=True)
class Run:
    """One network, measured.

    Attributes:
        data: what it was trained on.
        head: one of `HEADS`.
        held_out: how many pictures it was measured on.
        accuracy: share of them whose class it tells.
        scores: by method: the seven of `scores_of`, and how like the map is to that of the most probable other class,
            and to that of the same class with the head drawn anew.
        elsewhere: by method, the first three of these where maps are made in a shallow layer, or in another manner.
    """

    data: str
    head: str
    held_out: int
    accuracy: float
    scores: dict[str, np.ndarray]
    elsewhere: dict[str, np.ndarray]


def with_head(body: keras.Model, head: str, num_classes: int) -> keras.Model:
    """Copy a network of `build_network`, all weights kept but those of its head, which is one of `HEADS`."""
    inputs = keras.Input((SIZE, SIZE, 3))
    copy = keras.models.clone_model(body)
    copy.set_weights(body.get_weights())
    x = inputs
    for layer in copy.layers[1:-2]:
        x = layer(x)
    if head == "flatten":  # by quarters of the picture: of every cell alone it learns 1600 scenes by heart
        x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    else:
        x = keras.layers.GlobalAveragePooling2D()(x)
    if head == "two Dense":
        x = keras.layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x))


@contextmanager
def drawn_head(network: keras.Model) -> Iterator[None]:
    """The weights of a network's Dense layers drawn anew, for a while."""
    weights = network.get_weights()
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.assign(keras.initializers.GlorotUniform(seed=0)(layer.kernel.shape))
    try:
        yield
    finally:
        network.set_weights(weights)


def box_scores_of(heatmaps: list[np.ndarray], boxes: list[np.ndarray]) -> np.ndarray:
    """MaxBoxAcc at IoU 0.5, pointing accuracy and energy in the box of signed heat maps, (3,)."""
    pairs = list(zip(heatmaps, boxes, strict=True))
    overlaps = np.stack([overlaps_by_threshold(normalize(heatmap, "minmax"), near) for heatmap, near in pairs])
    shares = [np.mean([rule(*pair) for pair in pairs]) for rule in (pointing, energy)]
    return np.array([max_box_accuracy(overlaps, 0.5), *shares])


def faithfulness_of(network: keras.Model, pictures: Pictures, heatmaps: list[np.ndarray], steps: int) -> np.ndarray:
    """Insertion, deletion, average drop and increase of signed heat maps, of every second picture, (4,)."""
    areas, whole, masked = [], [], []
    for image, label, heatmap in zip(pictures.images[::2], pictures.labels[::2], heatmaps[::2], strict=True):

        def predict(some: np.ndarray, label: int = int(label)) -> np.ndarray:
            return network.predict_on_batch(some.astype(np.float32))[:, label]

        areas.append([insertion(predict, image, heatmap, steps), deletion(predict, image, heatmap, steps)])
        masks = np.stack([np.ones_like(heatmap), normalize(heatmap)])
        before, after = predict(image * masks[..., np.newaxis])
        whole.append(before)
        masked.append(after)
    return np.array([*np.mean(areas, axis=0), *drop_and_increase(whole, masked)])


def likeness(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """Correlation of two maps of each picture, its mean over those whose maps both vary."""
    with np.errstate(invalid="ignore"):
        pairs = zip(some, others, strict=True)
        return float(np.nanmean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]))


def measure(
    network: keras.Model,
    data: str,
    head: str,
    pictures: Pictures,
    steps: int,
    rows: Mapping[str, tuple[str, dict[str, Any]]] = ROWS,
) -> Run:
    """Score methods on held-out pictures.

    Args:
        network: with a head of `HEADS`.
        data: what it was trained on.
        head: which head it has.
        pictures: to measure on.
        steps: of insertion and deletion.
        rows: by what they are called in the tables, methods and their options.
    """
    last = rectified_of(network)[-1]  # which is the default, but where a layer after it pools by quarters
    found = keras_cam.explain(network, pictures.images, classes="all", layer=last)
    other = np.where(np.arange(found.logits.shape[1]) == pictures.labels[:, None], -np.inf, found.logits).argmax(axis=1)
    classes = np.stack([pictures.labels, other], axis=1)
    few = slice(0, max(len(other) // 4, 1))
    scores = {}
    for row, (method, options) in rows.items():
        explainer = keras_cam.Explainer(network, method=method, layer=last, **options)
        maps = explainer(pictures.images, classes).heatmaps(None)
        own, others = [pair[0] for pair in maps], [pair[1] for pair in maps]
        with drawn_head(network):
            changed = explainer(pictures.images[few], classes[few]).heatmaps(None)
        alike = likeness(own, others), likeness(own[few], [pair[0] for pair in changed])
        scores[row] = np.array([*scores_of(network, pictures, own, steps), *alike])
    bells = [centre_gaussian(image.shape[:2]) for image in pictures.images]
    scores[BASELINE] = np.array([*scores_of(network, pictures, bells, steps), 1.0, 1.0])
    accuracy = float((found.logits.argmax(axis=1) == pictures.labels).mean())
    return Run(data, head, len(other), accuracy, scores, elsewhere(network, pictures))


def scores_of(network: keras.Model, pictures: Pictures, heatmaps: list[np.ndarray], steps: int) -> np.ndarray:
    """Box scores (3) and faithfulness (4) of signed heat maps, (7,)."""
    return np.array([*box_scores_of(heatmaps, pictures.boxes), *faithfulness_of(network, pictures, heatmaps, steps)])


def elsewhere(network: keras.Model, pictures: Pictures) -> dict[str, np.ndarray]:
    """Box scores in the third of five convolutions, of three layers fused, of mirrored images, and without one."""
    rectified = rectified_of(network)
    asked: dict[str, dict[str, Any]] = {row: {"method": row, "layer": rectified[2]} for row in SHALLOW_ROWS}
    asked[FUSED] = {"method": "layer_cam", "layer": rectified[2:]}
    asked[FLIPPED] = {"augment": "flip", "layer": rectified[-1]}
    scores = {}
    for row, options in asked.items():
        maps = keras_cam.explain(network, pictures.images, classes=pictures.labels, **options).heatmaps(None)
        scores[row] = box_scores_of([one[0] for one in maps], pictures.boxes)
    shades = [image.mean(axis=2, dtype=np.float32) for image in pictures.images]
    scores[BRIGHTNESS] = box_scores_of(shades, pictures.boxes)
    return scores


def rectified_of(network: keras.Model) -> list[str]:
    """Names of the ReLU layers of a network, one after each convolution."""
    return [layer.name for layer in network.layers if isinstance(layer, keras.layers.ReLU)]


def scene_runs(head: str, seeds: int, count: int, epochs: int, steps: int) -> Iterator[Run]:
    """Train a network for each seed on drawn scenes of its own, and measure all on the same other scenes."""
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        network = with_head(build_network(PADDING, 4), head, 4)
        train(network, draw_scenes(count, seed), epochs, seed)
        yield measure(network, "drawn scenes", head, draw_scenes(max(count // 256 * 16, 16), 1000), steps)


def photo_runs(folder: Path, seeds: int, count: int, epochs: int, steps: int) -> Iterator[Run]:
    """Train on small photographs, then on two thirds of the animals, and measure on the last third."""
    keras.utils.set_random_seed(0)
    start = build_network(PADDING, 10)
    train(start, load_small_photos(folder / "cifar10" / "train", count), max(1, epochs * 2 // 3), 0)
    photos = load_photos(folder / "animals")
    for fold in range(min(-(-seeds // 2), 3)):
        keras.utils.set_random_seed(fold)
        held_out = np.arange(len(photos.labels)) % 3 == fold
        network = with_head(start, "two Dense", 2)
        train(network, photos.take(~held_out), 4 * epochs, fold, rate=1e-3, crop=0.7)
        yield measure(network, "photographs", "two Dense", photos.take(held_out), steps)
