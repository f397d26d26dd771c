"""The threads of one engine: one writes, a few read. A simulation puts others in their place."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from raft_app.failpoints import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from raft_app.storage.protocol import Operation, Storage

    Done = Callable[[float], None]
    Failed = Callable[[BaseException], None]


class Workers(Protocol):
    """Where everything happens that may block the loop."""

    @property
    def readers(self) -> Executor:
        """For reading from storage and looking at the disk."""

    def start(self, done: Done, failed: Failed) -> None:
        """Begin to work for the running loop.

        Args:
            done: told in the loop, for each job, the seconds that it took.
            failed: told in the loop, once: what made a job fail. None is begun after that.
        """

    def write(self, operations: Sequence[Operation]) -> None:
        """Store one job after the earlier ones, as `Storage.write` does."""

    def free_bytes(self) -> int:
        """Return the free space where storage lies; called in `readers`."""

    async def stop(self) -> None:
        """Finish the job under way, then end; storage is closed when this returns."""


class StorageThreads:
    """Implements `Workers` with threads."""

    def __init__(
        self,
        storage: Storage,
        *,
        reader_threads: int = 2,
        close_thread: Callable[[], None] = lambda: None,
        free_bytes: Callable[[], int] = lambda: 1 << 62,
    ) -> None:
        """Make them; the writing one runs from `start` on.

        Args:
            storage: only the writing thread writes to it.
            reader_threads: how many read at once.
            close_thread: called last in each thread, to close its database connection.
            free_bytes: returns the free space where storage lies; may block.
        """
        self.readers: Executor = ThreadPoolExecutor(reader_threads, "reader")
        self._storage = storage
        self._reader_threads = reader_threads
        self._close_thread = close_thread
        self._free_bytes = free_bytes
        self._jobs: SimpleQueue[Sequence[Operation] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)

    def start(self, done: Done, failed: Failed) -> None:
        """Start the writing thread."""
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._failed = failed
        self._thread.start()

    def write(self, operations: Sequence[Operation]) -> None:
        """Hand a job to the writing thread."""
        self._jobs.put(operations)

    def free_bytes(self) -> int:
        """Return the free space."""
        return self._free_bytes()

    async def stop(self) -> None:
        """End all threads and close storage."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join()
        barrier = threading.Barrier(self._reader_threads)
        for _ in range(self._reader_threads):
            self.readers.submit(self._end_reader, barrier)
        self.readers.shutdown()
        self._storage.close()

    def _end_reader(self, barrier: threading.Barrier) -> None:
        """Close a reader thread's connection; the barrier makes each thread do it once."""
        barrier.wait()
        self._close_thread()

    def _run(self) -> None:
        """Store jobs until told to end: the body of the writing thread."""
        while (operations := self._jobs.get()) is not None:
            started = perf_counter()
            try:
                self._storage.write(operations)
            except BaseException as error:  # noqa: BLE001 - the thread's edge: told to the engine
                self._loop.call_soon_threadsafe(self._failed, error)
                break
            reach("engine.durable")
            seconds = perf_counter() - started
            self._loop.call_soon_threadsafe(self._done, seconds)
        self._close_thread()
