"""When to look: every so many epochs or batches, within a share of the training time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from keras_cam.errors import InvalidOptionError
from keras_cam.validation import whole_number

# "100 batches", "1 batch", "2 Epochs"
EVERY = re.compile(r"([1-9][0-9]*) *(epoch|batch)(?:e?s)?", re.IGNORECASE)


class Schedule:
    """Says when to look, and keeps account of the time that looking takes.

    Args:
        every: a number of epochs, or words such as "100 batches" or "2 epochs".
        max_share: the share of the time since `begin` that looking may take, above 0; None: no limit.

    Raises:
        InvalidOptionError: neither.

    Example:
        >>> schedule = Schedule("3 epochs", None)
        >>> [epoch for epoch in range(8) if schedule.is_epoch(epoch, is_last=epoch == 7)]
        [0, 2, 5, 7]
    """

    def __init__(self, every: int | str, max_share: float | None) -> None:
        words = EVERY.fullmatch(every.strip()) if isinstance(every, str) else None
        if words is not None:
            self.every, self.unit = int(words[1]), words[2].lower()
        else:
            self.every = whole_number("every", every, besides=", of epochs, or words such as '100 batches'")
            self.unit = "epoch"
        if max_share is not None and not 0 < max_share <= 1:
            raise InvalidOptionError(f"max_share must be above 0 and at most 1, or None. Received: {max_share!r}.")
        self.max_share = max_share
        self.begin()

    def begin(self) -> None:
        """Start the account of a new training."""
        self._started, self._spent, self._latest = time.perf_counter(), 0.0, 0.0  # seconds
        self._is_first = True  # nothing has ended yet
        self.is_late = False

    def is_epoch(self, epoch: int, *, is_last: bool) -> bool:
        """Whether to look at the end of an epoch, counted from 0; ask at the end of each."""
        if self.unit == "batch":
            return is_last
        return is_last or self._is_due((epoch + 1) % self.every == 0)

    def is_batch(self, before: int, now: int) -> bool:
        """Whether to look when so many batches have been, and so many had been the last time that this was asked.

        Several at once (`steps_per_execution`) are one chance to look.
        """
        return self.unit == "batch" and self._is_due(now // self.every > before // self.every)

    def _is_due(self, is_its_turn: bool) -> bool:
        # The first look comes at the first chance: it shows whether all is set up as it was meant.
        is_first, self._is_first = self._is_first, False
        return is_first or (is_its_turn and self._has_time())

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Put the time of the block to the account."""
        began = time.perf_counter()
        try:
            yield
        finally:
            last = time.perf_counter() - began
            self._spent += last
            self._latest = last

    @property
    def words(self) -> str:
        """What to say where looks are left out."""
        share = 100 * (self.max_share or 1)
        return (
            f"a look takes {self._latest:.2f} s; so that looking takes no more than {share:g}% of the time, some are "
            "left out. Raise max_share or every, or follow fewer probes."
        )

    def _has_time(self) -> bool:
        if self.max_share is None:
            return True
        # As if this look would take as long as the last one.
        elapsed = time.perf_counter() - self._started
        has = self._spent + self._latest <= self.max_share * (elapsed + self._latest)
        self.is_late = self.is_late or not has
        return has
