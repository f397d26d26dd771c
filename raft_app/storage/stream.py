"""The one stream of transactions of a broker: what all groups want stored, job by job.

While the writing thread is inside a transaction the next job grows: that is the group commit.
Operations of one group are stored in the order in which they were submitted; groups take turns.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from http_base.histogram import Histogram
from raft_app.core.types import bytes_of
from raft_app.storage.protocol import (
    Compact,
    CreateGroup,
    FinishInstall,
    GroupWrite,
    InstallRows,
    ReleaseSpace,
    SaveCheckpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from http_base.memory_budget import MemoryShare
    from raft_app.storage.protocol import Operation
    from raft_app.storage.workers import Workers

logger = logging.getLogger(__name__)

BROKER_STREAM = 0
"""Group id under which operations that belong to no group are queued."""


def operation_bytes(operation: Operation) -> int:
    """Return about how many bytes an operation adds to a transaction."""
    match operation:
        case GroupWrite(entries=entries) | CreateGroup(entries=entries):
            return 64 + bytes_of(entries)
        case InstallRows(rows=rows):
            return 64 + bytes_of(rows)
        case SaveCheckpoint(checkpoint=checkpoint) | FinishInstall(checkpoint=checkpoint):
            return 64 + len(checkpoint.state)
        case Compact(max_bytes=max_bytes) | ReleaseSpace(max_bytes=max_bytes):
            return max_bytes
        case _:
            return 64


class _Queued(Struct):
    """An operation on its way to the disk."""

    operation: Operation
    on_durable: Callable[[], None] | None
    size_bytes: int
    """About what it adds to a transaction."""
    held_bytes: int
    """What it holds in memory: what deletes rows names them and no more."""


class StorageStream:
    """Gives the writing worker one job at a time; all methods are called from the loop."""

    def __init__(
        self,
        workers: Workers,
        *,
        on_failure: Callable[[BaseException], None],
        unwritten: MemoryShare,
        job_bytes_max: int = 2 << 20,
    ) -> None:
        """Make a stream.

        Args:
            workers: what carries the jobs out; `start` starts it.
            on_failure: told once when a transaction failed; nothing is stored after that.
            unwritten: counts what is queued or in the transaction; who submits looks whether there
                is room.
            job_bytes_max: most bytes of one transaction, unless one operation is larger.
        """
        self._workers = workers
        self._on_failure = on_failure
        self._job_bytes_max = job_bytes_max
        self._unwritten = unwritten
        self._pending: dict[int, deque[_Queued]] = {}
        self._in_flight: list[_Queued] | None = None
        self._in_flight_bytes = 0
        """What they hold in memory."""
        self._failed = False
        self.after_job: Callable[[], None] = _nothing
        """Called in the loop when a job is durable and its `on_durable` were called."""
        self.transactions = 0
        self.times = Histogram()
        """Seconds of each transaction since the start."""

    def start(self) -> None:
        """Start the workers."""
        self._workers.start(self._done, self._fail)

    def submit(
        self, group_id: int, operation: Operation, on_durable: Callable[[], None] | None = None
    ) -> None:
        """Queue an operation; `on_durable` runs in the loop once it is durable.

        Nothing starts before `flush`, so that all operations of a turn share a transaction.
        """
        queue = self._pending.get(group_id)
        if queue is None:
            queue = self._pending[group_id] = deque()
        size = operation_bytes(operation)
        held = 0 if isinstance(operation, Compact | ReleaseSpace) else size
        queue.append(_Queued(operation, on_durable, size, held))
        self._unwritten.move(held)

    def flush(self) -> None:
        """Hand over the next job when the one before is done."""
        if self._pending and self._in_flight is None and not self._failed:
            self._in_flight = job = self._take_job()
            operations = [job[0].operation] if len(job) == 1 else [one.operation for one in job]
            self._workers.write(operations)

    @property
    def is_writing(self) -> bool:
        """True while a transaction is under way."""
        return self._in_flight is not None

    @property
    def idle(self) -> bool:
        """True when nothing is queued and no transaction is under way."""
        return not self._pending and self._in_flight is None

    @property
    def waiting_groups(self) -> int:
        """How many groups have something queued."""
        return len(self._pending)

    def close(self) -> None:
        """Start no job any more; queued operations are dropped."""
        self._failed = True
        for queue in self._pending.values():
            self._unwritten.move(-sum(queued.held_bytes for queued in queue))
        self._pending.clear()

    def _take_job(self) -> list[_Queued]:
        """Take operations round robin over the groups, up to the limit."""
        job: list[_Queued] = []
        size = held = 0
        while self._pending and size < self._job_bytes_max:
            for group_id in list(self._pending):
                queue = self._pending[group_id]
                queued = queue.popleft()
                job.append(queued)
                size += queued.size_bytes
                held += queued.held_bytes
                if not queue:
                    del self._pending[group_id]
                if size >= self._job_bytes_max:
                    break
        self._in_flight_bytes = held
        return job

    def _done(self, seconds: float) -> None:
        """Report a durable job, then count it, and start the next one."""
        job, self._in_flight = self._in_flight or (), None
        held_bytes = self._in_flight_bytes
        self.transactions += 1
        try:
            for queued in job:
                if queued.on_durable is not None:
                    queued.on_durable()
            self.after_job()
        except Exception as error:
            # Whoever was to hear of it counts on it: nothing may go on.
            self._on_failure(error)
            raise
        self._unwritten.move(-held_bytes)
        self.times.add(seconds)
        if self._pending:
            self.flush()

    def _fail(self, error: BaseException) -> None:
        """Store nothing any more: what the disk holds is unknown."""
        self._in_flight = None
        self._unwritten.move(-self._in_flight_bytes)
        self.close()
        logger.critical("storage failed: %s", error, exc_info=error)
        self._on_failure(error)


def _nothing() -> None:
    """Do nothing."""
