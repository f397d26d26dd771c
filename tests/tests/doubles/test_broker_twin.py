"""What a manager may ask of a broker, asked of the twin in its tests and of a real broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler

from broker_app import runtime as runtimes
from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from http_base.cluster import BrokerOrders, ReplicaOrder, ReplicaPlace
from http_base.tokens import cluster_token
from myqueue.contract.inputs import BATCH, MSGPACK
from myqueue.contract.records import Record, decode_records, encode_batch, unframe_batches
from raft_app.storage.protocol import BrokerIdentity
from tests.broker_app.engine_twin import runtime_over
from tests.doubles.storage import MemoryStorage
from tests.http_base.asgi_client import Answer, call
from tests.manager_app.broker_twin import TwinCluster
from tests.raft_app.engine.engine_harness import PACE_SECONDS, EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from http_base.cluster import BrokerReport

GROUP = 7
PLACES = [ReplicaPlace(71, 1), ReplicaPlace(72, 2)]
LOGS = {"topic": "logs", "partition": 0}
IN_TIME = {"timeout_ms": 5_000}
PATIENCE_S = 20.0
INCARNATION = "i" * 32


class Brokers(Protocol):
    """Two brokers with the ids 1 and 2."""

    async def send(
        self, broker_id: int, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> Answer:
        """Send a request as a manager does."""


class Twins:
    """Those of the manager's tests, behind their sockets."""

    def __init__(self, twins: TwinCluster, http: aiohttp.ClientSession) -> None:
        self._twins = twins
        self._http = http

    async def send(
        self, broker_id: int, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> Answer:
        url = self._twins.by_id(broker_id).address + target
        async with self._http.request(method, url, data=body, headers=headers) as answer:
            named = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, named, await answer.read())


@asynccontextmanager
async def twins() -> AsyncIterator[Twins]:
    cluster = TwinCluster(django_settings.QUEUE.cluster_secret)
    cluster.send_report = orders_of(cluster)
    async with aiohttp.ClientSession() as http:
        await cluster.add(2)
        for twin in cluster.brokers:
            await twin.report()
        try:
            yield Twins(cluster, http)
        finally:
            await cluster.stop()


def orders_of(cluster: TwinCluster) -> Any:
    """Stand in for the manager: it gives ids in order."""

    async def answer(report: BrokerReport) -> BrokerOrders:
        addresses = [twin.address for twin in cluster.brokers]
        broker_id = 1 + addresses.index(report.address)
        return BrokerOrders(cluster_id="c", broker_id=broker_id, epoch=1, brokers=[])

    return answer


class RealBrokers:
    """Broker's views and services over the real engine, in one loop, over storage in memory."""

    def __init__(self, engines: EngineCluster) -> None:
        self._runtimes = {
            one: runtime_over(engine, identity=BrokerIdentity(INCARNATION, one, "c"))
            for one, engine in engines.engines.items()
        }
        self._app = ASGIHandler()

    async def send(
        self, broker_id: int, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> Answer:
        runtimes.install(self._runtimes[broker_id])
        headers = {**headers, "content-length": str(len(body))}
        answer = await call(self._app, method, target, body=body, headers=headers)
        assert answer is not None
        return answer


@asynccontextmanager
async def real_brokers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealBrokers]:
    factory = partial(PartitionState, limits=StateLimits())
    monkeypatch.setattr("tests.raft_app.engine.engine_harness.ListMachine", factory)
    engines = EngineCluster(2, make_storage=lambda _: MemoryStorage(incarnation=INCARNATION))
    await engines.start_all()

    async def tick() -> None:
        while True:
            await engines.ticks(1)
            await asyncio.sleep(PACE_SECONDS)

    ticking = asyncio.ensure_future(tick())
    try:
        yield RealBrokers(engines)
    finally:
        ticking.cancel()
        await asyncio.wait((ticking,))
        runtimes.install(None)
        await engines.stop_all()


class Manager:
    """Asks as a manager does."""

    def __init__(self, brokers: Brokers) -> None:
        self.brokers = brokers

    async def send(
        self, method: str, path: str, *, at: int = 1, **fields: Any
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the body of an answer."""
        query = method in ("GET", "DELETE") and fields
        answer = await self.brokers.send(
            at,
            method,
            f"{path}?{urlencode(fields)}" if query else path,
            b"" if query or not fields else msgspec.msgpack.encode(fields),
            headers_of(MSGPACK, MSGPACK),
        )
        return answer.status, msgspec.msgpack.decode(answer.body)

    async def ask(self, method: str, path: str, *, at: int = 1, **fields: Any) -> dict[str, Any]:
        """Return the body of a success."""
        status, body = await self.send(method, path, at=at, **fields)
        assert status in {200, 201, 202}, body
        assert body["status"] == "success"
        return body

    async def refusal(self, method: str, path: str, *, at: int = 1, **fields: Any) -> str:
        """Return the code of a failure."""
        status, body = await self.send(method, path, at=at, **fields)
        assert status >= 400, body
        assert body["status"] == "failure"
        return str(body["code"])

    async def reports(self, at: int = 1) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.ask("GET", "/partitions", at=at))["partitions"]
        return found

    async def make(self) -> None:
        """Order both replicas; return when the first leads and the other knows it."""
        for place in reversed(PLACES):
            order = ReplicaOrder(
                group_id=GROUP,
                replica_id=place.replica_id,
                topic="logs",
                partition=0,
                bootstrap=True,
                replicas=PLACES,
                epoch=1,
                version=1,
            )
            fields = msgspec.to_builtins(order)
            await self.ask("POST", "/partitions", at=place.broker_id, **fields)
        async with asyncio.timeout(PATIENCE_S):
            while not all([await self._hears_leader(one.broker_id) for one in PLACES]):
                await asyncio.sleep(PACE_SECONDS)

    async def _hears_leader(self, broker_id: int) -> bool:
        [report] = await self.reports(broker_id)
        return bool(report["leader_broker_id"] == 1)

    async def produce(self, *values: str, **fields: Any) -> dict[str, Any]:
        return await self.ask(
            "POST", "/producer/produce", **LOGS, producer_id=3, messages=list(values), **fields
        )

    async def consume(self, **fields: Any) -> dict[str, Any]:
        return await self.ask("POST", "/consumer/consume", **LOGS, consumer_id=5, **fields)


def headers_of(content_type: str, accept: str) -> dict[str, str]:
    token = cluster_token(django_settings.QUEUE.cluster_secret)
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": content_type,
        "Accept": accept,
    }


@pytest.fixture(params=["twins", "real brokers"])
async def manager(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Manager]:
    """A manager of a partition that broker 1 leads."""
    settings.ROOT_URLCONF = "queuesite.urls_broker"
    place = twins() if request.param == "twins" else real_brokers(monkeypatch)
    async with place as brokers:
        manager = Manager(brokers)
        await manager.make()
        yield manager


async def test_an_ordered_replica_is_reported(manager: Manager) -> None:
    for place in PLACES:
        [report] = await manager.reports(place.broker_id)
        leads = place.broker_id == 1
        assert (report["group_id"], report["replica_id"]) == (GROUP, place.replica_id)
        assert (report["topic"], report["partition"]) == ("logs", 0)
        assert (report["role"], report["serves"]) == ("leader" if leads else "follower", leads)
        assert report["leader_broker_id"] == 1
        assert report["replicas"] == msgspec.to_builtins(PLACES)
        assert (report["log_start_offset"], report["high_watermark"]) == (0, 0)
        assert (report["placement_version"], report["faulty"], report["suspects"]) == (1, "", [])
    assert await manager.ask("GET", "/partitions", topic="other") == {
        "status": "success",
        "partitions": [],
        "next": None,
    }


async def test_who_has_no_token_of_the_cluster_is_refused(manager: Manager) -> None:
    headers = headers_of(MSGPACK, MSGPACK) | {"Authorization": "Bearer x"}
    body = msgspec.msgpack.encode({**LOGS, "consumer_id": 5, "start": "earliest", **IN_TIME})
    answer = await manager.brokers.send(1, "POST", "/cursors/open", body, headers)
    assert answer.status == 401
    assert msgspec.msgpack.decode(answer.body)["code"] == "UNAUTHORIZED"


async def test_another_broker_says_who_leads_and_a_strange_partition_is_told(
    manager: Manager,
) -> None:
    call = {**LOGS, "producer_id": 3, "messages": ["x"]}
    status, body = await manager.send("POST", "/producer/produce", at=2, **call)
    assert (status, body["code"], body["leader"]["broker_id"]) == (421, "NOT_LEADER", 1)
    for path, fields in (
        ("/producer/produce", {"producer_id": 3, "messages": ["x"]}),
        ("/consumer/consume", {"consumer_id": 5}),
        ("/cursors/open", {"consumer_id": 5, "start": "earliest", **IN_TIME}),
    ):
        code = await manager.refusal("POST", path, topic="logs", partition=1, **fields)
        assert code == "PARTITION_NOT_FOUND"


async def test_what_is_produced_is_counted_from_zero_and_once_by_its_mark(
    manager: Manager,
) -> None:
    first = await manager.produce("a", "b", request_id="one")
    assert (first["partition"], first["base_offset"], first["count"]) == (0, 0, 2)
    assert first["term"] >= 1
    again = await manager.produce("a", "b", request_id="one")
    assert (again["base_offset"], again["count"]) == (0, 2)
    assert (await manager.produce("c"))["base_offset"] == 2
    [report] = await manager.reports()
    assert report["high_watermark"] == 3


async def test_messages_are_purged_up_to_an_offset_and_again_changes_nothing(
    manager: Manager,
) -> None:
    await manager.produce("a")
    await manager.produce("b")
    for below in (1, 1, 2, 0):
        purged = await manager.ask("POST", "/messages/purge", **LOGS, below=below, **IN_TIME)
        assert purged["log_start_offset"] == max(1, below) if below else 2
    code = await manager.refusal("POST", "/messages/purge", **LOGS, below=3, **IN_TIME)
    assert code == "OFFSET_OUT_OF_RANGE"
    [report] = await manager.reports()
    assert (report["log_start_offset"], report["high_watermark"]) == (2, 2)


async def test_a_batch_is_stored_as_it_came_and_fetched_so(manager: Manager) -> None:
    batch = encode_batch([Record("in a batch", key="k", headers={"h": b"\x01"}, timestamp=1)])
    query = urlencode({**LOGS, "producer_id": 3, **IN_TIME})
    made = await manager.brokers.send(
        1, "POST", f"/producer/produce?{query}", batch, headers_of(BATCH, MSGPACK)
    )
    produced = msgspec.msgpack.decode(made.body)
    assert (made.status, produced["base_offset"], produced["count"]) == (200, 0, 1)
    query = urlencode({**LOGS, "offset": 0})
    answer = await manager.brokers.send(
        1, "GET", f"/fetch?{query}", b"", headers_of(MSGPACK, BATCH)
    )
    assert answer.headers["x-high-watermark"] == answer.headers["x-next-offset"] == "1"
    assert answer.headers["x-log-start-offset"] == "0"
    [(offset, stored)] = unframe_batches(answer.body)
    [record] = decode_records(stored)
    assert (offset, record.value, record.key) == (0, "in a batch", "k")
    assert record.headers == {"h": b"\x01"}


async def test_fetch_answers_messages_and_knows_its_bounds(manager: Manager) -> None:
    await manager.produce("a", "b")
    body = await manager.ask("GET", "/fetch", **LOGS, offset=1)
    assert [(one["offset"], one["message"]) for one in body["messages"]] == [(1, "b")]
    assert (body["next_offset"], body["high_watermark"], body["log_start_offset"]) == (2, 2, 0)
    assert body["corrupt"] == 0
    status, refused = await manager.send("GET", "/fetch", **LOGS, offset=3)
    assert (status, refused["code"]) == (416, "OFFSET_OUT_OF_RANGE")
    assert (refused["log_start_offset"], refused["high_watermark"]) == (0, 2)


async def test_a_pop_moves_its_cursor_once_by_its_mark(manager: Manager) -> None:
    await manager.produce("a", "b", "c")
    first = await manager.consume(request_id="one")
    assert (first["message"], first["offset"], first["partition"]) == ("a", 0, 0)
    assert (first["missed"], first["corrupt"]) == (0, 0)
    assert (await manager.consume(request_id="one"))["message"] == "a"
    several = await manager.consume(max_messages=5)
    assert [one["message"] for one in several["messages"]] == ["b", "c"]
    assert (await manager.consume(max_messages=5))["messages"] == []
    code = await manager.refusal("POST", "/consumer/consume", **LOGS, consumer_id=5)
    assert code == "QUEUE_EMPTY"


async def test_size_counts_what_is_left_and_knows_marks(manager: Manager) -> None:
    await manager.produce("a", "b", "c")
    await manager.consume(request_id="one")
    left = await manager.ask("GET", "/size", **LOGS, consumer_id=5, request_id="one")
    assert (left["size"], left["remembers"]) == (2, True)
    left = await manager.ask("GET", "/size", **LOGS, consumer_id=5, request_id="other")
    assert (left["size"], left["remembers"]) == (2, False)
    assert (await manager.ask("GET", "/size", **LOGS, consumer_id=6))["size"] == 3


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/size", {"consumer_id": 5}),
        ("/fetch", {"offset": 0}),
    ],
)
async def test_a_wait_ends_with_a_message(
    manager: Manager, path: str, fields: dict[str, Any]
) -> None:
    waiting = asyncio.ensure_future(manager.ask("GET", path, **LOGS, **fields, wait_ms=20_000))
    ended, _ = await asyncio.wait((waiting,), timeout=0.1)
    assert not ended
    await manager.produce("late")
    async with asyncio.timeout(PATIENCE_S):
        body = await waiting
    assert body.get("size") == 1 or [one["message"] for one in body["messages"]] == ["late"]


async def test_cursors_open_where_they_are_told_and_move_from_where_they_were(
    manager: Manager,
) -> None:
    await manager.produce("a", "b")
    for consumer_id, start, left in ((5, "earliest", 2), (6, "latest", 0)):
        opening = {**LOGS, "consumer_id": consumer_id, "start": start, **IN_TIME}
        await manager.ask("POST", "/cursors/open", **opening)
        size = await manager.ask("GET", "/size", **LOGS, consumer_id=consumer_id)
        assert size["size"] == left
    reset = {**LOGS, "consumer_id": 5}
    moved = await manager.ask("POST", "/cursors/reset", **reset, offset=1, expected=0)
    assert moved["offset"] == 1
    code = await manager.refusal("POST", "/cursors/reset", **reset, offset=2, expected=0)
    assert code == "CURSOR_MOVED"
    await manager.ask("POST", "/clients/forget", **LOGS, consumer_id=5, **IN_TIME)
    assert (await manager.ask("GET", "/size", **LOGS, consumer_id=5))["size"] == 2


async def test_a_group_commits_is_asked_about_and_forgotten(manager: Manager) -> None:
    await manager.produce("a", "b", "c")
    place = {**LOGS, "group": "g"}
    assert (
        await manager.refusal("GET", "/offsets", **place, **IN_TIME, age=False) == "GROUP_NOT_FOUND"
    )
    done = await manager.ask("POST", "/offsets/commit", **place, generation=1, offset=2)
    assert (done["generation"], done["offset"], done["missed"]) == (1, 2, 0)
    known = await manager.ask("GET", "/offsets", **place, **IN_TIME, age=False)
    assert (known["generation"], known["offset"], known["lag"]) == (1, 2, 1)
    assert (known["high_watermark"], known["log_start_offset"]) == (3, 0)
    assert (known["unsettled"], known["dead"]) == (0, 0)
    told = (await manager.ask("GET", "/groups"))["standings"]
    assert [(one["group"], one["topic"], one["lag"], one["is_workers"]) for one in told] == [
        ("g", "logs", 1, False)
    ]
    await manager.ask("POST", "/groups/forget", **place, **IN_TIME)
    assert (
        await manager.refusal("GET", "/offsets", **place, **IN_TIME, age=False) == "GROUP_NOT_FOUND"
    )


async def test_workers_are_handed_messages_with_receipts(manager: Manager) -> None:
    await manager.produce("a", "b")
    place = {**LOGS, "group": "w"}
    body = await manager.ask("POST", "/messages/receive", **place, max_messages=5)
    assert [one["message"] for one in body["messages"]] == ["a", "b"]
    assert {one["delivery_count"] for one in body["messages"]} == {1}
    assert body["missed"] == 0
    receipts = [one["receipt"] for one in body["messages"]]
    for path in ("/messages/extend", "/messages/nack"):
        results = (await manager.ask("POST", path, **place, receipts=receipts[:1]))["results"]
        assert [(one["receipt"], one["done"]) for one in results] == [(receipts[0], True)]
    results = (await manager.ask("POST", "/messages/ack", **place, receipts=receipts[1:]))[
        "results"
    ]
    assert [(one["receipt"], one["done"]) for one in results] == [(receipts[1], True)]


async def test_members_are_told_and_led_elsewhere(manager: Manager) -> None:
    path = f"/partitions/{GROUP}/replicas"
    members = await manager.ask("GET", path)
    assert members["replicas"] == msgspec.to_builtins(PLACES)
    assert (members["group_id"], members["version"], members["learners"]) == (GROUP, 1, [])
    assert await manager.refusal("GET", path, at=2) == "NOT_LEADER"
    assert await manager.refusal("GET", "/partitions/99/replicas") == "PARTITION_NOT_FOUND"
    wanted = {"replicas": msgspec.to_builtins(PLACES[:1]), "epoch": 1, "version": 2}
    assert (await manager.ask("POST", path, **wanted))["group_id"] == GROUP
    async with asyncio.timeout(PATIENCE_S):
        while (members := await manager.ask("GET", path))["version"] != 2 or (
            len(members["replicas"]) != 1
        ):
            await asyncio.sleep(PACE_SECONDS)
    assert members["replicas"] == msgspec.to_builtins(PLACES[:1])
    late = {"replicas": msgspec.to_builtins(PLACES), "epoch": 1, "version": 1}
    assert await manager.refusal("POST", path, **late) == "STALE_PLACEMENT"


async def test_leadership_is_handed_over(manager: Manager) -> None:
    order = {"broker_id": 2, "epoch": 1, **IN_TIME}
    await manager.ask("POST", f"/partitions/{GROUP}/leader", **order)
    async with asyncio.timeout(PATIENCE_S):
        while not (await manager.reports(2))[0]["serves"]:
            await asyncio.sleep(PACE_SECONDS)
    await manager.ask("POST", f"/partitions/{GROUP}/leader", **order)  # it leads already
    back = {**order, "broker_id": 1}
    code = await manager.refusal("POST", f"/partitions/{GROUP}/leader", **back)
    assert code == "NOT_LEADER"


async def test_a_partition_is_dropped_when_all_of_its_name_fits(manager: Manager) -> None:
    path, named = f"/partitions/{GROUP}", {"topic": "logs", "partition": 0, "epoch": 1}
    other = {**named, "topic": "other"}
    assert await manager.refusal("DELETE", path, **other) == "STALE_PLACEMENT"
    assert len(await manager.reports()) == 1
    for _ in range(2):  # one that is not there is no error
        await manager.ask("DELETE", path, **named)
    assert await manager.reports() == []
