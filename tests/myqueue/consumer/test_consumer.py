from __future__ import annotations

import random
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    CommitTimeout,
    InvalidRequest,
    NoLeader,
    NotLeader,
    OffsetOutOfRange,
    PartitionNotFound,
    QueueEmpty,
    QueueError,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.records import Record, encode_batch
from tests.myqueue.conftest import World

CONSUME = "/consumer/consume"
HURRIED = ClientConfig(delivery_timeout_ms=500)


def fill(world: World, *counts: int) -> None:
    for index, (partition, count) in enumerate(
        zip(world.twin.create("logs", len(counts)), counts, strict=True)
    ):
        for number in range(count):
            partition.put(f"{index}:{number}")


def test_every_message_is_read_once(world: World) -> None:
    fill(world, 3, 0, 2)
    consumer = world.consumer()
    assert consumer.get_size("logs") == 5
    assert consumer.can_dequeue("logs")
    found = [consumer.dequeue("logs") for _ in range(5)]
    assert sorted(map(str, found)) == ["0:0", "0:1", "0:2", "2:0", "2:1"]
    with pytest.raises(QueueEmpty, match="QEmpty"):
        consumer.dequeue("logs")
    assert not consumer.can_dequeue("logs")


def test_partitions_that_have_something_take_turns(world: World) -> None:
    fill(world, 3, 3)
    consumer = world.consumer()
    assert [consumer.dequeue("logs") for _ in range(4)] == ["0:0", "1:0", "0:1", "1:1"]


def test_two_consumers_are_independent(world: World) -> None:
    fill(world, 2)
    first, second = world.consumer(), world.consumer()
    for consumer in (first, second):
        assert [consumer.dequeue("logs") for _ in range(2)] == ["0:0", "0:1"]


def test_a_list_of_topics_gives_a_list(world: World) -> None:
    world.twin.create("a", 1)[0].put("1", "2")
    world.twin.create("b", 1)[0].put(b"\xff")
    consumer = world.consumer(["a", "b"])
    assert consumer.get_size(["a", "b"]) == [2, 1]
    assert consumer.dequeue(["a", "b"]) == ["1", b"\xff"]
    assert consumer.can_dequeue(("a", "b")) == [True, False]
    with pytest.raises(QueueEmpty):
        consumer.dequeue(["a", "b"])
    assert consumer.get_size("a") == 1
    assert consumer.dequeue("a") == "2"


def test_a_key_reads_its_partition_alone(world: World) -> None:
    fill(world, 1, 1)
    consumer = world.consumer()
    assert consumer.dequeue("logs", 3) == "1:0"
    with pytest.raises(QueueEmpty):
        consumer.dequeue("logs", 3)
    assert consumer.dequeue("logs", 0) == "0:0"


def test_a_consumer_of_an_unknown_topic_is_refused(world: World) -> None:
    with pytest.raises(TopicDoesNotExist):
        world.consumer("nothing")
    world.twin.create("logs", 1)
    with pytest.raises(UnauthorizedException):
        world.consumer().dequeue("other")


def test_latest_skips_what_is_stored(world: World) -> None:
    fill(world, 2)
    consumer = world.consumer(start="latest")
    assert consumer.poll() == []
    world.twin.topics["logs"][0].put("new")
    assert [message.text for message in consumer.poll()] == ["new"]


def test_a_lost_answer_loses_no_message(world: World) -> None:
    fill(world, 3)
    consumer = world.consumer()
    world.twin.fail(CONSUME, applied=True, times=3)
    assert [consumer.dequeue("logs") for _ in range(3)] == ["0:0", "0:1", "0:2"]


def test_a_pop_given_up_is_taken_up_by_the_next_call(world: World) -> None:
    fill(world, 3)
    consumer = world.consumer(config=HURRIED)
    world.twin.fail(CONSUME, applied=True)
    world.twin.fail(CONSUME, NoLeader(), times=1_000)
    with pytest.raises(NoLeader) as caught:
        consumer.poll(2)
    assert not caught.value.outcome_known
    world.twin.faults.clear()
    assert consumer.dequeue("logs") == "0:0"
    assert consumer.get_size("logs") == 2
    assert [message.text for message in consumer.poll(5)] == ["0:1"]
    assert [message.text for message in consumer.poll(5)] == ["0:2"]


def test_a_pop_of_unknown_fate_outlives_calls_that_certainly_did_nothing(world: World) -> None:
    fill(world, 3)
    consumer = world.consumer(config=HURRIED)
    world.twin.fail(CONSUME, applied=True)
    world.twin.fail(CONSUME, NoLeader(), times=1_000)
    for _ in range(3):
        with pytest.raises(NoLeader):
            consumer.poll(2)
    world.twin.faults.clear()
    assert [message.text for message in consumer.poll(2)] == ["0:0", "0:1"]


def test_a_partition_without_a_leader_does_not_keep_the_others_waiting(world: World) -> None:
    fill(world, 0, 3, 3)
    consumer = world.consumer(config=ClientConfig(delivery_timeout_ms=3_000))
    bad = world.twin.topics["logs"][0]
    leader, bad.leader = bad.leader, ""
    began_s = world.clock.now_s
    found = [str(consumer.dequeue("logs")) for _ in range(6)]
    assert found == ["1:0", "2:0", "1:1", "2:1", "1:2", "2:2"]
    assert world.clock.now_s - began_s < 1
    assert consumer.poll(timeout=0.5) == []  # in time, and the log says that it is not certain
    with pytest.raises((NoLeader, NotLeader)):  # only now nobody can say that there is nothing
        consumer.poll(timeout=10)
    assert world.clock.now_s - began_s == pytest.approx(4, abs=1)
    world.clock.after(1, lambda: setattr(bad, "leader", leader))
    bad.put("0:0")
    assert consumer.dequeue("logs") == "0:0"


def test_what_comes_while_a_partition_is_without_a_leader_ends_the_wait(world: World) -> None:
    fill(world, 0, 0)
    consumer = world.consumer()
    bad, good = world.twin.topics["logs"]
    bad.leader = ""
    world.clock.after(5, lambda: good.put("late"))
    began_s = world.clock.now_s
    assert [message.text for message in consumer.poll(timeout=30)] == ["late"]
    assert world.clock.now_s - began_s < 6


def test_an_election_after_a_long_wait_is_waited_for(world: World) -> None:
    fill(world, 0, 0)
    consumer = world.consumer(config=ClientConfig(delivery_timeout_ms=5_000))
    moving = world.twin.topics["logs"][0]

    def move(leader: str) -> None:
        moving.leader = leader
        if leader:
            moving.put("late")

    world.clock.after(100, lambda: move(""))
    world.clock.after(103, lambda: move(world.twin.brokers[1]))
    assert [message.text for message in consumer.poll(timeout=None)] == ["late"]


def test_an_interrupted_pop_is_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(world, 2)
    consumer = world.consumer()
    consumer.get_size("logs")
    begin = world.transport.begin

    def interrupted(*args: object, **kwargs: object) -> object:
        begin(*args, **kwargs)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(world.transport, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        consumer.dequeue("logs")
    monkeypatch.undo()
    assert [consumer.dequeue("logs") for _ in range(2)] == ["0:0", "0:1"]


@pytest.mark.parametrize("seed", range(40))
def test_exactly_once_in_order_under_chaos(world: World, seed: int) -> None:
    fill(world, 20, 20, 20)
    consumer = world.consumer(config=ClientConfig(delivery_timeout_ms=1_000))
    consumer.get_size("logs")
    world.twin.chaos = random.Random(seed)
    found: list[tuple[int, int]] = []
    for _ in range(400):
        if len(found) == 60:
            break
        try:
            taken = consumer.poll(world.twin.chaos.randrange(1, 6))
        except QueueError:
            continue
        found += [(message.partition, message.offset) for message in taken]
    for partition in range(3):
        assert [offset for index, offset in found if index == partition] == list(range(20)), seed


def test_brokers_out_of_reach_are_read_through_the_manager(world: World) -> None:
    fill(world, 2, 2)
    for partition in world.twin.topics["logs"]:
        partition.leader = "http://inside:80"
    world.twin.down = set(world.twin.brokers)
    consumer = world.consumer()
    assert len([consumer.dequeue("logs") for _ in range(4)]) == 4
    assert consumer.poll(timeout=3.0) == []
    world.clock.after(5, lambda: world.twin.topics["logs"][1].put("late"))
    assert [message.text for message in consumer.poll(timeout=30.0)] == ["late"]


def test_one_partition_is_waited_for_at_the_broker(world: World) -> None:
    fill(world, 0)
    consumer = world.consumer()
    world.clock.after(25, lambda: world.twin.topics["logs"][0].put("late"))
    started_s = world.clock.now_s
    assert [message.text for message in consumer.poll(timeout=None)] == ["late"]
    assert world.clock.now_s - started_s == pytest.approx(25)
    assert len(world.twin.asked(CONSUME)) == 3


def test_several_partitions_are_waited_for_at_once(world: World) -> None:
    fill(world, 0, 0, 0)
    consumer = world.consumer()
    world.clock.after(5, lambda: world.twin.topics["logs"][2].put("late"))
    started_s = world.clock.now_s
    assert [message.text for message in consumer.poll(timeout=30.0)] == ["late"]
    assert world.clock.now_s - started_s == pytest.approx(5)
    held = [one.address for one in world.transport.begun if b"partitions" in one.request.body]
    assert sorted(held) == sorted({one.leader for one in world.twin.topics["logs"]})
    assert len(world.twin.asked(CONSUME)) == 3 + 1 + 1, "one of what is held was answered"
    assert consumer.poll(timeout=5.0) == []
    assert world.clock.now_s - started_s == pytest.approx(10)


def test_a_leader_that_goes_while_it_is_watched_is_left(world: World) -> None:
    fill(world, 0, 0)
    consumer = world.consumer()
    partition = world.twin.topics["logs"][0]

    def move() -> None:
        world.twin.down = {world.twin.brokers[0]}
        partition.leader = world.twin.brokers[2]
        partition.put("late")

    world.clock.after(2, move)
    assert [message.text for message in consumer.poll(timeout=30.0)] == ["late"]


def test_nothing_in_time_is_an_empty_list(world: World) -> None:
    fill(world, 0)
    consumer = world.consumer()
    assert consumer.poll() == []
    assert consumer.poll(timeout=12.5) == []
    assert world.clock.now_s == pytest.approx(1012.5)


def test_iteration_keeps_what_it_did_not_hand_out(world: World) -> None:
    fill(world, 5)
    consumer = world.consumer()
    for message in consumer:
        if message.offset == 1:
            break
    assert [message.offset for message in consumer.poll(2)] == [2, 3]
    assert consumer.get_size("logs") == 1
    for message in consumer:
        assert message.text == str(message) == "0:4"
        consumer.close()


def test_an_expired_consumer_keeps_its_cursor(world: World) -> None:
    fill(world, 2)
    consumer = world.consumer()
    assert consumer.dequeue("logs") == "0:0"
    world.twin.expired.add(consumer.registration("logs").client_id)
    assert consumer.dequeue("logs") == "0:1"


def test_a_later_consumer_goes_on_where_an_earlier_one_stopped(world: World) -> None:
    fill(world, 2)
    with world.consumer() as consumer:
        assert consumer.dequeue("logs") == "0:0"
        registrations = consumer.registrations
    later = world.consumer(attach=registrations)
    assert later.dequeue("logs") == "0:1"


def test_wrong_arguments_are_named(world: World) -> None:
    fill(world, 1)
    consumer = world.consumer()
    with pytest.raises(InvalidRequest):
        consumer.poll(0)
    with pytest.raises(PartitionNotFound):
        consumer.poll(partition=1)
    with pytest.raises(InvalidRequest):
        world.consumer([]).poll()
    with pytest.raises(InvalidRequest):
        consumer.dequeue([""])


def test_fetch_reads_from_an_offset_and_moves_nothing(world: World) -> None:
    partition = world.twin.create("logs", 1)[0]
    partition.append(encode_batch([Record(f"{n}", "k", {"h": "v"}, 50 + n) for n in range(5)]))
    partition.put("5", "6")
    consumer = world.consumer()
    fetched = consumer.fetch("logs", 0, 3)
    assert [(one.offset, one.text) for one in fetched.messages] == [
        (3, "3"),
        (4, "4"),
        (5, "5"),
        (6, "6"),
    ]
    assert fetched[1:] == (7, 7, 0, 0)
    first = fetched.messages[0]
    assert (first.key, first.headers, first.timestamp) == ("k", {"h": "v"}, 53)
    assert consumer.fetch("logs", 0, 0, max_bytes=1).next_offset == 5
    assert consumer.fetch("logs", 0, 7).messages == []
    assert consumer.fetch("logs", 0, 0, replica=world.twin.brokers[2]).next_offset == 7
    with pytest.raises(OffsetOutOfRange) as caught:
        consumer.fetch("logs", 0, 8)
    assert caught.value.details["high_watermark"] == 7
    assert consumer.get_size("logs") == 7


def test_fetch_goes_to_another_replica_when_the_leader_is_gone(world: World) -> None:
    fill(world, 2)
    consumer = world.consumer()
    consumer.get_size("logs")
    world.twin.down = {world.twin.brokers[0], world.twin.manager}
    assert len(consumer.fetch("logs", 0, 0).messages) == 2


def test_sizes_are_retried(world: World) -> None:
    fill(world, 2)
    consumer = world.consumer()
    world.twin.fail("/size", CommitTimeout(), times=3)
    assert consumer.get_size("logs") == 2


def test_what_the_broker_stepped_over_is_counted_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    fill(world, 1, 0)
    answers = iter([3, 0, 4])

    def consume_some(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "corrupt": next(answers, 0)}

    world.twin.amended["/consumer/consume"] = consume_some
    consumer = world.consumer()
    assert [message.text for message in consumer.poll(5)] == ["0:0"]
    while consumer.poll(5):
        pass
    assert sum(consumer.corrupt().values()) == 7
    assert consumer.corrupt()["logs", 0] >= 3
    assert "3 messages of logs/0 cannot be decoded by anybody" in caplog.text


def test_what_retention_deleted_unread_is_counted_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    fill(world, 3)
    answers = iter([4, 0, 2])

    def overtaken(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "missed": next(answers, 0)}

    world.twin.amended["/consumer/consume"] = overtaken
    consumer = world.consumer()
    assert consumer.missed() == {}
    assert consumer.poll(1)
    assert consumer.missed() == {("logs", 0): 4}
    while consumer.poll(1):
        pass
    assert consumer.missed() == {("logs", 0): 6}
    told = "retention deleted 4 messages of logs/0 before this consumer read them"
    assert told in caplog.text
