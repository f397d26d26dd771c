"""Drives an engine: drains the replicas that changed and carries out what they want, in turns."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from raft_app.core.types import Role
from raft_app.engine.local_replicas import Event
from raft_app.engine.replica import Effects
from raft_app.engine.spares import SpareSends
from raft_app.engine.windows import PeerWindows
from raft_app.failpoints import reach
from raft_app.storage.protocol import CorruptEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from raft_app.core.types import EntriesWanted, Entry, Rpc, Write
    from raft_app.engine.cache import TailCache
    from raft_app.engine.local_replicas import LocalReplicas
    from raft_app.engine.older_entries import OlderEntries
    from raft_app.engine.replica import Replica
    from raft_app.storage.stream import StorageStream
    from raft_app.transport.protocol import RaftTransport


logger = logging.getLogger(__name__)

SENDERS_MAX = 1_000
"""Most groups that send in one turn after they had waited for room; the others do in the next."""
APPLIED_MAX = 250
"""Most entries that are applied in one turn, which takes some 15 ms. A follower that was away for a
while is told of many thousands at once: whatever else waits in the loop has its turn between."""


class EngineLoop:
    """Collects the replicas that changed and drains them all in one turn.

    Whatever happens in one iteration of the loop - requests, RPCs, ticks - ends up in one turn: one
    send per peer and one storage job. What became durable has its turn at once. In a turn all is
    sent and handed to storage first; only then are entries applied, while others are at work, and
    no more than `APPLIED_MAX`.
    """

    def __init__(
        self,
        *,
        replicas: LocalReplicas,
        transport: RaftTransport,
        stream: StorageStream,
        tails: TailCache,
        older: OlderEntries,
        on_failure: Callable[[BaseException], None],
        windows: PeerWindows | None = None,
    ) -> None:
        """Make a runner in the running loop.

        Args:
            replicas: the engine's; their watchers are told what happens.
            transport: RPCs go there.
            stream: writes go there.
            tails: applied batches go there.
            older: entries come from there that nodes no longer have.
            on_failure: told when a turn breaks off, or when reading fails for a reason other than
                a bad row.
            windows: say whose turn it is to send to a peer that has enough; not bounded when None.
        """
        self._windows = windows or PeerWindows.unbounded()
        self.on_applied: list[Callable[[Replica], None]] = []
        self.on_leadership: list[Callable[[Replica], None]] = []
        self.on_snapshot_wanted: Callable[[Replica, int], None] = _ignore
        """Told the replica and the replica id of a peer that needs a snapshot."""
        self.seconds_max = 0.0
        """Longest turn since the start."""
        self.turns = 0
        self._loop = asyncio.get_running_loop()
        self._replicas = replicas
        self._drained = replicas.watchers[Event.DRAINED]
        self._applied = replicas.watchers[Event.APPLIED]
        self._transport = transport
        self._stream = stream
        self._tails = tails
        self._older = older
        self._on_failure = on_failure
        self.awake: dict[int, Replica] = {}
        """By group id: the replicas for which time passes; nobody ticks the others."""
        self._dirty: dict[int, Replica] = {}
        self._effects = Effects()
        self._committed: list[tuple[Replica, Sequence[Entry]]] = []
        """To be applied with the next turn."""
        self._durable: list[Replica] = []
        """Of the job that is done: those for whom something became durable."""
        stream.after_job = self._job_done
        self._spare_sends = SpareSends(replicas, self.mark)
        self._scheduled = False
        self._stopped = False

    def mark(self, replica: Replica) -> None:
        """Have a replica drained in the next turn."""
        self._dirty[replica.group_id] = replica
        self._schedule()

    def _schedule(self) -> None:
        """See that there is a next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.run)

    def forget(self, replica: Replica) -> None:
        """Let no time pass for a replica that is dropped."""
        self.awake.pop(replica.group_id, None)

    def stop(self) -> None:
        """Run no turn any more."""
        self._stopped = True
        self._dirty.clear()
        self._older.stop()

    def make_faulty(self, replica: Replica, reason: str) -> None:
        """Take a replica out of service: what it stored is in doubt. One that is gone stays so."""
        if not replica.faulty and self._replicas.get(replica.group_id) is replica:
            replica.become_faulty(reason)
            self._note_faulty(replica)

    def _note_faulty(self, replica: Replica) -> None:
        """Have the next turn store that a replica is faulty, and tell the listeners."""
        self._effects.writes.append((replica, replica.fault(), None))
        self._effects.leadership[replica.group_id] = replica
        self.mark(replica)

    def note_replaced(self, replica: Replica) -> None:
        """Tell the listeners in the next turn that a snapshot replaced the log of a replica."""
        self._tails.forget(replica.group_id)
        self._committed = [one for one in self._committed if one[0] is not replica]
        self._effects.applied[replica.group_id] = replica
        self.mark(replica)

    def run(self, *, is_scheduled: bool = True) -> None:
        """Run one turn.

        Args:
            is_scheduled: it is the one that was scheduled, if any; otherwise that one comes too.
        """
        if is_scheduled:
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
        effects, self._effects = self._effects, Effects()
        dirty, self._dirty = self._dirty, {}
        for seen in self._drained:
            seen.update(dirty)
        for group_id, replica in dirty.items():
            if self._replicas.get(group_id) is replica:
                replica.drain(effects)
                if replica.node.spares_due:
                    self._spare_sends.note(replica)
                if (replica.node.is_asleep or bool(replica.faulty)) is replica.is_ticked:
                    self._note_awake(replica)
        if self._windows.is_tight:
            self._give_turns(effects)
        self._carry_out(effects)

    def _note_awake(self, replica: Replica) -> None:
        """Let time pass for a replica or not, after that has changed."""
        replica.is_ticked = not replica.is_asleep
        if replica.is_ticked:
            self.awake[replica.group_id] = replica
        else:
            self.awake.pop(replica.group_id, None)

    def _give_turns(self, effects: Effects) -> None:
        """Let those send who wait for room on the way to a peer, one after the other."""
        replica: Replica | None = None
        for _ in range(SENDERS_MAX):
            group_ids = self._windows.turns()
            if not group_ids:
                return
            for group_id in group_ids:
                replica = self._replicas.get(group_id)
                if replica is None:
                    self._windows.count(group_id, ())
                else:
                    replica.drain(effects)
                    if replica.node.spares_due:
                        self._spare_sends.note(replica)
        if replica is not None:
            self.mark(replica)  # there is a next turn

    def _send(self, by_broker: Mapping[int, Sequence[tuple[int, Rpc]]]) -> None:
        """Send (group id, RPC) pairs, by broker id."""
        if by_broker:
            reach("engine.sending")
        for broker_id, rpcs in by_broker.items():
            self._transport.send(broker_id, rpcs)

    def _carry_out(self, effects: Effects) -> None:
        self._send(effects.rpcs)
        if effects.writes:
            self._store(effects)
        if self._committed or effects.committed:
            self._apply(effects)
        for replica, batch in effects.batches:
            self._tails.append(replica.group_id, batch)
        for group_id, replica in effects.applied.items():
            self._tails.cut(group_id, replica.state_machine.log_start_offset)
        for replica, wanted in effects.wanted:
            reading = self._older.read(replica, wanted)
            reading.add_done_callback(partial(self._entries_read, replica, wanted))
        for replica, peer in effects.snapshots:
            self.on_snapshot_wanted(replica, peer)
        if effects.applied or effects.leadership:
            self._tell(effects)

    def _store(self, effects: Effects) -> None:
        """Hand what is to be stored to the storage thread."""
        for replica, operation, write in effects.writes:
            if self._replicas.get(replica.group_id) is not replica:
                continue  # Dropped since it became faulty.
            on_durable = partial(self._persisted, replica, write) if write else None
            self._stream.submit(replica.group_id, operation, on_durable)
        self._stream.flush()

    def _apply(self, effects: Effects) -> None:
        """Apply what was left from the turn before and what is committed, up to `APPLIED_MAX`.

        An entry that comes alone, to a follower that has just been given the one after it to store,
        is left for the next turn, which is when that is durable at the latest: somebody waits for
        the acknowledgement, and nobody for what is applied.
        """
        earlier, self._committed = self._committed, []
        room = APPLIED_MAX
        for replica, entries in earlier:
            room = self._apply_to(replica, entries, effects, room)
        is_alone = len(effects.committed) == 1 and bool(effects.writes)
        for replica, entries in effects.committed:
            if is_alone and len(entries) == 1 and replica.node.role is not Role.LEADER:
                self._committed.append((replica, entries))
            else:
                room = self._apply_to(replica, entries, effects, room)
        if not room and self._committed:
            self._schedule()

    def _apply_to(
        self, replica: Replica, entries: Sequence[Entry], effects: Effects, room: int
    ) -> int:
        """Apply up to `room` entries, leave the others for the next turn; return the room left."""
        if replica.faulty or self._replicas.get(replica.group_id) is not replica:
            return room
        if len(entries) > room:
            self._committed.append((replica, entries[room:]))
            entries = entries[:room]
        if entries:
            replica.apply(entries, effects)
        if replica.faulty:  # An entry contradicts the state.
            self._note_faulty(replica)
        return room - len(entries)

    def _tell(self, effects: Effects) -> None:
        """Tell the listeners what happened."""
        for seen in self._applied:
            seen.update(effects.applied)
        for replica in effects.applied.values():
            is_leader = replica.node.role is Role.LEADER
            if is_leader and not replica.serving_seen and replica.serves:
                effects.leadership[replica.group_id] = replica
            for listener in self.on_applied:
                listener(replica)
        for replica in effects.leadership.values():
            if replica.serves != replica.serving_seen:
                _tell_serving(replica)
            replica.serving_seen = replica.serves
            for listener in self.on_leadership:
                listener(replica)

    def _persisted(self, replica: Replica, write: Write) -> None:
        """Note that a write is durable."""
        if self._replicas.get(replica.group_id) is replica:
            reach("engine.replying")
            for seen in self._drained:
                seen[replica.group_id] = replica
            replica.persisted(write, self._effects)
            self._durable.append(replica)

    def _job_done(self) -> None:
        """Let what waited for a job leave at once, before anything else."""
        if self._stopped:
            return
        rpcs, self._effects.rpcs = self._effects.rpcs, {}
        self._send(rpcs)
        durable, self._durable = self._durable, []
        for replica in durable:
            if self._replicas.get(replica.group_id) is replica and replica.has_news():
                self._dirty[replica.group_id] = replica
        if self._dirty or self._committed:
            self.run(is_scheduled=False)

    def _entries_read(
        self, replica: Replica, wanted: EntriesWanted, reading: asyncio.Future[list[Entry]]
    ) -> None:
        if (
            self._stopped
            or reading.cancelled()
            or self._replicas.get(replica.group_id) is not replica
        ):
            return
        error = reading.exception()
        if isinstance(error, CorruptEntry):
            self.make_faulty(replica, str(error))
        elif error is not None:
            self._on_failure(error)
        else:
            replica.entries_read(wanted, reading.result())
            self.mark(replica)


def _ignore(_replica: Replica, _peer: int) -> None:
    """Do nothing."""


def _tell_serving(replica: Replica) -> None:
    """Log that this broker began to lead a partition, or ceased to."""
    now = "leads" if replica.serves else "no longer leads"
    logger.info("%s: this broker %s, term %d", replica.label, now, replica.node.term)
