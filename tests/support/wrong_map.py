"""The map that is taken from the last Conv2D, as tutorials and other libraries do, beside the one that adds up.

Write docs/wrong-map.md and its picture anew, about two minutes on two cores:

    PYTHONPATH=tests python -m support.wrong_map docs
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from support.applications import MEMBERS, build, draw_pictures

import keras_cam
from keras_cam.drawing.encode import encode_jpeg
from keras_cam.drawing.layout import filmstrip
from keras_cam.drawing.overlay import overlay
from keras_cam.imaging.load import resize
from keras_cam.imaging.normalize import normalize
from keras_cam.imaging.resample import place

NAMES = ("ResNet50V2", "DenseNet121", "Xception")
COUNT = 16
SHOWN = 6  # the picture that is drawn
SIDE = 224  # of what is drawn, in pixels
WEIGHTED, GRAD_CAM = "class weights on it", "Grad-CAM on it"
REASONS = {
    "ResNet50V2": "it is one branch of the last block, before the other branch is added and before batch normalization "
    "and ReLU. It happens to have as many channels as the pooled map, so that the class weights fit on it, and nothing "
    "says that they belong to another tensor.",
    "DenseNet121": "it makes 32 of the 1024 channels that are pooled. The class weights do not fit, and Grad-CAM sees "
    "only what passes through those 32.",
    "Xception": "`SeparableConv2D` is no subclass of `Conv2D`, so that the last one is the shortcut around block 13: "
    "all of block 14 comes after it, and the main path goes past it.",
}
PAGE = """# The last Conv2D is the wrong map

Most code that draws class activation maps looks for the last layer of class `Conv2D` and takes its output for the
feature map. The map of a class adds up to the score only on the tensor **that the global average pooling reads**. In
nearly every family of keras.applications that is another one:

{reasons}

keras_cam walks the model's graph back from the output to the tensor that enters the pooling, whatever made it. Below,
the same networks, {count} drawn pictures and the predicted class of each. The weights are random, with the statistics
of batch normalization set to those of the pictures: what is compared is the arithmetic, not what a network has learned.
The map of the last Conv2D is stretched over the picture as usual; keras_cam draws each cell over the pixels that it
sees.

![One of the pictures, the map from the last Conv2D and the map of keras_cam, for three networks](images/wrong-map.jpg)

| model | last Conv2D | the usual way | correlation with ours | same peak | score it misses | score we miss |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

- *Correlation with ours*: of the two maps over their cells, mean over the pictures; 1 would be the same map.
- *Same peak*: share of the pictures where the highest cell of both maps is the same.
- *Score missed*: distance between what the map and the bias of the last layer add up to (mean over the cells, for
  Grad-CAM the sum) and the logit, as a share of the largest logit; mean over the pictures for the usual way, largest
  for keras_cam.

Grad-CAM *on the right tensor* is fine for these three: up to a factor it is the same map. The fault lies in the choice
of the layer. [All of keras.applications](applications.md) lists what that tensor is in each model. This page was
written by `PYTHONPATH=tests python -m support.wrong_map docs`.
"""


@dataclass(frozen=True)
class Usual:
    """What is made of the last Conv2D: maps (N, h, w) of the predicted classes, signed.

    Attributes:
        layer: name and shape of the last Conv2D.
        way: `WEIGHTED` where the class weights fit on it, else `GRAD_CAM`.
        maps: float32 (N, h, w).
        missed: (N,) how far map and bias are from the logit, as a share of the largest logit.
    """

    layer: str
    way: str
    maps: np.ndarray
    missed: np.ndarray


def usual_maps(model: keras.Model, pictures: np.ndarray) -> Usual:
    """The maps that the last Conv2D gives, for a model that ends in Dense and logits; needs TensorFlow."""
    import tensorflow as tf

    layer = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    with tf.GradientTape() as tape:
        features, logits = keras.Model(model.input, [layer.output, model.output])(pictures, training=False)
        score = tf.reduce_sum(tf.reduce_max(logits, axis=1))
    slopes = tape.gradient(score, features).numpy()
    features, logits = features.numpy(), logits.numpy()
    kernel, bias = (variable.numpy() for variable in model.layers[-1].variables)
    classes = logits.argmax(axis=1)
    if features.shape[-1] == len(kernel):
        way, maps = WEIGHTED, np.einsum("nhwk,kn->nhw", features, kernel[:, classes])
        sums = maps.mean(axis=(1, 2))
    else:
        way, maps = GRAD_CAM, np.einsum("nhwk,nk->nhw", features, slopes.mean(axis=(1, 2)))
        sums = maps.sum(axis=(1, 2))
    missed = np.abs(sums + bias[classes] - logits.max(axis=1)) / np.abs(logits).max(axis=1)
    return Usual(f"`{layer.name}`, {'x'.join(map(str, features.shape[1:]))}", way, maps, missed)


def agreement(usual: np.ndarray, ours: np.ndarray) -> tuple[float, float]:
    """Mean correlation of the maps (N, h, w) over their cells, and the share whose highest cells are the same."""
    pairs = list(zip(usual.reshape(len(usual), -1), ours.reshape(len(ours), -1), strict=True))
    correlations = [np.corrcoef(one, other)[0, 1] for one, other in pairs]
    return float(np.mean(correlations)), float(np.mean([one.argmax() == other.argmax() for one, other in pairs]))


def compare(name: str) -> tuple[str, list[np.ndarray]]:
    """Row of the table and pictures for one model: as drawn, by the last Conv2D, by keras_cam."""
    size = MEMBERS[name].size
    pictures = draw_pictures(COUNT, (size, size))
    model = build(name, pictures, classifier_activation=None)
    usual, result = usual_maps(model, pictures), keras_cam.explain(model, pictures)
    correlation, same_place = agreement(usual.maps, result.maps[:, 0])
    cells = (
        *(name, usual.layer, usual.way, f"{correlation:.2f}", f"{same_place:.0%}", f"{usual.missed.mean():.0%}"),
        f"{np.abs(1 - result.completeness).max():.0e}",
    )
    shown = resize(result.images[SHOWN], (SIDE, SIDE))
    stretched = normalize(place(usual.maps[SHOWN], (SIDE, SIDE)))
    ours = place(result.heatmaps()[SHOWN][0], (SIDE, SIDE))
    print(f"{name}: correlation {correlation:.2f}, the last Conv2D misses {usual.missed.mean():.0%}", flush=True)
    return f"| {' | '.join(cells)} |", [shown, overlay(shown, stretched), overlay(shown, ours)]


def main() -> None:
    """Write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path, help="the folder to write to")
    docs = parser.parse_args().docs
    rows, strips = zip(*map(compare, NAMES), strict=True)
    reasons = "\n".join(
        fill(f"- **{name}**: {reason}", 120, subsequent_indent="  ") for name, reason in REASONS.items()
    )
    text = PAGE.format(reasons=reasons, count=COUNT, rows="\n".join(rows))
    (docs / "wrong-map.md").write_text(text, "utf-8")
    columns = ["picture", "last Conv2D", "keras_cam"]
    (docs / "images" / "wrong-map.jpg").write_bytes(encode_jpeg(filmstrip(strips, NAMES, columns), quality=85))


if __name__ == "__main__":
    main()
