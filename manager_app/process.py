"""A manager process put together: metadata, lease, client for brokers, groups, repeated tasks.

Start here to see what a manager does besides answering calls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error, connection
from django.utils import timezone

from http_base.tasks import cancel, every
from manager_app import periodic, runtime, selectors
from manager_app.brokers.client import BrokerClient, BrokerContact
from manager_app.brokers.membership_orders import MembershipOrders
from manager_app.brokers.orders import OrderSender
from manager_app.clients.heartbeat_passing import HeartbeatPassing
from manager_app.clients.registry import ClientRegistry
from manager_app.database import DatabaseThreads, limit_answers
from manager_app.groups.coordinator import GroupCoordinator
from manager_app.groups.offset_moves import GroupOffsetMoves
from manager_app.groups.offsets import GroupOffsetCalls
from manager_app.last_seen import LastSeen
from manager_app.lease import Lease
from manager_app.metadata import MetadataCopy
from manager_app.options import ManagerOptions
from manager_app.proxy.fetch import FetchCalls
from manager_app.proxy.partition_calls import PartitionCalls
from manager_app.runtime import ManagerRuntime
from manager_app.services.cluster import cluster_ensure
from myqueue.contract.errors import QueueError, UnauthorizedException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from manager_app.selectors import ClientKey, ClientRow

POLL_INTERVAL_S = 1.0
"""Between two looks at the version of the stored metadata: how old the copy of a manager may be
after another one changed something. One look reads one number."""
SWEEP_INTERVAL_S = 0.25
"""Between two looks for silent members of groups; they are in memory, so that a look costs
nothing."""
LEASE_INTERVAL_S = 2.0
"""Between two renewals of the lease by the primary, and two looks at it by the others; five of them
fit into `lease.HELD_S`."""
RECORD_INTERVAL_S = 5.0
"""Between two times that heartbeats of clients are stored, or passed on to the primary: in one
write for many, and often enough for a time limit of a minute."""
OBSERVE_INTERVAL_S = 2.0
"""Between two looks at the heartbeats of brokers that other managers recorded, and at their
states."""
UNUSED_INTERVAL_S = 60.0
"""Between two looks for clients in memory that made no call for an hour."""
START_TIMEOUT_S = 30.0
"""For a Celery worker outside a manager process to load the metadata."""


class ManagerProcess:
    """What `manage.py manager` starts and stops; the database is migrated by then."""

    def __init__(
        self,
        options: ManagerOptions,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = timezone.now,
        poll_interval_s: float = POLL_INTERVAL_S,
        lease_interval_s: float = LEASE_INTERVAL_S,
    ) -> None:
        """Take the options; nothing is opened yet.

        Args:
            options: of this process.
            monotonic_s: clock for silences, in seconds.
            now: wall clock.
            poll_interval_s: between two looks at the version of the stored metadata.
            lease_interval_s: between two renewals of the lease, or looks at it.
        """
        self._options = options
        self._monotonic_s = monotonic_s
        self._now = now
        self._poll_interval_s = poll_interval_s
        self._lease_interval_s = lease_interval_s
        self._database = DatabaseThreads()
        self._lease_database = DatabaseThreads(threads_max=1, name="lease")
        self._broker_client = BrokerClient(options.cluster_secret)
        self._repeated: list[asyncio.Task[None]] = []
        self.metadata = MetadataCopy(
            load=selectors.metadata_load,
            load_version=selectors.metadata_version,
            monotonic_s=monotonic_s,
        )
        self._lease = Lease(
            address=options.address, metadata=self.metadata, monotonic_s=monotonic_s
        )

    async def start(self, *, announce: bool = True) -> ManagerRuntime:
        """Load the metadata, open the client for brokers, install the runtime.

        Args:
            announce: become the primary, which coordinates the groups, and take the lease over
                again when a later one is silent; never when it is read-only.
        """
        options, loop = self._options, asyncio.get_running_loop()
        if connection.vendor == "postgresql":
            limit_answers(
                connect_s=options.database_connect_timeout_s,
                answer_s=options.database_answer_timeout_ms / 1000,
            )
        coordinates = announce and not self._options.read_only
        if not self._options.read_only:
            await self._database.run(cluster_ensure)
        if coordinates:
            await self._lease_database.run(self._lease.announce)
        self.metadata.attach(loop)
        await self._database.run(self.metadata.refresh)
        await self._broker_client.open()
        made = self._make_runtime()
        self._begin(made, coordinates=coordinates)
        runtime.install(made)
        return made

    def _begin(self, made: ManagerRuntime, *, coordinates: bool) -> None:
        """Start the tasks that this process repeats.

        They are none of Celery's: those wait for each other, and may run in a process that hears no
        heartbeat.
        """
        run = self._database.run
        self._every(self._poll_interval_s, "polling the metadata", lambda: run(self.metadata.poll))
        self._every(SWEEP_INTERVAL_S, "looking for silent members", made.groups.sweep)
        self._every(
            OBSERVE_INTERVAL_S,
            "looking for silent brokers",
            lambda: run(periodic.observe_brokers, made),
        )
        self._every(UNUSED_INTERVAL_S, "forgetting unused clients", made.clients.forget_unused)
        if self._options.read_only:
            passing = HeartbeatPassing(
                made.clients, self.metadata, self._broker_client, self._monotonic_s
            )
            self._every(RECORD_INTERVAL_S, "passing heartbeats on", passing.pass_on)
        else:
            self._every(
                RECORD_INTERVAL_S,
                "storing heartbeats",
                lambda: run(periodic.record_heartbeats, made),
            )
        if coordinates:
            self._every(
                self._lease_interval_s,
                "keeping the lease",
                lambda: self._lease_database.run(self._lease.keep),
            )

    def _every(self, interval_s: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Repeat something until `stop`; an error of the database or a broker is logged."""
        self._repeated.append(every(interval_s, name, work, expected=(Error, QueueError)))

    def _make_runtime(self) -> ManagerRuntime:
        calls = PartitionCalls(self.metadata, self._broker_client)
        brokers = BrokerContact(self.metadata, self._broker_client)
        group_offsets = GroupOffsetCalls(self.metadata, calls)
        groups = GroupCoordinator(
            lease=self._lease,
            database=self._database,
            metadata=self.metadata,
            generation_floor=group_offsets.generation_floor,
            monotonic_s=self._monotonic_s,
            now=self._now,
        )
        return ManagerRuntime(
            secret=self._options.cluster_secret,
            read_only=self._options.read_only,
            loop=asyncio.get_running_loop(),
            database=self._database,
            metadata=self.metadata,
            calls=calls,
            fetches=FetchCalls(self.metadata, self._broker_client),
            orders=OrderSender(self.metadata, brokers, calls),
            membership_orders=MembershipOrders(brokers),
            clients=self._client_registry(),
            groups=groups,
            lease=self._lease,
            group_offsets=group_offsets,
            group_offset_moves=GroupOffsetMoves(
                groups, group_offsets, self._database, now=self._now
            ),
            broker_heartbeats=LastSeen(self._options.dead_after_s),
            monotonic_s=self._monotonic_s,
            now=self._now,
            suspect_after_s=self._options.suspect_after_s,
            replace_after_s=self._options.replace_after_s,
            forget_after_s=self._options.forget_after_s,
            open_calls_max=self._options.long_polls_max,
        )

    def _client_registry(self) -> ClientRegistry:
        return ClientRegistry(
            look_up=self._look_up,
            dead_after_s=self._options.dead_after_s,
            monotonic_s=self._monotonic_s,
            now=self._now,
            read_only=self._options.read_only,
        )

    def failure(self) -> asyncio.Future[None] | None:
        """Return None: no failure of a part ends a manager; repeated tasks log theirs and go on."""
        return None

    def describe(self) -> str:
        """Return the line that says ready."""
        kind = "read-only manager" if self._options.read_only else "manager"
        return f"{kind} ready on {self._options.address}"

    async def announce_stop(self) -> None:
        """Do nothing: a manager leads no partition that would have to be handed over."""

    async def stop(self) -> None:
        """End the repeated tasks, close connections and wait for database calls under way."""
        runtime.install(None)
        await cancel(self._repeated)
        self._repeated.clear()
        await self._broker_client.close()
        for database in (self._database, self._lease_database):
            await asyncio.get_running_loop().run_in_executor(None, database.close)

    async def _look_up(self, key: ClientKey) -> ClientRow | None:
        return await self._database.run(selectors.client_find, key)


_starting = threading.Lock()


def worker_runtime() -> ManagerRuntime:
    """Return this process's runtime; a Celery worker outside a manager gets one of its own.

    Such a worker has no HTTP server: heartbeats reach it through the database. Its runtime ends
    with the process.
    """
    with _starting:
        return runtime.installed() or _start_beside()


def _start_beside() -> ManagerRuntime:
    if not selectors.secret_fits(settings.QUEUE.cluster_secret):
        raise UnauthorizedException("this worker's CLUSTER_SECRET is not the one of the cluster")
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="manager-loop", daemon=True).start()
    process = ManagerProcess(ManagerOptions.of(settings.QUEUE))
    started = asyncio.run_coroutine_threadsafe(process.start(announce=False), loop)
    return started.result(START_TIMEOUT_S)
