from __future__ import annotations

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.transport.driving import drive
from myqueue.transport.effects import Begin, Flow, Pending
from myqueue.transport.empty_partitions import HELD_MAX, PAUSE_S, EmptyPartitions
from tests.myqueue.conftest import World


class Driven:
    """Empty partitions, and their flows driven."""

    def __init__(self, world: World, empty: EmptyPartitions) -> None:
        self.world = world
        self.empty = empty

    def wait(self, partitions: list[tuple[str, int]], timeout_s: float) -> None:
        flow = self.empty.wait(partitions, timeout_s)
        drive(flow, self.world.transport, self.world.clock)

    def quiet(self, partitions: list[tuple[str, int]]) -> set[tuple[str, int]]:
        flow = self.empty.quiet(partitions)
        return drive(flow, self.world.transport, self.world.clock)


def driven(world: World, partitions: int) -> tuple[Driven, list[tuple[str, int]]]:
    world.twin.create("a", partitions)
    world.twin.clients[1] = ("consumer", "a")

    def begin(where: tuple[str, int]) -> Flow[Pending]:
        query: dict[str, str | int] = {
            "topic": where[0],
            "partition": where[1],
            "consumer_id": 1,
            "wait_ms": 10_000,
        }
        leader = world.twin.topics[where[0]][where[1]].leader
        request = Request("GET", "/size", query=query, token="token-1")
        pending: Pending = yield Begin(leader, request, 15)
        return pending

    return Driven(world, EmptyPartitions(begin)), [("a", index) for index in range(partitions)]


def test_waiting_ends_when_a_partition_has_something(world: World) -> None:
    made, partitions = driven(world, 3)
    world.clock.after(2, lambda: world.twin.topics["a"][1].put("x"))
    made.wait(partitions, 10)
    assert world.clock.now_s == 1_002
    assert made.quiet(partitions) == {("a", 0), ("a", 2)}


def test_open_requests_are_not_sent_again(world: World) -> None:
    made, partitions = driven(world, 3)
    made.wait(partitions, 1)
    made.wait(partitions, 1)
    assert len(world.transport.begun) == 3
    made.wait(partitions[:1], 1)
    assert [exchange.cancelled for exchange in world.transport.begun] == [False, True, True]
    made.empty.close()
    assert world.transport.begun[0].cancelled


def test_what_cannot_be_waited_at_is_asked_again_soon(world: World) -> None:
    made, partitions = driven(world, 2)
    world.twin.down = {world.twin.brokers[0]}
    made.wait(partitions, 10)
    assert world.clock.now_s == 1_000 + PAUSE_S
    assert made.quiet(partitions) == {("a", 1)}
    world.twin.down = set(world.twin.brokers)
    made.wait(partitions, 10)
    made.wait(partitions, 10)
    assert world.clock.slept[-1] == PAUSE_S
    assert BrokerUnreachable.refreshes_metadata


def test_held_requests_are_bounded(world: World) -> None:
    made, partitions = driven(world, HELD_MAX + 5)
    made.wait(partitions, 10)
    assert len(world.transport.begun) == HELD_MAX
    assert world.clock.now_s == 1_000 + PAUSE_S
