"""Time placing maps against as many plain cv2.resize calls: `python -m benchmarks placement`.

64 maps of 7x7 cells to 640x480 pixels, every cell over the pixels that it sees, by `resample.place` and as a
result's `heatmaps`, against 64 calls of cv2.resize that stretch the maps. Each takes turns with the resizing, so that
whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np

from benchmarks.machine import machine
from benchmarks.pairs import Pairs, in_turns
from keras_cam import Explanation
from keras_cam.graph.receptive_field import Axis
from keras_cam.imaging.resample import place
from keras_cam.model.grid import Grid

NUM_MAPS, CELLS, HEIGHT, WIDTH = 64, 7, 480, 640
FED = 224
GRID = Grid((Axis(CELLS, 0.0, FED / CELLS),) * 2, (FED, FED))  # cells from the first pixel on, as in ResNet
SEEN = GRID.cells_in([(HEIGHT / FED, 0.0), (WIDTH / FED, 0.0)])


def measure(rounds: int) -> dict[str, Pairs]:
    """Time resizing and placing in turns, by what places."""
    maps = np.random.default_rng(0).normal(size=(NUM_MAPS, 1, CELLS, CELLS)).astype(np.float32)
    pictures, none = (np.zeros((HEIGHT, WIDTH, 3), np.uint8),) * NUM_MAPS, np.zeros((NUM_MAPS, 1))
    result = Explanation(maps, none.astype(int), none, none, none, pictures, "cam", "features", grid=GRID)

    def resizing() -> list[np.ndarray]:
        return [cv2.resize(one[0], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for one in maps]

    things: dict[str, Callable[[], object]] = {
        "keras_cam.imaging.resample.place, cells=": lambda: place(maps, (HEIGHT, WIDTH), cells=SEEN),
        "Explanation.heatmaps(None)": lambda: result.heatmaps(None),
        "Explanation.heatmaps(), scaled": result.heatmaps,
    }
    return {name: in_turns(resizing, thing, 0, rounds, rounds) for name, thing in things.items()}


def report(measured: dict[str, Pairs]) -> str:
    """Medians, quartiles and the median of the ratios of each, under a line that says where."""
    rounds = len(next(iter(measured.values())).wall)
    lines = [f"{machine()}; {rounds} rounds in turns, {NUM_MAPS} maps {CELLS}x{CELLS} to {WIDTH}x{HEIGHT}, bilinear"]
    for name, pairs in measured.items():
        for column, words in ((1, name), (0, f"{NUM_MAPS} x cv2.resize")):
            low, middle, high = np.percentile(pairs.wall[:, column] * 1000, [25, 50, 75])
            lines.append(f"{words:32} {middle:7.1f} ms  (quartiles {low:.1f} to {high:.1f})")
        lines.append(f"{'the one / the other, pair by pair':32} {np.median(pairs.ratios):7.2f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="pairs of measurements (default: 30)")
    print(report(measure(parser.parse_args(arguments).rounds)))
