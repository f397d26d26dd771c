"""A manager process put together: the metadata in memory, the client for brokers, the runtime."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone

from manager_app import runtime, selectors, upkeep
from manager_app.broker_client import BrokerClient
from manager_app.clients import ClientRegistry
from manager_app.coordinator import GroupCoordinator
from manager_app.database import DatabaseThreads
from manager_app.delivery import Delivery
from manager_app.health import Heartbeats
from manager_app.lease import Lease
from manager_app.metadata import MetadataCopy
from manager_app.offsets import GroupOffsets
from manager_app.partition_calls import PartitionCalls
from manager_app.replica_calls import ReplicaCalls
from manager_app.runtime import ManagerRuntime
from manager_app.services import cluster as cluster_service
from manager_app.signs import SignPassing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from manager_app.selectors import ClientKey, ClientRow
    from queuesite.conf import QueueConfig

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
"""Between two looks at the version of the stored metadata."""
SWEEP_INTERVAL_S = 0.25
"""Between two looks for silent members of groups, which are in memory."""
LEASE_INTERVAL_S = 2.0
"""Between two renewals of the lease by the primary, and two looks at it by the others."""
RECORD_INTERVAL_S = 5.0
"""Between two times that the heartbeats of clients are stored, or passed on to the primary."""
OBSERVE_INTERVAL_S = 2.0
"""Between two looks at the signs of life of brokers that others recorded, and at their states."""
START_TIMEOUT_S = 30.0
"""For a worker process to load the metadata."""


class ManagerProcess:
    """What `manage.py manager` starts and stops; the database is migrated by then."""

    def __init__(
        self,
        config: QueueConfig,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = timezone.now,
        poll_interval_s: float = POLL_INTERVAL_S,
        lease_interval_s: float = LEASE_INTERVAL_S,
    ) -> None:
        """Take the configuration; nothing is opened yet.

        Args:
            config: of this process.
            monotonic_s: clock for silences, in seconds.
            now: wall clock.
            poll_interval_s: between two looks at the version of the stored metadata.
            lease_interval_s: between two renewals of the lease, or looks at it.
        """
        self._config = config
        self._monotonic_s = monotonic_s
        self._now = now
        self._poll_interval_s = poll_interval_s
        self._lease_interval_s = lease_interval_s
        self._database = DatabaseThreads()
        self._broker_client = BrokerClient(config.cluster_secret)
        self._repeated: list[asyncio.Task[None]] = []
        self.metadata = MetadataCopy(
            load=selectors.metadata_load,
            load_version=selectors.metadata_version,
            monotonic_s=monotonic_s,
        )
        self._lease = Lease(address=config.address, metadata=self.metadata, monotonic_s=monotonic_s)

    async def start(self, *, announce: bool = True) -> ManagerRuntime:
        """Load the metadata, open the client for brokers, install the runtime.

        Args:
            announce: become the primary, which coordinates the groups, and take the lease over
                again when a later one is silent; never when it is read-only.
        """
        loop = asyncio.get_running_loop()
        coordinates = announce and not self._config.read_only
        if not self._config.read_only:
            await self._database.run(cluster_service.cluster_ensure)
        if coordinates:
            await self._database.run(self._lease.announce)
        self.metadata.attach(loop)
        await self._database.run(self.metadata.refresh)
        await self._broker_client.open()
        made = self._make_runtime()
        # Not among Celery's tasks: those wait for each other, and one outside hears no heartbeat.
        self._every(self._poll_interval_s, lambda: self._database.run(self.metadata.poll))
        self._every(SWEEP_INTERVAL_S, made.groups.sweep)
        self._every(OBSERVE_INTERVAL_S, lambda: self._database.run(upkeep.observe_brokers, made))
        if self._config.read_only:
            signs = SignPassing(made.clients, self.metadata, self._broker_client, self._monotonic_s)
            self._every(RECORD_INTERVAL_S, signs.pass_on)
        else:
            self._every(
                RECORD_INTERVAL_S, lambda: self._database.run(upkeep.record_heartbeats, made)
            )
        if coordinates:
            self._every(self._lease_interval_s, lambda: self._database.run(self._lease.keep))
        runtime.install(made)
        return made

    def _every(self, interval_s: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do something every now and then from now on."""
        repeated = self._repeat(work, interval_s)
        self._repeated.append(asyncio.get_running_loop().create_task(repeated))

    def _make_runtime(self) -> ManagerRuntime:
        calls = PartitionCalls(self.metadata, self._broker_client)
        group_offsets = GroupOffsets(self.metadata, calls)
        return ManagerRuntime(
            secret=self._config.cluster_secret,
            read_only=self._config.read_only,
            loop=asyncio.get_running_loop(),
            database=self._database,
            metadata=self.metadata,
            calls=calls,
            delivery=Delivery(self.metadata, self._broker_client, calls),
            replica_calls=ReplicaCalls(self.metadata, self._broker_client),
            clients=self._client_registry(),
            groups=GroupCoordinator(
                lease=self._lease,
                database=self._database,
                metadata=self.metadata,
                generation_floor=group_offsets.generation_floor,
                monotonic_s=self._monotonic_s,
                now=self._now,
            ),
            lease=self._lease,
            group_offsets=group_offsets,
            broker_heartbeats=Heartbeats(self._config.dead_after_s),
            monotonic_s=self._monotonic_s,
            now=self._now,
            suspect_after_s=self._config.suspect_after_s,
            replace_after_s=self._config.replace_after_s,
            forget_after_s=self._config.forget_after_s,
            open_calls_max=self._config.long_polls_max,
        )

    def _client_registry(self) -> ClientRegistry:
        return ClientRegistry(
            look_up=self._look_up,
            dead_after_s=self._config.dead_after_s,
            monotonic_s=self._monotonic_s,
            now=self._now,
            read_only=self._config.read_only,
        )

    async def stop(self) -> None:
        """Take the runtime away and close what `start` opened."""
        runtime.install(None)
        for task in self._repeated:
            task.cancel()
            await asyncio.wait((task,))
        self._repeated.clear()
        await self._broker_client.close()
        await asyncio.get_running_loop().run_in_executor(None, self._database.close)

    async def _look_up(self, key: ClientKey) -> ClientRow | None:
        return await self._database.run(selectors.client_find, key)

    async def _repeat(self, work: Callable[[], Awaitable[object]], interval_s: float) -> None:
        """Do something that needs the database every now and then, until it is cancelled."""
        failing = False
        while True:
            await asyncio.sleep(interval_s)
            try:
                await work()
            except DatabaseError as error:
                if not failing:
                    logger.warning("the database cannot be used: %s", error)
                failing = True
            else:
                failing = False


@dataclass
class _Worker:
    """The manager of a Celery worker outside a manager process."""

    process: ManagerProcess
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread


_workers: list[_Worker] = []
_starting = threading.Lock()


def worker_runtime() -> ManagerRuntime:
    """Return this process's runtime; a Celery worker outside a manager gets one of its own.

    Such a worker has no HTTP server: heartbeats reach it through the database.
    """
    with _starting:
        return runtime.installed() or _start_beside()


def stop_worker_runtime() -> None:
    """Stop what `worker_runtime` started in this process, if it did."""
    with _starting:
        while _workers:
            worker = _workers.pop()
            stopping = asyncio.run_coroutine_threadsafe(worker.process.stop(), worker.loop)
            stopping.result(START_TIMEOUT_S)
            worker.loop.call_soon_threadsafe(worker.loop.stop)
            worker.thread.join(START_TIMEOUT_S)
            worker.loop.close()


def _start_beside() -> ManagerRuntime:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="manager-loop", daemon=True)
    thread.start()
    process = ManagerProcess(settings.QUEUE)
    _workers.append(_Worker(process, loop, thread))
    started = asyncio.run_coroutine_threadsafe(process.start(announce=False), loop)
    return started.result(START_TIMEOUT_S)
