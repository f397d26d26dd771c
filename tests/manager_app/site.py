"""A manager with brokers in memory, called like over HTTP but in the same loop."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.utils import timezone
from msgspec.structs import replace

from http_base.cluster import BrokerOrders, BrokerReport
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.threaded_django import ThreadedDjango
from http_base.tokens import cluster_token
from http_base.worker_threads import WorkerThreads
from manager_app.brokers.client import SILENT_S
from manager_app.fence import write_under
from manager_app.models import Broker, BrokerState, Cluster
from manager_app.placement import topic_changes
from manager_app.process import ManagerProcess
from manager_app.services.cluster import fenced, metadata_bump
from manager_app.urls import DOOR, HOT_PATHS, JSON_BYTES_MAX
from myqueue.contract.errors import from_body
from tests.http_base.asgi_client import Answer, call
from tests.manager_app.broker_twin import DISK_FREE_BYTES, TwinCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from manager_app.runtime import ManagerRuntime
    from tests.manager_app.broker_twin import BrokerTwin


THREADS = WorkerThreads(16, name="request")
"""Of all sites, which tests make one after the other."""
ANSWER_S = 60.0
"""For an answer that only a busy machine delays."""


@dataclass
class Clock:
    """Time that moves when the test says so."""

    seconds: float = 1_000.0
    start: datetime = field(default_factory=lambda: datetime.now(UTC))

    def monotonic_s(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds - 1_000.0)


class Site:
    """What a test talks to."""

    def __init__(self) -> None:
        self.config = replace(settings.QUEUE, current_address="http://manager.test:8000")
        self.clock = Clock()
        self.twins = TwinCluster(settings.QUEUE.cluster_secret)
        self.twins.send_report = self.send_report
        self.django = ThreadedDjango(ASGIHandler(), THREADS)
        self.hot_app = HotPaths(
            self.django, HOT_PATHS, JSON_BYTES_MAX, bodies=MemoryBudget().bodies, door=DOOR
        )
        self.app: Any = self.hot_app
        self.process: ManagerProcess | None = None
        self._runtime: ManagerRuntime | None = None
        self._polling = threading.Lock()

    @property
    def cluster_token(self) -> str:
        return cluster_token(settings.QUEUE.cluster_secret)

    @property
    def runtime(self) -> ManagerRuntime:
        assert self._runtime is not None
        return self._runtime

    async def start(self, *, brokers: int = 3) -> None:
        await self.start_manager()
        await self.twins.add(brokers)
        if brokers:
            await self.in_database(self.store_brokers, self.twins.brokers)

    def store_brokers(self, twins: list[BrokerTwin]) -> None:
        """Store new brokers as their first reports do, which take most of the time of a test."""
        now = timezone.now()
        with fenced():
            metadata_bump()
            rows = Broker.objects.bulk_create(
                Broker(
                    incarnation=twin.incarnation,
                    address=twin.address,
                    raft_address=twin.raft_address,
                    state=BrokerState.ALIVE,
                    last_heartbeat=now,
                    disk_free_bytes=DISK_FREE_BYTES,
                )
                for twin in twins
            )
        for twin, row in zip(twins, rows, strict=True):
            twin.broker_id = row.broker_id
            seen = self.runtime.broker_heartbeats
            seen.beat(row.broker_id, self.clock.monotonic_s(), marker=now)
        self.runtime.metadata.refresh()

    async def start_manager(self, *, read_only: bool = False) -> None:
        options = self.config
        if read_only:
            options = replace(options, read_only=True, current_address="http://reader.test:8000")
        self.process = ManagerProcess(
            options,
            monotonic_s=self.clock.monotonic_s,
            now=self.clock.now,
            poll_interval_s=0.02,
        )
        poll = self.process.metadata.poll

        def poll_alone() -> bool:
            with self._polling:
                return poll()

        self.process.metadata.poll = poll_alone  # type: ignore[method-assign]
        self._runtime = await self.process.start()

    async def stop_polling(self) -> None:
        """Let the manager poll no more by itself, and wait for a poll under way."""
        assert self.process is not None
        self.process._repeated[0].cancel()
        await asyncio.to_thread(self._polling.acquire)
        self._polling.release()

    async def stop_manager(self) -> None:
        assert self.process is not None
        await self.process.stop()
        self.process = None

    async def restart_manager(self, *, read_only: bool = False) -> None:
        """Start another process; of a read-only one the primary is at work elsewhere."""
        await self.stop_manager()
        if read_only:
            rows = Cluster.objects.filter(pk=1)
            await sync_to_async(rows.update)(primary_address=self.config.address)
        await self.start_manager(read_only=read_only)

    async def keep_lease(self) -> None:
        """Let the manager renew its lease, or look at that of another.

        Nothing else does: the tests let it end by the clock that they move.
        """
        await self.in_database(self.runtime.lease.keep)

    async def stop(self) -> None:
        await self.twins.stop()
        if self.process is not None:
            await self.stop_manager()
        write_under(None)  # the rows of the test are deleted under no lease

    async def send(
        self,
        method: str,
        target: str,
        *,
        body: bytes | list[bytes] = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        answer = await call(self.app, method, target, body=body, headers=headers)
        assert answer is not None
        return answer

    async def ask(
        self, method: str, target: str, fields: Any = None, *, status: int = 200, **headers: str
    ) -> Any:
        """Send fields as JSON; return those of the answer, which must have this status."""
        body = b"" if fields is None else msgspec.json.encode(fields)
        answer = await self.send(
            method, target, body=body, headers={"content-type": "application/json", **headers}
        )
        assert answer.status == status, answer
        fields = answer.json
        assert fields["status"] == ("success" if status < 208 else "failure"), answer
        return fields

    async def get(self, target: str, *, status: int = 200) -> Any:
        return await self.ask("GET", target, status=status)

    async def post(self, target: str, fields: Any, *, status: int = 200) -> Any:
        return await self.ask("POST", target, fields, status=status)

    async def send_report(self, report: BrokerReport) -> BrokerOrders:
        answer = await self.send(
            "POST",
            "/brokers/heartbeat",
            body=msgspec.json.encode(report),
            headers={
                "content-type": "application/json",
                "authorization": f"Bearer {self.cluster_token}",
            },
        )
        if answer.status != 200:
            raise from_body(answer.status, answer.json)
        fields = answer.json
        del fields["status"]
        return msgspec.convert(fields, BrokerOrders)

    async def create_topic(self, topic: str = "logs", partitions: int = 4) -> Any:
        """Create a topic whose partitions have leaders, however long that takes here."""
        with patch.object(topic_changes, "LEADERS_WAIT_S", ANSWER_S):
            created = await self.post(
                "/topics", {"topic": topic, "number_of_partitions": partitions}, status=201
            )
        await self.twins.reported()
        assert created["leaders_pending"] == [], created
        return created

    async def producer(self, topic: str = "logs") -> int:
        return int((await self.post("/producer/register", {"topic": topic}))["producer_id"])

    async def consumer(self, topic: str = "logs", **fields: Any) -> int:
        call = {"topic": topic, **fields}
        return int((await self.post("/consumer/register", call))["consumer_id"])

    async def produce(self, producer_id: int, message: str, **fields: Any) -> Any:
        topic = fields.pop("topic", "logs")
        return await self.post(
            "/producer/produce",
            {"topic": topic, "producer_id": producer_id, "message": message, **fields},
        )

    def silence(self, *twins: BrokerTwin) -> None:
        """Have the manager take brokers for silent, as after calls that they did not answer."""
        now_s = time.monotonic()
        for twin in twins:
            self.runtime.primary.silences.missed(twin.address, now_s - SILENT_S, now_s)

    async def in_database(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function that uses the database, in a thread, as tasks and views do."""
        return await self.runtime.database.run(function, *args)
