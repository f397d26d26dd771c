"""Asking other brokers, over a real HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from broker_app.links.peer_link import PeerLink
from http_base.cluster import MembersAnswer, ReplicaPlace
from myqueue.contract.errors import BrokerUnreachable, NotLeader
from myqueue.contract.inputs import BATCH
from raft_app.storage.protocol import PeerAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LEADER = {"broker_id": 2, "address": "http://b:1"}
SECRET = "a secret of a test run"


class BrokerTwin:
    """A broker that answers one request after the other."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[tuple[str, bytes, dict[str, str]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers["Authorization"]))
        self.bodies.append((request.content_type, await request.read(), dict(request.query)))
        return self.answers.pop(0)


@pytest.fixture
async def broker() -> BrokerTwin:
    return BrokerTwin()


@pytest.fixture
async def link(broker: BrokerTwin) -> AsyncIterator[PeerLink]:
    app = web.Application()
    app.router.add_get("/partitions/{group}/replicas", broker.answer)
    app.router.add_post("/producer/produce", broker.answer)
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
        group_id=7, version=3, replicas=[ReplicaPlace(71, 1)], learners=[ReplicaPlace(72, 2)]
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


async def test_a_batch_is_appended_in_the_name_of_the_cluster(
    broker: BrokerTwin, link: PeerLink
) -> None:
    refusal = {"status": "failure", "code": "NOT_LEADER", "message": "no", "leader": LEADER}
    broker.answers += [
        web.json_response({"status": "success"}),
        web.json_response(refusal, status=421),
        web.Response(text="hello", status=500),
    ]
    address = link._peers[2].http_address
    query = {"topic": "logs.dead", "partition": "1", "producer_id": str((1 << 62) + 7)}
    await link.produce(address, b"batch", query)
    with pytest.raises(NotLeader) as caught:
        await link.produce(address, b"batch", query)
    assert caught.value.details["leader"] == LEADER
    with pytest.raises(BrokerUnreachable):
        await link.produce(address, b"batch", query)
    with pytest.raises(BrokerUnreachable):
        await link.produce("http://127.0.0.1:1", b"batch", query)
    assert broker.bodies[:2] == [(BATCH, b"batch", query)] * 2
    assert all(authorization.startswith("Bearer ") for _, authorization in broker.requests)
