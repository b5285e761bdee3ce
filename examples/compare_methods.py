"""All methods side by side on one picture, in one sheet, with the time that each takes.

With a network trained here, in a minute:   python examples/compare_methods.py
With a model and a picture of your own:     python examples/compare_methods.py --model m.keras --image photo.jpg
Some methods, in a layer of your choice:    python examples/compare_methods.py --methods auto layer_cam --layer shallow
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import keras_cam
from keras_cam.drawing.encode import save_png
from keras_cam.drawing.layout import caption, contact_sheet
from keras_cam.drawing.text import text_picture
from keras_cam.imaging.load import load_images, resize
from keras_cam.shapes import CLASS_NAMES, make_shapes

SIZE = 96
WIDTH, TEXT_SIZE, GAP = 240, 14, 10
SHORTENED = {"samples": 10, "max_channels": 64}  # at most; the methods' own defaults take minutes in a large network
FULL = 99.5  # percentile at full heat: of maps at pixels, a few outshine all the rest
EVERY = ("auto", *(name for name in keras_cam.METHODS if name != "cam"))  # auto is CAM where that can be, or more


def build_network() -> keras.Model:
    """Build a small network whose head has two Dense layers, so that methods differ; its maps have 12 x 12 cells."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for filters, strides, name in ((16, 2, "first"), (32, 2, "shallow"), (64, 1, "middle"), (96, 2, "last")):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU(name=name)(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dense(48, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(len(CLASS_NAMES), activation="softmax")(x), name="shapes")


def train_network(num_images: int) -> keras.Model:
    """Train it on drawn shapes, a few epochs."""
    keras.utils.set_random_seed(0)
    network, shapes, epochs, batch_size = build_network(), make_shapes(num_images, SIZE, seed=1), 16, 32
    steps = epochs * -(-num_images // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    network.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    network.fit(shapes.images, shapes.labels, batch_size=batch_size, epochs=epochs, verbose=0)
    held_out = make_shapes(200, SIZE, seed=2)
    accuracy = network.evaluate(held_out.images, held_out.labels, verbose=0)[1]
    print(f"Trained on {num_images} drawn shapes; of 200 others it tells {accuracy:.0%}.")
    return network


def milliseconds_of(work: Callable[[], Any], rounds: int = 5) -> float:
    """Median time of a call that has been made before, over some rounds or, where they are long, fewer."""
    times: list[float] = []
    while len(times) < rounds and sum(times) < 2000:
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def forward_milliseconds(model: keras.Model, picture: np.ndarray) -> float:
    """Time of one compiled forward pass at the model's size."""
    sides = [fixed or side for fixed, side in zip(model.input_shape[1:3], picture.shape, strict=False)]
    batch = np.zeros((1, *sides, model.input_shape[-1]), "float32")
    model.predict_on_batch(batch)
    return milliseconds_of(lambda: model.predict_on_batch(batch))


def options_of(method: str, options: argparse.Namespace) -> dict[str, int]:
    """Those of the options that shorten a method which the method has."""
    known = keras_cam.METHODS[method].options if method in keras_cam.METHODS else ()
    return {name: getattr(options, name) for name in SHORTENED if name in known}


def card_of(
    method: str, explainer: keras_cam.Explainer, picture: np.ndarray, class_index: int, forward: float
) -> np.ndarray:
    """Draw one method's map with its name, its time and what that is in forward passes."""
    result = explainer(picture, class_index)
    spent = milliseconds_of(lambda: explainer(picture, class_index))
    heatmap = result.heatmaps(None)[0][0]
    heatmap = heatmap / max(np.percentile(heatmap, FULL), 1e-9)
    name = method if result.method == method else f"{method} ({result.method})"
    passes = spent / forward
    cost = f"{spent:.0f} ms, {passes:.{0 if passes >= 10 else 1}f} forward passes"
    print(f"{name:28} {cost:36} map at {result.layer!r}, {'x'.join(map(str, result.maps.shape[2:]))}")
    size = scaled(picture)
    drawn = keras_cam.overlay(resize(result.images[0], size), np.clip(resize(heatmap, size), 0, 1))
    return caption(drawn, [name, cost], text_size=TEXT_SIZE)


def scaled(picture: np.ndarray) -> tuple[int, int]:
    """The size at which a picture is shown."""
    return round(picture.shape[0] * WIDTH / picture.shape[1]), WIDTH


def main(arguments: list[str] | None = None) -> None:
    """Train or load, explain, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="FILE", help="a file of keras.Model.save (default: train a small network)")
    parser.add_argument("--image", metavar="FILE", help="a picture (default: a drawn one)")
    parser.add_argument("--preprocess", metavar="NAME", help="module of keras.applications that prepares it: resnet50")
    parser.add_argument("--class-names", metavar="A,B,...", help="of a model file")
    parser.add_argument("--class-index", type=int, help="what to explain (default: the most probable class)")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--layer", nargs="+", help="where to make maps; of several they are fused (default: the last)")
    parser.add_argument("--samples", type=int, default=SHORTENED["samples"], help="noisy images (default: %(default)s)")
    parser.add_argument("--max-channels", type=int, default=SHORTENED["max_channels"], help="default: %(default)s")
    parser.add_argument("--shapes", type=int, default=1600, help="how many to train on (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("compare-run"), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        print(f"The sheet: {draw_sheet(options)}")
    except keras_cam.CAMError as error:
        raise SystemExit(str(error)) from error


def draw_sheet(options: argparse.Namespace) -> Path:
    """Explain one picture by each method that can and write the sheet."""
    preprocess = preprocess_of(options)  # first: training the network takes a minute
    model = load_network(options.model) if options.model else train_network(options.shapes)
    (picture,), _ = load_images(options.image if options.image else make_shapes(4, SIZE, seed=3).images[3])
    forward = forward_milliseconds(model, picture)
    common = {"layer": options.layer, "preprocess": preprocess, "class_names": names_of(options)}
    asked = "top1" if options.class_index is None else options.class_index
    found = keras_cam.explain(model, picture, classes=asked, **common)
    cards = [caption(resize(found.images[0], scaled(picture)), ["the picture", found.title(0)], text_size=TEXT_SIZE)]
    left_out: dict[str, str] = {}
    for method in options.methods or EVERY:
        try:
            explainer = keras_cam.Explainer(model, method=method, **common, **options_of(method, options))
            cards.append(card_of(method, explainer, picture, int(found.class_indices[0, 0]), forward))
        except keras_cam.CAMError as error:
            left_out[method] = str(error)
            print(f"{method:28} left out: {error}")
    if len(cards) == 1:
        raise SystemExit(f"No method is left to draw. {' '.join(left_out.values())}")
    sheet = contact_sheet(cards, columns=min(6, len(cards)), gap=GAP)
    title = [
        f"{found.title(0)}, by model {model.name!r} at {found.layer!r}; predict_on_batch, the unit: {forward:.1f} ms"
    ]
    title += [f"Left out: {', '.join(left_out)}"] if left_out else []
    head = text_picture(title, TEXT_SIZE + 3, sheet.shape[1])
    return save_png(options.out / "sheet.png", np.concatenate([head, sheet]))


def load_network(file: str) -> keras.Model:
    """Load a model, or say in a line why not."""
    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # whatever a file that is no model makes of the loader
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SystemExit(f"No model can be loaded from {file!r}: {reason}") from error


def preprocess_of(options: argparse.Namespace) -> Callable[[Any], Any] | None:
    """What prepares the model's input, where that is asked for."""
    if options.preprocess is None:
        return None
    module = vars(keras.applications).get(options.preprocess)
    if not hasattr(module, "preprocess_input"):
        known = sorted(name for name, part in vars(keras.applications).items() if hasattr(part, "preprocess_input"))
        raise SystemExit(f"--preprocess must be one of {', '.join(known)}. Received: {options.preprocess!r}.")
    return module.preprocess_input


def names_of(options: argparse.Namespace) -> list[str] | None:
    """Names of the classes, where they are known."""
    if options.class_names:
        return options.class_names.split(",")
    return None if options.model else list(CLASS_NAMES)


if __name__ == "__main__":
    main()
