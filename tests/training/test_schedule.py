"""When to look: by epochs or batches, within a share of the time."""

import time

import numpy as np
import pytest

from keras_cam.errors import InvalidOptionError
from keras_cam.training.schedule import Schedule


@pytest.mark.parametrize(
    ("every", "unit", "count"),
    [
        (1, "epoch", 1),
        (np.int64(3), "epoch", 3),
        ("2 epochs", "epoch", 2),
        (" 100 Batches ", "batch", 100),
        ("1batch", "batch", 1),
    ],
)
def test_words(every, unit, count):
    schedule = Schedule(every, None)
    assert (schedule.unit, schedule.every) == (unit, count)


@pytest.mark.parametrize(
    "every",
    [0, -1, True, 2.0, np.float32(2), np.int64(0), None, "0 batches", "two epochs", "3", "1.5 epochs", "-2 batches"],
)
def test_what_is_not_understood(every):
    with pytest.raises(InvalidOptionError, match=r"every must be a whole number.*'100 batches'\. Received: "):
        Schedule(every, None)


def test_epochs():
    schedule = Schedule(4, None)
    assert [epoch for epoch in range(5, 15) if schedule.is_epoch(epoch, is_last=epoch == 14)] == [5, 7, 11, 14]
    schedule.begin()
    assert schedule.is_epoch(1, is_last=False), "the first of the next training"
    assert not any(schedule.is_batch(batch, batch + 4) for batch in range(20))


@pytest.mark.parametrize(("at_once", "expected"), [(1, [1, 5, 10]), (2, [2, 6, 10]), (7, [7, 14])])
def test_batches_that_come_several_at_once(at_once, expected):
    schedule = Schedule("5 batches", None)
    counts = range(at_once, 15, at_once)
    assert [now for now in counts if schedule.is_batch(now - at_once, now)] == expected
    assert [schedule.is_epoch(0, is_last=is_last) for is_last in (False, True)] == [False, True]


def test_the_share_of_the_time():
    """A look of 0.1 s may come again when 2 s have passed for each that was: not at once, but for the last."""
    schedule = Schedule(1, 0.05)
    assert schedule.is_epoch(0, is_last=False) and not schedule.is_late
    with schedule.timed():
        time.sleep(0.1)
    assert not schedule.is_epoch(1, is_last=False) and schedule.is_late
    assert schedule.is_epoch(2, is_last=True)
    assert schedule.words.startswith("a look takes 0.1") and "no more than 5% of the time" in schedule.words
    generous = Schedule(1, 0.6)
    assert generous.is_epoch(0, is_last=False)
    time.sleep(0.1)
    with generous.timed():
        time.sleep(0.01)
    assert generous.is_epoch(1, is_last=False) and not generous.is_late


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_no_share_of_the_time(share):
    with pytest.raises(InvalidOptionError, match="above 0 and at most 1"):
        Schedule(1, share)
