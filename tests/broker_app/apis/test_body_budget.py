"""Bodies at the door of a broker, through a real HTTP server: they have one budget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from broker_app.urls import HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import BUDGET_BYTES_MIN, MemoryBudget
from http_base.tokens import cluster_token
from myqueue.contract.inputs import BATCH
from queuesite.serving import HttpServer
from tests.broker_app.replica import batch_of
from tests.doubles.memory import watched_budget
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

MIB = 1 << 20
LARGE = batch_of(*["x" * (MIB - 100)] * 8).batch
"""About 8 MiB."""
SMALL = batch_of("small").batch


class Door:
    """A broker's server, and how much its bodies may take."""

    def __init__(self, server: HttpServer, memory: MemoryBudget) -> None:
        self.server = server
        self.memory = memory

    async def open(self, *, partition: int, length: int | None) -> Upload:
        """Begin to send a batch; its length in bytes, None for chunks."""
        streams = await asyncio.open_connection("127.0.0.1", self.server.port)
        query = {"topic": "logs", "partition": partition, "producer_id": 1}
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        streams[1].write(
            f"POST /producer/produce?{urlencode(query)} HTTP/1.1\r\nHost: broker\r\n"
            f"Authorization: Bearer {cluster_token(settings.QUEUE.cluster_secret)}\r\n"
            f"Content-Type: {BATCH}\r\n{framing}\r\n\r\n".encode()
        )
        return Upload(*streams, is_chunked=length is None)

    async def produce(self, batch: bytes, *, partition: int, chunked: bool = False) -> Any:
        """Send a batch and return (status, headers)."""
        upload = await self.open(partition=partition, length=None if chunked else len(batch))
        await upload.send(batch)
        return await upload.finish()

    async def until_held(self, size_bytes: int) -> None:
        """Wait until the bodies hold so much."""
        async with asyncio.timeout(10):
            while self.memory.bodies.used_bytes != size_bytes:
                await asyncio.sleep(0.005)


class Upload:
    """One request on a connection of its own."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_chunked: bool
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.is_chunked = is_chunked

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)
        await self.writer.drain()

    async def finish(self) -> tuple[int, dict[str, str]]:
        """Return (status, headers) of the answer."""
        if self.is_chunked:
            self.writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        await self.reader.readexactly(int(headers["content-length"]))
        self.leave()
        return int(head[0].split()[1]), headers

    def leave(self) -> None:
        """Close the connection."""
        self.writer.close()


@pytest.fixture
async def door(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> AsyncIterator[Door]:
    """A broker that leads partitions 0 and 1 of topic logs, and 32 MiB for bodies."""
    engine.add("logs", 1, group_id=8)
    memory = watched_budget(BUDGET_BYTES_MIN)
    server = HttpServer(host="127.0.0.1", port=0)
    server.bind()
    await server.start(HotPaths(ASGIHandler(), HOT_PATHS, bodies=memory.bodies))
    yield Door(server, memory)
    await server.stop()


async def test_large_bodies_under_way_leave_room_for_the_small_of_others(door: Door) -> None:
    bodies = door.memory.bodies
    slow = [await door.open(partition=0, length=len(LARGE)) for _ in range(4)]
    for one in slow[:3]:
        await one.send(LARGE[: len(LARGE) // 2])
    await door.until_held(3 * len(LARGE))  # the fourth one would leave less than it takes
    status, headers = await slow[3].finish()
    assert (status, headers["retry-after"]) == (503, "1")
    assert (await door.produce(LARGE, partition=0, chunked=True))[0] == 503
    assert (await door.produce(SMALL, partition=1))[0] == 200
    for one in slow[:3]:
        await one.send(LARGE[len(LARGE) // 2 :])
        assert (await one.finish())[0] == 200
    await door.until_held(0)
    assert (await door.produce(LARGE, partition=0, chunked=True))[0] == 200
    assert bodies.peak_bytes <= bodies.limit_bytes


async def test_forty_large_bodies_at_once_stay_below_the_budget(door: Door) -> None:
    bodies = door.memory.bodies
    batches = [LARGE] * 40 + [SMALL] * 10
    answers = await asyncio.gather(
        *(
            door.produce(batch, partition=int(batch is SMALL), chunked=number % 2 == 1)
            for number, batch in enumerate(batches)
        )
    )
    statuses = [status for status, _ in answers]
    assert set(statuses[:40]) <= {200, 503}
    assert statuses[40:] == [200] * 10
    assert len(LARGE) <= bodies.peak_bytes <= bodies.limit_bytes
    await door.until_held(0)


async def test_the_place_of_a_body_is_given_back_however_its_request_ends(
    door: Door, engine: EngineTwin
) -> None:
    leaving = [await door.open(partition=0, length=n and len(LARGE)) for n in (0, 1, None)]
    for one in leaving:
        await one.send(LARGE[:MIB])
    async with asyncio.timeout(10):
        await eventually(lambda: door.memory.bodies.used_bytes, "a body is read")
    for one in leaving:
        one.leave()
    await door.until_held(0)
    assert (await door.produce(b"no batch", partition=0))[0] == 400
    assert (await door.produce(SMALL, partition=9))[0] == 404
    engine.holding = True
    waiting = await door.open(partition=0, length=len(SMALL))
    await waiting.send(SMALL)
    await door.until_held(len(SMALL))
    waiting.leave()  # its handler is cancelled
    await door.until_held(0)


async def test_the_connection_of_a_refused_body_is_of_use_again(door: Door) -> None:
    bodies = door.memory.bodies
    bodies.move(bodies.limit_bytes)
    upload = await door.open(partition=0, length=len(LARGE))
    await upload.send(LARGE)
    bodies.move(-bodies.limit_bytes)
    head = await upload.reader.readuntil(b"\r\n\r\n")
    assert b" 503 " in head
    upload.writer.write(b"GET /healthz HTTP/1.1\r\nHost: broker\r\n\r\n")
    async with asyncio.timeout(10):
        while b"200 OK" not in await upload.reader.readline():
            pass
    upload.leave()
