"""Draw the picture of methods.md anew: `python docs/make_methods.py`, about a minute on two cores."""

import os
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np

import keras_cam
from benchmarks.method_quality import PADDING, rectified_of, with_head
from benchmarks.scenes import draw_scenes
from benchmarks.small_networks import build_network, train
from keras_cam.drawing.encode import encode_jpeg
from keras_cam.drawing.layout import caption, contact_sheet
from keras_cam.drawing.overlay import overlay
from keras_cam.imaging.load import resize
from keras_cam.shapes import CLASS_NAMES

IMAGE = Path(__file__).resolve().parent / "images" / "methods.jpg"
SEED, SCENE = 0, 23
WIDTH, TEXT_SIZE, COLUMNS = 200, 13, 6
FULL = 99.5  # percentile at full heat: of maps at pixels, a few outshine all the rest


def main():
    IMAGE.write_bytes(encode_jpeg(gallery(trained(), SCENE), 85))


def trained():
    keras.utils.set_random_seed(SEED)
    network = with_head(build_network(PADDING, len(CLASS_NAMES)), "flatten", len(CLASS_NAMES))
    train(network, draw_scenes(1600, SEED), 8, SEED)
    return network


def gallery(network, scene):
    scenes = draw_scenes(64, 1000)
    image, label = scenes.images[scene], int(scenes.labels[scene])
    last = rectified_of(network)[-1]
    found = keras_cam.explain(network, image, classes=label, class_names=CLASS_NAMES)
    cards = [card(image, np.zeros(image.shape[:2]), f"the picture: {found.title(0)}")]
    for name in keras_cam.METHODS:
        method = "auto" if name == "cam" else name
        heatmap = keras_cam.compute_cam(network, image, label, method=method, layer=last, normalize=None)
        cards.append(card(image, heatmap, "auto" if name == "cam" else name))
    return contact_sheet(cards, COLUMNS, gap=6)


def card(image, heatmap, words):
    size = (WIDTH, WIDTH)
    full = max(np.percentile(heatmap, FULL), 1e-9)
    drawn = overlay(resize(image, size), np.clip(resize(heatmap, size) / full, 0, 1))
    return caption(drawn, [words], text_size=TEXT_SIZE)


if __name__ == "__main__":
    main()
