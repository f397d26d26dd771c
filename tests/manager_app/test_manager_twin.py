"""What a broker may ask of a manager, asked of the twin in its tests and of a real manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import msgspec
import pytest

from http_base.cluster import BrokerOrders, BrokerReport
from tests.broker_app.manager_twin import ManagerTwin
from tests.http_base.asgi_client import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.manager_app.site import Site

pytestmark = pytest.mark.django_db(transaction=True)

JSON = "application/json"


class Asked(Protocol):
    """A manager."""

    async def send(
        self, method: str, target: str, *, body: bytes = b"", headers: dict[str, str]
    ) -> Answer:
        """Send a request as a broker does."""


class Twin:
    """That of the broker's tests, behind its socket."""

    def __init__(self, twin: ManagerTwin, http: aiohttp.ClientSession) -> None:
        self._twin = twin
        self._http = http

    async def send(
        self, method: str, target: str, *, body: bytes = b"", headers: dict[str, str]
    ) -> Answer:
        url = self._twin.address + target
        async with self._http.request(method, url, data=body, headers=headers) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())


class Broker:
    """Asks as a broker does."""

    def __init__(self, manager: Asked, token: str) -> None:
        self._manager = manager
        self._headers = {"authorization": f"Bearer {token}", "content-type": JSON, "accept": JSON}

    async def ask(self, method: str, target: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        data = b"" if body is None else msgspec.json.encode(body)
        answer = await self._manager.send(method, target, body=data, headers=self._headers)
        return answer.status, answer.json

    async def report(self, letter: str, **fields: Any) -> BrokerOrders:
        """Report as one of several brokers, each of which has a letter."""
        number = ord(letter)
        report = BrokerReport(
            incarnation=letter * 32,
            address=f"http://127.0.0.1:{number}",
            raft_address=f"127.0.0.1:{1_000 + number}",
            disk_free_bytes=1 << 40,
            **fields,
        )
        status, body = await self.ask("POST", "/brokers/heartbeat", report)
        assert (status, body["status"]) == (200, "success"), body
        return msgspec.convert(body, BrokerOrders)

    async def create(self, topic: str) -> tuple[int, dict[str, Any]]:
        wanted = {"topic": topic, "number_of_partitions": 2, "replication_factor": 1}
        return await self.ask("POST", "/topics", wanted)


@pytest.fixture(params=["twin", "real manager"])
async def broker(request: pytest.FixtureRequest, site: Site) -> AsyncIterator[Broker]:
    """A broker of a cluster that has one already, which carries out orders."""
    if request.param == "real manager":
        yield Broker(site, site.cluster_token)
        return
    async with ManagerTwin() as twin, aiohttp.ClientSession() as http:
        yield Broker(Twin(twin, http), site.cluster_token)


async def test_a_broker_gets_an_id_of_its_own_and_keeps_it(broker: Broker) -> None:
    first, second = await broker.report("a"), await broker.report("b")
    assert 0 < first.broker_id < second.broker_id
    assert first.cluster_id == second.cluster_id
    assert len(first.cluster_id) == 32
    assert first.epoch >= 1
    again = await broker.report("a", broker_id=first.broker_id, cluster_id=first.cluster_id)
    assert again.broker_id == first.broker_id


async def test_every_broker_is_told_of_all_and_ordered_what_it_has_not(broker: Broker) -> None:
    first, second = await broker.report("a"), await broker.report("b")
    places = {one.broker_id: (one.address, one.raft_address) for one in second.brokers}
    for letter, orders in (("a", first), ("b", second)):
        number = ord(letter)
        place = (f"http://127.0.0.1:{number}", f"127.0.0.1:{1_000 + number}")
        assert places[orders.broker_id] == place
    known = {"broker_id": first.broker_id, "cluster_id": first.cluster_id}
    for full in (True, False):
        orders = await broker.report("a", full=full, **known)
        assert (orders.assignment, orders.deleted_groups, orders.removed_replicas) == ([], [], [])


async def test_a_topic_is_made_once_and_described(broker: Broker) -> None:
    status, body = await broker.create("logs")
    assert (status, body["status"]) == (201, "success")
    status, body = await broker.create("logs")
    assert (status, body["status"], body["code"]) == (409, "failure", "TOPIC_ALREADY_EXISTS")
    status, body = await broker.ask("GET", "/topics/logs")
    assert (status, body["status"]) == (200, "success")
    assert isinstance(body["partitions"], list)


async def test_a_strange_topic_is_told(broker: Broker) -> None:
    status, body = await broker.ask("GET", "/topics/strange")
    assert (status, body["status"], body["code"]) == (404, "failure", "TOPIC_NOT_FOUND")
