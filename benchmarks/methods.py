"""The methods beside each other: what they cost, and how good their maps are.

    python -m benchmarks methods cost --page docs/methods.md
    python -m benchmarks methods quality --data ../shared/data --page docs/methods.md

Cost: in forward passes of keras.applications models with random weights. Quality: small networks with three kinds of
head, trained on drawn scenes and (two Dense layers only) on the photographs of `animals` under --data, left out, in
words, where they are missing; held-out pictures, by the map of the true class. Each fills its tables into the page.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras_cam
from benchmarks.forward_passes import measure_costs
from benchmarks.machine import machine
from benchmarks.method_quality import HEADS, photo_runs, scene_runs
from benchmarks.methods_page import cost_tables, fill, quality_tables

MODELS, BATCHES = ("MobileNetV2", "ResNet50"), (1, 8)


def measured_quality(chosen: argparse.Namespace) -> dict[str, str]:
    """Train and measure the small networks; their tables, by name."""
    start, runs, missing = time.perf_counter(), [], ""
    sources = [scene_runs(head, chosen.seeds, chosen.scenes, chosen.epochs, chosen.steps) for head in HEADS]
    if chosen.data is None or not all((chosen.data / name).is_dir() for name in ("animals", "cifar10")):
        missing = f"No photographs: --data names no folder that holds animals/ and cifar10/ ({chosen.data})."
        print(missing, file=sys.stderr)
    else:
        sources.append(photo_runs(chosen.data, chosen.seeds, chosen.photos, chosen.epochs, chosen.steps))
    for source in sources:
        for run in source:
            runs.append(run)
            minutes = (time.perf_counter() - start) / 60
            print(
                f"{run.data}, {run.head}: accuracy {run.accuracy:.2f}, {minutes:.1f} min", file=sys.stderr, flush=True
            )
    return quality_tables(runs, missing, machine(), (time.perf_counter() - start) / 60)


def measured_costs(chosen: argparse.Namespace) -> dict[str, str]:
    """Measure every method on every model and batch; their tables, by name."""
    start, costs = time.perf_counter(), []
    for name in MODELS:
        for cost in measure_costs(name, BATCHES, list(keras_cam.METHODS), chosen.seconds, chosen.side):
            costs.append(cost)
            low, middle, high = cost.per_unit
            words = f"{middle:.2f} ({low:.2f} to {high:.2f}), in all {cost.in_all:.2f}"
            print(f"{name} x{cost.batch} {cost.method}: {words}", file=sys.stderr, flush=True)
    return cost_tables(costs, machine(), (time.perf_counter() - start) / 60)


def main(arguments: list[str] | None = None) -> dict[str, str]:
    """Measure, print the tables and fill them into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("cost", "quality"))
    parser.add_argument("--page", type=Path, help="Markdown page with the marks of the tables (default: none)")
    parser.add_argument("--seconds", type=float, default=4, help="cost: for each method and batch (default: 4)")
    parser.add_argument("--side", type=int, default=224, help="cost: of the images, in pixels (default: 224)")
    parser.add_argument("--data", type=Path, help="quality: folder with animals/ and cifar10/ (default: none)")
    parser.add_argument(
        "--seeds", type=int, default=2, help="quality: networks a head, half on photographs (default: 2)"
    )
    parser.add_argument("--scenes", type=int, default=1600, help="quality: to train on, in 16s (default: 1600)")
    parser.add_argument("--photos", type=int, default=5000, help="quality: small ones to start on (default: 5000)")
    parser.add_argument("--epochs", type=int, default=8, help="quality: on drawn scenes (default: 8)")
    parser.add_argument("--steps", type=int, default=12, help="quality: of insertion and deletion (default: 12)")
    chosen = parser.parse_args(arguments)
    tables = measured_costs(chosen) if chosen.what == "cost" else measured_quality(chosen)
    print("\n\n".join(tables.values()))
    if chosen.page is not None:
        chosen.page.write_text(fill(chosen.page.read_text("utf-8"), tables), "utf-8")
    return tables
