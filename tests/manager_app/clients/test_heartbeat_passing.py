from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from manager_app import periodic, process, runtime
from manager_app.clients import heartbeat_passing
from manager_app.clients.heartbeat_passing import HeartbeatPassing
from manager_app.process import ManagerProcess
from tests.http_base.asgi_client import call

SIGNS = "/clients/signs"


@pytest.fixture(autouse=True)
def signs_are_passed_on_when_a_test_says_so(monkeypatch):
    """A manager would take them before the test, on a machine so busy that it takes seconds."""
    monkeypatch.setattr(process, "RECORD_INTERVAL_S", 3_600.0)


class TwoManagers:
    """The site's manager as a read-only one, and a primary behind HTTP with the same database.

    There is one runtime in a process: the primary's takes its turn for each call.
    """

    def __init__(self, site):
        self.site = site
        self.calls = []
        self.server = None
        self.port = None
        self.primary = None
        self.primary_runtime = None

    async def start(self):
        await self.start_server()
        address = f"http://127.0.0.1:{self.port}"
        await self.site.stop_manager()
        site = self.site
        self.primary = ManagerProcess(
            replace(site.config, current_address=address),
            monotonic_s=site.clock.monotonic_s,
            now=site.clock.now,
        )
        self.primary_runtime = await self.primary.start()
        await site.start_manager(read_only=True)
        clients, metadata = site.runtime.clients, site.runtime.metadata
        assert metadata.current.primary_address == address
        self.passing = HeartbeatPassing(
            clients, metadata, site.process._broker_client, site.clock.monotonic_s
        )

    async def start_server(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.server = TestServer(app, host="127.0.0.1", port=self.port)
        await self.server.start_server(access_log=None)
        self.port = self.server.port

    async def stop_server(self):
        await self.server.close()

    async def stop(self):
        await self.stop_server()
        await self.primary.stop()
        runtime.install(self.site.runtime)

    async def answer(self, request):
        self.calls.append(request.path)
        headers = {name.lower(): value for name, value in request.headers.items()}
        runtime.install(self.primary_runtime)
        try:
            answer = await call(
                self.site.app,
                request.method,
                request.path,
                body=await request.read(),
                headers=headers,
            )
        finally:
            runtime.install(self.site.runtime)
        return web.Response(
            status=answer.status, body=answer.body, content_type="application/msgpack"
        )

    async def look(self):
        """Let the primary look for silent clients."""
        runtime.install(self.primary_runtime)
        try:
            await self.primary_runtime.database.run(periodic.check_clients, self.primary_runtime)
        finally:
            runtime.install(self.site.runtime)

    async def states(self, kind="consumers"):
        return [row["state"] for row in (await self.site.get(f"/{kind}"))[kind]]


@asynccontextmanager
async def two(site):
    managers = TwoManagers(site)
    await managers.start()
    try:
        yield managers
    finally:
        await managers.stop()


@pytest.mark.parametrize("way", ["produce", "consume", "health"])
async def test_a_client_that_is_heard_by_a_read_only_manager_alone_stays_alive(site, way):
    await site.create_topic()
    producer, consumer = await site.producer(), await site.consumer()
    await site.produce(producer, "x")
    heard, silent = ("producers", "consumers") if way == "produce" else ("consumers", "producers")
    async with two(site) as managers:
        for _ in range(12):  # two minutes
            site.clock.seconds += 10
            if way == "consume":
                fields = {"topic": "logs", "consumer_id": consumer, "max_messages": 1}
                await site.post("/consumer/consume", fields)
            elif way == "produce":
                await site.produce(producer, "more")
            else:
                await site.get(f"/health?type=0&key={consumer}")
            assert await managers.passing.pass_on() == 1
            await managers.look()
        assert await managers.states(heard) == ["alive"]
        assert await managers.states(silent) == ["expired"], "it was silent"
        assert managers.calls == [SIGNS] * 12
        assert await managers.passing.pass_on() == 0


async def test_a_call_through_a_read_only_manager_ends_a_silence(site):
    await site.create_topic()
    consumer = await site.consumer()
    async with two(site) as managers:
        await managers.look()
        site.clock.seconds += 61
        await managers.look()
        assert await managers.states() == ["expired"]
        fields = {"topic": "logs", "consumer_id": consumer, "max_messages": 1}
        await site.post("/consumer/consume", fields)
        await managers.passing.pass_on()
        await managers.look()
        assert await managers.states() == ["alive"]


async def test_signs_wait_with_their_age_while_the_primary_is_away(site, caplog):
    await site.create_topic()
    first, second = await site.consumer(), await site.consumer()
    async with two(site) as managers:
        await managers.stop_server()
        await site.get(f"/health?type=0&key={first}")
        await site.get(f"/health?type=0&key={second}")
        site.clock.seconds += 40
        assert await managers.passing.pass_on() == 0
        await site.get(f"/health?type=0&key={second}")
        assert await managers.passing.pass_on() == 0
        assert caplog.text.count("takes no heartbeats") == 1
        site.clock.seconds += 40
        await managers.start_server()
        assert await managers.passing.pass_on() == 2
        await managers.look()
        assert await managers.states() == ["expired", "alive"], "80 and 40 seconds of silence"


async def test_many_signs_go_in_batches_and_an_unknown_client_does_no_harm(site, monkeypatch):
    monkeypatch.setattr(heartbeat_passing, "HEARTBEATS_PER_CALL", 2)
    await site.create_topic()
    consumers = [await site.consumer() for _ in range(5)]
    async with two(site) as managers:
        for consumer in consumers:
            await site.get(f"/health?type=0&key={consumer}")
        site.runtime.clients.note(heartbeat_passing.ClientKey("consumer", 77))
        assert await managers.passing.pass_on() == 6
        assert managers.calls == [SIGNS] * 3
        await managers.look()
        site.clock.seconds += 61
        await managers.look()
        assert await managers.states() == ["expired"] * 5


@pytest.mark.parametrize(
    ("sign", "field"),
    [
        ({"type": 2, "key": 1, "age_ms": 0}, "type"),
        ({"type": 0, "key": 0, "age_ms": 0}, "key"),
        ({"type": 0, "key": 1, "age_ms": -1}, "age_ms"),
    ],
)
async def test_what_cannot_be_is_refused_as_a_whole(site, sign, field):
    good = {"type": 0, "key": 1, "age_ms": 0}
    bearer = {"authorization": f"Bearer {site.cluster_token}"}
    answer = await site.ask("POST", SIGNS, {"signs": [good, sign]}, status=400, **bearer)
    assert answer["field"] == field
    assert len(site.runtime.clients.heartbeats) == 0


async def test_signs_are_taken_from_managers_of_the_cluster_alone(site):
    assert (await site.post(SIGNS, {"signs": []}, status=401))["code"] == "UNAUTHORIZED"
    await site.restart_manager(read_only=True)
    bearer = {"authorization": f"Bearer {site.cluster_token}"}
    answer = await site.ask("POST", SIGNS, {"signs": []}, status=409, **bearer)
    assert answer["code"] == "READ_ONLY_MANAGER"
