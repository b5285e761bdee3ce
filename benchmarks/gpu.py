"""What a CAM costs on an accelerator, by JAX or torch (TensorFlow too, where it is installed).

    KERAS_BACKEND=jax python -m benchmarks gpu --json gpu.json --page docs/performance.md
    KERAS_BACKEND=torch python -m benchmarks gpu --models ResNet50 --batches 1 32 1024

It needs Keras, NumPy and one of these backends. Images and feature maps lie on the device before the clock starts.
Two tables: top-1 CAMs in forward passes of the same batch; and the operation `class_activation_map` alone, with one
class for each image, whose bytes (features and weights read, maps written) are held against what a plain copy on the
device moves in the same time. Whatever stops it (Ctrl-C, too little memory), it writes what was measured until then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from benchmarks.forward import build, compiled_forward, noise
from benchmarks.machine import machine
from benchmarks.measured import Measured, line_of, table_of
from benchmarks.pages import fill
from benchmarks.pairs import in_turns
from benchmarks.tasks import in_passes
from keras_cam.attribution.class_activation_map import class_activation_map
from keras_cam.backend import Compiled
from keras_cam.explainer.map_function import MapFunction

MODELS, BATCHES, DTYPES = ("MobileNetV2", "ResNet50"), (1, 8, 32, 128, 512, 1024), ("float32", "bfloat16")
FEATURES = (7, 7, 2048)  # of ResNet50 at 224 pixels
COPIED = 2**28  # bytes
SECONDS, MOST_CALLS = 0.02, 2**12  # shorter calls are repeated until they take so long, so often at most


class Moved(NamedTuple):
    """The operation alone, on one batch.

    Attributes:
        batch: how many images.
        dtype: of the features.
        mebibytes: that have to be read and written.
        bandwidth: of each round, gigabytes a second.
        share: of each round, of what a plain copy moves.
    """

    batch: int
    dtype: str
    mebibytes: float
    bandwidth: np.ndarray
    share: np.ndarray


def model_rows(chosen: argparse.Namespace) -> Iterator[Measured]:
    """Top-1 CAMs, in forward passes."""
    for dtype in chosen.dtypes:
        keras.config.set_dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else dtype)
        for name in chosen.models:
            model = build(name, chosen.side)
            forward, maps = compiled_forward(model), MapFunction(model)
            for batch in chosen.batches:
                images = ops.convert_to_tensor(noise(batch, chosen.side))
                top = ops.full((batch, 1), -1, dtype="int32")
                calls = calls_for(partial(forward, images))
                plain, ours = (
                    repeated(one, calls) for one in (partial(forward, images), partial(maps.tensors, [images], top))
                )
                control, pairs = (in_turns(plain, one, chosen.seconds) for one in (plain, ours))
                yield in_passes("CAM, top-1, native grid", f"{name} x{batch}, {dtype}", pairs, None, control)
    keras.config.set_dtype_policy("float32")


def operation_rows(chosen: argparse.Namespace) -> Iterator[Moved]:
    """The operation alone, against a plain copy."""
    rng = np.random.default_rng(0)
    large = ops.ones((chosen.copied // 4,), "float32")
    copy = partial(Compiled(lambda values: values * 2, [((None,), "float32")]), large)
    copies = calls_for(copy)
    for dtype in chosen.dtypes:
        for batch in chosen.batches:
            features = ops.cast(ops.convert_to_tensor(rng.normal(size=(batch, *FEATURES)).astype(np.float32)), dtype)
            weights = ops.convert_to_tensor(rng.normal(size=(batch, FEATURES[-1])).astype(np.float32))
            work = partial(class_activation_map, features, weights, per_image=True)
            calls = calls_for(work)
            pairs = in_turns(repeated(copy, copies), repeated(work, calls), chosen.seconds)
            size = (2 if dtype == "bfloat16" else 4) * batch * prod(FEATURES)
            moved = size + 4 * batch * (FEATURES[-1] + prod(FEATURES[:-1]))
            seconds = pairs.wall / [copies, calls]
            copied = 2 * 4 * (chosen.copied // 4) / seconds[:, 0]
            yield Moved(batch, dtype, moved / 2**20, moved / seconds[:, 1] / 1e9, moved / seconds[:, 1] / copied)


def repeated(work: Callable[[], Any], calls: int) -> Callable[[], None]:
    """So many calls, waited for at the end."""

    def many() -> None:
        for _ in range(calls):
            result = work()
        wait(result)

    return many


def calls_for(work: Callable[[], Any]) -> int:
    """How often to call something, so that it can be timed; a power of 2."""
    calls = 1
    while in_turns(repeated(work, calls), repeated(work, calls), 0, 1, 1).wall.min() < SECONDS and calls < MOST_CALLS:
        calls *= 2
    return calls


def wait(result: Any) -> None:
    """Wait until the device has made tensors."""
    last = keras.tree.flatten(result)[-1]
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    elif keras.backend.backend() == "jax":
        last.block_until_ready()
    else:
        ops.convert_to_numpy(last)


def operation_table(rows: list[Moved]) -> str:
    """Markdown: what the operation moves."""
    lines = [
        "| batch | features | MiB to move | µs | GB/s | share of a plain copy |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        (_, speed, _), (low, share, high) = (np.percentile(each, [25, 50, 75]) for each in row[3:])
        took, shares = row.mebibytes * 2**20 / speed / 1e3, f"{share:.0%} ({low:.0%} to {high:.0%})"
        cells = (f"{row.mebibytes:.1f}", f"{took:.0f}", f"{speed:.1f}", shares)
        lines.append(f"| {row.batch} | {row.dtype} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(chosen: argparse.Namespace, facts: str, rows: list[Measured], moved: list[Moved]) -> None:
    """Print the tables, and write what was asked for."""
    text = f"{facts}\n\n{table_of(rows)}\n\n{operation_table(moved)}"
    print(text)
    if chosen.json:
        operation = [
            {**row._asdict(), "bandwidth": row.bandwidth.tolist(), "share": row.share.tolist()} for row in moved
        ]
        found = {"machine": facts, "rows": [row.as_json() for row in rows], "operation": operation}
        chosen.json.write_text(json.dumps(found), "utf-8")
    if chosen.page:
        fill(chosen.page, {"gpu": text})


def device() -> str:
    """What it ran on."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return str(jax.devices()[0].device_kind)
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return ", ".join(keras.distribution.list_devices()) or "cpu"


def main(arguments: list[str] | None = None) -> tuple[list[Measured], list[Moved]]:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS), help="of keras.applications")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), help="images at once")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--seconds", type=float, default=2, help="for each thing, about (default: 2)")
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels (default: 224)")
    parser.add_argument("--copied", type=int, default=COPIED, help="bytes of the plain copy (default: 256 MiB)")
    parser.add_argument("--json", type=Path, help="file for all that was measured")
    parser.add_argument("--page", type=Path, help="Markdown page to write the tables into")
    chosen = parser.parse_args(arguments)
    facts = f"{device()}; {machine()}."
    print(facts, flush=True)
    rows, moved = [], []
    try:
        for row in operation_rows(chosen):
            moved.append(row)
            print(f"x{row.batch} {row.dtype}: {np.median(row.share):.0%} of a copy", file=sys.stderr, flush=True)
        for one in model_rows(chosen):
            rows.append(one)
            print(line_of(one), file=sys.stderr, flush=True)
    finally:
        write(chosen, facts, rows, moved)
    return rows, moved
