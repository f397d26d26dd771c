"""A broker process put together: storage, engine, transport, and the link to the managers."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from broker_app import runtime
from broker_app.known_tokens import guard_of
from broker_app.links.manager_link import ManagerLink
from broker_app.links.peer_link import PeerLink
from broker_app.links.reports import make_report
from broker_app.partition.statemachine import PartitionState
from broker_app.runtime import BrokerRuntime
from broker_app.secret_proof import SecretProof
from broker_app.services.dead_letters import dead_letters_start
from broker_app.services.partitions import partition_create, partition_delete
from broker_app.services.replicas import replica_discard
from http_base import guard
from http_base.kept import Kept
from http_base.memory_budget import MemoryBudget
from http_base.tokens import secret_fingerprint
from myqueue.contract.errors import Forbidden, QueueError, UnauthorizedException
from raft_app import registry
from raft_app.engine.engine import Engine
from raft_app.engine.local_replicas import Event
from raft_app.engine.vouching import Remembered
from raft_app.storage.protocol import PeerAddress, SaveIdentity
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.workers import StorageThreads
from raft_app.transport.tcp.transport import TcpTransport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker_app.options import BrokerOptions
    from http_base.cluster import BrokerOrders, BrokerReport, ReplicaOrder
    from raft_app.storage.protocol import BrokerIdentity

logger = logging.getLogger(__name__)

ORDERS_AT_ONCE = 100
"""Orders that are looked at before others have their turn in the loop."""
HAND_OVER_TIMEOUT_MS = 2_000
"""How long a stopping broker waits for its leaderships to move."""
_RIGHT_SECRET = "set QUEUE_CLUSTER_SECRET to the one of the cluster"  # noqa: S105 - what to do


class JoinRefused(Exception):
    """The cluster does not want this broker; one clear line says why. Exit status 2."""


class BrokerProcess:
    """Everything of a broker but HTTP and ticks; started and stopped in the loop that owns it."""

    def __init__(self, options: BrokerOptions, *, memory: MemoryBudget) -> None:
        """Make a broker; nothing is touched before `start`.

        Args:
            options: where it lies, whom it asks, its limits.
            memory: what it may hold in memory.
        """
        self.options = options
        self._memory = memory
        self._storage = SqliteStorage(options.data_dir)
        self._link = ManagerLink(options.manager_addresses, options.cluster_secret, tls=options.tls)
        self._proof = SecretProof(options.data_dir)
        self._stopping = False

    async def start(self) -> None:
        """Open the data directory, join the cluster, start the engine, install the runtime.

        Waits for a manager only when the directory never belonged to a broker.

        Raises:
            StorageRefusal: the directory must not be used as it is.
            JoinRefused: a manager refuses this broker, or its secret is not the cluster's.
            OSError: the Raft port cannot be listened on.
        """
        try:
            await self._start()
        except BaseException:  # also a stop while it waits for its first manager
            await self._link.stop()
            raise

    async def _start(self) -> None:
        self._identity = await asyncio.to_thread(self._open)
        try:
            await (self._require_secret() if self._identity.broker_id else self._join())
        except BaseException:
            self._storage.close()
            raise
        self.engine = self._make_engine()
        self._unreported = self.engine.replicas.watch(*Event)
        self._peers = PeerLink(self.engine.peers, self.options.cluster_secret, tls=self.options.tls)
        self.runtime = BrokerRuntime(
            self.engine, self._link, self.options, peers=self._peers, identity=self._identity
        )
        self.engine.on_leadership.append(
            lambda replica: self._link.leadership_changed(replica.group_id)
        )
        await self.engine.start()
        registry.install(self.engine)
        runtime.install(self.runtime)
        guard.install(guard_of(self.runtime, self.options.cluster_secret))
        self._link.start(
            self._report, self.take_orders, learn=self._learn, on_failure=self.engine.fail
        )
        self._link.heartbeat()
        dead_letters_start(self.runtime)

    def failure(self) -> asyncio.Future[None]:
        """Return what is done with an exception when the process must end at once."""
        return self.engine.failure

    def describe(self) -> str:
        """Return the line that the process prints when it is ready."""
        options = self.options
        return f"broker {self.broker_id} ready on {options.address} (Raft {options.raft_address})"

    @property
    def broker_id(self) -> int:
        """This broker's id in the cluster."""
        return self._identity.broker_id

    async def announce_stop(self) -> None:
        """Say that this broker stops, hand its leaderships over, end its long polls."""
        self._stopping = True
        self._link.heartbeat()
        left = await self.engine.hand_over_all(timeout_ms=HAND_OVER_TIMEOUT_MS)
        if left:
            logger.warning("%d leaderships could not be handed over", left)
        self.runtime.end_long_polls()

    async def stop(self) -> None:
        """Close what `start` opened. Comes after HTTP is drained."""
        guard.install(None)
        runtime.install(None)
        registry.install(None)
        await self.runtime.stop()
        await self._link.stop()
        await self._peers.stop()
        await self.engine.stop()

    # --- joining ----------------------------------------------------------------------------

    def _open(self) -> BrokerIdentity:
        identity = self._storage.open()
        self._storage.close_thread_connection()
        return identity

    async def _join(self) -> None:
        """Get a broker id from a manager and store it before anything else happens.

        Raises:
            JoinRefused: a manager refused this broker for good.
        """
        try:
            orders = await self._link.join(self._first_report(full=True))
        except QueueError as error:
            raise self._refused(error) from error
        self._identity = replace(
            self._identity, broker_id=orders.broker_id, cluster_id=orders.cluster_id
        )
        await asyncio.to_thread(self._store_identity)
        await asyncio.to_thread(self._proof.keep, self._fingerprint)

    async def _require_secret(self) -> None:
        """Do not start with another secret than the one that a manager took.

        Where it is not known which one that was, the managers are asked, once: a broker starts
        without them.

        Raises:
            JoinRefused: the secret is another one, or a manager refuses it.
        """
        fits = await asyncio.to_thread(self._proof.fits, self._fingerprint)
        if fits is False and not self.options.change_secret:
            raise JoinRefused(
                f"the secret is not the one that broker {self.broker_id} in"
                f" {self.options.data_dir} joined its cluster with: {_RIGHT_SECRET}"
            )
        if fits:
            return
        try:
            await self._link.send(self._first_report(full=False))
        except UnauthorizedException as error:
            raise self._refused(error) from error
        except QueueError as error:
            logger.warning("no manager says whether the secret is right: %s", error.message)
        else:
            await asyncio.to_thread(self._proof.keep, self._fingerprint)

    @property
    def _fingerprint(self) -> str:
        return secret_fingerprint(self.options.cluster_secret, self._identity.cluster_id)

    def _refused(self, error: QueueError) -> JoinRefused:
        managers = ", ".join(self.options.manager_addresses)
        if isinstance(error, UnauthorizedException):
            return JoinRefused(f"the manager at {managers} has another secret: {_RIGHT_SECRET}")
        return JoinRefused(f"the manager at {managers} refuses this broker: {error.message}")

    def _store_identity(self) -> None:
        self._storage.write([SaveIdentity(self._identity)])
        self._storage.close_thread_connection()

    def _first_report(self, *, full: bool) -> BrokerReport:
        """Return a report without replicas; `full` when the broker has none."""
        return make_report((), self._identity, self.options, epoch=0, stopping=False, full=full)

    def _make_engine(self) -> Engine:
        options = self.options
        transport = TcpTransport(
            self._identity.cluster_id,
            self._identity.broker_id,
            options.cluster_secret,
            host=options.bind_host,
            port=options.raft_port,
            limits=options.transport,
            tls=options.tls,
            queues=self._memory.queues,
        )
        return Engine(
            storage=self._storage,
            transport=transport,
            factory=partial(PartitionState, limits=options.state),
            config=options.engine,
            randomizer=random.SystemRandom().randrange,
            memory=self._memory,
            workers=StorageThreads(
                self._storage,
                reader_threads=options.engine.reader_threads,
                close_thread=self._storage.close_thread_connection,
                free_bytes=lambda: shutil.disk_usage(options.data_dir).free,
            ),
        )

    # --- reports and orders -----------------------------------------------------------------

    def _report(self, full: bool, changed: frozenset[int]) -> BrokerReport:
        """Return a report of what has changed since the last full one, or of some groups."""
        replicas = self.engine.replicas
        gone: list[int] = []
        if full:
            changed = frozenset(self._unreported)
            gone = [group_id for group_id in changed if group_id not in replicas]
            self._unreported.clear()
        report = make_report(
            [replicas[one] for one in changed if one in replicas],
            self._identity,
            self.options,
            epoch=self.runtime.epoch,
            stopping=self._stopping,
            full=full,
            disk_free_bytes=self.engine.disk.free_bytes,
            disk_slow=self.engine.slow_disk.is_slow,
        )
        return structs.replace(report, gone=gone, access_version=self.runtime.access_version)

    def _learn(self, orders: BrokerOrders) -> None:
        """Take over at once who may do what: orders may take their time."""
        if orders.access is not None and orders.cluster_id == self._identity.cluster_id:
            self.runtime.learn_access(orders.access)

    async def take_orders(self, orders: BrokerOrders) -> None:
        """Carry out a manager's answer: what it remembers, addresses, replicas, groups to drop.

        Raises:
            QueueError: an order was refused; the others were carried out.
        """
        if orders.cluster_id != self._identity.cluster_id:
            raise Forbidden(
                f"the manager belongs to cluster {orders.cluster_id}, this broker to"
                f" {self._identity.cluster_id}"
            )
        await self.runtime.obey_epoch(orders.epoch)
        if orders.remembered is not None:
            self.engine.vouching.judge(
                Remembered(
                    one.group_id,
                    one.replica_id,
                    Kept(one.kept_term, one.kept_index, one.kept_entry_term),
                )
                for one in orders.remembered
            )
        await self.engine.save_peers(
            PeerAddress(place.broker_id, place.address, place.raft_address)
            for place in orders.brokers
        )
        self.runtime.revoke(orders.revoked_producers, orders.revoked_consumers)
        refused: list[QueueError] = []
        for deleted in orders.deleted_groups:
            try:
                await partition_delete(runtime=self.runtime, deleted=deleted)
            except QueueError as error:
                refused.append(error)
        for removed in orders.removed_replicas:
            try:
                await replica_discard(
                    runtime=self.runtime,
                    group_id=removed.group_id,
                    replica_id=removed.replica_id,
                    ask=[removed.leader_broker_id],
                )
            except QueueError as error:
                refused.append(error)
        refused += await self._place(orders.assignment)
        if refused:
            raise refused[-1]

    async def _place(self, assignment: Iterable[ReplicaOrder]) -> list[QueueError]:
        """Make the replicas that should be here; return why some were not made."""
        refused: list[QueueError] = []
        for number, order in enumerate(assignment, start=1):
            if number % ORDERS_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                await partition_create(runtime=self.runtime, order=order)
            except QueueError as error:
                refused.append(error)
        return refused
