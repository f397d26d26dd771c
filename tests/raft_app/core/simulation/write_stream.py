"""What one simulated process hands to its disk, and the RPCs that wait for it there."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.plan import TICK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_app.core.types import HardState, Rpc, SnapshotMeta, Write
    from tests.raft_app.core.simulation.disk import Disk, Item
    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.simulation import Simulation

DISK_DELAY_MAX = 40 * TICK
"""Longest time that even a slow disk takes, in units."""


class WriteStream:
    """The storage side of one process, from its start to its end.

    Attributes:
        log: the log as it will be once all that was handed over is durable.
        log_writes: the write that put an entry there; missing: an earlier process.
        hard_state: the hard state once all that was handed over is durable.
        issued: number of the last write of the node.
    """

    def __init__(self, simulation: Simulation, host: Host, disk: Disk) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._host = host
        self._disk = disk
        self.log = disk.log.copy()
        self.log_writes: dict[int, int] = {}
        self.hard_state: HardState = disk.hard_state
        self.issued = 0
        self._reported = 0
        self._done: deque[Callable[[], None]] = deque()
        self._held: deque[tuple[int, list[tuple[Rpc, int]]]] = deque()

    def accept(self, write: Write) -> None:
        """Take a write of the node."""
        assert write.write_id == self.issued + 1
        self.issued = write.write_id
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            self.log.write(write.entries)
            self.log_writes.update((entry.index, write.write_id) for entry in write.entries)
        self._simulation.watch.writes(self._host, write)
        self.submit(write)

    def submit(self, item: Item, done: Callable[[], None] | None = None) -> None:
        """Take anything to be stored; `done` is called when that is reported."""
        self._disk.submit(item, done)
        self._write()

    def hold(self, write_id: int, rpcs: Sequence[tuple[Rpc, int]]) -> None:
        """Send RPCs, each with the write that it needs, when a write is reported as durable."""
        self._held.append((write_id, list(rpcs)))
        self._release()

    def installed(self, meta: SnapshotMeta) -> None:
        """A snapshot has taken the place of the log."""
        self.log.reset(meta.last_index, meta.last_term)
        self.log_writes.clear()

    def delay(self) -> int:
        """Return how long the disk takes for something."""
        delay = self._simulation.plan.disk_delay * self._host.slowness
        return min(int(delay * self._random.random() ** 2), DISK_DELAY_MAX)

    def _write(self) -> None:
        if self._disk.begin(limit=self._random.choice((1, 4, 1_000))):
            self._host.later(5 + self.delay(), self._stored)

    def _stored(self) -> None:
        self._done += self._disk.finish()
        write_id = self._disk.durable_write_id
        if self._simulation.plan.turn_delay:
            self._host.later(1 + int(50 * self._random.random()), self._report, write_id)
        else:
            self._report(write_id)
        self._write()

    def _report(self, write_id: int) -> None:
        host = self._host
        while self._reported < write_id:
            # Each write is reported, or the last of a transaction for all before it.
            self._reported = self._random.choice((self._reported + 1, write_id))
            host.note("persisted", self._reported)
            host.node.persisted(self._reported)
        while self._done:
            self._done.popleft()()
        self._release()
        host.act()

    def _release(self) -> None:
        while self._held and self._held[0][0] <= self._reported:
            for rpc, needed_write_id in self._held.popleft()[1]:
                self._host.send(rpc, needed_write_id)
