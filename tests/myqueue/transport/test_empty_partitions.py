from __future__ import annotations

from myqueue.consumer.pop_calls import look_request
from myqueue.contract.errors import BrokerUnreachable, InvalidRequest
from myqueue.results import Registration
from myqueue.transport.driving import drive
from myqueue.transport.effects import Begin, Flow, Pending
from myqueue.transport.empty_partitions import HELD_MAX, PAUSE_S, EmptyPartitions
from tests.myqueue.conftest import World

PATH = "/consumer/consume"
Place = tuple[str, int]


class Driven:
    """Empty partitions, and their flows driven."""

    def __init__(self, world: World, empty: EmptyPartitions) -> None:
        self.world = world
        self.empty = empty

    def wait(self, partitions: list[Place], timeout_s: float) -> None:
        flow = self.empty.wait(partitions, timeout_s)
        drive(flow, self.world.transport, self.world.clock)

    def quiet(self, partitions: list[Place]) -> set[Place]:
        flow = self.empty.quiet(partitions)
        return drive(flow, self.world.transport, self.world.clock)


def driven(world: World, partitions: int) -> tuple[Driven, list[Place]]:
    """Return what waits, and partitions that the two first brokers lead in turn."""
    for index, partition in enumerate(world.twin.create("a", partitions)):
        partition.leader = world.twin.brokers[index % 2]
    world.twin.clients[1] = ("consumer", "a")
    registrations = {"a": Registration(1, "token-1")}

    def find(where: Place) -> Flow[str]:
        leader: str = world.twin.topics[where[0]][where[1]].leader
        return leader
        yield

    def begin(address: str, places: list[Place]) -> Flow[Pending]:
        request = look_request(places, registrations, wait_ms=10_000)
        pending: Pending = yield Begin(address, request, 15)
        return pending

    return Driven(world, EmptyPartitions(find, begin)), [("a", n) for n in range(partitions)]


def test_waiting_ends_when_a_partition_has_something(world: World) -> None:
    made, partitions = driven(world, 4)
    world.clock.after(2, lambda: world.twin.topics["a"][1].put("x"))
    made.wait(partitions, 10)
    assert world.clock.now_s == 1_002
    assert made.quiet(partitions) == {("a", 0), ("a", 2), ("a", 3)}, "the answer named one"


def test_each_broker_holds_one_call_which_is_not_sent_again(world: World) -> None:
    made, partitions = driven(world, 4)
    made.wait(partitions, 1)
    made.wait(partitions, 1)
    assert [one.address for one in world.transport.begun] == world.twin.brokers[:2]
    made.wait(partitions[::2], 1)
    assert [one.cancelled for one in world.transport.begun] == [False, True]
    made.empty.close()
    assert world.transport.begun[0].cancelled


def test_a_call_that_ends_with_nothing_leaves_its_partitions_empty(world: World) -> None:
    made, partitions = driven(world, 3)
    made.wait(partitions, 20)
    assert world.clock.now_s == 1_010
    assert made.quiet(partitions) == set(partitions)
    made.wait(partitions, 1)
    assert len(world.transport.begun) == 4


def test_a_partition_that_has_moved_joins_the_call_at_its_broker(world: World) -> None:
    made, partitions = driven(world, 3)
    made.wait(partitions, 1)
    first, second = world.twin.brokers[:2]
    moved = world.twin.topics["a"][1]
    moved.leader = first
    made.wait(partitions, 1)  # at the broker that led it: that one says so
    assert made.quiet(partitions) == {("a", 0), ("a", 2)}
    made.wait(partitions, 1)
    assert [one.address for one in world.transport.begun] == [first, second, first]
    assert world.transport.begun[0].cancelled
    moved.put("x")
    assert made.quiet(partitions) == {("a", 0), ("a", 2)}


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


def test_a_server_that_refuses_such_calls_is_not_asked_without_a_pause(world: World) -> None:
    made, partitions = driven(world, 1)
    world.twin.fail(PATH, InvalidRequest("unknown field partitions"), times=100)
    for _ in range(10):
        made.wait(partitions, 10)
        assert made.quiet(partitions) == set(), "it has to be asked"
    assert world.clock.now_s >= 1_000 + 5 * PAUSE_S


def test_partitions_that_are_waited_at_are_bounded(world: World) -> None:
    made, partitions = driven(world, HELD_MAX + 5)
    made.wait(partitions, 10)
    assert len(world.transport.begun) == 2
    assert len(made.quiet(partitions)) == HELD_MAX
    assert world.clock.now_s == 1_000 + PAUSE_S
