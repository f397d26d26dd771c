from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    CommitTimeout,
    InvalidRequest,
    OffsetOutOfRange,
    PartitionNotFound,
    UnauthorizedException,
)
from myqueue.contract.http1 import Request
from myqueue.contract.records import Record, encode_batch
from myqueue.results import Lag
from tests.myqueue.cluster_twin import MemoryExchange
from tests.myqueue.conftest import World


def fill(world: World, *counts: int) -> None:
    for partition, count in zip(world.twin.create("logs", len(counts)), counts, strict=True):
        for number in range(count):
            batch = encode_batch([Record(f"{number}", timestamp=world.clock.wall_ms())])
            partition.append(batch, world.clock.wall_ms())
            world.clock.sleep(1)


def test_seek_moves_the_cursor_there_and_back(world: World) -> None:
    fill(world, 5)
    consumer = world.consumer()
    assert consumer.seek("logs", 0, 3) == 3
    assert [one.offset for one in consumer.poll()] == [3, 4]
    assert consumer.seek("logs", 0, 0) == 0
    assert len(consumer.poll()) == 5
    with pytest.raises(OffsetOutOfRange):
        consumer.seek("logs", 0, 6)
    with pytest.raises(PartitionNotFound):
        consumer.seek("logs", 1, 0)


def test_seek_drops_what_was_taken_in_advance(world: World) -> None:
    fill(world, 10)
    consumer = world.consumer(config=ClientConfig(prefetch_messages=3))
    assert next(iter(consumer)).offset == 0
    consumer.seek("logs", 0, 8)
    assert [one.offset for one in consumer.poll()] == [8, 9]
    consumer.close()
    assert world.twin.topics["logs"][0].cursors == {1: 10}


@pytest.mark.parametrize("applied", [False, True])
def test_a_seek_that_fails_drops_nothing(world: World, applied: bool) -> None:
    fill(world, 10)
    consumer = world.consumer(config=ClientConfig(prefetch_messages=3, delivery_timeout_ms=500))
    assert next(iter(consumer)).offset == 0
    with pytest.raises(OffsetOutOfRange):
        consumer.seek("logs", 0, 11)
    world.twin.fail("/cursors/reset", CommitTimeout(), applied=applied, times=1_000)
    with pytest.raises(CommitTimeout):
        consumer.seek("logs", 0, 8)
    world.twin.faults.clear()
    found = [one.offset for _ in range(3) for one in consumer.poll(5)]
    assert found == list(range(1, 6)) + list(range(8 if applied else 6, 10))


def test_a_pop_of_unknown_fate_cannot_move_the_cursor_after_a_seek(world: World) -> None:
    fill(world, 10)
    consumer = world.consumer(config=ClientConfig(delivery_timeout_ms=500))
    world.twin.fail("/consumer/consume", CommitTimeout(), applied=True, times=100)
    with pytest.raises(CommitTimeout):
        consumer.poll(4)
    world.twin.faults.clear()
    consumer.seek("logs", 0, 2)
    assert [one.offset for one in consumer.poll(3)] == [2, 3, 4]


def test_seek_to_time_finds_the_first_at_or_after_it(world: World) -> None:
    started_ms = world.clock.wall_ms()
    fill(world, 5, 2)
    consumer = world.consumer()
    assert consumer.seek_to_time("logs", started_ms + 3_000) == {0: 3, 1: 0}
    assert consumer.seek_to_time("logs", started_ms + 3_001, partition=0) == {0: 4}
    when = datetime.fromtimestamp(started_ms / 1000, UTC) + timedelta(seconds=6)
    assert consumer.seek_to_time("logs", when) == {0: 5, 1: 1}
    assert [one.partition for one in consumer.poll()] == [1]
    with pytest.raises(InvalidRequest):
        consumer.seek_to_time("logs", datetime(2020, 1, 1))  # noqa: DTZ001 - what is refused


def test_lag_is_told_in_messages_and_seconds(world: World) -> None:
    fill(world, 5, 0)
    consumer = world.consumer()
    assert consumer.lag() == [Lag("logs", 0, 5, 5.0), Lag("logs", 1, 0, 0.0)]
    consumer.poll(2)
    assert consumer.lag("logs")[0] == Lag("logs", 0, 3, 3.0)
    consumer.poll(50)
    assert consumer.lag()[0] == Lag("logs", 0, 0, 0.0)


def test_lag_counts_what_was_taken_and_not_handed_out(world: World) -> None:
    fill(world, 6)
    consumer = world.consumer(config=ClientConfig(prefetch_messages=2))
    assert next(iter(consumer)).offset == 0
    assert consumer.lag() == [Lag("logs", 0, 5, 5.0)]


def test_a_list_keeps_its_order_when_a_later_topic_is_empty(world: World) -> None:
    world.twin.create("a", 1)[0].put("1", "2", "3")
    world.twin.create("b", 1)
    consumer = world.consumer(["a", "b"])
    for _ in range(2):
        with pytest.raises(Exception, match="QEmpty"):
            consumer.dequeue(["a", "b"])
    assert [consumer.dequeue("a") for _ in range(3)] == ["1", "2", "3"]


def test_a_list_that_fails_at_a_later_topic_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.twin.create("a", 1)[0].put("1", "2")
    world.twin.create("b", 1)
    consumer = world.consumer(["a", "b"])
    with pytest.raises(UnauthorizedException):
        consumer.dequeue(["a", "a", "other"])
    begin = world.transport.begin

    def interrupted(address: str, request: Request, **options: float) -> MemoryExchange:
        if request.path == "/topics/b":
            raise KeyboardInterrupt
        return begin(address, request, **options)

    monkeypatch.setattr(world.transport, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        consumer.dequeue(["a", "b"])
    monkeypatch.undo()
    assert [consumer.dequeue("a") for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_second_is_a_second_also_when_nothing_answers(world: World, partitions: int) -> None:
    world.twin.create("logs", partitions)
    for consumer in (world.consumer(), world.consumer(group="g")):
        consumer.poll()
        world.twin.stopped = {world.twin.manager, *world.twin.brokers}
        for _ in range(3):
            began_s = world.clock.now_s
            assert consumer.poll(timeout=1) == []
            assert world.clock.now_s - began_s == pytest.approx(1, abs=0.002)
        world.twin.stopped = set()


def test_what_comes_at_the_end_of_a_wait_comes_with_the_next(world: World) -> None:
    [partition] = world.twin.create("logs", 1)
    consumer = world.consumer()
    world.clock.after(0.95, lambda: partition.put("late"))
    found = consumer.poll(timeout=1) + consumer.poll(timeout=1)
    assert [one.text for one in found] == ["late"]


def test_calls_with_a_wrong_argument_say_what_is_meant(world: World) -> None:
    world.twin.create("logs", 1)
    for consumer in (world.consumer(), world.consumer(group="g")):
        with pytest.raises(InvalidRequest, match=r"not 1.0; the time to wait is timeout="):
            consumer.poll(1.0)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="timeout is a number of seconds"):
            consumer.poll(timeout="1")  # type: ignore[arg-type]
