from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from myqueue.contract.errors import BrokerAlreadyPresent, ManagerNotFound, TopicAlreadyExists
from myqueue.testing.groups import MemoryGroups
from myqueue.testing.manager import MemoryManager
from tests.myqueue.conftest import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.http1 import Request


def test_a_lost_creation_may_be_ones_own(world: World) -> None:
    world.twin.fail("/topics", applied=True)
    with pytest.raises(TopicAlreadyExists) as caught:
        world.client().create_topic("logs")
    assert not caught.value.outcome_known
    world.twin.fail("/topics")
    world.client().create_topic("more")
    assert list(world.twin.topics) == ["logs", "more"]


def test_brokers_are_listed_and_added(world: World) -> None:
    client = world.client()
    client.add_broker("http://new:1")
    assert client.list_brokers()[-1] == "http://new:1"
    assert client.describe_brokers()[-1]["state"] == "alive"
    with pytest.raises(BrokerAlreadyPresent):
        client.add_broker("http://new:1")


def test_what_a_list_came_to_before_it_failed_is_told(world: World) -> None:
    client = world.client()
    with pytest.raises(BrokerAlreadyPresent) as caught:
        client.add_broker(["http://new:1", "http://new:1"])
    assert caught.value.details["done"] == ["http://new:1"]
    assert client.create_topic([]) == []


def test_a_shift_of_a_group_is_not_repeated_when_its_answer_is_lost(world: World) -> None:
    world.twin.create("logs")
    world.twin.topics["logs"][0].group_offsets["g"] = (0, 0)
    path, client = "/groups/g/offsets", world.client()
    world.twin.fail(path, applied=True)
    with pytest.raises(ManagerNotFound) as caught:
        client.reset_group("g", "logs", shift=1)
    assert not caught.value.outcome_known
    assert len(world.twin.asked(path)) == 1
    world.twin.fail(path, applied=True)
    client.reset_group("g", "logs", to="latest")
    world.twin.fail(path)
    client.reset_group("g", "logs", shift=1, dry_run=True)
    assert len(world.twin.asked(path)) == 5


@pytest.mark.parametrize("kind", ["topics", "brokers", "producers", "consumers", "groups"])
def test_lists_are_whole_however_many_rows_the_manager_puts_into_one_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rows = [{"row": number} for number in range(5)]
    asked: list[dict[str, Any]] = []

    def answer(self: object, request: Request) -> dict[str, Any]:
        assert (request.method, request.path) == ("GET", f"/{kind}")
        query = request.query or {}
        asked.append({name: text for name, text in query.items() if name != "limit"})
        assert query["limit"] == "1000"
        begin = int(query.get("after") or 0)
        following = str(begin + 2) if begin + 2 < len(rows) else None
        return {kind: rows[begin : begin + 2], "next": following}

    for part in (MemoryManager, MemoryGroups):
        monkeypatch.setattr(part, "answer", answer)
    client = world.client()
    calls: dict[str, Callable[[], list[Any]]] = {
        "topics": client.list_topics,
        "brokers": client.describe_brokers,
        "producers": lambda: client.list_clients("producers", "a b"),
        "consumers": lambda: client.list_clients("consumers"),
        "groups": client.list_groups,
    }
    filters = {"brokers": {"detail": "1"}, "producers": {"topic": "a b"}}.get(kind, {})
    assert calls[kind]() == rows
    assert asked == [filters, {**filters, "after": "2"}, {**filters, "after": "4"}]
