"""Long bodies at the door of a broker: who may not send one is told before it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from broker_app.urls import DOOR, HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import BUDGET_BYTES_MIN
from http_base.tokens import cluster_token
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from tests.broker_app.apis.conftest import token_of
from tests.doubles.memory import watched_budget
from tests.http_base.withheld import Withheld, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker_app.runtime import BrokerRuntime
    from queuesite.serving import HttpServer
    from tests.broker_app.engine_twin import ReplicaTwin

MIB = 1 << 20
BODIES = 32 * MIB


@pytest.fixture
def memory(replica: ReplicaTwin) -> object:
    return watched_budget(BUDGET_BYTES_MIN)


@pytest.fixture
async def server(runtime: BrokerRuntime, memory) -> AsyncIterator[HttpServer]:
    """A broker that leads partition 0 of topic logs, and 32 MiB for bodies."""
    async with served(HotPaths(ASGIHandler(), HOT_PATHS, bodies=memory.bodies, door=DOOR)) as it:
        yield it


def batch_path(producer_id: int = 1, **fields: object) -> str:
    query = {"topic": "logs", "partition": 0, "producer_id": producer_id, **fields}
    return f"/producer/produce?{urlencode(query)}"


REFUSED = [
    ("no token", batch_path(), BATCH, "", 401),
    ("no token of this cluster", batch_path(), BATCH, "nonsense", 401),
    ("another client's", batch_path(), BATCH, ("producer", 2), 401),
    ("a consumer's", batch_path(), BATCH, ("consumer", 1), 401),
    ("of another topic", batch_path(topic="other"), BATCH, ("producer", 1), 401),
    ("deleted", batch_path(producer_id=9), BATCH, ("producer", 9), 401),
    ("no such partition", batch_path(partition=7), BATCH, ("producer", 1), 404),
    ("wrong query", batch_path(partition="x"), BATCH, ("producer", 1), 400),
    ("bad token", "/producer/produce", JSON, "nonsense", 401),
    ("bad token in the query", "/messages/ack?token=nonsense", MSGPACK, "", 401),
    ("overdue", "/messages/ack", MSGPACK, ("consumer", 1, "logs", 40 * 24 * 3_600_000), 401),
    ("not the cluster's", "/clients/forget", JSON, ("consumer", 1), 401),
    ("not the cluster's, with a path", "/partitions/7", JSON, ("consumer", 1), 401),
]


@pytest.mark.parametrize("length", [8 * MIB, None])
async def test_who_may_not_send_a_long_body_is_told_before_it_comes(
    server: HttpServer, runtime: BrokerRuntime, memory, length
) -> None:
    runtime.revoke([9], [])
    for name, path, content_type, token, status in REFUSED:
        bearer = token_of(*token) if isinstance(token, tuple) else token
        request = await Withheld.send(
            server.port,
            path,
            length=length,
            content_type=content_type,
            authorization=bearer and f"Bearer {bearer}",
        )
        assert (await request.answer())[0] == status, name
        await request.leave()
    assert memory.bodies.peak_bytes == 0


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_all_bodies_of_one_client_take_half_at_most(server: HttpServer, memory) -> None:
    bodies = memory.bodies

    async def send(client: int) -> Withheld:
        authorization = f"Bearer {token_of('producer', client)}"
        return await Withheld.send(
            server.port,
            batch_path(client),
            length=4 * MIB,
            content_type=BATCH,
            authorization=authorization,
        )

    greedy = []
    for number in range(1, 5):
        greedy.append(await send(1))
        await until(lambda: bodies.used_bytes == number * 4 * MIB)  # noqa: B023 - awaited here
    refused = await send(1)
    status, body = await refused.answer()
    assert (status, b'"OVERLOADED"' in body) == (503, True)
    assert b"those of the same sender 16777216" in body
    other = await send(2)
    await until(lambda: bodies.used_bytes == 20 * MIB)
    for one in [*greedy, refused, other]:
        await one.leave()
    await until(lambda: bodies.used_bytes == 0)
    again = await send(1)
    await until(lambda: bodies.used_bytes == 4 * MIB)
    await again.leave()


async def test_all_bodies_that_name_nobody_are_of_one_owner(server: HttpServer, memory) -> None:
    bodies = memory.bodies
    sent = [
        await Withheld.send(server.port, "/producer/produce", content_type=JSON) for _ in range(40)
    ]
    await until(lambda: bodies.refusals == 40 - 16)
    assert bodies.used_bytes == 16 * MIB
    cluster = await Withheld.send(
        server.port,
        batch_path(),
        length=8 * MIB,
        content_type=BATCH,
        authorization=f"Bearer {cluster_token(settings.QUEUE.cluster_secret)}",
    )
    await until(lambda: bodies.used_bytes == 24 * MIB)
    for one in [*sent, cluster]:
        await one.leave()
    await until(lambda: bodies.used_bytes == 0)
