from __future__ import annotations

import random

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import ClientClosed, NoLeader, QueueError, UnreadMessages
from myqueue.contract.http1 import Request
from myqueue.results import Message
from tests.myqueue.cluster_twin import MemoryExchange
from tests.myqueue.conftest import World

CONSUME, RESET = "/consumer/consume", "/cursors/reset"
FIVE = ClientConfig(prefetch_messages=5, delivery_timeout_ms=500, close_timeout_ms=500)


def fill(world: World, *counts: int) -> None:
    for partition, count in zip(world.twin.create("logs", len(counts)), counts, strict=True):
        if count:
            partition.put(*(f"{number}" for number in range(count)))


def cursors(world: World) -> list[int]:
    return [sum(one.cursors.values()) for one in world.twin.topics["logs"]]


def read(world: World, consumer: object, count: int) -> list[int]:
    """Take so many messages by iteration."""
    found: list[int] = []
    for message in consumer:  # type: ignore[attr-defined]
        found.append(message.offset)
        if len(found) == count:
            return found
    return found


def test_the_next_pop_is_out_while_messages_are_handed_out(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    assert read(world, consumer, 1) == [0]
    assert len(world.twin.asked(CONSUME)) == 2
    assert read(world, consumer, 11) == list(range(1, 12))
    assert len(world.twin.asked(CONSUME)) == 4


def test_an_interrupt_when_the_next_pop_is_sent_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 12)
    consumer = world.consumer(config=FIVE)
    begin = world.transport.begin

    def interrupted(address: str, request: Request, **options: float) -> MemoryExchange:
        if request.path == CONSUME and world.twin.asked(CONSUME):
            raise KeyboardInterrupt
        return begin(address, request, **options)

    monkeypatch.setattr(world.transport, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(iter(consumer))
    monkeypatch.undo()
    assert [one.offset for _ in range(3) for one in consumer.poll()] == list(range(12))


def test_closing_gives_back_what_was_not_handed_out(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    assert read(world, consumer, 3) == [0, 1, 2]
    assert cursors(world) == [10]
    consumer.close()
    assert cursors(world) == [3]
    later = world.consumer(attach=consumer.registrations)
    assert [message.offset for message in later.poll(50)] == list(range(3, 20))


def test_closing_inside_the_loop_gives_back_the_rest(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    found = []
    for message in consumer:
        found.append(message.offset)
        if message.offset == 6:
            consumer.close()
    assert found == list(range(7))
    assert cursors(world) == [7]


def test_nothing_in_advance_costs_no_request(world: World) -> None:
    fill(world, 5)
    with world.consumer() as consumer:
        assert len(consumer.poll(5)) == 5
    assert world.twin.asked(RESET) == []


def test_a_lost_answer_to_the_giving_back_is_no_failure(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    read(world, consumer, 3)
    world.twin.fail(RESET, applied=True)
    consumer.close()
    assert cursors(world) == [3]


def test_a_pop_of_unknown_fate_is_settled_before(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    world.twin.fail(CONSUME, applied=True)
    world.twin.fail(CONSUME, NoLeader(), times=1_000)
    with pytest.raises(NoLeader):
        consumer.poll(4)
    world.twin.faults.clear()
    assert cursors(world) == [4]
    consumer.close()
    assert cursors(world) == [0]


def test_what_cannot_be_given_back_is_told(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    read(world, consumer, 3)
    world.twin.down = {*world.twin.brokers, world.twin.manager}
    with pytest.raises(UnreadMessages) as caught:
        consumer.close()
    messages: list[Message] = caught.value.details["messages"]
    assert [one.offset for one in messages] == list(range(3, 10))
    consumer.close()
    with pytest.raises(ClientClosed):
        consumer.poll()


def test_a_cursor_that_another_moved_is_left_alone(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    read(world, consumer, 3)
    twin = world.consumer(attach=consumer.registrations)
    assert [one.offset for one in twin.poll(2)] == [10, 11]
    with pytest.raises(UnreadMessages) as caught:
        consumer.close()
    assert len(caught.value.details["messages"]) == 7
    assert caught.value.outcome_known
    assert cursors(world) == [12]


def test_an_error_under_way_is_not_replaced(world: World) -> None:
    fill(world, 20)

    def fail() -> None:
        with world.consumer(config=FIVE) as consumer:
            read(world, consumer, 3)
            world.twin.down = {*world.twin.brokers, world.twin.manager}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert "not given back" in caught.value.__notes__[0]


def test_a_forgotten_consumer_gives_nothing_back(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    read(world, consumer, 3)
    consumer.forget()
    assert world.twin.asked(RESET) == []


def test_sizes_count_what_is_on_its_way(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    read(world, consumer, 3)
    assert consumer.get_size("logs") == 17


def test_poll_after_iteration_goes_on_where_it_stopped(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    read(world, consumer, 3)
    assert [one.offset for one in consumer.poll(1)] == [3]
    assert [one.offset for one in consumer.poll(10)] == [4]
    assert [one.offset for one in consumer.poll(2)] == [5, 6]
    assert [one.offset for one in consumer.poll(10)] == [7, 8, 9]


def test_a_silent_leader_does_not_hold_the_next_pop(world: World) -> None:
    fill(world, 20)
    consumer = world.consumer(config=FIVE)
    partition = world.twin.topics["logs"][0]
    consumer.get_size("logs")
    begin = world.transport.begin
    stop_at = len(world.transport.begun) + 2

    def stopping(*args: object, **kwargs: object) -> object:
        if len(world.transport.begun) >= stop_at - 1:
            world.twin.stopped = {world.twin.brokers[0]}
            partition.leader = world.twin.brokers[1]
        return begin(*args, **kwargs)  # type: ignore[arg-type]

    world.transport.begin = stopping  # type: ignore[assignment,method-assign]
    assert read(world, consumer, 12) == list(range(12))


@pytest.mark.parametrize("seed", range(60))
def test_consumers_that_come_and_go_read_everything_once(world: World, seed: int) -> None:
    chance = random.Random(seed)
    fill(world, 40, 40, 0)
    config = ClientConfig(prefetch_messages=4, delivery_timeout_ms=20_000, close_timeout_ms=20_000)
    consumer = world.consumer(config=config)
    consumer.get_size("logs")
    registrations = consumer.registrations
    world.twin.chaos = chance
    found: list[tuple[int, int]] = []
    while len(found) < 80:
        for _ in range(chance.randrange(4)):
            try:
                found += handed_out(consumer, chance, 80 - len(found))
            except QueueError as error:
                pytest.fail(f"seed {seed}: {error!r}")
        consumer.close()
        consumer = world.consumer(config=config, attach=registrations)
    for partition in range(2):
        assert [offset for index, offset in found if index == partition] == list(range(40)), seed


def handed_out(consumer: object, chance: random.Random, most: int) -> list[tuple[int, int]]:
    taken: list[Message] = []
    if chance.random() < 0.5:
        taken = consumer.poll(chance.randrange(1, 7))  # type: ignore[attr-defined]
    elif most:
        wanted = min(most, chance.randrange(1, 7))
        for message in consumer:  # type: ignore[attr-defined]
            taken.append(message)
            if len(taken) == wanted:
                break
    return [(message.partition, message.offset) for message in taken]
