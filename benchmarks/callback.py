"""What `CAMCallback` adds to an epoch of training on pictures of CIFAR-10's size, in pairs of epochs with and without.

An epoch of 50,000 pictures is too long to be repeated: one of `--images` is measured, and its time without the callback
is scaled up. What the callback adds does not depend on how long the epoch is.

    python -m benchmarks callback --images 4096 --pairs 9 --output callback.md
    python -m benchmarks callback --rival tf_explain.callbacks.grad_cam:GradCAMCallback
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from benchmarks.machine import machine
from keras_cam import CAMCallback

WHOLE_EPOCH = 50_000
CLASSES = 10
PROBES = (8, 32, 128)


class Cost(NamedTuple):
    """What one callback costs.

    Attributes:
        name: which.
        probes: how many pictures it draws.
        added: seconds that each epoch with it took longer than the one after it without.
        inside: seconds that each of its calls took, which other programs disturb less.
        first: the same of the first call, in which it is compiled.
        plain: seconds of each epoch without it.
    """

    name: str
    probes: int
    added: np.ndarray
    inside: np.ndarray
    first: float
    plain: np.ndarray


class EveryOther(keras.callbacks.Callback):
    """Passes on to a callback the end of every other epoch only, and takes the time of all."""

    def __init__(self, inner: keras.callbacks.Callback) -> None:
        super().__init__()
        self.inner, self.seconds, self.inside = inner, list[float](), list[float]()

    def set_model(self, model: keras.Model) -> None:
        """Hand on."""
        super().set_model(model)
        self.inner.set_model(model)

    def set_params(self, params: Any) -> None:
        """Hand on all but the number of epochs."""
        super().set_params(params)
        self.inner.set_params({**params, "epochs": None})  # no last look out of turn

    def on_train_begin(self, logs: Any = None) -> None:
        """Hand on."""
        self.inner.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand on, every other time, and stop the clock."""
        if epoch % 2 == 0:
            began = time.perf_counter()
            self.inner.on_epoch_begin(epoch, logs)
            self.inner.on_epoch_end(epoch, logs)
            self.inside.append(time.perf_counter() - began)
        self.seconds.append(time.perf_counter() - self._began)

    def on_train_end(self, logs: Any = None) -> None:
        """Hand on."""
        self.inner.on_train_end(logs)


def cifar_network() -> keras.Model:
    """Six convolutions in three stages, global average pooling: what is trained on CIFAR-10 in a minute or two."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((32, 32, 3))
    for filters in (32, 64, 128):
        for number in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{filters}_{number}")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        if filters < 128:
            x = layers.MaxPooling2D()(x)
    x = layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of CIFAR-10's size and type: what is in the pictures does not change what drawing them costs by much."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images.astype("float32") / 255, generator.integers(0, CLASSES, count)


def measure(name: str, probes: int, make: Callable[[str], Any], data: Any, pairs: int, batch_size: int) -> Cost:
    """Train for a warm-up pair and some pairs of epochs, the first of each with the callback."""
    with tempfile.TemporaryDirectory() as directory:
        clock = EveryOther(make(directory))
        cifar_network().fit(*data, batch_size, 2 * (pairs + 1), verbose=0, callbacks=[clock])
    with_it, without = np.array(clock.seconds[::2]), np.array(clock.seconds[1::2])
    return Cost(name, probes, (with_it - without)[1:], np.array(clock.inside[1:]), clock.inside[0], without)


def table(costs: list[Cost], images: int) -> str:
    """The costs as Markdown, under a line that says where."""
    lines = [
        f"{machine()}, load {os.getloadavg()[0]:.1f}. An epoch is {images:,} pictures "
        f"of 32 x 32, scaled to {WHOLE_EPOCH:,}. Medians [quartiles]: seconds inside the callback, and of pairs of "
        "epochs with and without it; the share is that of the time inside.",
        "",
        "| callback | probes | inside, s | epochs differ by, s | first time, s | whole epoch, s | share |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for cost in costs:
        whole = float(np.median(cost.plain)) * WHOLE_EPOCH / images
        cells = (
            cost.name,
            cost.probes,
            _quartiles(cost.inside),
            _quartiles(cost.added),
            f"{cost.first:.2f}",
            f"{whole:.0f}",
            f"{np.median(cost.inside) / whole:.2%}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _quartiles(seconds: np.ndarray) -> str:
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def ours(probes: int, data: Any) -> Callable[[str], CAMCallback]:
    """Makes our callback, as it comes."""
    return lambda directory: CAMCallback(data, directory, num_probes=probes, on_error="raise")


def rival(path: str, probes: int, data: Any) -> Callable[[str], Any]:
    """Makes a callback with tf-explain's arguments: it maps one class of all the data that it is given."""
    module, _, name = path.partition(":")
    kind = getattr(importlib.import_module(module), name)
    part = tuple(array[:probes] for array in data)
    return lambda directory: kind(
        validation_data=part, class_index=0, output_dir=Path(directory), layer_name="conv_128_1"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4096, help="pictures of the epoch that is measured")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--probes", type=int, nargs="+", default=PROBES)
    parser.add_argument("--rival", help="module:class of another callback with tf-explain's arguments, if installed")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    data, validation = pictures(options.images, 0), pictures(max(options.probes), 1)
    costs, notes = [], ""
    for probes in options.probes:
        makers = {"CAMCallback": ours(probes, validation)}
        if options.rival:
            try:
                makers[options.rival.partition(":")[2]] = rival(options.rival, probes, validation)
            except ImportError as error:
                notes = f"\n{options.rival} was not measured: {error}.\n"
        for name, make in makers.items():
            costs.append(measure(name, probes, make, data, options.pairs, options.batch_size))
    text = table(costs, options.images) + notes
    print(text)
    if options.output:
        options.output.write_text(text)
