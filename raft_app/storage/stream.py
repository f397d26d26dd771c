"""The one stream of transactions of a broker: what all groups want stored, job by job.

While the writing thread is inside a transaction the next job grows: that is the group commit.
Operations of one group are stored in the order in which they were submitted; groups take turns.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

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

    from raft_app.storage.protocol import Operation
    from raft_app.storage.workers import Workers

logger = logging.getLogger(__name__)

BROKER_STREAM = 0
"""Group id under which operations that belong to no group are queued."""


def operation_bytes(operation: Operation) -> int:
    """Return about how many bytes an operation adds to a transaction."""
    match operation:
        case GroupWrite(entries=entries) | CreateGroup(entries=entries):
            return 64 + sum(entry.size_bytes for entry in entries)
        case InstallRows(rows=rows):
            return 64 + sum(entry.size_bytes for entry in rows)
        case SaveCheckpoint(checkpoint=checkpoint) | FinishInstall(checkpoint=checkpoint):
            return 64 + len(checkpoint.state)
        case Compact(max_bytes=max_bytes) | ReleaseSpace(max_bytes=max_bytes):
            return max_bytes
        case _:
            return 64


class StorageStream:
    """Gives the writing worker one job at a time; all methods are called from the loop."""

    def __init__(
        self,
        workers: Workers,
        *,
        on_failure: Callable[[BaseException], None],
        job_bytes_max: int = 16 << 20,
    ) -> None:
        """Make a stream.

        Args:
            workers: what carries the jobs out; `start` starts it.
            on_failure: told once when a transaction failed; nothing is stored after that.
            job_bytes_max: most bytes of one transaction, unless one operation is larger.
        """
        self._workers = workers
        self._on_failure = on_failure
        self._job_bytes_max = job_bytes_max
        self._pending: dict[int, deque[tuple[Operation, Callable[[], None] | None]]] = {}
        self._in_flight: list[Callable[[], None] | None] | None = None
        self._failed = False
        self.transactions = 0
        self.operations = 0
        self.seconds = 0.0
        """Time spent in transactions since the start."""

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
        queue.append((operation, on_durable))

    def flush(self) -> None:
        """Hand over the next job when the one before is done."""
        if self._pending and self._in_flight is None and not self._failed:
            operations, callbacks = self._take_job()
            self._in_flight = callbacks
            self._workers.write(operations)

    @property
    def is_writing(self) -> bool:
        """True while a transaction is under way."""
        return self._in_flight is not None

    @property
    def idle(self) -> bool:
        """True when nothing is queued and no transaction is under way."""
        return not self._pending and self._in_flight is None

    def close(self) -> None:
        """Start no job any more; queued operations are dropped."""
        self._failed = True
        self._pending.clear()

    def _take_job(self) -> tuple[list[Operation], list[Callable[[], None] | None]]:
        """Take operations round robin over the groups, up to the limit."""
        operations: list[Operation] = []
        callbacks: list[Callable[[], None] | None] = []
        size = 0
        while self._pending and size < self._job_bytes_max:
            for group_id in list(self._pending):
                queue = self._pending[group_id]
                operation, on_durable = queue.popleft()
                operations.append(operation)
                callbacks.append(on_durable)
                size += operation_bytes(operation)
                if not queue:
                    del self._pending[group_id]
                if size >= self._job_bytes_max:
                    break
        return operations, callbacks

    def _done(self, operations: int, seconds: float) -> None:
        """Report a durable job and start the next one."""
        callbacks, self._in_flight = self._in_flight, None
        self.transactions += 1
        self.operations += operations
        self.seconds += seconds
        try:
            for on_durable in callbacks or ():
                if on_durable is not None:
                    on_durable()
        except Exception as error:
            # Whoever was to hear of it counts on it: nothing may go on.
            self._on_failure(error)
            raise
        self.flush()

    def _fail(self, error: BaseException) -> None:
        """Store nothing any more: what the disk holds is unknown."""
        self._failed = True
        self._pending.clear()
        logger.critical("storage failed: %s", error, exc_info=error)
        self._on_failure(error)
