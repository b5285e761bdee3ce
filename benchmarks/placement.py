"""Time `keras_cam.heatmap.place` against as many plain cv2.resize calls: `python benchmarks/placement.py`.

64 maps of 7x7 cells to 640x480 pixels, every cell over the pixels that it sees, against 64 calls of cv2.resize that
stretch the maps. The two take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from importlib.metadata import version

import cv2
import numpy as np

from keras_cam.heatmap import place

NUM_MAPS, CELLS, HEIGHT, WIDTH = 64, 7, 480, 640
SEEN = ((0.0, HEIGHT / CELLS), (0.0, WIDTH / CELLS))  # cells from the picture's first pixel on, as in ResNet


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds for placing and for resizing, an array of `rounds` each, measured in turns after a warm-up."""
    maps = np.random.default_rng(0).normal(size=(NUM_MAPS, CELLS, CELLS)).astype(np.float32)

    def placing() -> np.ndarray:
        return place(maps, (HEIGHT, WIDTH), cells=SEEN)

    def resizing() -> list[np.ndarray]:
        return [cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for one in maps]

    placing(), resizing()
    pairs = np.array([(seconds_of(placing), seconds_of(resizing)) for _ in range(rounds)])
    return pairs[:, 0], pairs[:, 1]


def report(placing: np.ndarray, resizing: np.ndarray) -> str:
    """Medians, quartiles and the median of the ratios, under a line that says where."""
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"OpenCV {version('opencv-python-headless')}; {len(placing)} rounds in turns, "
        f"{NUM_MAPS} maps {CELLS}x{CELLS} to {WIDTH}x{HEIGHT}, bilinear"
    ]
    for name, seconds in (("keras_cam.heatmap.place, cells=", placing), (f"{NUM_MAPS} x cv2.resize", resizing)):
        low, middle, high = np.percentile(seconds * 1000, [25, 50, 75])
        lines.append(f"{name:32} {middle:7.1f} ms  (quartiles {low:.1f} to {high:.1f})")
    lines.append(f"{'place / resize, pair by pair':32} {np.median(placing / resizing):7.2f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="pairs of measurements (default: 30)")
    print(report(*measure(parser.parse_args(arguments).rounds)))


if __name__ == "__main__":
    main()
