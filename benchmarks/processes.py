"""What is measured in fresh processes: the first call, memory, and the import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.measured import Measured

CALLS = 1000
FLAT = 1.0  # MiB that 1,000 calls may leave behind
FIRST_CALLS = 1.5  # first forward passes that a first CAM may take
IMPORT_TIME = 50  # ms
MEBIBYTE = 2**20

START = """
import gc, os, sys, time
import keras, numpy as np
import keras_cam
from benchmarks.forward import build, noise, plain_forward
keras_cam.Explainer, keras_cam.compute_cam
name, side, batch, calls = sys.argv[1], *map(int, sys.argv[2:])
model, images = build(name, side), noise(batch, side)
def peak():  # not ru_maxrss, which a process takes over from the one that started it
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

gc.collect()  # which else falls on the one or the other by chance, and takes a quarter of a first call
explain = lambda images: keras_cam.Explainer(model)(images)
"""
PROGRAMS = {
    "first forward pass": "work = plain_forward(model); start = time.perf_counter(); work(images)\n"
    "print(time.perf_counter() - start)",
    "first CAM": "start = time.perf_counter(); explain(images); print(time.perf_counter() - start)",
    "memory of forward passes": "work = plain_forward(model); [work(images) for _ in range(3)]; print(peak())",
    "memory of CAMs": "[explain(images) for _ in range(3)]; print(peak())",
    "growth": """
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
[keras_cam.compute_cam(model, picture, index % 7) for index in range(calls // 5)]
held = [resident()]
for index in range(calls):
    keras_cam.compute_cam(model, picture, index % 7)
    if (index + 1) % max(1, calls // 10) == 0:
        held.append(resident())
print((len(held) - 1) * np.median(np.diff(held)))  # what goes on, and not what an allocator takes once
""",
}
IMPORT = "import time; start = time.perf_counter(); import keras_cam; print(time.perf_counter() - start)"


def process_rows(name: str, side: int, batch: int, held: float, rounds: int) -> Iterator[Measured]:
    """The first call and the memory of one model.

    Args:
        name: of keras.applications.
        side: of its pictures, in pixels.
        batch: how many images, to measure the peak of memory by.
        held: MiB that CAMs of such a batch may take more than forward passes, at their peak.
        rounds: how many processes of each kind, in turns.
    """
    plain, ours = in_turns("first forward pass", "first CAM", rounds, name, side, 1, 0)
    yield Measured("first call, in first forward passes", name, ours / plain, FIRST_CALLS)
    plain, ours = in_turns("memory of forward passes", "memory of CAMs", rounds, name, side, batch, 0)
    yield Measured(
        "peak memory, more than that of forward passes", f"{name} x{batch}", (ours - plain) / MEBIBYTE, held, unit="MB"
    )


def growth_row(name: str, side: int, calls: int = CALLS) -> Measured:
    """The memory that so many calls of `compute_cam` leave behind, as the median tenth of them has it."""
    grown = np.array([run(START + PROGRAMS["growth"], name, side, 1, calls)])
    return Measured(f"memory left by {calls:,} calls", name, grown / MEBIBYTE, FLAT, unit="MB")


def import_row(rounds: int) -> Measured:
    """`import keras_cam`, in milliseconds."""
    return Measured(
        "import keras_cam", "", 1000 * np.array([run(IMPORT) for _ in range(rounds)]), IMPORT_TIME, unit="ms"
    )


def in_turns(one: str, other: str, rounds: int, *arguments: object) -> tuple[np.ndarray, np.ndarray]:
    """What two programs print, in processes that take turns."""
    found = [[run(START + PROGRAMS[program], *arguments) for program in (one, other)] for _ in range(rounds)]
    return np.array(found)[:, 0], np.array(found)[:, 1]


def run(code: str, *arguments: object) -> float:
    """The last number that some code prints in a process of its own, which finds the same modules as this one.

    Raises:
        RuntimeError: the process failed; the end of what it said.
    """
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"A measuring process failed: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.split()[-1]))
