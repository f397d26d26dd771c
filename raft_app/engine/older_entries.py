"""Entries that a follower lacks and that are no longer in memory, read back from storage."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from raft_app.core.types import bytes_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from raft_app.core.types import EntriesWanted, Entry
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Storage

    Given = asyncio.Future[list[Entry]]


class OlderEntries:
    """Reads them for the nodes of one engine, for learners at a rate; lives in its loop.

    A move can wait, and clients should not wait for it: learners stand in a row, and entries of one
    of them are in memory at a time. A voter that lags may be the one that a quorum lacks next, so
    it gets them at once.
    """

    def __init__(self, storage: Storage, readers: Executor, *, bytes_per_second: int) -> None:
        """Read nothing yet.

        Args:
            storage: what is read.
            readers: threads for reading.
            bytes_per_second: what all learners get.
        """
        self._loop = asyncio.get_running_loop()
        self._storage = storage
        self._readers = readers
        self._bytes_per_second = bytes_per_second
        self._row: deque[tuple[int, EntriesWanted, Given]] = deque()
        """By group id: what learners wait for."""
        self._is_taken = False
        """The turn of one of them is not over."""
        self._is_stopped = False

    def stop(self) -> None:
        """Read nothing any more."""
        self._is_stopped = True
        self._row.clear()

    def read(self, replica: Replica, wanted: EntriesWanted) -> Given:
        """Return a prefix of what a node wants for a peer, once it may have it."""
        if wanted.peer in replica.node.memberships.voters:
            return self._read(replica.group_id, wanted)
        given: Given = self._loop.create_future()
        self._row.append((replica.group_id, wanted, given))
        if not self._is_taken:
            self._take_turn()
        return given

    def _read(self, group_id: int, wanted: EntriesWanted) -> Given:
        return self._loop.run_in_executor(
            self._readers,
            self._storage.read_entries,
            group_id,
            wanted.first_index,
            wanted.last_index,
            wanted.max_bytes,
        )

    def _take_turn(self) -> None:
        """Read for the learner that has waited longest."""
        self._is_taken = bool(self._row)
        if self._row:
            group_id, wanted, given = self._row.popleft()
            self._read(group_id, wanted).add_done_callback(partial(self._give, given))

    def _give(self, given: Given, reading: Given) -> None:
        """Give what was read; the next one has its turn once the rate allows."""
        if self._is_stopped or reading.cancelled():
            return
        error = reading.exception()
        size = 0
        if error is None:
            size = bytes_of(reading.result())
            given.set_result(reading.result())
        else:
            given.set_exception(error)
        self._loop.call_later(size / self._bytes_per_second, self._take_turn)
