"""A simulated disk: transactions take time, what was not synced is lost in a crash, and it breaks.

A disk that has no room refuses whole transactions, and nothing is in doubt. After any other error
of a write or a sync a marker stands, and the next process finds all replicas faulty and empty, as
`raft_app.storage.sqlite.storage` leaves them.
"""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from raft_app.core.types import HardState
from raft_app.storage.rules import GroupFacts
from tests.doubles.storage import MemoryStorage
from tests.doubles.storage_replica import MemoryReplica

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from raft_app.storage.protocol import BrokerIdentity, Operation
    from tests.simulation.watch import Watch


RESERVE_BYTES = 1_000_000
"""Of every simulated broker."""
PLENTY_BYTES = 1 << 62


class Breakage(StrEnum):
    """What the next transaction runs into."""

    NO_ROOM = "no room"
    WRITE = "write error"
    SYNC = "sync error"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the directory of a broker, which may be put back once."""

    replicas: dict[int, MemoryReplica]
    facts: dict[int, GroupFacts]


class Disk(MemoryStorage):
    """The directory of one broker, which outlives its processes.

    Attributes:
        slowness: factor on the time of everything.
        slow_seconds: what a transaction takes beyond that.
        free_bytes: free space.
        breakage: what the next transaction fails with; none when empty.
        errors: transactions that failed so far.
        room_made: how often space came back.
    """

    def __init__(self, broker_id: int, watch: Watch, random: Random, delay: float) -> None:
        super().__init__(incarnation=f"incarnation of {broker_id}")
        self.broker_id = broker_id
        self.slowness = 1.0
        self.slow_seconds = 0.0
        self.free_bytes = PLENTY_BYTES
        self.breakage: Breakage | None = None
        self.errors = 0
        self.room_made = 0
        self._marker = ""
        self._put_aside: dict[int, MemoryReplica] = {}
        self._watch = watch
        self._random = random
        self._delay = delay
        self._unsynced: list[Operation] = []

    def seconds(self) -> float:
        """Return how long the next operation takes; mostly short."""
        ordinary = self._delay * self.slowness * (0.05 + self._random.random() ** 3)
        return ordinary + self.slow_seconds / 2

    def be_quick(self) -> None:
        """Take no longer than usual again."""
        self.slowness, self.slow_seconds = 1.0, 0.0

    def make_room(self) -> None:
        """Have plenty of room again."""
        self.free_bytes = PLENTY_BYTES
        self.room_made += 1
        if self.breakage is Breakage.NO_ROOM:
            self.breakage = None

    def restore(self, delay: float) -> None:
        """Be healthy, with transactions of so many seconds; what is in doubt stays in doubt."""
        self.be_quick()
        self._delay = delay
        self.make_room()
        self.breakage = None

    # --- copies -----------------------------------------------------------------------------

    def copy(self) -> Copy:
        """Return a copy of what is durable."""
        replicas = {
            group_id: replace(replica, rows=list(replica.rows), damaged=set(), lost=set())
            for group_id, replica in self._replicas.items()
        }
        return Copy(replicas, dict(self._facts))

    def put_back(self, copy: Copy) -> None:
        """Have a copy in place of what is durable, which counts as held once. No process runs."""
        self._put_aside.update(self._replicas)
        self._replicas, self._facts = dict(copy.replicas), dict(copy.facts)

    # --- breaking ---------------------------------------------------------------------------

    def open(self) -> BrokerIdentity:
        if self._marker:
            self._start_over(self._marker)
            self._marker = ""
        return super().open()

    def _start_over(self, reason: str) -> None:
        """Put everything aside; what is left are faulty replicas with nothing in them."""
        for group_id, replica in self._replicas.items():
            self._put_aside[group_id] = replica
            self._replicas[group_id] = MemoryReplica(
                spec=replica.spec,
                hard_state=HardState(0, 0, 0),
                checkpoint=None,
                first_index=1,
                previous_term=0,
                faulty=reason,
            )
            used = self._used_replica_ids.get(group_id, frozenset())
            self._facts[group_id] = GroupFacts(replica.spec.replica_id, used_replica_ids=used)

    @property
    def will_fail(self) -> bool:
        """The next transaction will cast doubt on everything."""
        return self.breakage in (Breakage.WRITE, Breakage.SYNC)

    def _break(self) -> None:
        """Fail as told: nothing is stored any more before the directory is opened again."""
        self._failed = True
        self.errors += 1
        self._watch.broke(self, str(self.breakage))
        if self.breakage is Breakage.NO_ROOM:
            raise OSError(errno.ENOSPC, "no room")
        self._marker = f"{self.breakage} of transaction {self.transactions}"
        self.breakage = None
        raise OSError(errno.EIO, self._marker)

    # --- transactions -----------------------------------------------------------------------

    def stage(self, operations: Sequence[Operation]) -> None:
        if self.breakage in (Breakage.NO_ROOM, Breakage.WRITE):
            self._break()
        super().stage(operations)
        self._unsynced += operations

    def sync(self) -> None:
        if self.breakage is Breakage.SYNC:
            self._break()
        super().sync()
        synced, self._unsynced = self._unsynced, []
        self._watch.synced(self, synced)

    def crash(self) -> None:
        super().crash()
        self._unsynced = []

    def replica(self, group_id: int) -> MemoryReplica | None:
        """Return what is durable of a group."""
        return self._replicas.get(group_id)

    def ever_held(self, group_id: int) -> list[MemoryReplica]:
        """Return what is durable of a group, and what was put aside after an error."""
        held = (self._replicas.get(group_id), self._put_aside.get(group_id))
        return [replica for replica in held if replica is not None]

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

    def start(self, done: Callable[[float], None], failed: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._failed = failed

    def write(self, operations: Sequence[Operation]) -> None:
        """Stage now, sync later, tell still later: a crash may come in between."""
        assert not self._is_busy, "one job at a time"
        self._is_busy = True
        self._attempt(lambda: self._disk.stage(operations), self._sync)

    def _sync(self) -> None:
        self._attempt(self._disk.sync, self._tell)

    def _attempt(self, step: Callable[[], None], then: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - as in a thread: told to the engine
            self._loop.call_soon(self._failed, error)
            return
        self._loop.call_later(self._disk.seconds(), then)

    def _tell(self) -> None:
        self._is_busy = False
        self._done(0.0)

    def free_bytes(self) -> int:
        return self._disk.free_bytes

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
