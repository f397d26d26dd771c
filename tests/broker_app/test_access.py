"""Who may do what on a broker."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from broker_app.access import require_client, require_topic_client
from broker_app.runtime import CONTACT_LOST_AFTER_S
from http_base.tokens import GRACE_MS, VALID_MS, ClientToken, bearer_of, cluster_token, sign_client
from myqueue.contract.errors import UnauthorizedException

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import LinkTwin

MINUTE_MS = 60_000


def token_of(
    kind: str = "producer",
    client_id: int = 7,
    topic: str = "logs",
    *,
    age_ms: int = 0,
    secret: str | None = None,
) -> str:
    issued_ms = time.time_ns() // 1_000_000 - age_ms
    secret = settings.QUEUE.cluster_secret if secret is None else secret
    return sign_client(secret, ClientToken(kind, client_id, topic, issued_ms))


class Door:
    """Asks for entry as producer 7 of topic logs unless told otherwise."""

    def __init__(self, runtime: BrokerRuntime) -> None:
        self.runtime = runtime

    def enter(self, bearer: str = "", token: str | None = None, **changes: Any) -> None:
        wanted = {"kind": "producer", "client_id": 7, "topic": "logs", **changes}
        require_client(request_with(bearer), self.runtime, token=token, **wanted)

    def read(
        self,
        bearer: str = "",
        token: str | None = None,
        topic: str = "logs",
        kind: str | None = None,
    ) -> None:
        request = request_with(bearer)
        require_topic_client(request, self.runtime, topic=topic, token=token, kind=kind)


def request_with(bearer: str) -> Any:
    return SimpleNamespace(bearer=bearer_of(f"Bearer {bearer}"))


@pytest.fixture
async def door(runtime: BrokerRuntime, link: LinkTwin) -> Door:
    """A broker that just heard a manager."""
    link.last_contact = asyncio.get_running_loop().time()
    return Door(runtime)


async def test_client_enters_with_its_token_in_a_field_or_as_bearer(door: Door) -> None:
    door.enter(token_of())
    door.enter(token=token_of())
    door.enter("another producer's", token=token_of())


async def test_field_counts_before_the_bearer(door: Door) -> None:
    with pytest.raises(UnauthorizedException, match="producer 8"):
        door.enter(token_of(), token=token_of(client_id=8))


async def test_cluster_acts_under_any_id(door: Door) -> None:
    bearer = cluster_token(settings.QUEUE.cluster_secret)
    door.runtime.revoke([7], [])
    door.enter(bearer)
    door.enter(bearer, token="nonsense", topic="other", client_id=99)
    door.read(bearer, topic="other")


async def test_token_of_the_cluster_is_none_in_the_field_of_clients(door: Door) -> None:
    with pytest.raises(UnauthorizedException, match="not valid"):
        door.enter(token=cluster_token(settings.QUEUE.cluster_secret))


@pytest.mark.parametrize(
    "wrong", [{"client_id": 8}, {"kind": "consumer"}, {"topic": "other"}, {"secret": "forged"}]
)
async def test_token_of_another_client_kind_topic_or_cluster_is_refused(
    door: Door, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UnauthorizedException):
        door.enter(token_of(**wrong))


async def test_call_without_a_token_is_told_where_to_put_it(door: Door) -> None:
    for bearer, token in (("", None), ("", ""), (" ", None)):
        with pytest.raises(UnauthorizedException, match="needs the token"):
            door.enter(bearer, token)
        with pytest.raises(UnauthorizedException, match="needs the token"):
            door.read(bearer, token)


async def test_any_client_of_the_topic_may_read_it_and_no_other(door: Door) -> None:
    door.read(token_of("producer", 1))
    door.read(token=token_of("consumer", 2))
    with pytest.raises(UnauthorizedException, match="topic 'other'"):
        door.read(token_of(topic="other"))


async def test_some_calls_are_for_one_kind_of_client(door: Door) -> None:
    door.read(token_of("consumer"), kind="consumer")
    door.read(cluster_token(settings.QUEUE.cluster_secret), kind="consumer")
    with pytest.raises(UnauthorizedException, match="producer 7"):
        door.read(token_of("producer"), kind="consumer")


async def test_revoked_client_is_refused_but_not_the_other_kind_under_its_id(door: Door) -> None:
    door.runtime.revoke([7], [])
    with pytest.raises(UnauthorizedException, match="deleted"):
        door.enter(token_of())
    with pytest.raises(UnauthorizedException, match="deleted"):
        door.read(token_of())
    door.enter(token_of("consumer"), kind="consumer")
    door.runtime.revoke(None, None)  # A report of one change is answered without the lists.
    with pytest.raises(UnauthorizedException, match="deleted"):
        door.enter(token_of())
    door.runtime.revoke([], [])
    door.enter(token_of())


async def test_overdue_token_is_taken_only_while_no_manager_is_heard(
    door: Door, link: LinkTwin
) -> None:
    overdue = token_of(age_ms=VALID_MS + MINUTE_MS)
    late = token_of(age_ms=VALID_MS + GRACE_MS + MINUTE_MS)
    door.enter(token_of(age_ms=VALID_MS - MINUTE_MS))
    with pytest.raises(UnauthorizedException, match="expired"):
        door.enter(overdue)
    for silent_since in (None, asyncio.get_running_loop().time() - CONTACT_LOST_AFTER_S - 1):
        link.last_contact = silent_since
        door.enter(overdue)
        with pytest.raises(UnauthorizedException, match="expired"):
            door.enter(late)


async def test_refusal_repeats_no_endless_topic_name(door: Door) -> None:
    with pytest.raises(UnauthorizedException) as refused:
        door.enter(token_of(), topic="x" * 100_000)
    assert len(refused.value.message) < 400
