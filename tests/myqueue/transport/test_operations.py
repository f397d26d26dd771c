from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from myqueue import Client
from myqueue.contract.errors import InvalidRequest, ManagerNotFound
from myqueue.testing.manager import MemoryManager
from tests.myqueue.conftest import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.http1 import Request

AT = datetime(2026, 1, 31, tzinfo=UTC)
AT_MS = 1_769_817_600_000
PURGED = {
    "topic": "a b",
    "removed": 3,
    "partitions": [{"partition": 0, "log_start_offset": 3, "removed": 3}],
}
REBALANCE = {
    "state": "on",
    "bytes_per_second": 5,
    "running": [{"topic": "logs", "partition": 1, "source": 1, "target": 2}],
    "plan": [],
}
TOKEN = {"name": "ci", "owner": "ada", "role": "none", "state": "active"}
RIGHTS = {"pattern": "orders.*", "rights": ["produce"]}
LETTER = {
    "topic": "logs.dead",
    "partition": 0,
    "offset": 7,
    "timestamp": 1,
    "message": b"\xff",
    "key": None,
    "headers": None,
    "died_topic": "logs",
    "died_partition": 1,
    "died_offset": None,
    "died_group": "mailers",
    "deliveries": 5,
}
CALLS: dict[str, tuple[Callable[[Client], Any], dict[str, Any], str, dict[str, Any]]] = {
    "purge before a time": (
        lambda client: client.purge_topic("a b", before=AT, partitions=(0, 2)),
        PURGED,
        "POST /topics/a%20b/purge",
        {"timestamp": AT_MS, "partitions": [0, 2]},
    ),
    "purge below an offset": (
        lambda client: client.purge_topic("logs", offset=7).partitions[0].removed,
        PURGED,
        "POST /topics/logs/purge",
        {"offset": 7},
    ),
    "drain": (
        lambda client: client.drain_broker(4).replicas,
        {"broker_id": 4, "replicas": 12},
        "DELETE /brokers/4",
        {},
    ),
    "undrain": (
        lambda client: client.undrain_broker(4).draining,
        {"broker_id": 4, "draining": False},
        "PATCH /brokers/4",
        {"draining": False},
    ),
    "hand over": (
        lambda client: client.hand_over(4).agreed,
        {"broker_id": 4, "agreed": 2, "asked": 3},
        "POST /brokers/4/hand-over",
        {},
    ),
    "look at moves": (
        lambda client: client.describe_rebalance().running[0].target,
        REBALANCE,
        "GET /rebalance",
        {},
    ),
    "move": (
        lambda client: client.start_rebalance(1 << 20),
        REBALANCE,
        "POST /rebalance",
        {"paused": False, "bytes_per_second": 1 << 20},
    ),
    "pause": (
        lambda client: client.pause_rebalance(),
        REBALANCE,
        "POST /rebalance",
        {"paused": True},
    ),
    "cancel": (lambda client: client.cancel_rebalance(), REBALANCE, "DELETE /rebalance", {}),
    "dead letters": (
        lambda client: client.list_dead_letters(group="mailers")[0].left,
        {"dead_letters": [{"group": "mailers", "left": 3}], "next": None},
        "GET /dead-letters?group=mailers&limit=1000",
        {},
    ),
    "peek": (
        lambda client: [
            (one.value, one.died_topic, one.died_offset, one.deliveries)
            for one in client.peek_dead_letters("logs", dead_letter_topic="broken", max_messages=2)
        ],
        {"letters": [LETTER]},
        "GET /topics/logs/dead-letters?max_messages=2&dead_letter_topic=broken",
        {},
    ),
    "tokens": (
        lambda client: client.list_tokens()[0].rights[0].pattern,
        {"tokens": [{**TOKEN, "rights": [RIGHTS]}], "next": None},
        "GET /tokens?limit=1000",
        {},
    ),
    "make a token": (
        lambda client: (
            client.create_token(
                "ci", "ada", role="viewer", rights={"orders.*": ["produce"]}, expires_at=AT
            ).token
        ),
        {"name": "ci", "owner": "ada", "token": "qs_secret"},
        "POST /tokens",
        {
            "name": "ci",
            "owner": "ada",
            "role": "viewer",
            "rights": [RIGHTS],
            "expires_at": AT_MS,
        },
    ),
    "revoke a token": (
        lambda client: client.revoke_token("ci/build 1"),
        {},
        "DELETE /tokens/ci%2Fbuild%201",
        {},
    ),
    "forget a client": (
        lambda client: client.forget_client("consumers", 17),
        {"partitions_pending": [2]},
        "DELETE /consumers/17",
        {},
    ),
}
ANSWERS = {
    "purge before a time": PURGED,
    "purge below an offset": 3,
    "drain": 12,
    "undrain": False,
    "hand over": 2,
    "look at moves": 2,
    "move": REBALANCE,
    "pause": REBALANCE,
    "cancel": REBALANCE,
    "dead letters": 3,
    "peek": [(b"\xff", "logs", None, 5)],
    "tokens": "orders.*",
    "make a token": "qs_secret",
    "revoke a token": None,
    "forget a client": [2],
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_asks_and_is_told_as_the_interface_says(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    call, told, line, fields = CALLS[name]
    asked: list[Request] = []

    def answer(self: object, request: Request) -> dict[str, Any]:
        asked.append(request)
        return told

    monkeypatch.setattr(MemoryManager, "answer", answer)
    result = call(world.client())
    assert result == ANSWERS[name] or {**ANSWERS[name], "status": "success"} == result
    [request] = asked
    query = "&".join(f"{key}={value}" for key, value in (request.query or {}).items())
    assert f"{request.method} {request.path}{query and '?'}{query}" == line
    assert (msgspec.msgpack.decode(request.body) if request.body else {}) == fields


def test_what_must_not_happen_twice_is_not_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    monkeypatch.setattr(MemoryManager, "answer", lambda *_: {})
    calls: dict[str, Callable[[], object]] = {
        "/topics/logs/purge": lambda: client.purge_topic("logs"),
        "/tokens": lambda: client.create_token("ci", "ada"),
    }
    for path, call in calls.items():
        world.twin.fail(path, applied=True)
        before = len(world.twin.requests)
        with pytest.raises(ManagerNotFound) as caught:
            call()
        assert not caught.value.outcome_known
        assert len(world.twin.requests) == before + 1


def test_a_token_is_in_no_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"name": "ci", "token": "qs_secret"}
    monkeypatch.setattr(MemoryManager, "answer", lambda *_: told)
    made = world.client().create_token("ci", "ada")
    assert made.token == "qs_secret"
    assert "secret" not in repr(made)
    with pytest.raises(InvalidRequest, match="producers or consumers"):
        world.client().forget_client("producer", 1)  # type: ignore[arg-type]
