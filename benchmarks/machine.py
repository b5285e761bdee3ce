"""The machine and the versions that a measurement stands for, in one line."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "opencv-python-headless")


def machine() -> str:
    """Cores, processor, Python, the backend of Keras and the versions of what is installed."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return (
        f"{os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}, "
        f"{keras.backend.backend()} backend, {versions}"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name, where Linux gives one, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
