"""Time a thing and its baseline in turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import floor, sqrt

import numpy as np

SHORTEST, LONGEST = 11, 101  # rounds


@dataclass(frozen=True)
class Pairs:
    """Seconds of a baseline and of a thing, measured in turns.

    Attributes:
        wall: (rounds, 2), by the clock: the baseline, the thing.
        cpu: (rounds, 2), of this process's time on all cores.
    """

    wall: np.ndarray
    cpu: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """The thing's time over the baseline's, pair by pair."""
        return np.asarray(self.wall[:, 1] / self.wall[:, 0])

    @property
    def extra(self) -> np.ndarray:
        """How many seconds the thing takes more, pair by pair."""
        return np.asarray(self.wall[:, 1] - self.wall[:, 0])

    @property
    def cpu_ratio(self) -> float:
        """Median ratio of the time on all cores, which other programs disturb less."""
        return float(np.median(self.cpu[:, 1] / np.maximum(self.cpu[:, 0], 1e-9)))


def in_turns(
    baseline: Callable[[], object],
    thing: Callable[[], object],
    seconds: float,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
) -> Pairs:
    """Time two things in turns, after both have been warmed up; every other round the thing goes first.

    Args:
        baseline: the one.
        thing: the other.
        seconds: how long to go on, about.
        shortest: rounds at least.
        longest: rounds at most.
    """
    baseline()
    thing()  # traces
    took = clocked(baseline)[0] + clocked(thing)[0]
    rounds = int(np.clip(seconds / max(took, 1e-9), shortest, longest))
    times = np.empty((rounds, 2, 2))
    for index in range(rounds):
        for place in (0, 1) if index % 2 == 0 else (1, 0):
            times[index, place] = clocked((baseline, thing)[place])
    return Pairs(times[:, :, 0], times[:, :, 1])


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """How long a call takes: seconds by the clock, and of this process on all cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def sure_limits(values: np.ndarray) -> tuple[float, float]:
    """Between which numbers the median lies, with 95% confidence, whatever the distribution: by order statistics.

    >>> sure_limits(np.arange(1.0, 12.0))
    (2.0, 10.0)
    """
    ordered = np.sort(values)
    first = max(0, floor((len(ordered) - 1.96 * sqrt(len(ordered))) / 2) - 1)
    return float(ordered[first]), float(ordered[-1 - first])
