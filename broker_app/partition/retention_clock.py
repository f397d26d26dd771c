"""When the leader of a partition saw its messages first, by its own clock.

A batch may carry an append timestamp of a former leader whose clock was ahead. It is at most as
young as the moment at which this leader saw it first.
"""

from __future__ import annotations

from bisect import bisect_right

SIGHTS_MAX = 256
"""More than that are thinned out; messages then count as younger than they are."""


class RetentionClock:
    """Offsets with the time at which everything below them had been seen."""

    def __init__(self) -> None:
        self._sights: list[tuple[int, int]] = []
        """(time in milliseconds since 1970, offset), ascending in both."""

    def note(self, offset: int, now_ms: int) -> None:
        """Note that everything below `offset` is there now; a clock that went back is ignored."""
        sights = self._sights
        if sights and (offset <= sights[-1][1] or now_ms <= sights[-1][0]):
            return
        sights.append((now_ms, offset))
        if len(sights) > SIGHTS_MAX:
            del sights[:-1:2]

    def seen_until(self, time_ms: int) -> int:
        """Return the offset below which everything had been seen at a time, 0 when unknown."""
        passed = bisect_right(self._sights, time_ms, key=lambda sight: sight[0])
        return self._sights[passed - 1][1] if passed else 0
