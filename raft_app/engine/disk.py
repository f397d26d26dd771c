"""What a broker does about its disk and its clock: silent, full, slow, or rotting unnoticed.

The watchdog sees that ticks come and that the disk has room. The scrubber verifies stored rows in
the background, slowly: rows that no follower or consumer reads would rot unnoticed.

*A full disk*: proposals are refused anyway, so the broker hands every leadership to a peer that may
have room. Nobody knows which peers are full too: such a peer lets the request to campaign pass by,
this replica goes on leading after an election timeout, and the next peer is asked some seconds
later. So where all disks are full one replica leads on, and what makes room, a Truncate, finds a
leader.

*A slow disk*: heartbeats need no disk, so a leader whose disk takes seconds for a sync, or hangs,
is deposed by no follower; but it applies only what its own disk has, too, so that all requests wait
for it. A commit index above its applied index shows that a quorum is quicker. A leader that finds
itself behind most of the time, for some seconds, hands over. Where all disks are slow the leader is
the last one only now and then, and leads on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from http_base.tasks import observe
from raft_app.engine.throttle import Throttle
from raft_app.engine.tick_intervals import TickIntervals
from raft_app.storage.protocol import CorruptEntry, ScrubMark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from raft_app.engine.context import EngineContext
    from raft_app.engine.failover import Failover
    from raft_app.engine.replica import Replica
    from raft_app.storage.stream import StorageStream

logger = logging.getLogger(__name__)

DISK_CHECK_INTERVALS = 20
"""Tick intervals between two looks at the free space."""
LOOKS = 4
"""So often it is looked for ticks at least, before the watchdog gives up."""


class Watchdog:
    """Counts its own firings since the last tick; lives in the engine's loop.

    Counting instead of reading a clock tells a scheduler that stands still from a process that
    was paused: in the latter nothing is counted either.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval_ms: int,
        missed_max: int,
        on_silence: Callable[[BaseException], None],
    ) -> None:
        """Make a watchdog; `start` lets it run.

        Args:
            loop: where it lives.
            interval_ms: between two ticks.
            missed_max: intervals without a tick that are tolerated.
            on_silence: told once when there were more.
        """
        self._loop = loop
        self._step = max(1, min(missed_max, DISK_CHECK_INTERVALS) // LOOKS)
        """Intervals from one firing to the next."""
        self._step_s = self._step * interval_ms / 1000
        self._missed_max = missed_max
        self._on_silence = on_silence
        self._intervals = 0
        self._has_ticked = False
        """Since the last firing."""
        self._timer: asyncio.TimerHandle | None = None
        self._disk_check: Callable[[], object] | None = None
        self.intervals_without_tick = 0
        """Whole steps of the watchdog in which there was none."""
        self.tick_intervals = TickIntervals(interval_ms)

    def start(self) -> None:
        """Begin to watch; the disk is looked at straight away."""
        if self._disk_check is not None:
            self._disk_check()
        self._timer = self._loop.call_later(self._step_s, self._fire)

    def stop(self) -> None:
        """End watching."""
        if self._timer is not None:
            self._timer.cancel()

    def ticked(self, count: int = 1) -> None:
        """Note ticks that came at once."""
        self._has_ticked = True
        self.intervals_without_tick = 0
        self.tick_intervals.ticked(count)

    def watch_disk(
        self, executor: Executor, free_bytes: Callable[[], int], reserve_bytes: int
    ) -> DiskSpace:
        """Look at the free space now and then, in a thread of `executor`."""
        disk = DiskSpace(free_bytes, reserve_bytes)
        self._disk_check = lambda: observe("looking at the disk", executor.submit(disk.look))
        return disk

    def _fire(self) -> None:
        self.intervals_without_tick += 0 if self._has_ticked else self._step
        self._has_ticked = False
        if self.intervals_without_tick > self._missed_max:
            self._on_silence(RuntimeError(f"no tick for {self._missed_max} intervals"))
            return
        self._intervals += self._step
        if self._disk_check is not None and self._intervals % DISK_CHECK_INTERVALS == 0:
            self._disk_check()
        self._timer = self._loop.call_later(self._step_s, self._fire)


class DiskSpace:
    """Whether the disk has more free space than its reserve."""

    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int) -> None:
        self._free_bytes = free_bytes
        self.reserve_bytes = reserve_bytes
        self.free_bytes = reserve_bytes
        """As last seen."""
        self.full = False
        self._unknown = False

    def look(self) -> None:
        """Measure; may block.

        A measure that fails changes nothing: it says that this call failed, not that there is no
        room, and a disk that takes no writes any more makes itself known by them.
        """
        try:
            self.free_bytes = self._free_bytes()
        except OSError:
            if not self._unknown:
                logger.exception(
                    "the free space cannot be measured; it counts as %d bytes, as last seen",
                    self.free_bytes,
                )
            self._unknown = True
            return
        if self._unknown:
            logger.info("the free space can be measured again: %d bytes", self.free_bytes)
        self._unknown = False
        full = self.free_bytes < self.reserve_bytes
        if full != self.full:
            logger.warning("disk %s", "is full: writes are refused" if full else "has space again")
        self.full = full


RETRY_MS = 5_000
"""Between two attempts; several election timeouts, in which the group works."""


class FullDisk:
    """Hands leaderships over while the disk is full; lives in the engine's loop."""

    def __init__(self, disk: DiskSpace, failover: Failover, *, tick_ms: int) -> None:
        """Watch a disk.

        Args:
            disk: tells whether it is full.
            failover: hands leaderships over.
            tick_ms: between two calls of `tick`.
        """
        self._disk = disk
        self._failover = failover
        self._retry_ticks = max(1, RETRY_MS // tick_ms)
        self._ticks_left = 0
        self._attempts = 0

    def declines_to_lead(self) -> bool:
        """Tell whether replicas here would refuse every proposal as leaders."""
        return self._disk.full

    def tick(self) -> None:
        """Let one tick pass."""
        self._ticks_left = max(0, self._ticks_left - 1)
        if not self._disk.full:
            self._ticks_left = self._attempts = 0
            return
        if not self._ticks_left and self._failover.hand_over_soon(
            "the disk is full", attempt=self._attempts
        ):
            self._ticks_left = self._retry_ticks
            self._attempts += 1


SLOW_MS = 200
"""A transaction that takes longer than this may be waited for."""
PATIENCE_MS = 3_000
"""How long a leader is the last one, without a break, before it hands over."""
FORGIVEN = 2
"""So much time in which it is not makes up for one part in which it is: a leader that is the last
one for less than a third of the time leads on."""
REST_MS = 30_000
"""After handing over, before the next time; and without a slow transaction, before the disk counts
as quick again."""
SLOW_TRANSACTION_MS = 1_000
"""A transaction that takes longer than this tells by itself that the disk is slow now."""


class SlowDisk:
    """Hands leaderships over while the disk is slow; lives in the engine's loop."""

    def __init__(
        self,
        stream: StorageStream,
        awake: Mapping[int, Replica],
        failover: Failover,
        *,
        tick_ms: int,
    ) -> None:
        """Watch a disk.

        Args:
            stream: the transactions of this broker.
            awake: the replicas that time passes for, by group id: nobody waits for the others.
            failover: hands leaderships over.
            tick_ms: between two calls of `tick`.
        """
        self._stream = stream
        self._awake = awake
        self._failover = failover
        self._tick_seconds = tick_ms / 1000
        self._slow_ticks = max(1, SLOW_MS // tick_ms)
        self._patience = FORGIVEN * max(1, PATIENCE_MS // tick_ms)
        self._rest_ticks = max(1, REST_MS // tick_ms)
        self._transactions = 0
        self._ticks_under_way = 0
        """Since the transaction under way was first seen."""
        self._score = 0
        self._ticks_left = 0
        """Before it may hand over again."""
        self._ticks_until_quick = 0
        self._attempts = 0

    @property
    def seconds_so_far(self) -> float:
        """How long the transaction under way has taken; 0 when there is none."""
        return self._ticks_under_way * self._tick_seconds

    @property
    def is_slow(self) -> bool:
        """Whether leaderships had better stay away: they would be handed over again.

        So it is from a hand-over until no transaction was slow for `REST_MS`, and while a
        transaction takes longer than `SLOW_TRANSACTION_MS`.
        """
        return self._ticks_until_quick > 0 or self.seconds_so_far >= SLOW_TRANSACTION_MS / 1000

    def tick(self) -> None:
        """Let one tick pass."""
        self._look_at_transaction()
        if self._ticks_until_quick:
            is_slow_now = self._ticks_under_way >= self._slow_ticks
            self._ticks_until_quick = (
                self._rest_ticks if is_slow_now else self._ticks_until_quick - 1
            )
        if self._ticks_left:
            self._ticks_left -= 1
            return
        if not self._is_waited_for():
            self._score = max(0, self._score - 1)
            return
        self._score += FORGIVEN
        if self._score >= self._patience:
            self._score, self._ticks_left = 0, self._rest_ticks
            self._ticks_until_quick = self._rest_ticks
            self._failover.hand_over_soon(
                "the disk is slower than those of a quorum", attempt=self._attempts
            )
            self._attempts += 1

    def _look_at_transaction(self) -> None:
        transactions = self._stream.transactions
        is_same = self._stream.is_writing and transactions == self._transactions
        self._ticks_under_way = self._ticks_under_way + 1 if is_same else 0
        self._transactions = transactions

    def _is_waited_for(self) -> bool:
        """Tell whether a quorum has stored what is being written here for long."""
        return self._ticks_under_way >= self._slow_ticks and any(
            replica.is_leader and replica.applied.index < replica.node.commit_index
            for replica in self._awake.values()
        )


class Scrubber:
    """One pass after the other over all rows of all replicas; lives in the engine's loop."""

    def __init__(self, context: EngineContext) -> None:
        """Verify the replicas of `context`."""
        self._context = context
        self._throttle = Throttle(context.config.scrub_bytes_per_second)
        self._task: asyncio.Task[None] | None = None
        self.rows = 0
        """Verified since the start."""
        self.passes = 0
        """Complete passes over all replicas."""

    def start(self) -> None:
        """Begin a pass, unless one is under way."""
        if self._task is None or self._task.done():
            self._task = self._context.spawn("scrubbing", self._pass())

    async def stop(self) -> None:
        """Give up the pass under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _pass(self) -> None:
        for replica in list(self._context.replicas.values()):
            await self._scrub(replica)
        self.passes += 1

    async def _scrub(self, replica: Replica) -> None:
        storage, size = self._context.storage, self._context.config.scrub_part_bytes
        mark, is_complete = ScrubMark(), False
        while not is_complete and self._context.is_present(replica):
            await self._throttle.take(size)
            try:
                step = await self._context.read(storage.scrub, replica.group_id, mark, size)
            except CorruptEntry as error:
                if self._context.is_present(replica):
                    self._context.engine_loop.make_faulty(replica, str(error))
                return
            self.rows += step.rows
            mark, is_complete = step.mark, step.complete
