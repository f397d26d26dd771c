from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from msgspec import structs

from http_base import guard
from http_base.access import AccessIndex, AccessTable, Holder, Role, hash_of
from http_base.guard import Guard
from myqueue.contract.errors import UnauthorizedException
from raft_app.core.types import Membership, RaftMember
from tests.http_base.asgi_client import Answer, call

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from http_base.tokens import ClientToken
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PAGES = ("/console/", "/console/replicas/", "/console/replicas/logs/0/")


@pytest.fixture(autouse=True)
def urls_of_a_broker(settings: Any, runtime: BrokerRuntime, replica: ReplicaTwin) -> None:
    settings.ROOT_URLCONF = "queuesite.urls_broker"


class Tokens:
    """Two API tokens: one of a viewer, one without any role."""

    def access(self) -> AccessIndex:
        holders = [
            Holder(origin=f"token-{name}", name=name, role=role, hash=hash_of(f"qs_{name}"))
            for name, role in (("vera", Role.VIEWER), ("nobody", Role.NONE))
        ]
        return AccessIndex(AccessTable.of(holders))

    def verify(self, text: str) -> ClientToken:
        raise UnauthorizedException("of another cluster")

    def now_ms(self) -> int:
        return 1

    def used(self, holder: Holder) -> None:
        pass


@pytest.fixture
def required(settings: Any) -> Any:
    settings.QUEUE = structs.replace(settings.QUEUE, auth="required")
    guard.install(Guard(Tokens(), secret=settings.QUEUE.cluster_secret))
    yield
    guard.install(None)


async def get(path: str, authorization: str = "", method: str = "GET") -> Answer:
    headers = {"authorization": authorization} if authorization else {}
    answer = await call(ASGIHandler(), method, path, headers=headers)
    assert answer is not None
    return answer


async def text_of(path: str) -> str:
    answer = await get(path)
    assert answer.status == 200, answer
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    return answer.body.decode()


async def test_the_broker_shows_its_state_and_its_connections(engine: EngineTwin) -> None:
    page = await text_of("/console/")
    assert "<h1>Broker 1</h1>" in page
    assert page.count(">up</span>") == 1
    assert page.count(">down</span>") == 1
    engine.disk.full = True
    assert "reserve of free space" in await text_of("/console/")


async def test_replicas_are_listed_with_links(engine: EngineTwin) -> None:
    engine.add("other", 4, group_id=9).faulty = "it lost entries"
    page = await text_of("/console/replicas/")
    assert 'href="/console/replicas/logs/0/"' in page
    assert ">faulty</span>" in page
    page = await text_of("/console/replicas/?topic=other")
    assert "/console/replicas/logs/0/" not in page
    assert "No replica of topic &lt;b&gt; is here." in await text_of("/console/replicas/?topic=<b>")


async def test_a_replica_shows_its_followers(replica: ReplicaTwin) -> None:
    assert "It has none: it is the only replica." in await text_of(PAGES[2])
    members = (RaftMember(70, 1), RaftMember(71, 2))
    replica.membership = Membership(voters=members, version=2)
    page = await text_of(PAGES[2])
    assert "Broker 2</th><td>replicate</td>" in page
    replica.is_leader = False
    assert "Its leader knows how far they are." in await text_of(PAGES[2])
    assert (await get("/console/replicas/logs/7/")).status == 404


async def test_nothing_can_be_changed_here() -> None:
    for path in PAGES:
        assert (await get(path, method="POST")).status in (403, 405)
        assert (await get(path, method="OPTIONS")).status == 405


@pytest.mark.parametrize("path", PAGES)
async def test_with_auth_a_viewers_token_is_asked_for(path: str, required: None) -> None:
    asked = await get(path)
    assert asked.status == 401
    assert asked.headers["www-authenticate"].startswith("Basic ")
    assert b"needs an API token with the role viewer" in asked.body

    def basic(password: str) -> str:
        return f"Basic {b64encode(f'x:{password}'.encode()).decode()}"

    for authorization, status in (
        ("Bearer qs_vera", 200),
        (basic("qs_vera"), 200),
        (basic("qs_nobody"), 403),
        (basic("qs_wrong"), 401),
        (basic(""), 401),
        ("Basic ?", 401),
        ("Digest x", 401),
    ):
        assert (await get(path, authorization)).status == status, authorization
