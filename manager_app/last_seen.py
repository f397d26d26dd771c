"""When brokers, clients and the primary were last heard, and which of them are dead by now.

Times are those of a monotonic clock of this process, in seconds, so that neither a step of the wall
clock nor a manager that was down for a while lets anything die. After a start every broker and
client of the database begins a new time limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Key = TypeVar("Key", bound="Hashable")


@dataclass
class _Seen:
    at_s: float
    marker: object


class LastSeen(Generic[Key]):
    """The last heartbeat, or other sign of life, of each of a set of brokers or clients.

    A key carries everything that tells two of them apart: a producer and a consumer with the same
    number are two keys.
    """

    def __init__(self, dead_after_s: float) -> None:
        """Make an empty table.

        Args:
            dead_after_s: seconds of silence after which a key counts as dead.
        """
        self._dead_after_s = dead_after_s
        self._seen: dict[Key, _Seen] = {}

    def __contains__(self, key: object) -> bool:
        """Tell whether `key` was ever heard, and not forgotten since."""
        return key in self._seen

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._seen)

    def beat(self, key: Key, now_s: float, *, marker: object = None) -> None:
        """Note a sign of life that reached this process.

        Args:
            key: the broker or client.
            now_s: monotonic time.
            marker: the heartbeat that the database has now, if the caller knows it; see `observe`.
        """
        known = self._seen.get(key)
        if known is None:
            self._seen[key] = _Seen(now_s, marker)
            return
        known.at_s = max(known.at_s, now_s)
        if marker is not None:
            known.marker = marker

    def observe(self, key: Key, marker: object, now_s: float) -> None:
        """Note the heartbeat in the database, where another process may have recorded one.

        A marker (the recorded time) that changed since the last look is a sign of life now; the
        first look is one too.
        """
        known = self._seen.get(key)
        if known is None:
            self._seen[key] = _Seen(now_s, marker)
        elif known.marker is None:
            known.marker = marker
        elif known.marker != marker:
            known.marker = marker
            known.at_s = max(known.at_s, now_s)

    def recorded(self, key: Key, marker: object) -> None:
        """Note that this process recorded `marker` itself; that is no new sign of life."""
        if known := self._seen.get(key):
            known.marker = marker

    def last_seen_s(self, key: Key) -> float | None:
        """Return the monotonic time of the last sign of life, or None."""
        known = self._seen.get(key)
        return known.at_s if known else None

    def is_dead(self, key: Key, now_s: float) -> bool:
        """Tell whether a known key has been silent for longer than the limit."""
        known = self._seen.get(key)
        return known is not None and now_s - known.at_s > self._dead_after_s

    def dead(self, now_s: float) -> list[Key]:
        """Return all that have been silent for longer than the limit."""
        return list(self.silent(now_s, self._dead_after_s))

    def silent(self, now_s: float, silent_s: float) -> frozenset[Key]:
        """Return all that have been silent for longer than `silent_s` seconds."""
        limit_s = now_s - silent_s
        return frozenset(key for key, seen in list(self._seen.items()) if seen.at_s < limit_s)

    def forget(self, key: Key) -> None:
        """Drop a key; it may come back with a new sign of life."""
        self._seen.pop(key, None)
