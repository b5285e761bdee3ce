"""What a user's values may be: each check gives the value back, or says what came and what was wanted."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_cam.errors import InvalidOptionError


def whole_number(name: str, value: Any, least: int = 1, besides: str = "") -> int:
    """A whole number, not less than `least`; `besides` names in the message what else the caller takes.

    >>> whole_number("samples", 3)
    3
    """
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InvalidOptionError(f"{name} must be a whole number, {least} or more{besides}. Received: {value!r}.")
    return number


def finite_number(name: str, value: Any, least: float = -math.inf) -> float:
    """A finite number, not less than `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not least <= float(value) < math.inf:
        bound = "" if least == -math.inf else f", {least:g} or more"
        raise InvalidOptionError(f"{name} must be a finite number{bound}. Received: {value!r}.")
    return float(value)


def one_of(name: str, value: Any, known: Iterable[str], besides: str = "") -> str:
    """One of the known words; `besides` names in the message what else the caller takes.

    >>> one_of("fit", "crop", ("stretch", "crop"))
    'crop'
    """
    words = tuple(known)
    if isinstance(value, str) and value in words:
        return value
    listed = ", ".join(map(repr, words))
    raise InvalidOptionError(f"{name} must be one of {listed}{besides}. Received: {value!r}.")


def checked_size(size: Any, rank: int | None = 2) -> tuple[int, ...]:
    """A size as positive whole numbers, (height, width) or one for each of `rank` axes; None: of any rank."""
    try:
        lengths = tuple(int(length) for length in size)
    except (TypeError, ValueError):
        lengths = ()
    if not lengths or min(lengths) < 1 or rank not in (None, len(lengths)):
        wanted = (
            "two positive whole numbers, (height, width)" if rank == 2 else "positive whole numbers, one for each axis"
        )
        raise InvalidOptionError(f"A size is {wanted}. Received: {size!r}.")
    return lengths


def checked_range(value_range: Any, name: str) -> tuple[float, float]:
    """A (low, high) pair as two floats."""
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise InvalidOptionError(f"{name} is two finite numbers (low, high), low < high. Received: {value_range!r}.")
    return low, high


def to_numpy(values: Any) -> np.ndarray:
    """An array of whatever holds numbers: lists, arrays, and tensors of any backend."""
    if hasattr(values, "detach"):  # torch: off the graph and off the accelerator first
        values = values.detach().cpu()
        if str(getattr(values, "dtype", "")) == "torch.bfloat16":  # which NumPy does not have
            values = values.float()
    if hasattr(values, "numpy") and not hasattr(values, "__array__"):
        values = values.numpy()
    return np.asarray(values)
