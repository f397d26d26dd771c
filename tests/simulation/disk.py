"""A simulated disk: transactions take time, and what was not synced is lost in a crash."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from raft_app.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from raft_app.core.types import HardState
    from raft_app.storage.memory_replica import MemoryReplica
    from raft_app.storage.storage import Operation
    from tests.simulation.watch import Watch


class Disk(MemoryStorage):
    """The directory of one broker, which outlives its processes.

    Attributes:
        slowness: factor on the time of everything.
    """

    def __init__(self, broker_id: int, watch: Watch, random: Random, delay: float) -> None:
        super().__init__(incarnation=f"incarnation of {broker_id}")
        self.broker_id = broker_id
        self.slowness = 1.0
        self._watch = watch
        self._random = random
        self._delay = delay
        self._unsynced: list[Operation] = []

    def seconds(self) -> float:
        """Return how long the next operation takes; mostly short."""
        return self._delay * self.slowness * (0.05 + self._random.random() ** 3)

    def stage(self, operations: Sequence[Operation]) -> None:
        super().stage(operations)
        self._unsynced += operations

    def sync(self) -> None:
        super().sync()
        synced, self._unsynced = self._unsynced, []
        self._watch.synced(self, synced)

    def crash(self) -> None:
        super().crash()
        self._unsynced = []

    def replica(self, group_id: int) -> MemoryReplica | None:
        """Return what is durable of a group."""
        return self._replicas.get(group_id)

    def hard_state(self, group_id: int) -> HardState | None:
        """Return the durable term and vote of a replica."""
        replica = self.replica(group_id)
        return None if replica is None else replica.hard_state


class DiskWorkers:
    """Implements `raft_app.storage.workers.Workers` in virtual time, for one process."""

    def __init__(self, disk: Disk) -> None:
        self.readers = _Readers(disk)
        self._disk = disk
        self._is_busy = False

    def start(
        self, done: Callable[[int, float], None], failed: Callable[[BaseException], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._failed = failed

    def write(self, operations: Sequence[Operation]) -> None:
        """Stage now, sync later, tell still later: a crash may come in between."""
        assert not self._is_busy, "one job at a time"
        self._is_busy = True
        self._attempt(lambda: self._disk.stage(operations), self._sync, len(operations))

    def _sync(self, operations: int) -> None:
        self._attempt(self._disk.sync, self._tell, operations)

    def _attempt(
        self, step: Callable[[], None], then: Callable[[int], None], operations: int
    ) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - as in a thread: told to the engine
            self._loop.call_soon(self._failed, error)
            return
        self._loop.call_later(self._disk.seconds(), then, operations)

    def _tell(self, operations: int) -> None:
        self._is_busy = False
        self._done(operations, 0.0)

    def free_bytes(self) -> int:
        return 1 << 62

    async def stop(self) -> None:
        while self._is_busy:
            await asyncio.sleep(0.001)
        self._disk.close()


class _Readers(Executor):
    """Reads in virtual time; several reads may overtake each other."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def submit(self, function: Callable[..., Any], /, *args: Any, **names: Any) -> Future[Any]:
        future: Future[Any] = Future()
        asyncio.get_running_loop().call_later(
            self._disk.seconds(), self._run, future, lambda: function(*args, **names)
        )
        return future

    @staticmethod
    def _run(future: Future[Any], work: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - as in a thread: handed to who waits
            future.set_exception(error)
        else:
            future.set_result(result)
