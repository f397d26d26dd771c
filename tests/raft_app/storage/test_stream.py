"""The storage thread: group commit, order, limits, failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import partial

import pytest

from http_base.memory_budget import MemoryBudget, MemoryShare
from raft_app.core.types import Entry, EntryKind, HardState
from raft_app.storage.protocol import (
    Compact,
    GroupWrite,
    InstallRows,
    Operation,
    ReleaseSpace,
    SaveIdentity,
)
from raft_app.storage.stream import StorageStream, operation_bytes
from raft_app.storage.workers import StorageThreads


class GatedStorage:
    """Records the jobs; each waits until the test lets it pass."""

    def __init__(self) -> None:
        self.jobs: list[list[Operation]] = []
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None

    def write(self, operations: Sequence[Operation]) -> None:
        assert self.gate.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        self.jobs.append(list(operations))

    def close(self) -> None:
        pass


def write(group_id: int, index: int, size: int = 0) -> GroupWrite:
    entry = Entry(index, 1, EntryKind.COMMAND, bytes(size))
    return GroupWrite(group_id, HardState(term=1), (entry,))


@pytest.fixture
async def storage():
    return GatedStorage()


@pytest.fixture
async def stream(storage):
    failures = []
    workers = StorageThreads(storage)
    unwritten = MemoryBudget().unwritten
    stream = StorageStream(
        workers, on_failure=failures.append, unwritten=unwritten, job_bytes_max=1_000
    )
    stream.failures = failures
    stream.start()
    yield stream
    storage.gate.release(100)
    stream.close()
    await workers.stop()


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


async def test_what_comes_during_a_transaction_shares_the_next_one(storage, stream):
    for index in range(1, 6):
        stream.submit(1, write(1, index))
        stream.flush()
    storage.gate.release(2)
    await until(lambda: stream.idle)
    assert [len(job) for job in storage.jobs] == [1, 4]


async def test_durable_is_told_in_order_and_only_after_the_transaction(storage, stream):
    told: list[int] = []
    for index in (1, 2, 3):
        stream.submit(1, write(1, index), partial(told.append, index))
    stream.flush()
    await asyncio.sleep(0)
    assert told == []
    storage.gate.release()
    await until(lambda: stream.idle)
    assert told == [1, 2, 3]


async def test_groups_take_turns_within_the_limit_of_a_transaction(storage, stream):
    for index in (1, 2, 3):
        stream.submit(1, write(1, index, 400))
    stream.submit(2, write(2, 1, 400))
    stream.flush()
    storage.gate.release(10)
    await until(lambda: stream.idle)
    assert [[one.group_id for one in job] for job in storage.jobs] == [[1, 2], [1, 1]]


async def test_operation_above_the_limit_goes_alone(storage, stream):
    stream.submit(1, write(1, 1, 5_000))
    stream.submit(1, write(1, 2))
    stream.flush()
    storage.gate.release(10)
    await until(lambda: stream.idle)
    assert [len(job) for job in storage.jobs] == [1, 1]


async def test_failure_is_told_once_and_nothing_is_stored_after_it(storage, stream):
    told: list[int] = []
    storage.error = OSError("no space")
    stream.submit(1, write(1, 1), partial(told.append, 1))
    stream.flush()
    stream.submit(1, write(1, 2), partial(told.append, 2))
    storage.gate.release()
    await until(lambda: bool(stream.failures))
    storage.error = None
    stream.submit(1, write(1, 3), partial(told.append, 3))
    stream.flush()
    assert [str(error) for error in stream.failures] == ["no space"]
    assert told == []
    assert storage.jobs == []


async def test_statistics_count_transactions(storage, stream):
    storage.gate.release(10)
    for index in (1, 2):
        stream.submit(1, write(1, index))
    stream.flush()
    await until(lambda: stream.idle)
    assert stream.transactions == 1
    assert stream.times.cumulated()[-1] == 1
    assert stream.times.sum > 0


def test_size_of_an_operation_counts_its_entries():
    assert operation_bytes(write(1, 1, 500)) > 500
    assert operation_bytes(SaveIdentity(None)) == 64


def test_size_of_a_bounded_step_is_its_limit():
    rows = (Entry(1, 1, EntryKind.DATA, bytes(500), record_count=1),)
    assert operation_bytes(InstallRows(1, rows, 0)) > 500
    assert operation_bytes(Compact(1, 1, 0, 0, max_bytes=9_000)) == 9_000
    assert operation_bytes(ReleaseSpace()) == 1 << 20


@pytest.mark.parametrize("is_failing", [False, True])
async def test_what_waits_for_the_disk_is_counted_and_given_back(storage, is_failing):
    unwritten, failures = MemoryShare("unwritten", 1 << 20), []
    workers = StorageThreads(storage)
    stream = StorageStream(workers, on_failure=failures.append, unwritten=unwritten)
    stream.start()
    stream.submit(1, write(1, 1, size=1_000))
    stream.submit(1, Compact(1, 2, 1, 0))  # names rows and holds none
    stream.flush()
    stream.submit(2, write(2, 1, size=500))
    held = [operation_bytes(write(1, 1, size=size)) for size in (1_000, 500)]
    assert unwritten.used_bytes == sum(held)
    if is_failing:
        storage.error = OSError("the disk is gone")
    storage.gate.release()
    await until(lambda: failures or unwritten.used_bytes == held[1])
    assert bool(failures) is is_failing
    stream.submit(3, write(3, 1, size=500))
    stream.close()
    assert unwritten.used_bytes == (0 if is_failing else held[1])  # what is being written
    storage.gate.release(100)
    await until(lambda: unwritten.used_bytes == 0)
    await workers.stop()
