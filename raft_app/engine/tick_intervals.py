"""How evenly ticks come: what the scheduler, the loop and the machine make of the interval."""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS = (1.1, 1.25, 1.5, 2.0, 4.0, 10.0, 20.0)
"""Of the buckets, in intervals; what is longer than the last one is in a bucket of its own."""
LATE = 2.0
"""A tick is late that comes more than so many intervals after the one before."""


class TickIntervals:
    """Counts the ticks by the time since the one before."""

    def __init__(self, interval_ms: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count nothing yet.

        Args:
            interval_ms: wanted between two ticks.
            clock: returns seconds.
        """
        self.bounds_s = tuple(bound * interval_ms / 1000 for bound in BOUNDS)
        self.sum_s = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)
        self._clock = clock
        self._last_s: float | None = None

    def ticked(self) -> None:
        """Count a tick; the first one comes after none."""
        now_s = self._clock()
        if self._last_s is not None:
            seconds = now_s - self._last_s
            self._counts[bisect_left(self.bounds_s, seconds)] += 1
            self.sum_s += seconds
        self._last_s = now_s

    def cumulated(self) -> list[int]:
        """Return for each bound how many ticks came within it, and then how many in all."""
        return list(accumulate(self._counts))

    @property
    def late(self) -> int:
        """How many ticks were late."""
        return sum(self._counts[BOUNDS.index(LATE) + 1 :])
