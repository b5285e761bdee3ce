"""Explain every model of keras.applications at the size it was made for, and write down what was found.

All of them, each in a process of its own, into a page:    python tests/applications_sweep.py docs/applications.md
One of them, as JSON:                                      python tests/applications_sweep.py ResNet50
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from support.applications import MEMBERS, build, draw_pictures

import keras_cam
from keras_cam.explainer.explainer import Explainer
from keras_cam.model.submodels import build_feature_model

MOST_SECONDS = 1800  # for one model
TOLERANCE = 1e-5
COLUMNS = (
    *("model", "feature layer", "cells x channels", "head", "left out of the score", "predictions"),
    *("build + first call, s", "further calls, s", "prediction alone, s", "peak, MiB", "peak before, MiB"),
)
PAGE = """{machine}

# All of keras.applications

Written by `tox -e applications`, as it is. Each model has random weights (biases and statistics of batch normalization
included), 10 classes and the input size it was made for, and explains two drawn pictures for all 10 classes.

- *head*: "affine", the CAM of Zhou et al.; "affine per sample", gates and divisors frozen at their values for the
  picture; "position dependent", weights of its own for each cell.
- *left out of the score*: the largest distance between mean(map) + bias and the logit, as a share of the picture's
  largest logit, over both pictures and all classes; {tolerance:.0e} is allowed.
- *predictions*: whether those of `build_feature_model(model)` are, bit for bit, those of `model(x, training=False)`.
- *build + first call*: `Explainer(model)` and its first call, tracing included. *Further calls*, and *prediction
  alone* (`model.predict_on_batch`, traced): the best of three. Other work on the machine makes all of them longer.
- *peak*: the process' largest resident set; *peak before*: what it was when the model alone had predicted.

| {columns} |
| {rule} |
{rows}

Of {count} models {good} are explained exactly. The least exact leaves {worst:.1e} of a score out.
"""


def main() -> int:
    """Measure one model, or all of them into a page; 1 where one is not explained exactly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", metavar="PAGE.md | MODEL", help="the page to write, or one model to measure")
    target = parser.parse_args().target
    if target in MEMBERS:
        print(json.dumps(measure(target)))
        return 0
    found = {name: measure_apart(name) for name in MEMBERS}
    Path(target).write_text(page(found), "utf-8")
    return int(any(problems(name, facts) for name, facts in found.items()))


def measure_apart(name: str) -> dict[str, Any]:
    """What `measure` finds in a process of its own: memory goes back, and one failure stays one failure."""
    command = [sys.executable, __file__, name]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=True)
        facts = json.loads(run.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        facts = {"failure": (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]}
    except subprocess.TimeoutExpired:
        facts = {"failure": f"not done after {MOST_SECONDS} seconds"}
    print(f"{name}: {'; '.join(problems(name, facts)) or 'exact'} {facts}", flush=True)
    return facts


def measure(name: str) -> dict[str, Any]:
    """Explain one model at the size it was made for."""
    member = MEMBERS[name]
    pictures = draw_pictures(2, (member.size, member.size))
    model = build(name, pictures, call=in_training_mode_compiled)

    model.predict_on_batch(pictures)
    forget_peak()
    plain = best_of_three(lambda: model.predict_on_batch(pictures))
    plain_peak = peak()

    forget_peak()
    explainer, building = timed(lambda: Explainer(model))
    result, first = timed(lambda: explainer(pictures, classes="all"))
    further = best_of_three(lambda: explainer(pictures, classes="all"))
    own_peak = peak()

    (feature,) = explainer.head.cut.features
    program = explainer.head.cut.program
    predictions = np.asarray(model(pictures, training=False))
    ours = np.asarray(build_feature_model(model)(pictures)["predictions"])
    return {
        "operation": type(program.producer(feature.slot).operation).__name__,
        "layer": result.layer,
        "grid": result.maps.shape[2:],
        "channels": program.shape(feature.slot)[-1],
        "kind": explainer.head.kind,
        "left_out": float(np.abs(1 - result.completeness).max()),
        "alive": bool(np.ptp(result.maps, axis=(2, 3)).min() > 0),
        "identical": bool(np.array_equal(ours, predictions)),
        "seconds": [building + first, further, plain],
        "mebibytes": [own_peak, plain_peak],
    }


def in_training_mode_compiled(model: keras.Model, pictures: np.ndarray) -> None:
    """Call a model as in training; compiled, since TensorFlow keeps for good what memory it once took."""
    tf.function(model)(pictures, training=True)


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """The result of an action, and the seconds that it took."""
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def best_of_three(action: Callable[[], Any]) -> float:
    """The seconds that an action takes when least disturbed."""
    return min(timed(action)[1] for _ in range(3))


def forget_peak() -> None:
    """Start the kernel's count of the largest resident set of this process anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def peak() -> int:
    """Largest resident set of this process since `forget_peak`, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def problems(name: str, facts: dict[str, Any]) -> list[str]:
    """What is not as it must be, in words."""
    if "failure" in facts:
        return [facts["failure"]]
    member = MEMBERS[name]
    expected = {
        "feature layer": fnmatch(facts["layer"], member.layer) and facts["operation"] == member.operation,
        "cells": list(facts["grid"]) == [member.grid, member.grid] and facts["channels"] == member.channels,
        "head": facts["kind"] == member.kind,
        "completeness": facts["left_out"] <= TOLERANCE,
        "maps that say nothing": facts["alive"],
        "predictions": facts["identical"],
    }
    return [f"unexpected: {what}" for what, fine in expected.items() if not fine]


def page(found: dict[str, dict[str, Any]]) -> str:
    """The page, in Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy"))
    machine = (
        f"*Measured on {processor()}, {len(os.sched_getaffinity(0))} cores with a load of {os.getloadavg()[2]:.0f}; "
        f"Python {platform.python_version()}, keras_cam {keras_cam.__version__}, {packages}.*"
    )
    return PAGE.format(
        machine=machine,
        tolerance=TOLERANCE,
        columns=" | ".join(COLUMNS),
        rule=" | ".join("---" for _ in COLUMNS),
        rows="\n".join(row(name, facts) for name, facts in found.items()),
        count=len(found),
        good=sum(not problems(name, facts) for name, facts in found.items()),
        worst=max((facts["left_out"] for facts in found.values() if "left_out" in facts), default=float("nan")),
    )


def row(name: str, facts: dict[str, Any]) -> str:
    """One line of the table."""
    wrong = problems(name, facts)
    label = name if not wrong else f"**{name}: {'; '.join(wrong)}**"
    if "failure" in facts:
        return f"| {label} |" + " |" * (len(COLUMNS) - 1)
    cells = (
        label,
        f"{facts['operation']} `{facts['layer']}`",
        f"{facts['grid'][0]}x{facts['grid'][1]} x {facts['channels']}",
        facts["kind"].replace("_", " "),
        f"{facts['left_out']:.1e}",
        "identical" if facts["identical"] else "**differ**",
        *(f"{seconds:.2f}" for seconds in facts["seconds"]),
        *map(str, facts["mebibytes"]),
    )
    return f"| {' | '.join(cells)} |"


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
