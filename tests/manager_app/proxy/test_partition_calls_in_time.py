"""Calls whose broker takes the connection and says nothing, as a stopped process does."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

TOLERANCE_S = 0.5
"""For a busy machine."""
LIMIT_MS = 400
CALLS = {
    "produce": ("POST", "/producer/produce", {"producer_id": 1, "message": "x"}),
    "produce that may be repeated": (
        "POST",
        "/producer/produce",
        {"producer_id": 1, "message": "x", "request_id": "r"},
    ),
    "consume": ("POST", "/consumer/consume", {"consumer_id": 1}),
    "consume from one": ("POST", "/consumer/consume", {"consumer_id": 1, "partition": 0}),
    "consume and wait": ("POST", "/consumer/consume", {"consumer_id": 1, "wait_ms": 300}),
    "consume by request id": ("POST", "/consumer/consume", {"consumer_id": 1, "request_id": "r"}),
    "size": ("GET", "/size", {"consumer_id": 1}),
    "size and wait": ("GET", "/size", {"consumer_id": 1, "wait_ms": 300}),
    "reset": ("POST", "/cursors/reset", {"consumer_id": 1, "partition": 0, "offset": 0}),
}


@asynccontextmanager
async def hanging(site, broker_ids):
    """Put listeners that never answer in the place of brokers."""
    held = []

    async def hold(reader, writer):
        held.append(writer)

    servers = []
    for broker_id in broker_ids:
        twin = site.twins.by_id(broker_id)
        await twin.stop()
        servers.append(await asyncio.start_server(hold, "127.0.0.1", twin._port))
    try:
        yield
    finally:
        for writer in held:
            writer.close()
        for server in servers:
            server.close()


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("name", CALLS)
async def test_no_call_takes_longer_than_it_was_given(site, name, partitions):
    method, path, fields = CALLS[name]
    await site.create_topic(partitions=partitions)
    assert await site.producer() == await site.consumer() == 1
    call = {"topic": "logs", "timeout_ms": LIMIT_MS, **fields}
    limit_s = (LIMIT_MS + fields.get("wait_ms", 0)) / 1000
    async with hanging(site, (1, 2, 3)):
        begin_s = time.monotonic()
        answer = await site.ask(method, path, call, status=503)
        took_s = time.monotonic() - begin_s
    assert took_s < limit_s + TOLERANCE_S
    assert answer["code"] in ("COMMIT_TIMEOUT", "NO_LEADER")
    if path != "/size" and name != "consume by request id":
        assert answer["outcome"] == "unknown"


async def test_a_leader_is_given_less_time_than_there_is(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    for timeout_ms in (5_000, 1_000):
        await site.produce(producer, "x", timeout_ms=timeout_ms)
    told = [
        call["timeout_ms"]
        for twin in site.twins.brokers
        for call in twin.called("/producer/produce")
    ]
    assert 4_500 < told[0] <= 4_800
    assert 0 < told[1] <= 900


@pytest.mark.parametrize("name", ["produce", "consume", "size", "reset"])
async def test_looking_up_who_calls_is_part_of_the_time(site, name, monkeypatch):
    method, path, fields = CALLS[name]
    await site.create_topic(partitions=1)
    assert await site.producer() == await site.consumer() == 1
    await site.restart_manager()

    async def never(key):
        await asyncio.Event().wait()

    monkeypatch.setattr(site.runtime.clients, "_look_up", never)
    call = {"topic": "logs", "timeout_ms": LIMIT_MS, **fields}
    begin_s = time.monotonic()
    answer = await site.ask(method, path, call, status=503)
    assert time.monotonic() - begin_s < LIMIT_MS / 1000 + TOLERANCE_S
    assert answer["code"] == "DATABASE_UNAVAILABLE"
    assert "outcome" not in answer
