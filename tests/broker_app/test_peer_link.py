"""Asking other brokers, over a real HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from broker_app.peer_link import PeerLink
from http_base.cluster import MembersAnswer, Place
from myqueue.errors import BrokerUnreachable, NotLeader
from raft_app.storage.storage import PeerAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of a test run"


class BrokerTwin:
    """A broker that answers one request after the other."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.requests: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers["Authorization"]))
        return self.answers.pop(0)


@pytest.fixture
async def broker() -> BrokerTwin:
    return BrokerTwin()


@pytest.fixture
async def link(broker: BrokerTwin) -> AsyncIterator[PeerLink]:
    app = web.Application()
    app.router.add_get("/partitions/{group}/replicas", broker.answer)
    server = TestServer(app)
    await server.start_server()
    address = str(server.make_url("")).rstrip("/")
    made = PeerLink({2: PeerAddress(2, address, "127.0.0.1:9")}, SECRET)
    yield made
    await made.stop()
    await server.close()


async def test_leader_says_who_belongs_to_the_group(broker: BrokerTwin, link: PeerLink) -> None:
    body = {
        "status": "success",
        "group_id": 7,
        "version": 3,
        "replicas": [{"replica_id": 71, "broker_id": 1}],
        "learners": [{"replica_id": 72, "broker_id": 2}],
    }
    broker.answers.append(web.json_response(body))
    answer = await link.members(2, 7)
    assert answer == MembersAnswer(
        group_id=7, version=3, replicas=[Place(71, 1)], learners=[Place(72, 2)]
    )
    assert answer.names(72)
    assert not answer.names(73)
    path, authorization = broker.requests[0]
    assert path == "/partitions/7/replicas"
    assert authorization.startswith("Bearer ")


async def test_refusal_is_raised_as_the_same_error(broker: BrokerTwin, link: PeerLink) -> None:
    body = {"status": "failure", "code": "NOT_LEADER", "message": "no"}
    broker.answers.append(web.json_response(body, status=421))
    with pytest.raises(NotLeader):
        await link.members(2, 7)


async def test_nonsense_and_silence_are_no_answer(broker: BrokerTwin, link: PeerLink) -> None:
    broker.answers += [web.Response(text="hello"), web.Response(text="hello", status=500)]
    for _ in range(2):
        with pytest.raises(BrokerUnreachable):
            await link.members(2, 7)
    with pytest.raises(BrokerUnreachable):
        await link.members(3, 7)
