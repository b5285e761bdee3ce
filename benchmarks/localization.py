"""Does laying map cells where they look find objects better than stretching the map? Same networks, same maps.

    python -m benchmarks localization --data ../shared/data --page docs/localization.md

Trains small networks of stride 16 with three kinds of padding on drawn scenes, and fine-tunes them on photographs
(`animals` under --data, with boxes, after a start on `cifar10`; left out, in words, where these are missing). Measures
on held-out pictures, by the map of the true class.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np

import keras_cam
from benchmarks.box_scores import centre_gaussian, energy, max_box_accuracy, off_centre, overlaps_by_threshold, pointing
from benchmarks.localization_page import Run, page_of, table_of
from benchmarks.scenes import Pictures, draw_scenes, load_photos, load_small_photos
from benchmarks.small_networks import CONVOLUTIONS, PADDINGS, build_network, train, with_new_head
from keras_cam.imaging.normalize import normalize

WANTED_OVERLAPS = (0.3, 0.5, 0.7)
ALIGNMENTS = ("stretch", "receptive_field")
BASELINE = "centre Gaussian"
FOLDS = 3  # of the photographs: each is held out once


def score(heatmaps: list[np.ndarray], boxes: list[np.ndarray]) -> np.ndarray:
    """Score heat maps by the boxes of their pictures.

    Args:
        heatmaps: (H, W) each, signed, in any unit.
        boxes: (M, 4) for each.

    Returns:
        (7,): MaxBoxAcc at each of `WANTED_OVERLAPS`, pointing accuracy, energy in the box, and how far below and right
        of the box's middle the evidence lies in the median, in pixels.
    """
    pairs = list(zip(heatmaps, boxes, strict=True))
    overlaps = np.stack([overlaps_by_threshold(normalize(heatmap, "minmax"), near) for heatmap, near in pairs])
    found = [max_box_accuracy(overlaps, wanted) for wanted in WANTED_OVERLAPS]
    shares = [np.mean([rule(*pair) for pair in pairs]) for rule in (pointing, energy)]
    return np.array([*found, *shares, *np.nanmedian([off_centre(*pair) for pair in pairs], axis=0)])


def measure(network: keras.Model, data: str, padding: str, held_out: Pictures) -> Run:
    """Lay the network's maps over held-out pictures in each way, and score them."""
    result = keras_cam.explain(network, held_out.images, classes=held_out.labels)
    if result.grid is None or result.grid.source != "graph":
        raise SystemExit(f"Where the cells of {network.name!r} look was not found in its graph: {result.grid}")
    scores = {}
    for alignment in ALIGNMENTS:
        heatmaps = [maps[0] for maps in result.heatmaps(None, align=alignment)]
        scores[alignment] = score(heatmaps, held_out.boxes)
    scores[BASELINE] = score([centre_gaussian(image.shape[:2]) for image in held_out.images], held_out.boxes)
    accuracy = float((result.logits.argmax(axis=1) == held_out.labels).mean())
    field = int(result.grid.axes[0].field)
    return Run(data, padding, field, len(held_out.labels), accuracy, scores)


def scene_runs(padding: str, field: int, seeds: int, count: int, epochs: int) -> Iterator[Run]:
    """Train a network for each seed on `count` drawn scenes of its own, and measure all on the same other scenes."""
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        network = build_network(padding, 4, field)
        train(network, draw_scenes(count, seed), epochs, seed)
        yield measure(network, "drawn scenes", padding, draw_scenes(max(count // 64 * 16, 16), 1000))


def photo_runs(padding: str, folder: Path, seeds: int, count: int, epochs: int) -> Iterator[Run]:
    """Train a network on `count` small photographs, then fine-tune it on all animals but a third, measured on these."""
    keras.utils.set_random_seed(0)
    start = build_network(padding, 10)
    train(start, load_small_photos(folder / "cifar10" / "train", count), max(1, epochs * 2 // 3), 0)
    photos = load_photos(folder / "animals")
    for fold in range(min(seeds, FOLDS)):
        keras.utils.set_random_seed(fold)
        held_out = np.arange(len(photos.labels)) % FOLDS == fold
        network = with_new_head(start, padding, 2)
        train(network, photos.take(~held_out), 4 * epochs, fold, rate=1e-3, crop=0.7)
        yield measure(network, "photographs", padding, photos.take(held_out))


def main(arguments: list[str] | None = None) -> list[Run]:
    """Train, measure, print the table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with animals/ and cifar10/ (default: none)")
    parser.add_argument("--page", type=Path, help="Markdown page to write (default: none)")
    parser.add_argument("--seeds", type=int, default=3, help="networks a row, 3 at most on photographs (default: 3)")
    parser.add_argument("--scenes", type=int, default=1600, help="drawn scenes to train on, in 16s (default: 1600)")
    parser.add_argument("--photos", type=int, default=5000, help="small photographs to start on (default: 5000)")
    parser.add_argument("--epochs", type=int, default=8, help="epochs on drawn scenes; the rest follows (default: 8)")
    chosen = parser.parse_args(arguments)
    start = time.perf_counter()
    runs, missing = [], ""
    for field, padding in product(CONVOLUTIONS, PADDINGS):
        runs += told(scene_runs(padding, field, chosen.seeds, chosen.scenes, chosen.epochs))
    if chosen.data is None or not all((chosen.data / name).is_dir() for name in ("animals", "cifar10")):
        missing = f"No photographs: --data names no folder that holds animals/ and cifar10/ ({chosen.data})."
        print(missing, file=sys.stderr)
    else:
        for padding in PADDINGS:
            runs += told(photo_runs(padding, chosen.data, chosen.seeds, chosen.photos, chosen.epochs))
    print(table_of(runs))
    if chosen.page is not None:
        chosen.page.write_text(page_of(runs, missing, (time.perf_counter() - start) / 60), "utf-8")
    return runs


def told(runs: Iterator[Run]) -> Iterator[Run]:
    """Say each run as it comes."""
    for run in runs:
        scores = "; ".join(f"{way} {np.round(numbers, 2)}" for way, numbers in run.scores.items())
        print(
            f"{run.data}, {run.padding}, {run.field} px: accuracy {run.accuracy:.2f}; {scores}",
            file=sys.stderr,
            flush=True,
        )
        yield run
