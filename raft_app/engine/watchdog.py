"""Watching from inside what the engine depends on: that ticks come and that the disk has room."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from http_base.tasks import observe

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Executor

logger = logging.getLogger(__name__)

DISK_CHECK_INTERVALS = 20
"""Tick intervals between two looks at the free space."""


class Watchdog:
    """Counts its own firings since the last tick; lives in the engine's loop.

    Counting instead of reading a clock tells a scheduler that stands still from a process that
    was paused: in the latter nothing is counted either.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval_ms: int,
        missed_max: int,
        on_silence: Callable[[BaseException], None],
    ) -> None:
        """Make a watchdog; `start` lets it run.

        Args:
            loop: where it lives.
            interval_ms: between two ticks.
            missed_max: intervals without a tick that are tolerated.
            on_silence: told once when there were more.
        """
        self._loop = loop
        self._interval = interval_ms / 1000
        self._missed_max = missed_max
        self._on_silence = on_silence
        self._firings = 0
        self._timer: asyncio.TimerHandle | None = None
        self._disk_check: Callable[[], object] | None = None
        self.intervals_without_tick = 0

    def start(self) -> None:
        """Begin to watch; the disk is looked at straight away."""
        if self._disk_check is not None:
            self._disk_check()
        self._timer = self._loop.call_later(self._interval, self._fire)

    def stop(self) -> None:
        """End watching."""
        if self._timer is not None:
            self._timer.cancel()

    def ticked(self) -> None:
        """Note a tick."""
        self.intervals_without_tick = 0

    def watch_disk(
        self, executor: Executor, free_bytes: Callable[[], int], reserve_bytes: int
    ) -> DiskSpace:
        """Look at the free space now and then, in a thread of `executor`."""
        disk = DiskSpace(free_bytes, reserve_bytes)
        self._disk_check = lambda: observe("looking at the disk", executor.submit(disk.look))
        return disk

    def _fire(self) -> None:
        self.intervals_without_tick += 1
        if self.intervals_without_tick > self._missed_max:
            self._on_silence(RuntimeError(f"no tick for {self._missed_max} intervals"))
            return
        self._firings += 1
        if self._disk_check is not None and self._firings % DISK_CHECK_INTERVALS == 0:
            self._disk_check()
        self._timer = self._loop.call_later(self._interval, self._fire)


class DiskSpace:
    """Whether the disk has more free space than its reserve."""

    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int) -> None:
        self._free_bytes = free_bytes
        self._reserve_bytes = reserve_bytes
        self.free_bytes = reserve_bytes
        """As last seen."""
        self.full = False
        self._unknown = False

    def look(self) -> None:
        """Measure; may block.

        A measure that fails changes nothing: it says that this call failed, not that there is no
        room, and a disk that takes no writes any more makes itself known by them.
        """
        try:
            self.free_bytes = self._free_bytes()
        except OSError:
            if not self._unknown:
                logger.exception(
                    "the free space cannot be measured; it counts as %d bytes, as last seen",
                    self.free_bytes,
                )
            self._unknown = True
            return
        if self._unknown:
            logger.info("the free space can be measured again: %d bytes", self.free_bytes)
        self._unknown = False
        full = self.free_bytes < self._reserve_bytes
        if full != self.full:
            logger.warning("disk %s", "is full: writes are refused" if full else "has space again")
        self.full = full
