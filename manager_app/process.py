"""A manager process put together: metadata, lease, client for brokers, groups, repeated tasks.

Start here to see what a manager does besides answering calls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error, connection
from django.utils import timezone

from http_base import guard
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
from manager_app.groups.standings import RECENT_S, StandingsCopy
from manager_app.health.histories import STEP_S
from manager_app.health.watch import Sources, Watch
from manager_app.known_tokens import guard_of
from manager_app.last_seen import LastSeen
from manager_app.lease import Lease
from manager_app.metadata import MetadataCopy
from manager_app.options import ManagerOptions
from manager_app.proxy.partition_calls import PartitionCalls
from manager_app.proxy.several import SeveralCalls
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
RECORD_INTERVAL_S = 5.0
"""Between two times that heartbeats of clients are stored, or passed on to the primary: in one
write for many, and often enough for a time limit of a minute."""
OBSERVE_INTERVAL_S = 2.0
"""Between two looks at the heartbeats of brokers that other managers recorded, and at their
states."""
UNUSED_INTERVAL_S = 60.0
"""Between two looks for clients in memory that made no call for an hour."""
USED_INTERVAL_S = 60.0
"""Between two times that the use of API tokens is stored."""
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
        works: bool = False,
    ) -> None:
        """Take the options; nothing is opened yet.

        Args:
            options: of this process.
            monotonic_s: clock for silences, in seconds.
            now: wall clock.
            poll_interval_s: between two looks at the version of the stored metadata.
            works: it is no manager, but does the tasks of whichever is the primary.
        """
        self._options = options
        self._works = works
        self._monotonic_s = monotonic_s
        self._now = now
        self._poll_interval_s = poll_interval_s
        self._database = DatabaseThreads()
        self._broker_client = BrokerClient(options.cluster_secret, tls=options.tls)
        self._repeated: list[asyncio.Task[None]] = []
        self.metadata = MetadataCopy(
            load=selectors.metadata_load,
            load_version=selectors.metadata_version,
            monotonic_s=monotonic_s,
        )
        self._lease = Lease(
            address=options.address,
            metadata=self.metadata,
            monotonic_s=monotonic_s,
            follows=works,
        )

    async def start(self) -> ManagerRuntime:
        """Take the lease if no other manager may hold it, load the metadata, install the runtime.

        A read-only manager never takes the lease, nor does a process that only works for others.
        """
        options, loop = self._options, asyncio.get_running_loop()
        if connection.vendor == "postgresql":
            limit_answers(
                connect_s=options.database_connect_timeout_s,
                answer_s=options.database_answer_timeout_ms / 1000,
            )
        if not options.read_only:
            await self._database.run(cluster_ensure)
            if not self._works:
                alone = connection.vendor == "sqlite"  # one process alone may write such a file
                await self._database.run(partial(self._lease.begin, alone=alone))
        self.metadata.attach(loop)
        await self._database.run(self.metadata.refresh)
        await self._broker_client.open()
        made = self._make_runtime()
        self._begin(made)
        runtime.install(made)
        guard.install(guard_of(made))
        return made

    def _begin(self, made: ManagerRuntime) -> None:
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
        self._every(
            USED_INTERVAL_S,
            "storing the use of API tokens",
            lambda: run(periodic.record_token_uses, made),
        )
        if not self._works:
            self._every(RECENT_S, "asking where groups are", made.standings.ask)
            self._every(STEP_S, "looking at the cluster", made.watch.look)
        passing = HeartbeatPassing(
            made.clients, self.metadata, self._broker_client, self._monotonic_s
        )

        async def store_or_pass() -> None:
            if made.is_primary:
                await run(periodic.record_heartbeats, made)
            else:
                await passing.pass_on()

        self._every(RECORD_INTERVAL_S, "storing heartbeats", store_or_pass)

    def _every(self, interval_s: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Repeat something until `stop`; an error of the database or a broker is logged."""
        self._repeated.append(every(interval_s, name, work, expected=(Error, QueueError)))

    def _make_runtime(self) -> ManagerRuntime:
        calls = PartitionCalls(self.metadata, self._broker_client)
        brokers = BrokerContact(self.metadata, self._broker_client)
        standings = StandingsCopy(self.metadata, brokers, self._monotonic_s)
        heartbeats: LastSeen[int] = LastSeen(self._options.dead_after_s)
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
            several=SeveralCalls(self.metadata, self._broker_client),
            primary=self._broker_client,
            standings=standings,
            watch=self._make_watch(brokers, standings, heartbeats),
            orders=OrderSender(self.metadata, brokers, calls),
            membership_orders=MembershipOrders(brokers),
            clients=self._client_registry(),
            groups=groups,
            lease=self._lease,
            group_offsets=group_offsets,
            group_offset_moves=GroupOffsetMoves(
                groups, group_offsets, self._database, now=self._now
            ),
            broker_heartbeats=heartbeats,
            monotonic_s=self._monotonic_s,
            now=self._now,
            suspect_after_s=self._options.suspect_after_s,
            replace_after_s=self._options.replace_after_s,
            forget_after_s=self._options.forget_after_s,
            open_calls_max=self._options.long_polls_max,
        )

    def _make_watch(
        self, brokers: BrokerContact, standings: StandingsCopy, heartbeats: LastSeen[int]
    ) -> Watch:
        return Watch(
            Sources(
                metadata=self.metadata,
                brokers=brokers,
                standings=standings,
                database=self._database,
                heartbeats=heartbeats,
                suspect_after_s=self._options.suspect_after_s,
                replace_after_s=self._options.replace_after_s,
                monotonic_s=self._monotonic_s,
            )
        )

    def _client_registry(self) -> ClientRegistry:
        return ClientRegistry(
            look_up=self._look_up,
            dead_after_s=self._options.dead_after_s,
            monotonic_s=self._monotonic_s,
            now=self._now,
            epoch=lambda: self._lease.held_epoch,
            is_silent=lambda: self.metadata.is_silent,
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
        """End the repeated tasks, give the lease back, wait for database calls under way."""
        guard.install(None)
        runtime.install(None)
        await cancel(self._repeated)
        self._repeated.clear()
        await self._broker_client.close()
        await self._database.run(self._lease.give_back)
        await asyncio.get_running_loop().run_in_executor(None, self._database.close)

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
        raise UnauthorizedException(
            "this worker's QUEUE_CLUSTER_SECRET is not the one of the cluster"
        )
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="manager-loop", daemon=True).start()
    process = ManagerProcess(ManagerOptions.of(settings.QUEUE), works=True)
    started = asyncio.run_coroutine_threadsafe(process.start(), loop)
    return started.result(START_TIMEOUT_S)
