"""How evenly ticks come: what the scheduler, the loop and the machine make of the interval."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from http_base.histogram import Histogram

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
        self.times = Histogram([bound * interval_ms / 1000 for bound in BOUNDS])
        """Seconds between one tick and the next."""
        self._clock = clock
        self._last_s: float | None = None

    def ticked(self, count: int = 1) -> None:
        """Count ticks that came at once, as it was meant; the first ones come after none."""
        now_s = self._clock()
        if self._last_s is not None:
            for _ in range(count):
                self.times.add((now_s - self._last_s) / count)
        self._last_s = now_s

    @property
    def late(self) -> int:
        """How many ticks were late."""
        counts = self.times.cumulated()
        return counts[-1] - counts[BOUNDS.index(LATE)]
