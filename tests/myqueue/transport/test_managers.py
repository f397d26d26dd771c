from __future__ import annotations

from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import InvalidRequest, ManagerNotFound, NoLeader, ReadOnlyManager
from myqueue.contract.http1 import Request
from myqueue.transport.driving import drive
from myqueue.transport.managers import Managers, parse_addresses
from tests.myqueue.conftest import World

TOPICS = Request("GET", "/topics")


class Link:
    """Managers, and the flows of calls to them driven."""

    def __init__(self, world: World, *addresses: str) -> None:
        self.managers = Managers(addresses, config=ClientConfig(), clock=world.clock)
        self.world = world

    def call(self, request: Request) -> dict[str, Any]:
        return drive(self.managers.call(request), self.world.transport, self.world.clock)

    def call_patiently(self, request: Request) -> dict[str, Any]:
        flow = self.managers.call_patiently(request)
        return drive(flow, self.world.transport, self.world.clock)


def managers(world: World, *others: str) -> Link:
    return Link(world, *others, world.twin.manager)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("http://a:1", ("http://a:1",)),
        ("http://a:1/", ("http://a:1",)),
        ("a:1", ("http://a:1",)),
        (" a:1, http://b:2 ,", ("http://a:1", "http://b:2")),
        (["a:1", "https://b", "a:1"], ("http://a:1", "https://b:443")),
        ("http://[::1]:5", ("http://[::1]:5",)),
    ],
)
def test_addresses_come_alone_or_several(given: str, found: tuple[str, ...]) -> None:
    assert parse_addresses(given) == found


@pytest.mark.parametrize("given", ["", " , ", [], "ftp://a"])
def test_no_address_is_an_error(given: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_addresses(given)


def test_managers_are_tried_in_turn_and_the_one_that_answered_comes_first(world: World) -> None:
    link = managers(world, "http://gone:1")
    assert link.call(TOPICS)["topics"] == []
    world.twin.brokers.append("http://gone:1")
    assert link.call(TOPICS)["topics"] == []
    assert world.twin.asked("/topics") == [world.twin.manager] * 2


def test_no_manager_is_an_error_after_a_short_time(world: World) -> None:
    world.twin.down.add(world.twin.manager)
    started_s = world.clock.now_s
    with pytest.raises(ManagerNotFound, match="manager:80") as caught:
        managers(world).call_patiently(TOPICS)
    assert caught.value.outcome_known
    assert world.clock.now_s - started_s < 5.0


def test_a_manager_that_comes_back_in_time_is_enough(world: World) -> None:
    world.twin.down.add(world.twin.manager)
    world.clock.after(2.0, lambda: world.twin.down.clear())
    assert managers(world).call_patiently(TOPICS)["topics"] == []


def test_a_lost_answer_makes_the_outcome_unknown(world: World) -> None:
    world.twin.fail("/topics", times=1_000)
    with pytest.raises(ManagerNotFound) as caught:
        managers(world).call_patiently(TOPICS)
    assert not caught.value.outcome_known


def test_a_read_only_manager_names_the_primary(world: World) -> None:
    world.twin.brokers.append("http://standby:1")
    refusal = ReadOnlyManager("x", primary=world.twin.manager)
    world.twin.fail("/topics", refusal, at="http://standby:1")
    link = Link(world, "http://standby:1")
    assert link.call(TOPICS)["topics"] == []


@pytest.mark.parametrize("primary", [None, "", 5, "ftp://x", {"broker_id": 1}])
def test_a_read_only_manager_without_primary_is_told_as_it_is(
    world: World, primary: object
) -> None:
    world.twin.fail("/topics", ReadOnlyManager("x", primary=primary), times=2)
    with pytest.raises(ReadOnlyManager):
        managers(world, "http://gone:1").call(TOPICS)


def test_other_refusals_are_not_taken_to_the_next_manager(world: World) -> None:
    world.twin.fail("/topics", NoLeader())
    with pytest.raises(NoLeader):
        managers(world).call(TOPICS)
