"""A standby passes on what only the primary may do."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from asgiref.sync import sync_to_async

from manager_app.models import Cluster
from manager_app.urls import urlpatterns
from tests.manager_app.take_over import take_over

ANSWER = {"status": "success", "message": "made elsewhere"}
WRITES = [
    ("POST", "/topics", {"topic": "more"}),
    ("PATCH", "/topics/logs", {"retention_ms": 5_000}),
    ("DELETE", "/topics/logs", {}),
    ("POST", "/topics/logs/purge", {}),
    ("POST", "/topics/logs/redrive", {}),
    ("POST", "/health", {"type": 2, "key": 1}),
    ("POST", "/brokers", {"broker_address": "http://127.0.0.1:1"}),
    ("DELETE", "/brokers/1", {}),
    ("PATCH", "/brokers/1", {"draining": False}),
    ("POST", "/brokers/heartbeat", {}),
    ("POST", "/producer/register", {"topic": "logs"}),
    ("POST", "/consumer/register", {"topic": "logs"}),
    ("DELETE", "/producers/1", {}),
    ("DELETE", "/consumers/1", {}),
    ("POST", "/clients/signs", {"signs": []}),
    ("POST", "/groups/g/join", {"topics": ["logs"]}),
    ("POST", "/groups/g/heartbeat", {"member_id": "x", "generation": 1, "owned": {}}),
    ("POST", "/groups/g/leave", {"member_id": "x"}),
    ("DELETE", "/groups/g", {}),
    ("POST", "/topics/logs/partitions/0/loss", {"by": "ada"}),
    ("PUT", "/groups/g/offsets", {"topic": "logs", "to": "earliest"}),
    ("POST", "/rebalance", {"paused": True}),
    ("DELETE", "/rebalance", {}),
    ("POST", "/brokers/1/hand-over", {}),
    ("POST", "/tokens", {"name": "ci", "owner": "ada"}),
    ("DELETE", "/tokens/ci", {}),
    ("GET", "/health?type=2&key=1", None),
]


class Primary:
    """A manager that writes down what arrives, and answers as it is told."""

    def __init__(self):
        self.calls = []
        self.status = 200
        self.fields = ANSWER
        self.hangs = False
        self.address = ""

    async def answer(self, request):
        self.calls.append((request.method, request.path_qs, request.headers, await request.read()))
        while self.hangs:
            await asyncio.sleep(0.01)
        return web.json_response(self.fields, status=self.status, headers={"Retry-After": "3"})


@pytest.fixture
async def primary(site):
    """The primary; the site's manager is a standby."""
    await site.create_topic("logs", partitions=1)
    primary = Primary()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", primary.answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(access_log=None, shutdown_timeout=0.1)
    primary.address = f"http://127.0.0.1:{server.port}"
    await site.in_database(take_over, primary.address)
    await site.keep_lease()
    assert not site.runtime.is_primary
    yield primary
    primary.hangs = False
    await server.close()


@pytest.mark.parametrize(("method", "target", "fields"), WRITES)
async def test_every_write_of_metadata_goes_to_the_primary_as_it_came(
    site, primary, method, target, fields
):
    bearer = {"authorization": f"Bearer {site.cluster_token}"}
    assert await site.ask(method, target, fields, **bearer) == ANSWER
    [(as_method, as_target, headers, body)] = primary.calls
    assert (as_method, as_target) == (method, target)
    assert headers["Authorization"] == bearer["authorization"]
    assert headers["X-Queue-Passed"] == site.cluster_token, "it vouches for the next one"
    assert headers["X-Queue-Origin"] == "127.0.0.1"
    if fields:
        assert headers["Content-Type"] == "application/json"
        assert body


@pytest.mark.parametrize("vouches", [True, False])
async def test_what_was_passed_on_is_noted_with_who_made_it(any_site, vouches):
    site = any_site
    await site.create_topic(partitions=1)
    passed = site.cluster_token if vouches else "nonsense"
    headers = {"X-Queue-Passed": passed, "X-Queue-Origin": "10.0.0.9"}
    await site.ask("POST", "/producer/register", {"topic": "logs"}, **headers)
    await site.ask("PATCH", "/topics/logs", {"retention_ms": 5_000}, **headers)
    spoke = "10.0.0.9" if vouches else "127.0.0.1"
    assert (await site.get("/producers"))["producers"][0]["address"] == spoke
    [event, *_] = (await site.get("/events?kind=configuration"))["events"]
    assert event["origin"] == spoke


async def test_the_answer_is_the_primarys_whatever_it_says(site, primary):
    primary.status = 418
    answer = await site.send("POST", "/topics?a=%2Fb", body=b"no JSON", headers={"accept": "*/*"})
    assert (answer.status, answer.json) == (418, ANSWER)
    assert answer.headers["retry-after"] == "3"
    [(_, target, headers, body)] = primary.calls
    assert (target, body) == ("/topics?a=%2Fb", b"no JSON")
    assert "Authorization" not in headers, "the cluster's token is not lent to anybody"


async def test_a_manager_that_has_become_a_standby_is_no_answer(site, primary):
    primary.status = 409
    primary.fields = {"status": "failure", "code": "READ_ONLY_MANAGER", "message": "no"}
    refused = await site.ask("POST", "/topics", {"topic": "more"}, status=503)
    assert refused["code"] == "PRIMARY_UNAVAILABLE"
    assert "outcome" not in refused, "nothing was stored"
    assert refused["retry_after_ms"] > 0
    primary.fields["code"] = "TOPIC_ALREADY_EXISTS"
    assert (await site.send("POST", "/topics")).json == primary.fields


async def test_reads_stay_here(site, primary):
    for target in ("/topics", "/topics/logs", "/brokers", "/consumers", "/groups", "/readyz"):
        await site.get(target)
    assert primary.calls == []
    assert (await site.get("/readyz"))["primary"] == primary.address


async def test_what_was_passed_on_once_is_not_passed_on_again(site, primary):
    passed = {"x-queue-passed": "1"}
    for target in ("/topics", "/groups/g/join"):
        refused = await site.ask("POST", target, {"topic": "x"}, status=409, **passed)
        assert (refused["code"], refused["primary"]) == ("READ_ONLY_MANAGER", primary.address)
    assert primary.calls == []


async def test_a_primary_that_cannot_be_reached_or_is_unknown_did_nothing(site, primary):
    rows = Cluster.objects.filter(pk=1)
    for address in ("http://127.0.0.1:1", ""):
        await sync_to_async(rows.update)(primary_address=address)
        await site.in_database(site.runtime.metadata.refresh)
        for target in ("/topics", "/groups/g/join"):
            refused = await site.post(target, {"topic": "x"}, status=503)
            assert refused["code"] == "PRIMARY_UNAVAILABLE"
            assert refused["retry_after_ms"] == 1_000
            assert "outcome" not in refused
    assert primary.calls == []


@pytest.mark.parametrize("target", ["/topics", "/groups/g/join"])
async def test_a_call_that_the_primary_does_not_answer_ends_with_its_lease(site, primary, target):
    primary.hangs = True
    asking = asyncio.ensure_future(site.post(target, {"topic": "x"}, status=503))
    async with asyncio.timeout(10):
        while not primary.calls:
            await asyncio.sleep(0.01)
        await site.in_database(take_over, "http://127.0.0.1:1")
        refused = await asking
    assert (refused["code"], refused["outcome"]) == ("PRIMARY_UNAVAILABLE", "unknown")
    assert "is the primary no more" in refused["message"]


def test_every_call_that_changes_metadata_is_among_them():
    changing = {"POST", "PUT", "PATCH", "DELETE"}
    here = {"/fetch", "/producer/produce", "/consumer/consume", "/cursors/reset", "/offsets/commit"}
    here |= {f"/messages/{name}" for name in ("receive", "ack", "nack", "extend")}
    there = {
        (name.upper(), f"/{pattern.pattern}")
        for pattern in urlpatterns
        for name in pattern.callback.view_class.http_method_names
        if hasattr(pattern.callback.view_class, name) and name.upper() in changing
    }
    found = {
        (method, f"/{pattern.pattern}")
        for method, target, _ in WRITES
        for pattern in urlpatterns
        if method in changing and pattern.resolve(target[1:])
    }
    assert {call for call in there if call[1] not in here} == found
