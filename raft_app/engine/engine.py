"""The engine: one event loop that owns all Raft nodes of a broker.

State lives in memory and belongs to the loop, the only caller of any node: there are no locks.
Each turn drains what came in, steps the nodes that changed, sends what may leave and hands
everything to be stored to the storage thread as one job. Nothing here blocks.

What others want of the replicas here goes through `Engine`; `Incoming` is what the transport
brings.

Sources: docs/explanation/consensus.md; Ongaro's thesis, sections 3 and 6.4.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from myqueue.contract import retry_after
from myqueue.contract.errors import DiskFull, Overloaded, PartitionNotFound
from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    Membership,
    PreVote,
    Quiesce,
    TimeoutNow,
    bytes_of,
)
from raft_app.engine.adoption import Adoption
from raft_app.engine.cache import TailCache
from raft_app.engine.compactor import Compactor
from raft_app.engine.context import EngineContext
from raft_app.engine.disk import FullDisk, Scrubber, SlowDisk, Watchdog
from raft_app.engine.failover import Failover
from raft_app.engine.guard import Guard, PeerSigns, silence_ticks
from raft_app.engine.local_replicas import LocalReplicas
from raft_app.engine.loop import EngineLoop
from raft_app.engine.membership import ReplicaChanges
from raft_app.engine.older_entries import OlderEntries
from raft_app.engine.replica import Replica
from raft_app.engine.replica_table import ReplicaTable
from raft_app.engine.snapshots import SnapshotReceiver, SnapshotSender
from raft_app.engine.succession import Succession, is_between_leaders
from raft_app.engine.vouching import Vouching
from raft_app.engine.waiters import Deadlines, Told, too_late
from raft_app.engine.windows import PeerWindows
from raft_app.storage.protocol import CorruptEntry, SaveIdentity, SavePeers
from raft_app.storage.stream import BROKER_STREAM, StorageStream
from raft_app.storage.workers import StorageThreads
from raft_app.transport.protocol import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from http_base.memory_budget import MemoryBudget, MemoryShare
    from raft_app.core.rawnode import RawNode
    from raft_app.core.types import RaftMember, Rpc
    from raft_app.engine.config import EngineConfig
    from raft_app.engine.membership import ReplicaChange
    from raft_app.statemachine import StateMachine, StateMachineFactory
    from raft_app.storage.protocol import (
        BrokerIdentity,
        Checkpoint,
        GroupSpec,
        PeerAddress,
        Storage,
        StoredBatch,
    )
    from raft_app.storage.workers import Workers
    from raft_app.transport.protocol import RaftTransport
    from raft_app.transport.snapshot_stream import SnapshotStream

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 5.0
"""For storage to give the batches of one call, the wait for a reader thread included."""


def take_peers(
    known: dict[int, PeerAddress], told: Iterable[PeerAddress]
) -> tuple[PeerAddress, ...]:
    """Take over where brokers are; return what is new.

    An address belongs to one broker, of several that are told to have it to the latest: whose disk
    was replaced comes back under a new id, and nobody is at that place under the old one. What
    cannot be an address is passed over.

    Args:
        known: by broker id; changed in place.
        told: some brokers, or all.
    """
    owners = {peer.raft_address: peer for peer in sorted(told, key=_broker_id) if _is_valid(peer)}
    for peer in list(known.values()):
        if owners.get(peer.raft_address, peer).broker_id != peer.broker_id:
            del known[peer.broker_id]
    changed = tuple(peer for peer in owners.values() if known.get(peer.broker_id) != peer)
    known.update((peer.broker_id, peer) for peer in changed)
    return changed


def _broker_id(peer: PeerAddress) -> int:
    return peer.broker_id


def _is_valid(peer: PeerAddress) -> bool:
    try:
        parse_address(peer.raft_address)
    except ValueError as error:
        logger.warning("broker %d cannot be reached: %s", peer.broker_id, error)
        return False
    return True


class Incoming:
    """Implements `raft_app.transport.protocol.TransportHandler` for the replicas of one engine."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        mark: Callable[[Replica], None],
        *,
        guard: Guard,
        failover: Failover,
        snapshots: SnapshotReceiver,
        declines_to_lead: Callable[[], bool],
        unwritten: MemoryShare,
    ) -> None:
        """Hand on what comes.

        Args:
            replicas: of the engine, by group id.
            mark: has a replica drained.
            guard: hears of signs of life and of lost connections.
            failover: hears of those who would lead.
            snapshots: takes snapshots in.
            declines_to_lead: tells whether a TimeoutNow is let pass by.
            unwritten: what waits for the disk; entries that it has no room for are let pass by, and
                their leader sends them again.
        """
        self._unwritten = unwritten
        self._replicas = replicas
        self._mark = mark
        self._guard = guard
        self._failover = failover
        self._snapshots = snapshots
        self._declines_to_lead = declines_to_lead
        self.unknown_groups = 0
        """RPCs that named a group or replica that is not here."""

    def rpcs_received(self, broker_id: int, rpcs: list[tuple[int, Rpc]]) -> None:
        """Step the nodes that RPCs are for; those for nobody here are counted and dropped."""
        self._guard.heard(broker_id)
        replicas, mark = self._replicas, self._mark
        taken_bytes = 0
        for group_id, rpc in rpcs:
            replica = replicas.get(group_id)
            if type(rpc) is AppendEntries and rpc.entries:
                size = bytes_of(rpc.entries)
                if not self._unwritten.admits(size, held_bytes=taken_bytes):
                    continue
                taken_bytes += size
            elif type(rpc) is TimeoutNow and self._declines_to_lead():
                continue
            elif type(rpc) is Quiesce and replica and not self._guard.may_sleep(replica, rpc):
                replica.node.decline_sleep()
                mark(replica)
                continue
            if replica is None or not replica.step(broker_id, rpc):
                self.unknown_groups += 1
            elif type(rpc) is not AppendEntriesReply or replica.has_news():
                mark(replica)
                if type(rpc) is PreVote:
                    self._failover.asked(replica, rpc)

    def peer_connected(self, broker_id: int) -> None:
        """Note a connection from a peer."""
        self._guard.heard(broker_id)

    def peer_lost(self, broker_id: int) -> None:
        """Start the failover of the replicas that the lost broker leads."""
        self._guard.lost(broker_id)

    def peer_unreachable(self, broker_id: int) -> None:
        """Let the leaders here probe their followers on that broker again."""
        for replica in self._replicas.values():
            replica_id = replica.replica_on(broker_id)
            if replica_id and not replica.faulty:
                replica.node.report_unreachable(replica_id)
                if replica.node.has_ready():
                    self._mark(replica)

    def snapshot_opened(self, stream: SnapshotStream) -> None:
        """Take in a snapshot that a leader sends."""
        self._snapshots.receive(stream)


def wall_clock_ms() -> int:
    """Return the time of day, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _tell_proposed(replica: Replica, request: Any) -> None:
    """Log which entry a request became, under the id of whose request it is."""
    node = replica.node
    logger.debug(
        "%s: entry %d of term %d is proposed, a %s",
        *(replica.label, node.last_index, node.term, type(request).__name__),
    )


def _expire(future: asyncio.Future[Any], timeout_ms: int, replica: Replica) -> None:
    if not future.done():
        future.set_exception(too_late(replica, timeout_ms))


class Engine:
    """All replicas of one broker."""

    def __init__(
        self,
        *,
        storage: Storage,
        transport: RaftTransport,
        factory: StateMachineFactory,
        config: EngineConfig,
        randomizer: Callable[[int, int], int],
        memory: MemoryBudget,
        workers: Workers | None = None,
        wall_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        """Put an engine together; `start` makes it run in the current loop.

        Args:
            storage: opened by the caller; `stop` closes it.
            transport: of this broker; started and stopped by the engine.
            factory: makes the state machine of each replica.
            config: limits.
            randomizer: returns an integer in [low, high).
            memory: what the broker may hold in memory.
            workers: carry out what may block; threads by default.
            wall_ms: returns the time of day, milliseconds since 1970.
        """
        self.memory = memory
        self.broker_id = transport.broker_id
        self.transport_counters = transport.counters
        self.commits = storage.commits
        self.config = config
        self.replicas = LocalReplicas()
        self.peers: dict[int, PeerAddress] = {}
        self.on_applied: list[Callable[[Replica], None]] = []
        """Called in the loop after a replica applied entries."""
        self.on_leadership: list[Callable[[Replica], None]] = []
        """Called in the loop when role, leader, term or readiness of a replica changed."""
        self._storage = storage
        self._transport = transport
        self._factory = factory
        self._randomizer = randomizer
        self._wall_ms = wall_ms
        self._tick_waits = False
        self._ticks_due = 1
        """With the next call of `post_due_ticks`."""
        self._workers = workers or StorageThreads(storage, reader_threads=config.reader_threads)
        self._tails = TailCache(
            replica_bytes=config.tail_bytes_per_group,
            total_bytes=config.tail_bytes,
            share=self.memory.tails,
        )
        self.windows = PeerWindows(
            peer_bytes_max=config.peer_inflight_bytes,
            total_bytes_max=self.memory.queues.limit_bytes,
            group_bytes_max=config.raft.max_inflight_bytes,
        )

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the replicas and take part.

        Raises:
            OSError: the transport cannot listen.
        """
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self.failure: asyncio.Future[None] = self._loop.create_future()
        """Done with an exception when the broker must stop at once."""
        self.watchdog = Watchdog(
            self._loop,
            interval_ms=self.config.tick_ms,
            missed_max=self.config.ticks_missed_max,
            on_silence=self.fail,
        )
        self._make_threads()
        self._make_loop()
        self._make_parts()
        for stored in await self._context.read(self._storage.load_groups):
            self.replica_table.open(stored)
        self.failover.start()
        self.vouching.begin(self._loop, self.config.vouch_wait_ms)
        take_peers(self.peers, await self._context.read(self._storage.load_peers))
        self._dial_peers()
        await self._context.read(self.disk.look)  # the first report says how much room there is
        await self._transport.start(self.incoming)
        self.watchdog.start()

    def _make_threads(self) -> None:
        """Start what reads and writes what is stored."""
        self.disk = self.watchdog.watch_disk(
            self._workers.readers, self._workers.free_bytes, self.config.disk_reserve_bytes
        )
        self.stream = StorageStream(
            self._workers,
            on_failure=self.fail,
            job_bytes_max=self.config.job_bytes_max,
            unwritten=self.memory.unwritten,
        )
        self.stream.start()

    def _make_loop(self) -> None:
        """Make what drains the replicas and carries out their effects."""
        self.engine_loop = EngineLoop(
            replicas=self.replicas,
            transport=self._transport,
            stream=self.stream,
            tails=self._tails,
            older=OlderEntries(
                self._storage,
                self._workers.readers,
                bytes_per_second=self.config.snapshot_bytes_per_second,
            ),
            on_failure=self.fail,
            windows=self.windows,
        )
        self.engine_loop.on_applied = self.on_applied
        self.engine_loop.on_leadership = self.on_leadership

    def _make_parts(self) -> None:
        """Put together what works in the loop."""
        self._make_guard()
        self.replica_table = ReplicaTable(
            replicas=self.replicas,
            stream=self.stream,
            factory=self._factory,
            config=self.config,
            randomizer=self._randomizer,
            failure=self.failure,
            make_replica=self._make_replica,
            recent_bytes_max=self.memory.recent.limit_bytes,
        )
        self._context = context = EngineContext(
            config=self.config,
            replicas=self.replicas,
            storage=self._storage,
            readers=self._workers.readers,
            engine_loop=self.engine_loop,
            fail=self.fail,
        )
        self.vouching = Vouching(self.replicas, self.engine_loop, on_allowed=self.failover.begin)
        self.changes = ReplicaChanges(self.replicas, self.engine_loop.mark)
        self.adoption = Adoption(context, self.replica_table)
        self.compactor = Compactor(self.replicas, self._storage, self.stream, self.config)
        self.scrubber = Scrubber(context)
        self.snapshots_sent = SnapshotSender(context, self.replica_table, self._transport)
        self.snapshots_received = SnapshotReceiver(context, self.replica_table)
        self.engine_loop.on_snapshot_wanted = self.snapshots_sent.send
        self.full_disk = FullDisk(self.disk, self.failover, tick_ms=self.config.tick_ms)
        self.slow_disk = SlowDisk(
            self.stream, self.engine_loop.awake, self.failover, tick_ms=self.config.tick_ms
        )
        self.incoming = Incoming(
            self.replicas,
            self.engine_loop.mark,
            guard=self.guard,
            failover=self.failover,
            snapshots=self.snapshots_received,
            declines_to_lead=self.full_disk.declines_to_lead,
            unwritten=self.memory.unwritten,
        )

    def _make_replica(
        self, spec: GroupSpec, node: RawNode, state_machine: StateMachine, checkpoint: Checkpoint
    ) -> Replica:
        """Put a replica together, and have it drained in the next turn."""
        replica = Replica(
            spec,
            node,
            state_machine,
            checkpoint,
            peers=self.peers,
            memory=self.memory,
            windows=self.windows,
        )
        self.engine_loop.mark(replica)
        return replica

    def _make_guard(self) -> None:
        """Make what notices that peers come and go."""
        signs = PeerSigns(silence_ticks(self.config.raft))
        self.failover = Failover(
            self.replicas,
            mark=self.engine_loop.mark,
            randomizer=self._randomizer,
            hears=signs.hears,
            may_strand=bool(self.config.raft.quiesce_after_ticks),
            spread_ms_max=self.config.raft.election_timeout_ticks * self.config.tick_ms,
        )
        self.guard = Guard(
            self.replicas,
            self.config.raft,
            failover=self.failover,
            signs=signs,
            mark=self.engine_loop.mark,
            send=self._transport.send,
            peers=self.peers,
        )
        self.succession = Succession()
        self.on_leadership[:0] = (
            self.failover.leadership_changed,
            self.guard.leadership_changed,
            self.succession.leadership_changed,
        )

    async def stop(self) -> None:
        """Store checkpoints, then close transport and storage. Waiting requests fail."""
        self.watchdog.stop()
        self.vouching.stop()
        self.compactor.stop()
        parts = (self.failover, self.snapshots_sent, self.snapshots_received, self.scrubber)
        for part in parts:
            await part.stop()
        await self._transport.stop()
        if not self.failure.done():
            await self._drain_storage()
            self.failure.cancel()
        self.engine_loop.stop()
        for replica in self.replicas.values():
            replica.fail_waiters("the broker stops")
            replica.forget_memory()
        self._tails.clear()
        self.stream.close()
        await self._workers.stop()

    async def _drain_storage(self) -> None:
        """Store the last writes and a checkpoint of every replica."""
        self.engine_loop.run()
        self.replica_table.store_all_checkpoints()
        while not self.stream.idle and not self.failure.done():
            await self.replica_table.store(BROKER_STREAM, SavePeers(()))

    def fail(self, error: BaseException) -> None:
        """Stop answering and sending at once; whoever runs the engine ends the process."""
        if not self.failure.done():
            self.failure.set_exception(error)
            self.engine_loop.stop()

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the loop; may be called from any thread."""
        self._loop.call_soon_threadsafe(callback, *args)

    # --- time -------------------------------------------------------------------------------

    def post_due_ticks(self) -> int:
        """Let the intervals pass since the call before; called by the scheduler in its own thread.

        Returns:
            How many intervals may pass until the next call: one, but `EngineConfig.ticks_at_rest`
            while no replica is awake.
        """
        self.post_tick(self._ticks_due)
        self._ticks_due = 1 if self.engine_loop.awake else self.config.ticks_at_rest
        return self._ticks_due

    def post_tick(self, count: int = 1) -> None:
        """Let some ticks pass; may be called from any thread.

        One that still waits for a loop that was held up counts for both: for nodes, ticks never
        come at once. So those of a node that woke since the call before are one, too.
        """
        if not self._tick_waits:
            self._tick_waits = True
            self._loop.call_soon_threadsafe(self._tick, count)

    def _tick(self, count: int) -> None:
        self._tick_waits = False
        if self.failure.done():
            return
        self.watchdog.ticked(count)
        mark = self.engine_loop.mark
        for replica in self.engine_loop.awake.values():
            replica.node.tick()
            if replica.node.has_ready():
                mark(replica)
        for _ in range(count):
            self.guard.tick()
            self.changes.tick()
            self.full_disk.tick()
            self.slow_disk.tick()

    def clock_ms(self) -> int:
        """Return the monotonic clock that proposals carry, in milliseconds."""
        return int(self._loop.time() * 1000)

    # --- requests ---------------------------------------------------------------------------

    @property
    def connected_peers(self) -> frozenset[int]:
        """Broker ids whose connection to this broker is up."""
        return self._transport.connected_peers

    @property
    def reached_peers(self) -> frozenset[int]:
        """Broker ids to which this broker's connection is up."""
        return self._transport.reached_peers

    def replica(self, group_id: int) -> Replica:
        """Return a local replica.

        Raises:
            PartitionNotFound: it is not here.
        """
        replica = self.replicas.get(group_id)
        if replica is None:
            raise PartitionNotFound(f"this broker has no replica of group {group_id}")
        return replica

    async def propose(
        self, group_id: int, request: Any, *, timeout_ms: int, may_use_reserve: bool = False
    ) -> Any:
        """Replicate a request and return what the state machine made of it.

        One that comes between two leaders waits a moment for the next one.

        Args:
            group_id: a group led here.
            request: what its state machine understands.
            timeout_ms: for a quorum to store it.
            may_use_reserve: take it also on a full disk, since it makes room.

        Raises:
            NotLeader | NoLeader | Overloaded | DiskFull: refused before it was proposed.
            CommitTimeout: no quorum in time; the outcome is unknown.
            QueueError: what the state machine refuses with.
        """
        replica = self._taking(group_id, may_use_reserve=may_use_reserve)
        if is_between_leaders(replica):
            timeout_ms -= await self.succession.wait(replica, timeout_ms)
            replica = self._taking(group_id, may_use_reserve=may_use_reserve)
        admitted: asyncio.Future[Any] = self._loop.create_future()
        answer = replica.propose(
            request, admitted, now_ms=self._wall_ms(), clock_ms=self.clock_ms()
        )
        if answer is not None:
            return answer.result
        if logger.isEnabledFor(logging.DEBUG):
            _tell_proposed(replica, request)
        self.engine_loop.mark(replica)
        timer = self._loop.call_later(timeout_ms / 1000, _expire, admitted, timeout_ms, replica)
        try:
            return await admitted
        finally:
            timer.cancel()

    def begin(
        self,
        group_id: int,
        request: Any,
        tell: Callable[[Any, BaseException | None], None],
        *,
        timeout_ms: int,
    ) -> None:
        """Replicate a request as `propose` does, and tell the outcome in place of returning it.

        That saves whoever has nothing else to do meanwhile a task and two turns of the loop.

        Args:
            group_id: a group led here.
            request: what its state machine understands.
            tell: is given what the state machine made of it, or None and the error: what `propose`
                raises once it was proposed. It is called in a turn of the engine, or at once.
            timeout_ms: for a quorum to store it; about.

        Raises: what `propose` raises before it was proposed.
        """
        replica = self._taking(group_id, may_use_reserve=False)
        told = Told(tell)
        answer = replica.propose(request, told, now_ms=self._wall_ms(), clock_ms=self.clock_ms())
        if answer is not None:
            tell(answer.result, None)
            return
        if logger.isEnabledFor(logging.DEBUG):
            _tell_proposed(replica, request)
        self.engine_loop.mark(replica)
        self._deadlines.watch(told, timeout_ms, replica)

    def _taking(self, group_id: int, *, may_use_reserve: bool) -> Replica:
        """Return a local replica for which there is room on the disk.

        Raises:
            DiskFull: there is none, and it leads.
            PartitionNotFound: it is not here.
        """
        replica = self.replicas.get(group_id) or self.replica(group_id)
        if self.disk.full and not may_use_reserve and replica.serves:
            raise DiskFull(f"broker {self.broker_id} has less than its reserve of free space")
        if not replica.serves:
            self.failover.hurry(replica)
        return replica

    async def read_barrier(self, group_id: int, *, timeout_ms: int) -> None:
        """Return when the applied state is at least as new as this call (ReadIndex).

        Raises:
            NotLeader | NoLeader: this replica cannot confirm reads.
            CommitTimeout: no quorum in time.
        """
        replica = self.replica(group_id)
        if not replica.serves:
            self.failover.hurry(replica)
        future = replica.ask_read()
        self.engine_loop.mark(replica)
        timer = self._loop.call_later(timeout_ms / 1000, _expire, future, timeout_ms, replica)
        try:
            await future
        finally:
            timer.cancel()

    async def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return stored batches from the one that contains `offset`, from memory or disk.

        Raises:
            NotLeader | NoLeader: what is stored here is damaged.
            Overloaded: the disk hangs; nothing was read within `READ_TIMEOUT_S`.
        """
        if offset >= high_watermark:
            return []
        replica = self.replica(group_id)
        found = self._tails.read(group_id, offset, high_watermark, max_bytes)
        if found is not None:
            return found
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                batches: list[StoredBatch] = await self._context.read(
                    self._storage.read_batches, group_id, offset, high_watermark, max_bytes
                )
        except TimeoutError as error:
            raise Overloaded(
                f"{replica.label}: the disk gave no answer within {READ_TIMEOUT_S:g} s; try again",
                retry_after_ms=retry_after.DISK_MS,
            ) from error
        except CorruptEntry as error:
            if self._context.is_present(replica):
                self.engine_loop.make_faulty(replica, str(error))
            raise replica.not_leader() from error
        return batches

    # --- replicas ---------------------------------------------------------------------------

    async def create_replica(
        self, spec: GroupSpec, membership: Membership, *, campaign: bool
    ) -> None:
        """Make a replica of a new group, durable when this returns; again is no error.

        Args:
            spec: what it is.
            membership: the group's first list, the same on every replica.
            campaign: True on the replica that should lead first.

        Raises:
            StalePlacement: this directory had that replica before, or has another of the group.
        """
        used = await self._context.read(self._storage.used_replica_ids, spec.group_id)
        await self.replica_table.create(spec, membership, campaign=campaign, used=used)

    async def join_replica(self, spec: GroupSpec) -> None:
        """Make a replica that joins a group: it learns everything from the leader.

        Raises:
            StalePlacement: this directory had that replica before, or has another of the group.
        """
        await self.create_replica(spec, Membership(), campaign=False)

    async def delete_replica(self, group_id: int) -> None:
        """Drop a replica with everything it stored; durable when this returns."""
        replica = await self.replica_table.find(group_id)
        if replica is not None:
            self._tails.forget(group_id)
            self.engine_loop.forget(replica)
            await self.replica_table.delete(replica)
            self.compactor.release()

    def change_replicas(
        self, group_id: int, target: tuple[RaftMember, ...], version: int
    ) -> ReplicaChange:
        """Lead a group to other replicas, step by step, or go on with that; returns at once.

        Args:
            group_id: a group led here.
            target: its voters when the change is done.
            version: placement version of the target.

        Raises:
            NotLeader | NoLeader: this replica does not lead.
            InvalidRequest | StalePlacement: the target cannot be, or a later one is in force.
        """
        return self.changes.start(self.replica(group_id), target, version)

    def find_change(self, group_id: int) -> ReplicaChange | None:
        """Return the change of a group led here, under way or done; None when there was none."""
        return self.changes.find(group_id)

    async def save_identity(self, identity: BrokerIdentity) -> None:
        """Store who this broker is; durable when this returns."""
        await self.replica_table.store(BROKER_STREAM, SaveIdentity(identity))

    async def save_peers(self, peers: Iterable[PeerAddress]) -> None:
        """Store and use the addresses of other brokers."""
        changed = take_peers(self.peers, peers)
        if changed:
            self._dial_peers()
            await self.replica_table.store(BROKER_STREAM, SavePeers(changed))

    async def transfer_leadership(self, group_id: int, broker_id: int, *, timeout_ms: int) -> None:
        """Hand leadership to the replica on another broker; returns when that one leads.

        Raises:
            NotLeader | NoLeader: this replica does not lead.
            StalePlacement: the group has no voter there.
            CommitTimeout: it did not happen in time; this replica may lead on.
        """
        replica = self.replica(group_id)
        await self.failover.transfer(replica, broker_id, timeout_ms=timeout_ms)

    async def hand_over_all(self, *, timeout_ms: int) -> int:
        """Hand every leadership to a peer and return how many are still here."""
        return await self.failover.hand_over_all(timeout_ms=timeout_ms)

    def request_checkpoints(self) -> None:
        """Store the state of replicas that applied much, and delete what is no longer needed."""
        self.replica_table.store_checkpoints()
        self.compactor.run()

    def request_scrub(self) -> None:
        """Verify everything stored, slowly; again is no error."""
        self.scrubber.start()

    def _dial_peers(self) -> None:
        self._transport.set_peers({one.broker_id: one.raft_address for one in self.peers.values()})
