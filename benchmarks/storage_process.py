"""A process that stores one entry at a time: with a broker's storage thread, and with bare SQLite.

The two take turns on the same disk. What counts is the processor time of the thread that carries
the transactions out, so that neither the disk nor other programs do; for a broker's storage that
holds taking a job over from the loop and telling the loop that it is done.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import django
import msgspec
import uvloop

from benchmarks.acknowledged import CheckFailed
from benchmarks.message import message
from benchmarks.workloads.storage_entry import EntryCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.types import Entry
    from raft_app.storage.protocol import Operation
    from raft_app.storage.sqlite.storage import SqliteStorage

TURN = 20
"""Transactions of one side before the other has its turn."""
GROUP_ID = 1
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0")


class StorageThread:
    """A broker's storage and its thread, for the running loop."""

    def __init__(self, storage: SqliteStorage) -> None:
        from http_base.memory_budget import MemoryBudget
        from raft_app.storage.stream import StorageStream
        from raft_app.storage.workers import StorageThreads

        self._workers = StorageThreads(storage, close_thread=storage.close_thread_connection)
        self._stream = StorageStream(
            self._workers, on_failure=self._fail, unwritten=MemoryBudget().unwritten
        )
        others = set(threading.enumerate())
        self._stream.start()
        (thread,) = set(threading.enumerate()) - others
        assert thread.ident is not None, "it has started"
        self._clock = time.pthread_getcpuclockid(thread.ident)
        self._done: asyncio.Future[None] | None = None

    def processor_ns(self) -> int:
        """Return the processor time of the thread so far."""
        return time.clock_gettime_ns(self._clock)

    async def store(self, operation: Operation) -> None:
        """Return when it is durable."""
        self._done = asyncio.get_running_loop().create_future()
        self._stream.submit(GROUP_ID, operation, self._durable)
        self._stream.flush()
        await self._done

    async def stop(self) -> None:
        """End the thread and close the storage."""
        self._stream.close()
        await self._workers.stop()

    def _durable(self) -> None:
        assert self._done is not None
        self._done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        assert self._done is not None
        self._done.set_exception(error)


def measure_entries(directory: Path, seconds: float) -> EntryCost:
    """Store entries in new files of `directory` for about so many seconds, and read them back.

    Raises:
        CheckFailed: what was stored is not there.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "queuesite.settings")
    os.environ["QUEUE_ROLE"] = "test"  # whatever the one that started this is
    django.setup()
    from raft_app.storage.sqlite.storage import SqliteStorage

    storage = SqliteStorage(directory)
    storage.open()
    storage.close_thread_connection()
    with closing(sqlite3.connect(directory / "bare.sqlite3", isolation_level=None)) as bare:
        for pragma in _PRAGMAS:
            bare.execute(f"PRAGMA {pragma}")
        bare.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, term, kind, data BLOB)")
        cost = uvloop.run(_measure(storage, bare, seconds))
    _check(storage, len(cost.latencies_s))
    return cost


async def _measure(storage: SqliteStorage, bare: sqlite3.Connection, seconds: float) -> EntryCost:
    """Take turns, the first of which does not count."""
    thread = StorageThread(storage)
    latencies_s: list[float] = []
    ours_us: list[float] = []
    bare_us: list[float] = []
    try:
        await thread.store(_new_group())
        started = time.perf_counter()
        while len(ours_us) < 2 or time.perf_counter() < started + seconds:
            entries = [_entry(len(latencies_s) + number) for number in range(1, TURN + 1)]
            bare_us.append(_store_bare(bare, entries))
            before = thread.processor_ns()
            latencies_s += await _store(thread, entries)
            ours_us.append((thread.processor_ns() - before) / 1_000 / TURN)
        took_s = time.perf_counter() - started
    finally:
        await thread.stop()
    return EntryCost(
        seconds=took_s,
        latencies_s=latencies_s,
        ours_us=median(ours_us[1:]),
        bare_us=median(bare_us[1:]),
        ratio=median(one / other for one, other in zip(ours_us[1:], bare_us[1:], strict=True)),
    )


async def _store(thread: StorageThread, entries: Sequence[Entry]) -> list[float]:
    """Store one after the other, each as a replica does; return the latencies."""
    from raft_app.core.raft import COMMIT_HINT_ENTRIES
    from raft_app.core.types import HardState
    from raft_app.storage.protocol import GroupWrite

    latencies_s = []
    for entry in entries:
        is_hinted = entry.index % COMMIT_HINT_ENTRIES == 0
        hard_state = HardState(1, 1, entry.index - 1) if is_hinted else None
        write = GroupWrite(GROUP_ID, hard_state, (entry,))
        before = time.perf_counter()
        await thread.store(write)
        latencies_s.append(time.perf_counter() - before)
    return latencies_s


def _store_bare(bare: sqlite3.Connection, entries: Sequence[Entry]) -> float:
    """Do the same with bare SQLite; return the processor time for one, in microseconds."""
    before = time.thread_time_ns()
    for entry in entries:
        bare.execute("BEGIN IMMEDIATE")
        row = (entry.index, entry.term, entry.kind.value, entry.data)
        bare.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", row)
        bare.execute("COMMIT")
    return (time.thread_time_ns() - before) / 1_000 / len(entries)


def _check(storage: SqliteStorage, count: int) -> None:
    """Open it again and read everything back.

    Raises:
        CheckFailed: an entry is missing or another one than was stored.
    """
    storage.open()
    with closing(storage):
        index = 0
        while index < count:
            found = storage.read_entries(GROUP_ID, index + 1, count, 1 << 20)
            if not found:
                raise CheckFailed(f"entry {index + 1} of {count} is missing")
            for entry in found:
                index += 1
                if entry != _entry(index):
                    raise CheckFailed(f"entry {index} is {entry}")


def _new_group() -> Operation:
    from raft_app.core.types import HardState, Membership, RaftMember
    from raft_app.storage.protocol import Checkpoint, CreateGroup, GroupSpec

    membership = Membership(voters=(RaftMember(1, 1),), version=1)
    checkpoint = Checkpoint(0, 0, membership, 0, b"")
    spec = GroupSpec(GROUP_ID, 1, "bench", 0)
    return CreateGroup(spec, HardState(term=1, vote=1), (), checkpoint)


def _entry(index: int) -> Entry:
    """Return an entry of one message."""
    from raft_app.core.types import Entry, EntryKind

    return Entry(index, 1, EntryKind.DATA, message(index), index - 1, 1, 1_700_000_000_000 + index)


if __name__ == "__main__":
    cost = measure_entries(Path(sys.argv[1]), float(sys.argv[2]))
    sys.stdout.buffer.write(msgspec.json.encode(cost))
