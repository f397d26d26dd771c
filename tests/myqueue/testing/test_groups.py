from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from myqueue.client import Client
from myqueue.contract.errors import (
    GroupNotFound,
    IllegalGeneration,
    TooManyGroups,
    UnknownMember,
)
from myqueue.contract.group_inputs import OffsetsCommit
from myqueue.contract.http1 import Request
from myqueue.contract.rules.group_makers import GROUPS_MAX, GROUPS_PER_CLIENT_MAX
from myqueue.contract.rules.group_membership import GroupState, Member, Subscription
from myqueue.testing.api import MemoryApi
from myqueue.testing.groups import MemoryGroup
from myqueue.testing.partition import MemoryPartition
from myqueue.testing.queue import InMemoryQueue
from myqueue.testing.state import MemoryState
from myqueue.transport.blocking import encode_body, read_body
from tests.myqueue.conftest import World
from tests.myqueue.group.test_membership import beat, fill, member


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> MemoryApi:
    api = MemoryApi(MemoryState("manager", ["broker"]))
    api.state.create("logs", 4)
    monkeypatch.setattr(api.state, "now_ms", lambda: 0)
    return api


def ask(api: MemoryApi, method: str, path: str, **fields: Any) -> dict[str, Any]:
    body = encode_body(fields) if fields else b""
    return read_body(api.handle("manager", Request(method, f"/groups{path}", body=body)))


def test_a_partition_is_granted_once(api: MemoryApi) -> None:
    one = ask(api, "POST", "/g/join", topics=["logs"])
    assert one["assignment"] == {"logs": [0, 1, 2, 3]}
    other = ask(api, "POST", "/g/join", topics=["logs"])
    assert (other["generation"], other["assignment"]) == (2, {})

    def heartbeat(whose: dict[str, Any], owned: list[int], generation: int) -> dict[str, Any]:
        fields = {"member_id": whose["member_id"], "owned": {"logs": owned} if owned else {}}
        return ask(api, "POST", "/g/heartbeat", generation=generation, **fields)

    left = heartbeat(one, [0, 1, 2, 3], 1)["assignment"]["logs"]
    assert len(left) == 2
    assert heartbeat(other, [], 2)["assignment"] == {}
    heartbeat(one, left, 2)
    told = heartbeat(other, [], 2)
    assert sorted(left + told["assignment"]["logs"]) == [0, 1, 2, 3]
    assert told["generation"] == 2


def test_silent_members_expire_as_with_a_manager(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = ask(api, "POST", "/g/join", topics=["logs"], session_timeout_ms=1_000)
    assert joined["heartbeat_interval_ms"] == 100
    again = {"topics": ["logs"], "member_id": joined["member_id"]}
    monkeypatch.setattr(api.state, "now_ms", lambda: 750)
    assert len(ask(api, "GET", "/g")["members"]) == 1
    monkeypatch.setattr(api.state, "now_ms", lambda: 751)
    assert ask(api, "GET", "/g")["members"] == []
    with pytest.raises(UnknownMember):
        ask(api, "POST", "/g/join", **again)
    with pytest.raises(UnknownMember):
        ask(api, "POST", "/g/heartbeat", member_id="x", generation=1, owned={})


def test_a_topic_made_anew_is_granted_anew(api: MemoryApi) -> None:
    joined = ask(api, "POST", "/g/join", topics=["logs"])
    api.state.create("logs", 4)
    fields = {"member_id": joined["member_id"], "generation": 1}
    told = ask(api, "POST", "/g/heartbeat", owned={}, **fields)
    assert (told["generation"], told["assignment"]) == (2, joined["assignment"])


def test_groups_of_workers_are_found_too(api: MemoryApi) -> None:
    api.state.topics["logs"][2].begin_work("jobs", start="earliest", client_id=1)
    assert ask(api, "GET", "")["groups"] == ["jobs"]
    rows = ask(api, "GET", "/jobs")["partitions"]
    assert [row["offset"] for row in rows] == [None, None, 0, None]
    ask(api, "DELETE", "/jobs")
    for method in ("GET", "DELETE"):
        with pytest.raises(GroupNotFound):
            ask(api, method, "/jobs")


def test_a_partition_knows_as_many_groups_as_with_a_broker() -> None:
    partition = MemoryPartition("a")

    def make(number: int, client_id: int) -> None:
        partition.commit(OffsetsCommit("logs", 0, f"g{number}", 1), client_id)

    for number in range(GROUPS_PER_CLIENT_MAX):
        make(number, 7)
    make(0, 7)
    with pytest.raises(TooManyGroups, match="consumer 7 made 50"):
        make(GROUPS_PER_CLIENT_MAX, 7)
    for number in range(GROUPS_PER_CLIENT_MAX, GROUPS_MAX):
        make(number, 1_000 + number)
    with pytest.raises(TooManyGroups, match="knows 1000"):
        partition.begin_work("jobs", start="earliest", client_id=5)
    partition.forget_group("g0")
    assert partition.begin_work("jobs", start="earliest", client_id=5).offset == 0


def test_owning_what_was_not_granted_is_refused(world: World) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    group = world.twin.groups.by_name["g"]
    nothing = {name: replace(one, granted=frozenset()) for name, one in group.state.members.items()}
    group.state = replace(group.state, members=nothing)
    beat(world, consumer)
    assert consumer.assignment() == {"logs": [0, 1]}
    joins = [path for _, _, path in world.twin.requests if path.endswith("/join")]
    assert len(joins) == 2


def test_new_partitions_are_assigned(world: World) -> None:
    fill(world, 1)
    consumer = member(world)
    world.client().update_topic("logs", number_of_partitions=3)
    beat(world, consumer)
    assert consumer.assignment() == {"logs": [0, 1, 2]}


def test_an_old_generation_is_told_the_known_one(world: World) -> None:
    fill(world, 2)
    consumer = member(world)
    consumer.poll()
    world.twin.topics["logs"][0].group_offsets["g"] = (5, 0)
    with pytest.raises(IllegalGeneration):
        consumer.commit()


def test_members_come_in_pages_which_a_client_puts_together() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        groups = queue._api.groups
        topics = Subscription(frozenset({"logs"}), 30_000)
        members = {f"{number:032x}": Member(topics.topics, 30_000) for number in range(150)}
        groups.by_name["g"] = MemoryGroup(GroupState(7, {}, members))
        groups.by_name["g"].beaten_ms = dict.fromkeys(members, queue._api.state.now_ms())
        first = groups.answer(Request("GET", "/groups/g", query={"limit": "2"}))
        assert [one["member_id"] for one in first["members"]] == sorted(members)[:2]
        assert (first["next"], first["member_count"]) == (sorted(members)[1], 150)
        with Client(queue.address) as client:
            described = client.describe_group("g")
        assert [one.member_id for one in described.members] == sorted(members)
