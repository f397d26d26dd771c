from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from http_base.cluster_http import NotSent, OutcomeUnknown
from manager_app.brokers import client as broker_client
from manager_app.brokers.client import BrokerCall, BrokerClient, BrokerContact
from myqueue.contract.answers import Success
from myqueue.contract.errors import Internal, NotLeader, OutOfOrderSequence, Overloaded

SECRET = "a secret of the tests"


class Echo(Success, frozen=True):
    """What the broker answers that echoes."""

    query: dict[str, str]
    body: Any
    authorization: str


@pytest.fixture
async def server():
    """A broker that echoes its input, or does what the path says."""
    held = []

    async def echo(request):
        body = await request.read()
        fields = {
            "status": "success",
            "query": dict(request.query),
            "body": msgspec.msgpack.decode(body) if body else None,
            "authorization": request.headers["Authorization"],
        }
        return web.Response(body=msgspec.msgpack.encode(fields))

    async def abort(request):
        request.transport.abort()
        return web.Response()

    async def never(request):
        held.append(request.path)
        await asyncio.Event().wait()

    async def refuse(request):
        error = NotLeader("not here", leader={"broker_id": 2, "address": "http://h:2"})
        return web.Response(body=msgspec.msgpack.encode(error.to_body()), status=421)

    async def odd(request):
        return web.Response(text="<html>", status=502)

    async def redirect(request):
        raise web.HTTPFound("http://elsewhere:1/")

    app = web.Application()
    for handler in (echo, abort, never, refuse, odd, redirect):
        app.router.add_route("*", f"/{handler.__name__}", handler)
    server = TestServer(app, host="127.0.0.1")
    server.held = held
    await server.start_server(access_log=None, shutdown_timeout=0.1)
    yield server
    await server.close()


@pytest.fixture
async def client():
    client = BrokerClient(SECRET)
    await client.open()
    yield client
    await client.close()


def address(server):
    return f"http://127.0.0.1:{server.port}"


async def test_fields_travel_both_ways_and_none_is_left_out(client, server):
    call = BrokerCall("POST", "/echo", {"a": 1, "b": None}, {"raw": b"\xff", "nothing": None})
    answer = await client.call(address(server), call, Echo, timeout_s=5)
    assert answer.query == {"a": "1"}
    assert answer.body == {"raw": b"\xff"}
    assert answer.authorization.startswith("Bearer ")
    assert SECRET not in answer.authorization


async def test_the_error_of_a_broker_is_raised_as_itself(client, server):
    with pytest.raises(NotLeader) as raised:
        await client.call(address(server), BrokerCall("GET", "/refuse"), Echo, timeout_s=5)
    assert raised.value.details["leader"]["broker_id"] == 2
    assert not isinstance(raised.value, OutOfOrderSequence)


async def test_a_connection_that_cannot_be_made_was_not_sent(client, server):
    where = address(server)
    await server.close()
    with pytest.raises(NotSent):
        await client.call(where, BrokerCall("POST", "/echo"), Echo, timeout_s=5)
    for nonsense in ("http://", "nonsense", "http://h:99999"):
        with pytest.raises(NotSent):
            await client.call(nonsense, BrokerCall("POST", "/echo"), Echo, timeout_s=5)


async def test_a_connection_that_breaks_leaves_the_outcome_unknown(client, server):
    with pytest.raises(OutcomeUnknown, match="broke"):
        await client.call(address(server), BrokerCall("POST", "/abort"), Echo, timeout_s=5)


async def test_a_broker_that_does_not_answer_in_time_leaves_it_unknown(client, server):
    # It has a connection by then: how long one takes depends on the machine.
    await client.call(address(server), BrokerCall("POST", "/echo"), Echo, timeout_s=20)
    with pytest.raises(OutcomeUnknown, match="in time"):
        await client.call(address(server), BrokerCall("POST", "/never"), Echo, timeout_s=0.01)


WAITING = BrokerCall("GET", "/never", wait_ms=60_000)


async def stop(tasks):
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def held(server, count):
    """Wait until so many calls came to be held by the broker."""
    async with asyncio.timeout(10):
        while len(server.held) < count:
            await asyncio.sleep(0)


async def waiting_calls(client, server, count):
    """Return calls that wait at the broker."""
    before = len(server.held)
    tasks = [
        asyncio.ensure_future(client.call(address(server), WAITING, Echo, timeout_s=5))
        for _ in range(count)
    ]
    await held(server, before + count)
    return tasks


async def test_calls_that_wait_keep_no_other_from_its_broker(server, client, monkeypatch):
    monkeypatch.setattr(broker_client, "WAITING_CALLS_PER_BROKER", 20)
    monkeypatch.setattr(broker_client, "CONNECTIONS_PER_BROKER", 1)
    await client.close()
    await client.open()
    waiting = await waiting_calls(client, server, 20)
    async with asyncio.timeout(5):
        await client.call(address(server), BrokerCall("POST", "/echo"), Echo, timeout_s=60)
    with pytest.raises(Overloaded) as raised:
        await client.call(address(server), WAITING, Echo, timeout_s=5)
    assert raised.value.retry_after_ms
    assert raised.value.outcome_known
    await stop(waiting[:1])
    waiting[:1] = await waiting_calls(client, server, 1)
    await stop(waiting)


async def test_a_call_without_a_connection_to_take_was_not_sent(server, client, monkeypatch):
    monkeypatch.setattr(broker_client, "WAITING_CALLS_PER_BROKER", 0)
    monkeypatch.setattr(broker_client, "CONNECTIONS_PER_BROKER", 1)
    await client.close()
    await client.open()
    taken = asyncio.ensure_future(
        client.call(address(server), BrokerCall("GET", "/never"), Echo, timeout_s=60)
    )
    await held(server, 1)
    monkeypatch.setattr(broker_client, "CONNECT_TIMEOUT_S", 0.01)
    with pytest.raises(NotSent):
        await client.call(address(server), BrokerCall("POST", "/echo"), Echo, timeout_s=5)
    await stop([taken])


async def test_waiting_for_a_connection_ends_before_a_short_call_does(server, client, monkeypatch):
    monkeypatch.setattr(broker_client, "WAITING_CALLS_PER_BROKER", 0)
    monkeypatch.setattr(broker_client, "CONNECTIONS_PER_BROKER", 1)
    await client.close()
    await client.open()
    never = BrokerCall("GET", "/never")
    taken = asyncio.ensure_future(client.call(address(server), never, Echo, timeout_s=60))
    await held(server, 1)
    with pytest.raises(NotSent):
        await client.call(address(server), BrokerCall("POST", "/echo"), Echo, timeout_s=0.1)
    await stop([taken])


@pytest.mark.parametrize("path", ["/odd", "/redirect", "/missing"])
async def test_an_answer_of_another_shape_is_an_internal_error(client, server, path):
    with pytest.raises(Internal) as raised:
        await client.call(address(server), BrokerCall("POST", path), Echo, timeout_s=5)
    assert not raised.value.outcome_known


async def test_the_log_says_once_that_a_broker_does_not_answer(client, server, caplog):
    metadata = SimpleNamespace(address_of=lambda _: address(server))
    contact = BrokerContact(metadata, client)
    # It has a connection by then: how long one takes depends on the machine.
    assert await contact.ask(7, BrokerCall("POST", "/echo"), Echo, timeout_s=20) is not None
    caplog.set_level(logging.INFO, "manager_app")
    for _ in range(5):
        silent: set[int] = set()
        called = contact.ask(7, BrokerCall("POST", "/never"), Echo, timeout_s=0.01, silent=silent)
        assert await called is None
        assert silent == {7}
    assert await contact.ask(7, BrokerCall("POST", "/refuse"), Echo, timeout_s=20) is None
    for _ in range(2):
        assert await contact.ask(7, BrokerCall("POST", "/echo"), Echo, timeout_s=20) is not None
    assert caplog.messages == [
        f"broker 7 did not take POST /never: {address(server)} did not answer in time",
        "broker 7 did not take POST /refuse: not here",
        "broker 7 answers again",
    ]


def test_a_broker_is_silent_once_it_was_waited_for_in_vain_long_enough():
    silences = broker_client.Silences()
    assert not silences.has("b", 0.0)
    silences.missed("b", 10.0, 10.5)
    assert not silences.has("b", 10.5)  # half a second may be anything
    silences.missed("b", 10.2, 11.2)
    assert silences.has("b", 11.2)
    assert not silences.has("c", 11.2)
    assert not silences.has("b", 11.2 + broker_client.REMEMBERED_S)
    silences.missed("b", 30.0, 30.1)
    assert silences.has("b", 30.1)  # it has not answered since
    silences.heard("b")
    assert not silences.has("b", 30.1)


async def test_a_call_that_may_do_without_is_not_sent_to_a_silent_broker(client, server):
    where, patient = address(server), BrokerCall("GET", "/echo")
    await client.call(where, patient, Echo, timeout_s=20)
    with pytest.raises(OutcomeUnknown, match="in time"):
        await client.call(where, BrokerCall("GET", "/never"), Echo, timeout_s=1.2)
    assert client.is_silent(where)
    asked = len(server.held)
    hurried = BrokerCall("GET", "/never", asks_silent=False)
    with pytest.raises(broker_client.Silent):
        await client.call(where, hurried, Echo, timeout_s=60)
    assert len(server.held) == asked
    # An answer ends it, and be it a refusal.
    with pytest.raises(NotLeader):
        await client.call(where, BrokerCall("GET", "/refuse"), Echo, timeout_s=20)
    assert not client.is_silent(where)
    await client.call(where, BrokerCall("GET", "/echo", asks_silent=False), Echo, timeout_s=20)


async def test_a_broker_that_is_not_there_costs_no_time_and_is_asked_each_time(
    client, server, monkeypatch
):
    monkeypatch.setattr(broker_client, "CONNECT_TIMEOUT_S", 60.0)  # however busy this machine is
    where = address(server)
    await server.close()
    for _ in range(3):
        with pytest.raises(NotSent) as raised:
            await client.call(where, BrokerCall("GET", "/echo"), Echo, timeout_s=75)
        assert not isinstance(raised.value, broker_client.Silent)
    assert not client.is_silent(where)


LISTENS = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""


async def test_a_stopped_process_is_waited_for_once(client):
    listening = subprocess.Popen([sys.executable, "-c", LISTENS], stdout=subprocess.PIPE)
    try:
        where = f"http://127.0.0.1:{int(listening.stdout.readline())}"
        listening.send_signal(signal.SIGSTOP)
        metadata = SimpleNamespace(
            address_of=lambda _: where,
            current=SimpleNamespace(brokers={7: SimpleNamespace(address=where)}),
        )
        contact = BrokerContact(metadata, client)
        call = BrokerCall("GET", "/standing", asks_silent=False)
        assert await contact.ask(7, call, Echo, timeout_s=1.2) is None
        assert contact.silent() == {7}
        async with asyncio.timeout(20):
            assert await contact.ask(7, call, Echo, timeout_s=600) is None
    finally:
        listening.kill()
        listening.communicate()
