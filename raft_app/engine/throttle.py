"""Bytes per second of what is moved in the background, so that it leaves room for clients."""

from __future__ import annotations

import asyncio
import math


class Throttle:
    """One rate for all who share it; lives in one event loop."""

    def __init__(self, bytes_per_second: int, *, seconds_max: float = math.inf) -> None:
        """Allow `bytes_per_second`, evenly.

        Args:
            bytes_per_second: the rate.
            seconds_max: no take counts for longer, even if that means more than the rate.
        """
        self._bytes_per_second = bytes_per_second
        self._seconds_max = seconds_max
        self._free_at = 0.0

    async def take(self, size_bytes: int) -> None:
        """Return when these bytes may be moved."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_at)
        self._free_at = start + min(size_bytes / self._bytes_per_second, self._seconds_max)
        if start > now:
            await asyncio.sleep(start - now)
