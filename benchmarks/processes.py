"""What is measured in a fresh process: the first call, memory, and the import."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

CALLS = 1000
WARM = 100
MEBIBYTE = 2**20

START = """
import os, resource, time
import keras, numpy as np
from benchmarks.forward import build, noise, plain_forward
model, images = build({name!r}, {side}), noise({batch}, {side})

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
"""
FIRST = {
    "forward": "work = plain_forward(model)",
    "cam": "import keras_cam.explainer; work = lambda images: keras_cam.Explainer(model)(images)",
}
TIMED = "start = time.perf_counter(); work(images); print(time.perf_counter() - start)"
PEAK = "[work(images) for _ in range(3)]; print(peak())"
GROWTH = """
import gc, keras_cam
picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
for index in range({warm}):
    keras_cam.compute_cam(model, picture, index % 7)
gc.collect(); before = resident()
for index in range({calls}):
    keras_cam.compute_cam(model, picture, index % 7)
gc.collect(); print(resident() - before)
"""
IMPORT = "import time; start = time.perf_counter(); import keras_cam; print(time.perf_counter() - start)"


def first_calls(name: str, side: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the first forward pass and of the first CAM, tracing included, in turns; imports are not counted."""
    kinds = ("forward", "cam")
    times = [
        [run(START.format(name=name, side=side, batch=1) + FIRST[kind] + "\n" + TIMED) for kind in kinds]
        for _ in range(rounds)
    ]
    return np.array(times)[:, 0], np.array(times)[:, 1]


def peaks(name: str, side: int, batch: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """MiB at most of a process that has run forward passes, and of one that has made CAMs, in turns."""
    kinds = ("forward", "cam")
    sizes = [
        [run(START.format(name=name, side=side, batch=batch) + FIRST[kind] + "\n" + PEAK) for kind in kinds]
        for _ in range(rounds)
    ]
    return np.array(sizes)[:, 0] / MEBIBYTE, np.array(sizes)[:, 1] / MEBIBYTE


def growth(name: str, side: int, calls: int = CALLS) -> float:
    """By how many MiB a process grows over so many calls of `compute_cam`, after 100 others."""
    code = START.format(name=name, side=side, batch=1) + GROWTH.format(warm=WARM, calls=calls)
    return run(code) / MEBIBYTE


def imports(rounds: int) -> np.ndarray:
    """Milliseconds that `import keras_cam` takes."""
    return 1000 * np.array([run(IMPORT) for _ in range(rounds)])


def run(code: str) -> float:
    """The last number that some code prints in a process of its own."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    if found.returncode != 0:
        raise RuntimeError(f"A measuring process failed: {found.stderr[-2000:]}")
    return float(json.loads(found.stdout.split()[-1]))
