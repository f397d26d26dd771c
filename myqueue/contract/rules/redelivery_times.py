"""When messages out with workers are delivered again: which are due, and when the next will be."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

SLACK = 64
"""Outdated entries that are tolerated in short heaps before they are built anew."""


class RedeliveryTimes:
    """Offset -> time at which it is due; the time read may go back.

    Due offsets are found without a look at the others: those whose time has come move from a heap
    by time to a heap by offset. An entry of either heap counts only while `_times` agrees.
    """

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._by_time: list[tuple[int, int]] = []
        self._over: list[int] = []

    def __len__(self) -> int:
        return len(self._times)

    def put(self, offset: int, time_ms: int) -> None:
        """Set the time at which an offset is due."""
        self._times[offset] = time_ms
        heappush(self._by_time, (time_ms, offset))
        if len(self._by_time) + len(self._over) > 2 * len(self._times) + SLACK:
            self._tidy()

    def remove(self, offset: int) -> None:
        """Drop an offset; an unknown one is no error."""
        self._times.pop(offset, None)

    def over(self, now_ms: int, limit: int) -> list[int]:
        """Return the lowest offsets whose time is not after now, at most `limit`, in order."""
        self._read(now_ms)
        found: list[int] = []
        while self._over and len(found) < limit:
            offset = heappop(self._over)
            time_ms = self._times.get(offset)
            if time_ms is None or (found and found[-1] == offset):
                continue
            if time_ms > now_ms:
                heappush(self._by_time, (time_ms, offset))
            else:
                found.append(offset)
        for offset in found:
            heappush(self._over, offset)
        return found

    def earliest(self, now_ms: int) -> int | None:
        """Return when the next offset is due, now if one is already; None when there is none."""
        if self.over(now_ms, 1):
            return now_ms
        while self._by_time:
            time_ms, offset = self._by_time[0]
            if self._times.get(offset) == time_ms:
                return time_ms
            heappop(self._by_time)
        return None

    def _read(self, now_ms: int) -> None:
        while self._by_time and self._by_time[0][0] <= now_ms:
            time_ms, offset = heappop(self._by_time)
            if self._times.get(offset) == time_ms:
                heappush(self._over, offset)

    def _tidy(self) -> None:
        self._by_time = [(time_ms, offset) for offset, time_ms in self._times.items()]
        heapify(self._by_time)
        self._over = []
