from __future__ import annotations

import logging
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import (
    CommitTimeout,
    CorruptBatch,
    InvalidRequest,
    MethodNotAllowed,
    NoLeader,
    NotFound,
    OffsetOutOfRange,
    QueueError,
    TooManyGroups,
)
from myqueue.contract.http1 import Request
from myqueue.group.assigned_partition import OpenFetch
from myqueue.group.core import GroupCore
from myqueue.group.read_ahead import SINGLES_S
from tests.batches import crafted, rows
from tests.myqueue.conftest import World
from tests.myqueue.group.test_membership import committed, fill, member

QUICK = ClientConfig(leader_patience_ms=100, long_poll_ms=1_000)


def offsets(consumer: Consumer, **options: Any) -> list[int]:
    return [message.offset for message in consumer.poll(**options)]


def test_a_partition_is_fenced_before_it_is_fetched(world: World) -> None:
    fill(world, 3)
    consumer = member(world)
    consumer.poll()
    paths = [path for _, _, path in world.twin.requests]
    assert paths.index("/offsets/commit") < paths.index("/fetch")
    assert world.twin.topics["logs"][0].group_offsets == {"g": (1, 0)}


def test_a_poll_without_time_asks_every_partition(world: World) -> None:
    fill(world, 0, 0, 1)
    consumer = member(world)
    assert offsets(consumer) == [0]
    assert offsets(consumer) == []
    world.twin.topics["logs"][1].put("late")
    assert [message.text for message in consumer.poll()] == ["late"]


def test_a_wait_ends_with_a_message_of_any_partition(world: World) -> None:
    fill(world, 0, 0)
    consumer = member(world)
    world.clock.after(2.5, lambda: world.twin.topics["logs"][1].put("late"))
    started_s = world.clock.now_s
    assert [message.text for message in consumer.poll(timeout=60)] == ["late"]
    assert world.clock.now_s - started_s < 3.5


def test_a_wait_notices_what_a_heartbeat_brought(world: World) -> None:
    fill(world, 2)
    one, other = member(world), member(world)
    assert other.assignment() == {}

    def hand_over() -> None:
        one.close()
        other.beat()

    world.clock.after(4.0, hand_over)
    assert [message.offset for message in other.poll(timeout=20)] == [0, 1]


def test_a_leaderless_partition_does_not_hold_up_the_others(world: World) -> None:
    fill(world, 4, 4)
    consumer = member(world, config=QUICK)
    world.twin.topics["logs"][0].leader = ""
    found = []
    for _ in range(4):
        found += [(one.partition, one.offset) for one in consumer.poll(2, timeout=1.0)]
    assert found == [(1, 0), (1, 1), (1, 2), (1, 3)]
    world.twin.topics["logs"][0].leader = world.twin.brokers[2]
    assert [one.partition for one in consumer.poll(4, timeout=20.0)] == [0] * 4


def test_a_partition_without_room_for_the_group_is_told_and_the_others_are_read(
    world: World,
) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    full = TooManyGroups("the partition knows 1000 consumer groups", limit=1_000)
    world.twin.fail("/offsets/commit", full, times=2)
    for _ in range(2):
        with pytest.raises(TooManyGroups, match="1000 consumer groups"):
            consumer.poll(timeout=5.0)
    found = [one.partition for _ in range(2) for one in consumer.poll(timeout=20.0)]
    assert sorted(found) == [0, 1]


def test_a_dead_leader_is_followed_by_the_next(world: World) -> None:
    fill(world, 2)
    consumer = member(world, config=QUICK)
    assert offsets(consumer) == [0, 1]
    partition = world.twin.topics["logs"][0]
    world.twin.down.add(partition.leader)
    partition.leader = world.twin.brokers[1]
    partition.put("after")
    assert offsets(consumer, timeout=10.0) == [2]


def test_a_replica_that_was_moved_is_followed(world: World) -> None:
    fill(world, 2)
    consumer = member(world, config=QUICK)
    assert offsets(consumer) == [0, 1]
    assert offsets(consumer, timeout=0.5) == []
    partition = world.twin.topics["logs"][0]
    world.twin.emptied, partition.leader = {partition.leader}, world.twin.brokers[1]
    assert offsets(consumer, timeout=2.0) == []
    partition.put("after")
    assert offsets(consumer, timeout=10.0) == [2]
    consumer.commit()
    assert partition.group_offsets == {"g": (1, 3)}


def test_failures_of_fetches_are_made_up_for(world: World) -> None:
    fill(world, 3)
    consumer = member(world, config=QUICK)
    world.twin.fail("/fetch", NoLeader(), times=5)
    assert offsets(consumer, timeout=10.0) == [0, 1, 2]
    world.twin.fail("/fetch", times=3)
    world.twin.topics["logs"][0].put("later")
    assert offsets(consumer, timeout=10.0) == [3]
    world.twin.expired.add(1)
    world.twin.topics["logs"][0].put("later")
    assert offsets(consumer, timeout=10.0) == [4]


def test_a_fence_is_tried_until_it_succeeds(world: World) -> None:
    fill(world, 3)
    consumer = member(world, config=QUICK)
    world.twin.fail("/offsets/commit", CommitTimeout(), times=20)
    assert offsets(consumer, timeout=30.0) == [0, 1, 2]
    assert not world.twin.faults


def test_a_failure_that_stays_is_raised(world: World) -> None:
    fill(world, 3)
    consumer = member(world)
    world.twin.fail("/offsets/commit", InvalidRequest("used by workers", field="group"))
    with pytest.raises(InvalidRequest):
        consumer.poll()
    world.clock.sleep(1)
    world.twin.fail("/fetch", CorruptBatch())
    with pytest.raises(CorruptBatch):
        consumer.poll()
    world.clock.sleep(1)
    assert offsets(consumer) == [0, 1, 2]


def test_what_retention_deleted_is_missed_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    fill(world, 9)
    consumer = member(world)
    deleted = OffsetOutOfRange(log_start_offset=4, high_watermark=9)
    world.twin.fail("/fetch", deleted, times=2)
    with caplog.at_level(logging.WARNING):
        assert offsets(consumer, timeout=1.0) == [4, 5, 6, 7, 8]
    assert consumer.missed() == {("logs", 0): 4}
    assert "retention deleted 4 messages of logs/0" in caplog.text
    consumer.commit()
    assert world.twin.topics["logs"][0].group_offsets == {"g": (1, 9)}


def test_a_partition_that_became_shorter_is_begun_anew(world: World) -> None:
    fill(world, 3)
    consumer = member(world, config=QUICK)
    assert offsets(consumer) == [0, 1, 2]
    assert offsets(consumer) == []
    partition = world.twin.create("logs", 1)[0]
    partition.put("new")
    found = [message.text for message in consumer.poll(timeout=5.0)]
    assert found == ["new"]


def test_fetches_run_ahead_of_an_iteration(world: World) -> None:
    fill(world, 50)
    consumer = member(world, config=ClientConfig(prefetch_messages=20))
    for message in consumer:
        if message.offset == 30:
            break
    # All came with the first; the second waits for more, and no more than one is out.
    assert len(world.twin.asked("/fetch")) <= 2
    assert len(consumer._core.read_ahead._open) <= 1  # type: ignore[union-attr]


def open_fetches(consumer: Consumer) -> list[OpenFetch]:
    core = consumer._core
    assert isinstance(core, GroupCore)
    return core.read_ahead._open


def test_one_call_is_open_at_each_broker_for_all_partitions_there(world: World) -> None:
    fill(world, 0, 0, 0, 0, 0, 0)
    consumer = member(world)
    assert consumer.poll(timeout=0.5) == []
    leaders = {partition.leader for partition in world.twin.topics["logs"]}
    fetches = open_fetches(consumer)
    assert sorted(fetch.address for fetch in fetches) == sorted(leaders)
    assert sorted(len(fetch.asked) for fetch in fetches) == [2, 2, 2]
    world.clock.after(0.5, lambda: world.twin.topics["logs"][4].put("late"))
    assert [message.text for message in consumer.poll(timeout=60)] == ["late"]
    assert len(world.twin.asked("/fetch")) == 1, "the others go on waiting"


def test_one_call_is_open_at_a_manager_for_all_partitions_that_are_out_of_reach(
    world: World,
) -> None:
    fill(world, 0, 0, 0)
    consumer = member(world)
    consumer.poll(timeout=0.5)
    assert isinstance(consumer._core, GroupCore)
    for partition in world.twin.topics["logs"]:
        partition.leader = ""
    consumer._core.session.mark_stale("logs")
    for fetch in list(open_fetches(consumer)):
        for assigned in list(fetch.asked):
            consumer._core.read_ahead.cancel(assigned)
    consumer.poll(timeout=0.5)
    (fetch,) = open_fetches(consumer)
    assert (fetch.address, len(fetch.asked)) == (world.twin.manager, 3)
    world.clock.after(0.5, lambda: world.twin.topics["logs"][1].put("late"))
    assert [message.text for message in consumer.poll(timeout=60)] == ["late"]


def test_a_partition_that_is_asked_later_joins_the_call_of_its_broker(world: World) -> None:
    fill(world, 30, 0)
    for partition in world.twin.topics["logs"]:
        partition.leader = world.twin.brokers[0]
    consumer = member(world, config=ClientConfig(prefetch_messages=20))
    for _ in range(2):
        assert len(consumer.poll(5, timeout=5.0)) == 5
    (first,) = open_fetches(consumer)
    assert [one.where for one in first.asked] == [("logs", 1)], "of the other there is enough"
    for _ in range(2):
        assert len(consumer.poll(5, timeout=5.0)) == 5
    (second,) = open_fetches(consumer)
    assert {one.where for one in second.asked} == {("logs", 0), ("logs", 1)}
    assert first.pending.cancelled  # type: ignore[attr-defined]
    world.twin.topics["logs"][1].put("late")
    found = [message.text for message in consumer.poll(99)] + [
        message.text for message in consumer.poll(99, timeout=5.0)
    ]
    assert "late" in found


def test_nothing_is_adopted_of_a_partition_that_went_while_its_fetch_was_out(world: World) -> None:
    fill(world, 1, 1)
    for partition in world.twin.topics["logs"]:
        partition.leader = world.twin.brokers[0]
    consumer = member(world)
    assert len(consumer.poll(timeout=5.0) + consumer.poll(timeout=5.0)) == 2
    assert consumer.poll(timeout=0.5) == []
    (fetch,) = open_fetches(consumer)
    gone, kept = fetch.asked
    consumer._core.read_ahead.cancel(gone)  # type: ignore[union-attr]
    for partition in world.twin.topics["logs"]:
        partition.put("late")
    assert not fetch.pending.cancelled  # type: ignore[attr-defined]
    found = consumer.poll(timeout=5.0)
    assert [(one.topic, one.partition) for one in found] == [kept.where]


@pytest.mark.parametrize("error", [NotFound("no"), MethodNotAllowed("no")])
def test_a_broker_of_an_earlier_version_gets_a_call_for_each_partition(
    world: World, error: QueueError, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = world.twin.is_held

    def is_held(address: str, request: Request) -> int:
        return 0 if request.method == "POST" else holds(address, request)

    monkeypatch.setattr(world.twin, "is_held", is_held)
    fill(world, 0, 0, 0)
    for partition in world.twin.topics["logs"]:
        partition.leader = world.twin.brokers[0]
    consumer = member(world)
    world.twin.fail("/fetch", error)
    assert consumer.poll(timeout=0.5) == []
    assert len(open_fetches(consumer)) == 3
    assert len(world.twin.asked("/fetch")) == 1
    world.clock.after(0.5, lambda: world.twin.topics["logs"][2].put("late"))
    assert [message.text for message in consumer.poll(timeout=60)] == ["late"]
    assert not any(fetch.is_list for fetch in open_fetches(consumer))
    monkeypatch.undo()
    world.clock.sleep(SINGLES_S)
    for number in range(3):  # by now it may have a later version
        world.twin.topics["logs"][number].put("later")
    while consumer.poll(timeout=5.0):
        pass
    assert all(fetch.is_list for fetch in open_fetches(consumer))
    assert not consumer._core.read_ahead._singles


def test_a_partition_that_fails_is_asked_again_while_the_others_are_read(world: World) -> None:
    fill(world, 1, 1)
    for partition in world.twin.topics["logs"]:
        partition.leader = world.twin.brokers[0]
    consumer = member(world, config=QUICK)
    moved = world.twin.topics["logs"][0].group_offsets
    assert len(consumer.poll(timeout=5.0) + consumer.poll(timeout=5.0)) == 2
    consumer.commit()
    assert moved == {"g": (1, 1)}
    world.twin.topics["logs"][0].records.clear()
    world.twin.topics["logs"][0].batches.clear()
    world.twin.topics["logs"][1].put("still read")
    assert [message.text for message in consumer.poll(timeout=5.0)] == ["still read"]


def test_without_auto_commit_what_is_asked_for_goes_when_the_program_wants_more(
    world: World,
) -> None:
    fill(world, 2, 2)
    one = member(world, auto_commit=False)
    found = one.poll(9) + one.poll(9)
    assert len(found) == 4
    other = member(world)
    for _ in range(3):
        world.clock.sleep(3)
        one.beat()
        other.beat()
    assert len(world.twin.members_of("g")) == 2
    assert [len(one.assignment()["logs"]), other.assignment()] == [1, {}]
    assert one.poll() == []
    one.beat()
    world.clock.sleep(1)
    other.beat()
    assert len(other.assignment()["logs"]) == 1
    assert len(other.poll()) == 2
    with pytest.raises(Exception, match="belongs to another member"):
        one.commit()
    one.commit()


def test_a_closed_consumer_cancels_what_is_out(world: World) -> None:
    fill(world, 0)
    consumer = member(world)
    consumer.poll(timeout=0.5)
    (fetch,) = consumer._core.read_ahead._open  # type: ignore[union-attr]
    consumer.close()
    assert fetch.pending.cancelled


def poison(world: World, count: int) -> None:
    """Store a batch that nobody can decode, past the check at the door."""
    world.twin.topics["logs"][0].plant(crafted(rows(*[b"\x07"] * count), record_count=count))


def test_what_nobody_can_decode_is_stepped_over_told_and_committed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    fill(world, 3)
    poison(world, 2)
    world.twin.topics["logs"][0].put("b", "c")
    poison(world, 4)
    consumer = member(world)
    assert offsets(consumer) == [0, 1, 2, 5, 6]
    assert offsets(consumer) == []
    assert consumer.corrupt() == {("logs", 0): 6}
    assert consumer.missed() == {}
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(told) == 1
    assert "6 messages of logs/0" in told[0]
    assert "offsets 3 to 4, 7 to 10" in told[0]
    consumer.commit()
    assert committed(world) == [11]
    assert [one.messages for one in consumer.lag()] == [0]


def test_a_partition_of_nothing_else_is_done_with_and_read_on(world: World) -> None:
    fill(world, 0)
    poison(world, 3)
    consumer = member(world)
    assert offsets(consumer) == []
    consumer.commit()
    assert committed(world) == [3]
    poison(world, 1)
    world.clock.after(2.0, lambda: world.twin.topics["logs"][0].put("late"))
    assert offsets(consumer, timeout=60) == [4]
    assert consumer.corrupt() == {("logs", 0): 4}


def test_a_message_in_hand_is_not_done_with_because_of_what_is_behind_it(world: World) -> None:
    fill(world, 1)
    poison(world, 2)
    consumer = member(world, auto_commit=False)
    assert offsets(consumer) == [0]
    world.clock.sleep(10)
    assert offsets(consumer) == []
    assert committed(world) == [0]
    consumer.commit()
    assert committed(world) == [3]
