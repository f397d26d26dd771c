"""Runs the turns of the loop: drains the replicas that changed, carries out what they want."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from raft_app.engine.replica import Turn
from raft_app.failpoints import reach
from raft_app.storage.protocol import CorruptEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from raft_app.core.types import EntriesWanted, Entry, Write
    from raft_app.engine.cache import TailCache
    from raft_app.engine.replica import Group
    from raft_app.storage.protocol import Storage
    from raft_app.storage.stream import StorageStream
    from raft_app.transport.protocol import Transport


class TurnRunner:
    """Collects the groups that changed and drains them all in one turn.

    Whatever happens in one iteration of the loop - requests, RPCs, ticks, finished writes - ends up
    in one turn: one send per peer and one storage job.
    """

    def __init__(
        self,
        *,
        groups: Mapping[int, Group],
        transport: Transport,
        storage: Storage,
        stream: StorageStream,
        tails: TailCache,
        readers: Executor,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Make a runner in the running loop.

        Args:
            groups: the engine's, by group id.
            transport: RPCs go there.
            storage: older entries are read from it, in `readers`.
            stream: writes go there.
            tails: applied batches go there.
            readers: threads for reading.
            on_failure: told when a turn breaks off, or when reading fails for a reason other than
                a bad row.
        """
        self.on_applied: list[Callable[[Group], None]] = []
        self.on_leadership: list[Callable[[Group], None]] = []
        self.on_snapshot_wanted: Callable[[Group, int], None] = _ignore
        """Told the group and the replica id of a peer that needs a snapshot."""
        self.seconds_max = 0.0
        """Longest turn since the start."""
        self.turns = 0
        self._loop = asyncio.get_running_loop()
        self._groups = groups
        self._transport = transport
        self._storage = storage
        self._stream = stream
        self._tails = tails
        self._readers = readers
        self._on_failure = on_failure
        self._dirty: dict[int, Group] = {}
        self._turn = Turn()
        self._scheduled = False
        self._stopped = False

    def mark(self, group: Group) -> None:
        """Have a group drained in the next turn."""
        self._dirty[group.group_id] = group
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.run)

    def stop(self) -> None:
        """Run no turn any more."""
        self._stopped = True
        self._dirty.clear()

    def make_faulty(self, group: Group, reason: str) -> None:
        """Take a group out of service: what it stored is in doubt. One that is gone stays gone."""
        if not group.faulty and self._groups.get(group.group_id) is group:
            group.become_faulty(reason, self._turn)
            self.mark(group)

    def note_applied(self, group: Group) -> None:
        """Tell the listeners in the next turn that a group has a newer state."""
        self._turn.applied(group)
        self.mark(group)

    def run(self) -> None:
        """Run one turn."""
        self._scheduled = False
        if self._stopped:
            return
        started = time.perf_counter()
        try:
            self._run_turn()
        except Exception as error:
            # A turn that broke off has lost writes that nodes count on: nothing may go on.
            self._on_failure(error)
            raise
        self.turns += 1
        self.seconds_max = max(self.seconds_max, time.perf_counter() - started)

    def _run_turn(self) -> None:
        turn, self._turn = self._turn, Turn()
        dirty, self._dirty = self._dirty, {}
        for group_id, group in dirty.items():
            if self._groups.get(group_id) is group and group.drain(turn):
                self.mark(group)
        self._carry_out(turn)

    def _carry_out(self, turn: Turn) -> None:
        reach("engine.sending")
        for broker_id, rpcs in turn.rpcs.items():
            self._transport.send(broker_id, rpcs)
        for group, operation, write in turn.writes:
            if self._groups.get(group.group_id) is not group:
                continue  # Dropped since it became faulty.
            on_durable = partial(self._persisted, group, write) if write else None
            self._stream.submit(group.group_id, operation, on_durable)
        self._stream.flush()
        for group, batch in turn.batches:
            self._tails.append(group.group_id, batch)
        for group_id, group in turn.applied_groups.items():
            self._tails.cut(group_id, group.state_machine.log_start_offset)
        for group, wanted in turn.wanted:
            self._read_entries(group, wanted)
        for group, peer in turn.snapshots:
            self.on_snapshot_wanted(group, peer)
        self._tell(turn)

    def _tell(self, turn: Turn) -> None:
        """Tell the listeners what happened."""
        for group in turn.applied_groups.values():
            if group.serves != group.serving_seen:
                turn.changed_leadership(group)
            for listener in self.on_applied:
                listener(group)
        for group in turn.leadership_groups.values():
            group.serving_seen = group.serves
            for listener in self.on_leadership:
                listener(group)

    def _persisted(self, group: Group, write: Write) -> None:
        """Note that a write is durable."""
        if self._groups.get(group.group_id) is group:
            reach("engine.replying")
            group.persisted(write, self._turn)
            self.mark(group)

    def _read_entries(self, group: Group, wanted: EntriesWanted) -> None:
        """Read older entries for a node that needs them."""
        reading = self._loop.run_in_executor(
            self._readers,
            self._storage.read_entries,
            group.group_id,
            wanted.first_index,
            wanted.last_index,
            wanted.max_bytes,
        )
        reading.add_done_callback(partial(self._entries_read, group, wanted))

    def _entries_read(
        self, group: Group, wanted: EntriesWanted, reading: asyncio.Future[list[Entry]]
    ) -> None:
        if self._stopped or reading.cancelled() or self._groups.get(group.group_id) is not group:
            return
        error = reading.exception()
        if isinstance(error, CorruptEntry):
            self.make_faulty(group, str(error))
        elif error is not None:
            self._on_failure(error)
        else:
            group.entries_read(wanted, reading.result())
            self.mark(group)


def _ignore(_group: Group, _peer: int) -> None:
    """Do nothing."""
