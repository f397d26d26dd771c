"""Bytes per second: who takes more than there are has to wait."""

from __future__ import annotations

import asyncio
import math


class Throttle:
    """One rate for all who share it; lives in one event loop."""

    def __init__(self, bytes_per_second: int, *, wait_seconds_max: float = math.inf) -> None:
        """Allow `bytes_per_second`, evenly.

        Args:
            bytes_per_second: the rate.
            wait_seconds_max: nobody waits longer, even if that means more than the rate.
        """
        self._bytes_per_second = bytes_per_second
        self._wait_seconds_max = wait_seconds_max
        self._free_at = 0.0

    async def take(self, size_bytes: int) -> None:
        """Return when these bytes may be moved."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_at)
        free_at = start + size_bytes / self._bytes_per_second
        self._free_at = min(free_at, now + self._wait_seconds_max)
        if start > now:
            await asyncio.sleep(start - now)
