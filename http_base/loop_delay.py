"""How late timers of the event loop run: a loop that stands still answers nobody meanwhile."""

from __future__ import annotations

import asyncio

from http_base.histogram import Histogram

EVERY_S = 0.5
"""Between two timers. A stall of this length is always seen, a shorter one now and then."""
LOOP_DELAYS = Histogram()
"""Seconds by which each timer of this process was late."""


class LoopDelay:
    """Sets one timer after the other in the running loop."""

    def __init__(self, delays: Histogram = LOOP_DELAYS) -> None:
        """Count in a histogram, from `start` on."""
        self._delays = delays
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to count."""
        self._loop = asyncio.get_running_loop()
        self._set()

    def stop(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self._due_s = self._loop.time() + EVERY_S
        self._timer = self._loop.call_at(self._due_s, self._fire)

    def _fire(self) -> None:
        self._delays.add(max(0.0, self._loop.time() - self._due_s))
        self._set()
