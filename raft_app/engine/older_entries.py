"""Entries that a follower lacks and that are no longer in memory, read back from storage."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from raft_app.core.types import bytes_of
from raft_app.engine.throttle import Throttle

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from raft_app.core.types import EntriesWanted, Entry
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Storage


class OlderEntries:
    """Reads them for the nodes of one engine, for learners at a rate; lives in its loop.

    A move can wait, and clients should not wait for it. A voter that lags may be the one that a
    quorum lacks next, so it gets them at once.
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
        self._throttle = Throttle(bytes_per_second)

    def read(self, replica: Replica, wanted: EntriesWanted) -> asyncio.Future[list[Entry]]:
        """Return a prefix of what a node wants for a peer, once it may have it."""
        reading = self._loop.run_in_executor(
            self._readers,
            self._storage.read_entries,
            replica.group_id,
            wanted.first_index,
            wanted.last_index,
            wanted.max_bytes,
        )
        if wanted.peer in replica.node.memberships.voters:
            return reading
        given: asyncio.Future[list[Entry]] = self._loop.create_future()
        reading.add_done_callback(partial(self._give_in_turn, given))
        return given

    def _give_in_turn(
        self, given: asyncio.Future[list[Entry]], reading: asyncio.Future[list[Entry]]
    ) -> None:
        if reading.cancelled():
            given.cancel()
            return
        error = reading.exception()
        if error is not None:
            given.set_exception(error)
            return
        entries = reading.result()
        self._loop.call_later(self._throttle.reserve(bytes_of(entries)), given.set_result, entries)
