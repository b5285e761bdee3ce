"""The sums of the CAM tab's page, in node: by hand, and against the numbers that Python has for the same."""

import json
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from keras_cam.imaging.boxes import find_boxes
from keras_cam.imaging.colormaps import DEFAULT_COLORMAP, DEFAULT_SIGNED_COLORMAP, SIGNED_COLORMAPS, colorize
from keras_cam.imaging.resample import place

TESTS = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))
OLDEST_NODE = (20, 19)  # the first that sees by itself that a .js file is a module
PLACES = [  # shape of the map, size of the picture, cells
    ((4, 4), (32, 32), [(3.5, 8), (3.5, 8)]),
    ((3, 5), (40, 31), [(-2.0, 16.5), (4.25, 7.0)]),
    ((7, 2), (9, 20), [(0.1, 0.4), (5, 10)]),
    ((1, 1), (5, 6), [(2, 5), (0, 1)]),
    ((6, 6), (6, 6), [(0, 1), (0, 1)]),
]


@pytest.fixture(scope="module")
def node():
    found = shutil.which("node")
    if not found:
        pytest.skip("node is not installed: apt-get install nodejs")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, said.strip().lstrip("v").split(".")[:2])) < OLDEST_NODE:
        pytest.skip(f"node {said.strip()} is older than {OLDEST_NODE}, the first that reads these modules as they are")
    return found


def placed():
    random = np.random.default_rng(3)
    for shape, size, cells in PLACES:
        grid = random.normal(size=shape).astype("float32")
        for interpolation in ("bilinear", "nearest"):
            yield grid, size, cells, interpolation, place(grid, size, cells=cells, interpolation=interpolation)


def reference():
    """What Python says, for the page to agree with."""
    places, boxes, colors = [], [], {}
    for grid, size, cells, interpolation, heat in placed():
        about = {"map": grid.ravel().tolist(), "shape": grid.shape, "size": size, "cells": cells}
        places.append(about | {"smooth": interpolation == "bilinear", "placed": heat.ravel().tolist()})
    for seed in range(6):
        heat = np.random.default_rng(seed).normal(size=(12, 17)).astype("float32")
        for threshold in (0, 0.2, 0.7):
            (box,) = find_boxes(heat, threshold)
            boxes.append({"heat": heat.ravel().tolist(), "size": heat.shape, "threshold": threshold, "box": list(box)})
    for name in ("plasma", "viridis", "cividis", "inferno", "turbo", *SIGNED_COLORMAPS):
        signed = name in SIGNED_COLORMAPS
        levels = np.linspace(-1, 1, 511) if signed else np.linspace(0, 1, 256)
        colors[name] = colorize(levels[np.newaxis], name, signed=signed).ravel().tolist()
    defaults = [DEFAULT_COLORMAP, DEFAULT_SIGNED_COLORMAP]
    return {"place": places, "boxes": boxes, "colors": colors, "defaults": defaults}


def test_texts_of_others_never_become_html_and_nothing_is_asked_of_other_hosts():
    static = resources.files("keras_cam.tensorboard") / "static"
    for file in static.iterdir():
        content = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"):
            assert word not in content, f"{word} in {file.name}"


@pytest.mark.parametrize("path", TESTS, ids=[path.name for path in TESTS])
def test_modules(node, path, tmp_path):
    numbers = tmp_path / "reference.json"
    numbers.write_text(json.dumps(reference()))
    static = resources.files("keras_cam.tensorboard") / "static"
    run = subprocess.run(
        [node, "--no-warnings", "--test", str(path)],
        env={**os.environ, "KERAS_CAM_REFERENCE": str(numbers), "KERAS_CAM_STATIC": str(static)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    counts = {word: int(run.stdout.partition(f"# {word} ")[2].split()[0]) for word in ("pass", "fail", "skipped")}
    assert counts["pass"] >= 1 and counts["fail"] == counts["skipped"] == 0, run.stdout
