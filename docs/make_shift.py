"""Draw the pictures of shift.md anew and fill in its table: `python docs/make_shift.py`, some minutes on two cores."""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).resolve().parents[1]))

import cv2
import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import keras_cam
from benchmarks.box_scores import largest_box
from benchmarks.scenes import draw_scenes
from benchmarks.small_networks import build_network, train
from keras_cam.drawing.encode import encode_jpeg
from keras_cam.drawing.layout import filmstrip
from keras_cam.drawing.overlay import overlay
from keras_cam.graph.receptive_field import Axis
from keras_cam.imaging.load import resize
from keras_cam.model.grid import even_grid, grid_of
from keras_cam.model.head import find_head
from keras_cam.shapes import CLASS_NAMES

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
BLUE, ORANGE, GRAY, WHITE = "#0072b2", "#d55e00", "#999999", "#ffffff"
FAMILIES = (
    *("ResNet50", "ResNet50V2", "MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0"),
    *("InceptionV3", "InceptionResNetV2", "Xception", "DenseNet121", "NASNetMobile", "ConvNeXtTiny", "VGG16"),
)
IMAGE_SIZE = 640
SHOWN, CELL = ("ResNet50", "MobileNetV2"), 3
SEED, THRESHOLD = 0, 0.4
TABLE = re.compile("(<!-- table by make_shift.py -->).*?(<!-- end of table -->)", re.DOTALL)


def draw_windows() -> None:
    """One row of pixels, the windows of a 3-wide convolution of stride 2, and where their cells are taken to lie."""
    figure = Figure(figsize=(8, 4.4))
    kinds = (("padding='same': one pixel of padding behind", 0), ("as in ResNet: one pixel of padding before", 1))
    for panel, (title, before) in enumerate(kinds):
        axes = figure.add_subplot(2, 1, panel + 1)
        axes.set_title(title, loc="left", fontsize=11)
        for pixel in range(-before, 17 - before):
            padding = pixel < 0 or pixel > 15
            style = {"facecolor": "none", "linestyle": ":"} if padding else {"facecolor": "#eeeeee"}
            axes.add_patch(Rectangle((pixel - 0.5, 0), 1, 0.8, edgecolor=GRAY, **style))
            if not padding:
                axes.text(pixel, 0.4, str(pixel), ha="center", va="center", fontsize=8, color="#555555")
        for cell in range(8):
            seen, height = 2 * cell + 1 - before, 1.15 + 0.4 * (cell % 2)
            axes.plot([seen - 1.4, seen + 1.4], [height] * 2, color=BLUE, linewidth=2)
            axes.plot(seen, height, "o", color=BLUE, markersize=6, label="centre of what the cell sees")
            axes.plot(2 * cell + 0.5, -0.5, "s", color=ORANGE, markersize=6, label="where stretching puts it")
            axes.plot([2 * cell + 0.5, seen], [-0.5, height], color=GRAY, linewidth=0.7, zorder=0)
        axes.set(xlim=(-2, 17.5), ylim=(-0.9, 1.9))
        axes.set_axis_off()
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], loc="lower left", fontsize=10, frameon=False, ncols=2)
    figure.subplots_adjust(0.01, 0.09, 0.99, 0.93, hspace=0.25)
    figure.savefig(IMAGES / "shift-windows.png", dpi=90)


def draw_field() -> None:
    """Which pixels of a picture move one cell of a network, and where the cell is drawn in either way."""
    picture = resize(draw_scenes(16, 5).images[9], (224, 224))
    panels = []
    for name in SHOWN:
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(weights=None, classes=4)
        result = keras_cam.explain(model, picture)
        strength = strength_of(model, result.layer, picture, CELL)
        panel = overlay(picture, strength / strength.max())
        for grid, color in ((even_grid((7, 7), (224, 224)), ORANGE), (result.grid, BLUE)):
            axis = grid.axes[0]
            low, high = (round(axis.offset + axis.stride * (CELL + side)) for side in (-0.5, 0.5))
            cv2.rectangle(panel, (low, low), (high, high), rgb(color), 2)
        panels.append(panel)
    sheet = filmstrip([panels], [""], SHOWN)
    (IMAGES / "shift-field.jpg").write_bytes(encode_jpeg(sheet, 88))


def strength_of(model: keras.Model, layer: str, picture: np.ndarray, cell: int) -> np.ndarray:
    """How strongly each pixel moves a cell on the diagonal of a feature map, smoothed a little."""
    features = keras.Model(model.inputs, model.get_layer(layer.rsplit("/", 1)[-1]).output)
    pixels = tf.constant(picture[np.newaxis].astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = tf.reduce_sum(features(pixels)[:, cell, cell])
    strength = np.abs(np.asarray(tape.gradient(value, pixels))).sum(axis=(0, 3))
    return np.sqrt(cv2.GaussianBlur(strength, None, 2))


def draw_maps() -> None:
    """Maps of one trained network, stretched and placed, with the true box and that of the map."""
    keras.utils.set_random_seed(SEED)
    network = build_network("ResNet-style", num_classes=4)
    train(network, draw_scenes(1600, SEED), 8, SEED)
    scenes = draw_scenes(64, 1000)
    chosen = [2, 9, 23, 36]
    result = keras_cam.explain(network, scenes.images[chosen], classes=scenes.labels[chosen])
    rows = []
    for align, color in (("stretch", ORANGE), ("receptive_field", BLUE)):
        row = []
        for index, maps in enumerate(result.heatmaps(align=align)):
            panel = resize(overlay(result.images[index], maps[0]), (256, 256))
            true, found = scenes.boxes[chosen[index]][0], largest_box(maps[0] > THRESHOLD)
            for box, line in ((true, WHITE), (found, color)):
                left, top, right, bottom = (2 * int(side) for side in box)
                cv2.rectangle(panel, (left, top), (right - 1, bottom - 1), rgb(line), 2)
            row.append(panel)
        rows.append(row)
    sheet = filmstrip(rows, ["stretched", "placed"], [CLASS_NAMES[label] for label in scenes.labels[chosen]])
    (IMAGES / "shift-maps.jpg").write_bytes(encode_jpeg(sheet, 85))


def rgb(color: str) -> tuple[int, ...]:
    """The three numbers of "#rrggbb"."""
    return tuple(bytes.fromhex(color[1:]))


def fill_table() -> None:
    """Write the table of families into the page, between its marks."""
    lines = ["| model | cells | first, middle and last cell look at | stretching draws them at | off by |"]
    lines.append("| --- " * 5 + "|")
    for name in FAMILIES:
        keras.backend.clear_session()
        body = getattr(keras.applications, name)(
            weights=None, include_top=False, pooling="avg", input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3)
        )
        model = keras.Model(body.inputs, keras.layers.Dense(4)(body.output))
        cut = find_head(model).cut
        (feature,) = cut.features
        shape = cut.program.shape(feature.slot)[1:3]
        grid = grid_of(cut, feature, (IMAGE_SIZE, IMAGE_SIZE), shape)
        looks, drawn = (centres(some.axes[0]) for some in (grid, even_grid(shape, (IMAGE_SIZE, IMAGE_SIZE))))
        cells = (", ".join(f"{value:.1f}" for value in values) for values in (looks, drawn))
        off = ", ".join(f"{value:+.1f}" for value in dict.fromkeys(np.round(looks - drawn, 1)))
        spread = f" (branches differ by {grid.axes[0].spread:.0f})" if grid.axes[0].spread else ""
        guess = "" if grid.source == "graph" else f" (a guess: {grid.note})"
        lines.append(f"| {name} | {shape[0]}x{shape[1]} | {' | '.join(cells)} | {off}{spread}{guess} |")
        print(lines[-1], flush=True)
    page = DOCS / "shift.md"
    table = "\n".join(lines)
    page.write_text(TABLE.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", page.read_text("utf-8")), "utf-8")


def centres(axis: Axis) -> np.ndarray:
    """Centres of the first, the middle and the last cell, in pixels."""
    return axis.offset + axis.stride * np.array([0, axis.length // 2, axis.length - 1])


if __name__ == "__main__":
    draw_windows()
    draw_field()
    draw_maps()
    fill_table()
