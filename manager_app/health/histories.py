"""Figures over time, in memory: a point in 5 s for an hour, and one in a minute for a day."""

from __future__ import annotations

from array import array
from math import isnan, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

STEP_S = 5.0
HOUR_POINTS = 720
MINUTE_S = 60.0
DAY_POINTS = 1_440
HOUR_MINUTES = 60
SKIPPED_MAX = 2
"""Steps without a value that the next one stands for, too: it came late."""
SERIES_MAX = 8_000
"""Figures that are kept; further ones are not begun. Each takes 9 KiB: 72 MiB in all, 45 MiB with
1,000 topics of four figures and 500 groups of two."""


class Ring:
    """The last values of a figure, a fixed time apart; times without one have a gap."""

    __slots__ = ("_latest", "_step_s", "_values")

    def __init__(self, step_s: float, points: int) -> None:
        """Keep nothing yet.

        Args:
            step_s: between two values.
            points: how many are kept.
        """
        self._step_s = step_s
        self._values = array("f", [nan]) * points
        self._latest = -1
        """Number of the step that was written last."""

    def put(self, value: float | None, now_s: float) -> None:
        """Keep the value of now; a later one of the same step takes its place."""
        step = int(now_s // self._step_s)
        points = len(self._values)
        kept = nan if value is None else value
        is_late = step - self._latest <= SKIPPED_MAX + 1
        for skipped in range(max(self._latest + 1, step - points + 1), step):
            self._values[skipped % points] = kept if is_late else nan
        if step >= self._latest:
            self._latest = step
            self._values[step % points] = kept

    def last(self, count: int, now_s: float) -> list[float | None]:
        """Return the values of the last `count` steps, the one before now last; None: a gap."""
        points = len(self._values)
        now = int(now_s // self._step_s)
        found: list[float | None] = []
        for step in range(now - count, now):
            is_kept = self._latest - points < step <= self._latest
            value = self._values[step % points] if is_kept and step >= 0 else nan
            found.append(None if isnan(value) else value)
        return found


class Histories:
    """Rings by the name of what they count. One thread puts; any may look."""

    def __init__(self, *, series_max: int = SERIES_MAX) -> None:
        """Keep nothing yet.

        Args:
            series_max: figures that are kept at once.
        """
        self._series_max = series_max
        self._hour: dict[Hashable, Ring] = {}
        self._day: dict[Hashable, Ring] = {}
        self._minute: dict[Hashable, list[float]] = {}
        """Of the minute under way: its values."""
        self._minute_number = -1

    def put(self, figures: dict[Hashable, float | None], now_s: float) -> None:
        """Keep the values of now.

        Args:
            figures: name -> value; None when nobody knows it.
            now_s: monotonic time.
        """
        self._close_minute(now_s)
        for name, value in figures.items():
            ring = self._hour.get(name)
            if ring is None:
                if len(self._hour) >= self._series_max:
                    continue
                ring = self._hour[name] = Ring(STEP_S, HOUR_POINTS)
                self._day[name] = Ring(MINUTE_S, DAY_POINTS)
            ring.put(value, now_s)
            if value is not None:
                self._minute.setdefault(name, []).append(value)

    def forget_others(self, kind: str, kept: Sequence[Hashable]) -> None:
        """Forget the figures `(kind, name, ...)` of all names but these."""
        names = frozenset(kept)
        gone = [
            key
            for key in self._hour
            if isinstance(key, tuple) and key[0] == kind and key[1] not in names
        ]
        for key in gone:
            del self._hour[key], self._day[key]
            self._minute.pop(key, None)

    def hour(
        self, name: Hashable, now_s: float, *, points: int = HOUR_POINTS
    ) -> list[float | None]:
        """Return the values of the last hour or less, one in 5 s, oldest first."""
        ring = self._hour.get(name)
        return [None] * points if ring is None else ring.last(points, now_s)

    def day(self, name: Hashable, now_s: float, *, points: int = DAY_POINTS) -> list[float | None]:
        """Return the values of the last day or less, one in a minute, oldest first."""
        ring = self._day.get(name)
        return [None] * points if ring is None else ring.last(points, now_s)

    def latest(self, name: Hashable, now_s: float) -> float | None:
        """Return the last value, unless it is older than half a minute."""
        known = [value for value in self.hour(name, now_s + STEP_S, points=6) if value is not None]
        return known[-1] if known else None

    def _close_minute(self, now_s: float) -> None:
        number = int(now_s // MINUTE_S)
        if number == self._minute_number:
            return
        if self._minute_number >= 0:
            at_s = self._minute_number * MINUTE_S
            for name, values in self._minute.items():
                self._day[name].put(sum(values) / len(values), at_s)
        self._minute.clear()
        self._minute_number = number


class PartitionRates:
    """How many messages come to each partition in a second: a point in a minute, for an hour.

    One thread puts; any may look. A partition takes about 0.6 KiB.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._rates: dict[int, Ring] = {}
        self._ends: dict[int, int] = {}
        self._put_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Tell whether a minute has begun since the last time."""
        return self._put_s is None or now_s // MINUTE_S != self._put_s // MINUTE_S

    def put(self, ends: dict[int, int], now_s: float) -> None:
        """Keep what came since the last time.

        Args:
            ends: next offset by group id, of all partitions that there are.
            now_s: monotonic time.
        """
        if self._put_s is not None and now_s > self._put_s:
            seconds = now_s - self._put_s
            for group_id in self._ends.keys() & ends.keys():
                grown = max(0, ends[group_id] - self._ends[group_id])
                ring = self._rates.setdefault(group_id, Ring(MINUTE_S, HOUR_MINUTES))
                ring.put(grown / seconds, now_s)
            for group_id in self._rates.keys() - ends.keys():
                del self._rates[group_id]
        self._ends, self._put_s = ends, now_s

    def hour(self, group_id: int, now_s: float) -> list[float | None]:
        """Return the rates of the last hour, one in a minute, oldest first."""
        ring = self._rates.get(group_id)
        return [None] * HOUR_MINUTES if ring is None else ring.last(HOUR_MINUTES, now_s + MINUTE_S)


def thinned(values: Sequence[float | None], points: int) -> list[float | None]:
    """Return fewer values: each the mean of those that are known of its part."""
    size = max(1, len(values) // points)
    found: list[float | None] = []
    for start in range(0, len(values), size):
        known = [value for value in values[start : start + size] if value is not None]
        found.append(sum(known) / len(known) if known else None)
    return found
