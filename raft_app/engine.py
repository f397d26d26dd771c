"""The engine: one event loop that owns all Raft groups of a broker.

State lives in memory and belongs to the loop, the only caller of any node: there are no locks.
Each turn drains what came in, steps the nodes that changed, sends what may leave and hands
everything to be stored to the storage thread as one job. Nothing here blocks.

Sources: consensus.md section 2; Ongaro's thesis, sections 3 and 6.4.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from myqueue.errors import CommitTimeout, DiskFull, NotLeader, PartitionNotFound
from raft_app.failover import Failover
from raft_app.replicas import Replicas
from raft_app.statemachine import Answer
from raft_app.storage import CorruptEntry, SaveIdentity, SavePeers
from raft_app.storage_stream import BROKER_STREAM, StorageStream
from raft_app.tail import TailCache
from raft_app.turn_runner import TurnRunner
from raft_app.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_app.core.rpcs import Rpc
    from raft_app.core.types import Membership
    from raft_app.engine_config import EngineConfig
    from raft_app.group import Group
    from raft_app.statemachine import StateMachineFactory
    from raft_app.storage import (
        BrokerIdentity,
        GroupSpec,
        PeerAddress,
        Storage,
        StoredBatch,
    )
    from raft_app.transport import Transport

logger = logging.getLogger(__name__)


class Engine:
    """All Raft groups of one broker."""

    def __init__(
        self,
        *,
        broker_id: int,
        storage: Storage,
        transport: Transport,
        factory: StateMachineFactory,
        config: EngineConfig,
        randomizer: Callable[[int, int], int],
        disk_free_bytes: Callable[[], int] = lambda: 1 << 62,
        close_thread: Callable[[], None] = lambda: None,
    ) -> None:
        """Put an engine together; `start` makes it run in the current loop.

        Args:
            broker_id: this broker.
            storage: opened by the caller; `stop` closes it.
            transport: started and stopped by the engine.
            factory: makes the state machine of each group.
            config: limits.
            randomizer: returns an integer in [low, high).
            disk_free_bytes: free space where storage lies; called in a reader thread.
            close_thread: closes what storage keeps per thread; called at a thread's end.
        """
        self.broker_id = broker_id
        self.config = config
        self.groups: dict[int, Group] = {}
        self.peers: dict[int, PeerAddress] = {}
        self.on_applied: list[Callable[[Group], None]] = []
        """Called in the loop after a group applied entries."""
        self.on_leadership: list[Callable[[Group], None]] = []
        """Called in the loop when role, leader, term or readiness of a group changed."""
        self.unknown_groups = 0
        """RPCs that named a group or replica that is not here."""
        self._storage = storage
        self._transport = transport
        self._factory = factory
        self._randomizer = randomizer
        self._disk_free_bytes = disk_free_bytes
        self._close_thread = close_thread
        self._tails = TailCache(
            group_bytes=config.tail_bytes_per_group, total_bytes=config.tail_bytes
        )

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the groups and take part.

        Raises:
            OSError: the transport cannot listen.
        """
        self._loop = asyncio.get_running_loop()
        self.failure: asyncio.Future[None] = self._loop.create_future()
        """Done with an exception when the broker must stop at once."""
        self._readers = ThreadPoolExecutor(self.config.reader_threads, "reader")
        self._stream = StorageStream(
            self._storage,
            self._loop,
            on_failure=self.fail,
            job_bytes_max=self.config.job_bytes_max,
            close_thread=self._close_thread,
        )
        self._stream.start()
        self.turns = TurnRunner(
            groups=self.groups,
            transport=self._transport,
            storage=self._storage,
            stream=self._stream,
            tails=self._tails,
            readers=self._readers,
            on_failure=self.fail,
        )
        self.turns.on_applied = self.on_applied
        self.turns.on_leadership = self.on_leadership
        self.failover = Failover(self.groups, mark=self.turns.mark, randomizer=self._randomizer)
        self.on_leadership.insert(0, self.failover.leadership_changed)
        self.watchdog = Watchdog(
            self._loop,
            interval_ms=self.config.tick_ms,
            missed_max=self.config.ticks_missed_max,
            on_silence=self.fail,
        )
        self.disk = self.watchdog.watch_disk(
            self._readers, self._disk_free_bytes, self.config.disk_reserve_bytes
        )
        self.replicas = Replicas(
            groups=self.groups,
            stream=self._stream,
            factory=self._factory,
            config=self.config,
            randomizer=self._randomizer,
            failure=self.failure,
        )
        for stored in await self._in_reader(self._storage.load_groups):
            self.turns.mark(self.replicas.open(stored))
        self._set_peers(await self._in_reader(self._storage.load_peers))
        await self._transport.start(self)
        self.watchdog.start()

    async def stop(self) -> None:
        """Store checkpoints, then close transport and storage. Waiting requests fail."""
        self.watchdog.stop()
        self.failover.stop()
        await self._transport.stop()
        if not self.failure.done():
            await self._drain_storage()
            self.failure.cancel()
        self.turns.stop()
        for group in self.groups.values():
            group.fail_waiters("the broker stops")
        await self._loop.run_in_executor(None, self._close_storage)

    async def _drain_storage(self) -> None:
        """Store the last writes and a checkpoint of every group."""
        self.turns.run()
        self.replicas.store_all_checkpoints()
        while not self._stream.idle and not self.failure.done():
            await self.replicas.store(BROKER_STREAM, SavePeers(()))

    def _close_storage(self) -> None:
        self._stream.close()
        barrier = threading.Barrier(self.config.reader_threads)
        for _ in range(self.config.reader_threads):
            self._readers.submit(self._end_reader, barrier)
        self._readers.shutdown()
        self._storage.close()

    def _end_reader(self, barrier: threading.Barrier) -> None:
        """Close a reader thread's connection; the barrier makes each thread do it once."""
        barrier.wait()
        self._close_thread()

    def fail(self, error: BaseException) -> None:
        """Stop answering and sending at once; whoever runs the engine ends the process."""
        if not self.failure.done():
            self.failure.set_exception(error)
            self.turns.stop()

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the loop; may be called from any thread."""
        self._loop.call_soon_threadsafe(callback, *args)

    # --- time -------------------------------------------------------------------------------

    def post_tick(self) -> None:
        """Let one tick pass; called by the scheduler from its own thread."""
        self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        self.watchdog.ticked()
        for group in self.groups.values():
            if not group.faulty:
                group.node.tick()
                if group.node.has_ready():
                    self.turns.mark(group)

    # --- requests ---------------------------------------------------------------------------

    def group(self, group_id: int) -> Group:
        """Return a local group.

        Raises:
            PartitionNotFound: it is not here.
        """
        group = self.groups.get(group_id)
        if group is None:
            raise PartitionNotFound(f"this broker has no replica of group {group_id}")
        return group

    async def propose(self, group_id: int, request: Any, *, timeout_ms: int) -> Any:
        """Replicate a request and return what the state machine made of it.

        Raises:
            NotLeader | NoLeader | Overloaded | DiskFull: refused before it was proposed.
            CommitTimeout: no quorum in time; the outcome is unknown.
            QueueError: what the state machine refuses with.
        """
        group = self.group(group_id)
        if self.disk.full:
            raise DiskFull(f"broker {self.broker_id} has less than its reserve of free space")
        try:
            admitted = group.propose(
                request, now_ms=time.time_ns() // 1_000_000, clock_ms=self.clock_ms()
            )
            if isinstance(admitted, Answer):
                return admitted.result
            self.turns.mark(group)
            return await self._within(admitted, timeout_ms, group)
        except NotLeader as error:
            raise self._with_address(error) from error

    async def read_barrier(self, group_id: int, *, timeout_ms: int) -> None:
        """Return when the applied state is at least as new as this call (ReadIndex).

        Raises:
            NotLeader | NoLeader: this replica cannot confirm reads.
            CommitTimeout: no quorum in time.
        """
        group = self.group(group_id)
        try:
            future = group.ask_read()
            self.turns.mark(group)
            await self._within(future, timeout_ms, group)
        except NotLeader as error:
            raise self._with_address(error) from error

    async def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return stored batches from the one that contains `offset`, from memory or disk."""
        if offset >= high_watermark:
            return []
        group = self.group(group_id)
        found = self._tails.read(group_id, offset, high_watermark, max_bytes)
        if found is not None:
            return found
        try:
            batches: list[StoredBatch] = await self._in_reader(
                self._storage.read_batches, group_id, offset, high_watermark, max_bytes
            )
        except CorruptEntry as error:
            self.turns.make_faulty(group, str(error))
            raise group.not_leader() from error
        return batches

    @staticmethod
    def clock_ms() -> int:
        """Return the monotonic clock, in milliseconds."""
        return time.monotonic_ns() // 1_000_000

    async def _within(self, future: asyncio.Future[Any], timeout_ms: int, group: Group) -> Any:
        timer = self._loop.call_later(timeout_ms / 1000, self._expire, future, timeout_ms, group)
        try:
            return await future
        finally:
            timer.cancel()

    @staticmethod
    def _expire(future: asyncio.Future[Any], timeout_ms: int, group: Group) -> None:
        if not future.done():
            future.set_exception(
                CommitTimeout(f"{group.label}: no quorum confirmed it within {timeout_ms} ms")
            )

    def _with_address(self, error: NotLeader) -> NotLeader:
        """Return the error with the leader's address, where this broker knows it."""
        leader = error.details.get("leader") or {}
        peer = self.peers.get(leader.get("broker_id", 0))
        if peer is None:
            return error
        place = {"broker_id": peer.broker_id, "address": peer.http_address}
        return NotLeader(error.message, leader=place)

    # --- groups -----------------------------------------------------------------------------

    async def create_group(
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
        used = await self._in_reader(self._storage.used_replica_ids, spec.group_id)
        group = await self.replicas.create(spec, membership, campaign=campaign, used=used)
        self.turns.mark(group)

    async def delete_group(self, group_id: int) -> None:
        """Drop a replica with everything it stored; durable when this returns."""
        group = self.groups.get(group_id)
        if group is not None:
            self._tails.forget(group_id)
            await self.replicas.delete(group)

    async def save_identity(self, identity: BrokerIdentity) -> None:
        """Store who this broker is; durable when this returns."""
        await self.replicas.store(BROKER_STREAM, SaveIdentity(identity))

    async def save_peers(self, peers: Iterable[PeerAddress]) -> None:
        """Store and use the addresses of other brokers."""
        changed = tuple(peer for peer in peers if self.peers.get(peer.broker_id) != peer)
        if changed:
            self._set_peers(changed)
            await self.replicas.store(BROKER_STREAM, SavePeers(changed))

    async def transfer_leadership(self, group_id: int, broker_id: int, *, timeout_ms: int) -> None:
        """Hand leadership to the replica on another broker; returns when that one leads.

        Raises:
            NotLeader | NoLeader: this replica does not lead.
            StalePlacement: the group has no voter there.
            CommitTimeout: it did not happen in time; this replica may lead on.
        """
        group = self.group(group_id)
        await self.failover.transfer(group, broker_id, timeout_ms=timeout_ms)

    async def hand_over_all(self, *, timeout_ms: int) -> int:
        """Hand every leadership to a peer and return how many are still here."""
        return await self.failover.hand_over_all(timeout_ms=timeout_ms)

    def request_checkpoints(self) -> None:
        """Store the state of the groups that applied much since their last checkpoint."""
        self.replicas.store_checkpoints()

    def _set_peers(self, peers: Iterable[PeerAddress]) -> None:
        for peer in peers:
            self.peers[peer.broker_id] = peer
        self._transport.set_peers(
            {broker_id: peer.raft_address for broker_id, peer in self.peers.items()}
        )

    # --- the transport's news ---------------------------------------------------------------

    def rpcs_received(self, broker_id: int, rpcs: list[tuple[int, Rpc]]) -> None:
        """Step the nodes that RPCs are for; those for nobody here are counted and dropped."""
        for group_id, rpc in rpcs:
            group = self.groups.get(group_id)
            if group is None or not group.step(broker_id, rpc):
                self.unknown_groups += 1
                continue
            self.turns.mark(group)

    def peer_connected(self, broker_id: int) -> None:
        """Note a connection from a peer."""
        logger.info("broker %d connected", broker_id)

    def peer_lost(self, broker_id: int) -> None:
        """Start the failover of the groups that the lost broker leads."""
        logger.info("connection from broker %d lost", broker_id)
        self.failover.connection_lost(broker_id)

    def peer_unreachable(self, broker_id: int) -> None:
        """Let the leaders here probe their followers on that broker again."""
        for group in self.groups.values():
            replica_id = group.replica_on(broker_id)
            if replica_id and not group.faulty:
                group.node.report_unreachable(replica_id)
                if group.node.has_ready():
                    self.turns.mark(group)

    async def _in_reader(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self._loop.run_in_executor(self._readers, function, *args)
