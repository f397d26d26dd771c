"""Snapshot connections inside one event loop: the twin of `tcp_snapshots`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from raft_app.transport.snapshot_stream import PARTS_WAITING_MAX, SnapshotLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.transport.snapshot_stream import SnapshotPart


class MemorySnapshotStream:
    """Implements `SnapshotStream`; made in pairs by `stream_pair`."""

    def __init__(self, broker_id: int, is_silent: Callable[[], bool]) -> None:
        """Make one end.

        Args:
            broker_id: who is at the other end.
            is_silent: tells whether what is sent from here vanishes on the way.
        """
        self.broker_id = broker_id
        self._is_silent = is_silent
        self._other: MemorySnapshotStream | None = None
        self._parts: deque[SnapshotPart] = deque()
        self._sent_here = 0
        """Parts on the way to here or waiting here."""
        self._changed = asyncio.Event()
        self._lost = False

    @property
    def closed(self) -> bool:
        """The connection is gone."""
        return self._lost

    async def send(self, part: SnapshotPart) -> None:
        """Send a part; waits while the other end has too many.

        Raises:
            SnapshotLost: the connection is gone.
        """
        other = self._other
        assert other is not None
        while not self._lost and (self._is_silent() or other._sent_here >= PARTS_WAITING_MAX):
            await self._wait()
        self._check()
        # As over a network, the other end runs later than this one.
        other._sent_here += 1
        asyncio.get_running_loop().call_soon(other._arrive, part)

    async def receive(self) -> SnapshotPart:
        """Return the next part.

        Raises:
            SnapshotLost: the connection is gone and nothing came before.
        """
        while not self._parts:
            self._check()
            await self._wait()
        part = self._parts.popleft()
        self._sent_here -= 1
        if self._other is not None:
            self._other._changed.set()
        return part

    def close(self) -> None:
        """End the connection; what was sent before still arrives."""
        self.lose()
        if self._other is not None and not self._is_silent():
            asyncio.get_running_loop().call_soon(self._other.lose)

    def lose(self) -> None:
        """Note that the connection is gone."""
        self._lost = True
        self._changed.set()

    def wake(self) -> None:
        """Look again whether what is sent arrives."""
        self._changed.set()

    def _arrive(self, part: SnapshotPart) -> None:
        if not self._lost:
            self._parts.append(part)
            self._changed.set()

    def _check(self) -> None:
        if self._lost:
            raise SnapshotLost(f"the snapshot connection with broker {self.broker_id} is gone")

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def stream_pair(
    source: int, target: int, is_silent: Callable[[int, int], bool]
) -> tuple[MemorySnapshotStream, MemorySnapshotStream]:
    """Return both ends of a new connection, the dialer's first.

    Args:
        source: broker id of the dialer.
        target: broker id of the acceptor.
        is_silent: tells whether what the one broker sends to the other vanishes.
    """
    here = MemorySnapshotStream(target, lambda: is_silent(source, target))
    there = MemorySnapshotStream(source, lambda: is_silent(target, source))
    here._other, there._other = there, here
    return here, there
