"""Time `keras_cam.heatmap.place` against as many plain cv2.resize calls: `python -m benchmarks placement`.

64 maps of 7x7 cells to 640x480 pixels, every cell over the pixels that it sees, against 64 calls of cv2.resize that
stretch the maps. The two take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from benchmarks.machine import machine
from benchmarks.pairs import Pairs, in_turns
from keras_cam.heatmap import place

NUM_MAPS, CELLS, HEIGHT, WIDTH = 64, 7, 480, 640
SEEN = ((0.0, HEIGHT / CELLS), (0.0, WIDTH / CELLS))  # cells from the picture's first pixel on, as in ResNet


def measure(rounds: int) -> Pairs:
    """Time resizing and placing in turns."""
    maps = np.random.default_rng(0).normal(size=(NUM_MAPS, CELLS, CELLS)).astype(np.float32)

    def placing() -> np.ndarray:
        return place(maps, (HEIGHT, WIDTH), cells=SEEN)

    def resizing() -> list[np.ndarray]:
        return [cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for one in maps]

    return in_turns(resizing, placing, 0, rounds, rounds)


def report(pairs: Pairs) -> str:
    """Medians, quartiles and the median of the ratios, under a line that says where."""
    lines = [
        f"{machine()}; {len(pairs.wall)} rounds in turns, {NUM_MAPS} maps {CELLS}x{CELLS} to {WIDTH}x{HEIGHT}, bilinear"
    ]
    for column, name in ((1, "keras_cam.heatmap.place, cells="), (0, f"{NUM_MAPS} x cv2.resize")):
        low, middle, high = np.percentile(pairs.wall[:, column] * 1000, [25, 50, 75])
        lines.append(f"{name:32} {middle:7.1f} ms  (quartiles {low:.1f} to {high:.1f})")
    lines.append(f"{'place / resize, pair by pair':32} {np.median(pairs.ratios):7.2f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="pairs of measurements (default: 30)")
    print(report(measure(parser.parse_args(arguments).rounds)))
