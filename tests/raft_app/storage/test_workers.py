"""The threads of an engine."""

from __future__ import annotations

import asyncio
import threading

from raft_app.storage.workers import StorageThreads
from tests.doubles.storage import MemoryStorage


class NamingStorage(MemoryStorage):
    """Knows which threads wrote and which closed their connections."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[str] = []
        self.jobs: list[int] = []
        """Operations of each job."""
        self.closed: list[str] = []

    def write(self, operations) -> None:
        self.writers.append(threading.current_thread().name)
        self.jobs.append(len(operations))
        if operations == ["bad"]:
            raise OSError("no space")

    def close_thread_connection(self) -> None:
        self.closed.append(threading.current_thread().name)


async def test_jobs_run_in_one_thread_and_are_told_in_the_loop_in_order():
    storage, told = NamingStorage(), []
    workers = StorageThreads(storage)
    loop_thread = threading.current_thread()

    def done(seconds: float) -> None:
        assert threading.current_thread() is loop_thread
        assert seconds >= 0
        told.append(seconds)

    workers.start(done, told.append)
    for count in (1, 2, 3):
        workers.write(["operation"] * count)
    await workers.stop()
    await asyncio.sleep(0)
    assert len(told) == 3
    assert storage.jobs == [1, 2, 3]
    assert storage.writers == ["storage"] * 3


async def test_failure_is_told_once_and_later_jobs_are_not_begun():
    storage, told = NamingStorage(), []
    workers = StorageThreads(storage)
    workers.start(lambda *_: None, lambda error: told.append(str(error)))
    workers.write(["bad"])
    workers.write(["operation"])
    await workers.stop()
    await asyncio.sleep(0)
    assert told == ["no space"]
    assert len(storage.writers) == 1


async def test_every_thread_closes_its_connection_in_the_end():
    storage = NamingStorage()
    workers = StorageThreads(
        storage, reader_threads=3, close_thread=storage.close_thread_connection
    )
    workers.start(lambda *_: None, lambda _: None)
    await workers.stop()
    assert sorted(storage.closed) == ["reader_0", "reader_1", "reader_2", "storage"]
