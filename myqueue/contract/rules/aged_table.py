"""A table whose entries know when they were last used, so that idle ones can be dropped.

The clock is that of the partition's log, which is read now and then.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

K = TypeVar("K")
V = TypeVar("V")

FRESH = -1
"""Stamp of an entry that was used since the clock was last read."""


class AgedTable(Generic[K, V]):
    """Entries in the order of their last use.

    Uses happen between two readings of the clock; an entry gets the time of the first reading
    after its use. So a stamp is never earlier than the use, and nothing looks older than it is.
    """

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        """In the order of the last use."""
        self._used: dict[K, int] = {}
        """Stamp of every entry that is not fresh."""
        self._fresh: dict[K, None] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """Return a value without using it."""
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Use a key: store its value and make it the last used one."""
        self._values.pop(key, None)
        self._used.pop(key, None)
        self._values[key] = value
        self._fresh[key] = None

    def remove(self, key: K) -> None:
        """Drop a key; an unknown one is no error."""
        self._values.pop(key, None)
        self._used.pop(key, None)
        self._fresh.pop(key, None)

    def read_clock(self, clock_ms: int) -> None:
        """Stamp the entries that were used since the last reading."""
        if self._fresh:
            self._used.update(dict.fromkeys(self._fresh, clock_ms))
            self._fresh.clear()

    def idle_since(self, before_ms: int) -> list[K]:
        """Return the keys last used before a time, least recently used first."""
        idle: list[K] = []
        for key in self._values:
            stamp = self._used.get(key, FRESH)
            if stamp == FRESH or stamp >= before_ms:
                break
            idle.append(key)
        return idle

    def would_change(self, before_ms: int) -> bool:
        """Tell whether `read_clock` would stamp an entry, or a key was last used before a time."""
        return bool(self._fresh) or any(
            self._used[oldest] < before_ms for oldest in islice(self._values, 1)
        )

    def rows(self) -> Iterator[tuple[K, int, V]]:
        """Yield (key, stamp or `FRESH`, value) in the order of the last use."""
        for key, value in self._values.items():
            yield key, self._used.get(key, FRESH), value

    def load(self, rows: Iterable[tuple[K, int, V]]) -> None:
        """Add what `rows` yielded, in that order."""
        for key, stamp, value in rows:
            self._values[key] = value
            if stamp == FRESH:
                self._fresh[key] = None
            else:
                self._used[key] = stamp
