"""What was measured, held against its bound: as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.pairs import sure_limits

HOLDS, NOISE, EXCEEDED = "yes", "within the noise", "**no**"


@dataclass(frozen=True, eq=False)
class Measured:
    """One thing, measured again and again.

    Attributes:
        what: what was measured.
        model: name of the model, with the size of its batch; empty where there is none.
        values: of each round; a ratio to the forward pass, or in `unit`.
        bound: what the median should not exceed; None where nothing is asked.
        control: the same for the forward pass against itself; empty where there is none.
        unit: "x" for a ratio, else "ms", "MB".
        cpu: median ratio of the time on all cores, for ratios.
    """

    what: str
    model: str
    values: np.ndarray
    bound: float | None = None
    control: np.ndarray = field(default_factory=lambda: np.empty(0))
    unit: str = "x"
    cpu: float | None = None

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median, upper quartile."""
        low, middle, high = np.percentile(self.values, [25, 50, 75])
        return float(low), float(middle), float(high)

    @property
    def noise(self) -> float:
        """How far the median may be off: half of its 95% interval, and how far the control's own is from nothing."""
        low, high = sure_limits(self.values)
        off = 0.0
        if len(self.control):
            nothing = 1.0 if self.unit == "x" else 0.0
            off = max(abs(limit - nothing) for limit in sure_limits(self.control))
        return (high - low) / 2 + off

    @property
    def verdict(self) -> str:
        """Whether the bound holds; empty where there is none."""
        if self.bound is None:
            return ""
        above = self.quartiles[1] - self.bound
        return HOLDS if above <= 0 else NOISE if above <= self.noise else EXCEEDED

    def as_json(self) -> dict[str, Any]:
        """All of it, for a machine."""
        arrays = {"values": self.values.tolist(), "control": self.control.tolist()}
        own = {"what": self.what, "model": self.model, "unit": self.unit, "bound": self.bound, "cpu": self.cpu}
        return {**own, "median": self.quartiles[1], "noise": self.noise, "verdict": self.verdict, **arrays}


def from_json(found: dict[str, Any]) -> Measured:
    """What `as_json` wrote.

    >>> from_json(Measured("a", "b", np.array([1.0]), 2.0).as_json()).verdict
    'yes'
    """
    arrays = {name: np.array(found[name]) for name in ("values", "control")}
    return Measured(**arrays, **{name: found[name] for name in ("what", "model", "unit", "bound", "cpu")})


def updated(rows: Sequence[Measured], newer: Sequence[Measured]) -> list[Measured]:
    """The rows, with those that were measured anew in the place of the old ones, and what is new at the end."""
    found = {(row.what, row.model): row for row in (*rows, *newer)}
    return list(found.values())


def table_of(rows: Sequence[Measured]) -> str:
    """Markdown: medians with quartiles, beside what was asked."""
    lines = [
        "| what | model | measured | CPU time | control | at most | holds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        control = number(float(np.median(row.control)), row.unit) if len(row.control) else ""
        low, middle, high = (number(value, row.unit) for value in row.quartiles)
        spread = f"{middle} ({low} to {high})" if len(row.values) > 1 else middle
        cells = (
            row.what,
            row.model,
            spread,
            "" if row.cpu is None else f"{row.cpu:.2f}",
            control,
            "" if row.bound is None else number(row.bound, row.unit),
            row.verdict,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def line_of(row: Measured) -> str:
    """One row, for a terminal."""
    low, middle, high = (number(value, row.unit) for value in row.quartiles)
    bound = "" if row.bound is None else f", at most {number(row.bound, row.unit)}: {row.verdict.strip('*')}"
    return f"{row.model:24} {row.what:60} {middle} ({low} to {high}){bound}"


def number(value: float, unit: str) -> str:
    """A number with its unit, to as many digits as can be meant."""
    return f"{value:.3f}" if unit == "x" else f"{value:.1f} {unit}"
