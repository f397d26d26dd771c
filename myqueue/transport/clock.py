"""Time and chance as arguments: whatever waits or retries can be tested without either."""

from __future__ import annotations

import random
import time
from typing import Protocol

FOREVER_S = 10 * 365 * 86_400.0
"""A wait without an end that is still a number."""


class Clock(Protocol):
    """What the client knows of time and chance."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def wall_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        ...


class SystemClock:
    """The machine's own clock."""

    # Functions of the standard library themselves: a message asks for the time six times.
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    jitter = staticmethod(random.random)  # noqa: S311 - spreads retries, protects nothing

    def wall_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000
