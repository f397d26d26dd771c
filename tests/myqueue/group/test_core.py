from __future__ import annotations

from random import Random

import pytest

from myqueue.config import ClientConfig
from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import (
    CommitTimeout,
    IllegalGeneration,
    InvalidRequest,
    ManagerNotFound,
    PartitionNotFound,
    QueueEmpty,
    Rebalancing,
    UnauthorizedException,
)
from myqueue.group.core import grouped
from tests.myqueue.conftest import World
from tests.myqueue.group.test_membership import committed, fill, member


def test_partitions_take_turns(world: World) -> None:
    fill(world, 4, 4)
    consumer = member(world)
    found = [(one.partition, one.offset) for _ in range(4) for one in consumer.poll(2)]
    assert found == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


def test_one_partition_can_be_read_alone(world: World) -> None:
    fill(world, 2, 2)
    consumer = member(world)
    assert [one.partition for one in consumer.poll(9, partition=1)] == [1, 1]
    assert consumer.poll(9, partition=1) == []
    with pytest.raises(PartitionNotFound):
        consumer.poll(partition=2)
    with pytest.raises(UnauthorizedException):
        consumer.poll(topics="other")
    with pytest.raises(InvalidRequest):
        consumer.poll(0)


def test_a_list_that_is_not_complete_takes_nothing(world: World) -> None:
    world.twin.create("a", 1)[0].put("1", "2")
    world.twin.create("b", 1)
    consumer = world.consumer(["a", "b"], group="g")
    for _ in range(2):
        with pytest.raises(QueueEmpty):
            consumer.dequeue(["a", "b"])
    world.twin.topics["b"][0].put("x")
    assert consumer.dequeue(["a", "b"]) == ["1", "x"]
    consumer.close()
    assert world.twin.topics["a"][0].group_offsets["g"][1] == 0


def test_a_list_that_fails_at_a_later_topic_takes_nothing(world: World) -> None:
    world.twin.create("a", 1)[0].put("1", "2")
    consumer = world.consumer("a", group="g")
    for _ in range(2):
        with pytest.raises(UnauthorizedException):
            consumer.dequeue(["a", "a", "other"])
    assert consumer.dequeue("a") == "1"
    consumer.commit()
    assert world.twin.topics["a"][0].group_offsets["g"][1] == 1


def test_a_key_reads_its_partition(world: World) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    assert consumer.dequeue("logs", 3) == "0"
    with pytest.raises(QueueEmpty):
        consumer.dequeue("logs", 3)
    assert consumer.get_size("logs") == 1


def test_commit_counts_what_was_handed_out(world: World) -> None:
    fill(world, 5, 5)
    consumer = member(world, auto_commit=False)
    consumer.poll(2)
    consumer.poll(3)
    assert committed(world) == [0, 0]
    consumer.commit()
    assert committed(world) == [2, 3]
    consumer.commit({("logs", 1): 1})
    assert committed(world) == [2, 1]
    with pytest.raises(InvalidRequest):
        consumer.commit({("logs", 0): 3})
    with pytest.raises(IllegalGeneration, match="other/0"):
        consumer.commit({("other", 0): 1, ("logs", 1): 2})
    assert committed(world) == [2, 2]


def test_a_commit_that_fails_is_told_and_made_up_for(world: World) -> None:
    fill(world, 5, 5)
    config = ClientConfig(delivery_timeout_ms=300)
    consumer = member(world, config=config)
    consumer.poll(2)
    world.twin.fail("/offsets/commit", CommitTimeout(), times=100)
    with pytest.raises(CommitTimeout):
        consumer.commit()
    world.twin.faults.clear()
    consumer.commit()
    assert committed(world) == [2, None] or committed(world) == [2, 0]


def test_seek_is_for_what_is_assigned(world: World) -> None:
    fill(world, 5)
    one, other = member(world), member(world)
    assert one.seek("logs", 0, 3) == 3
    assert [message.offset for message in one.poll()] == [3, 4]
    with pytest.raises(Rebalancing, match="logs/0"):
        other.seek("logs", 0, 1)
    assert other.seek_to_time("logs", 0) == {}
    with pytest.raises(PartitionNotFound):
        one.seek("logs", 1, 0)


def test_a_seek_back_reads_all_again_though_a_fetch_was_out(world: World) -> None:
    fill(world, 10)
    consumer = member(world, config=ClientConfig(long_poll_ms=400))
    assert len(consumer.poll(10, timeout=0.3)) == 10
    assert consumer.poll(timeout=0.3) == []  # the fetch at the end is held for 0.1 s more
    out = world.transport.begun[-1]
    consumer.seek("logs", 0, 2)
    assert out.cancelled
    assert [message.offset for message in consumer.poll(timeout=0.3)] == list(range(2, 10))


def test_lag_counts_what_was_fetched_and_not_handed_out(world: World) -> None:
    fill(world, 5)
    consumer = member(world)
    consumer.poll(2)
    assert consumer.lag()[0].messages == 3
    assert consumer.get_size("logs") == 3
    with pytest.raises(UnauthorizedException):
        consumer.lag("other")


def test_a_core_without_a_group_says_what_to_do() -> None:
    with pytest.raises(InvalidRequest, match='group="'):
        grouped(object(), "commit")


@pytest.mark.parametrize("seed", range(12))
def test_members_that_come_and_go_under_faults_leave_no_gap(world: World, seed: int) -> None:
    chance = Random(seed)
    fill(world, 30, 30, 30)
    config = ClientConfig(
        leader_patience_ms=200, long_poll_ms=500, delivery_timeout_ms=400, manager_timeout_ms=400
    )
    members: list[Consumer] = [member(world, config=config)]
    following = [0, 0, 0]
    known = [0, 0, 0]
    for step in range(250):
        world.twin.chaos = chance if step % 3 == 0 and step < 150 else None
        if step >= 150 and min(following) == 30:
            break
        world.clock.sleep(chance.random())
        for one in members:
            if one.next_beat_s() <= world.clock.now_s:
                one.beat()
        _act(world, chance, members, config, (following, known))
    assert following == [30, 30, 30]


def _act(
    world: World,
    chance: Random,
    members: list[Consumer],
    config: ClientConfig,
    places: tuple[list[int], list[int]],
) -> None:
    """Let one thing happen, and check that nothing is skipped or repeated after its commit."""
    following, known = places
    quiet = world.twin.chaos is None
    if quiet and len(members) < 3 and chance.random() < 0.1:
        members.append(member(world, config=config))
    if quiet and len(members) > 1 and chance.random() < 0.1:
        gone = members.pop(chance.randrange(len(members)))
        if chance.random() < 0.5:
            gone.close()
        else:
            world.twin.lose_members("g", gone._core.membership.member_id)  # type: ignore[union-attr, arg-type]
    one = chance.choice(members)
    try:
        for message in one.poll(chance.randrange(1, 8), timeout=chance.random()):
            where = message.partition
            assert message.offset <= following[where], "a gap"
            assert message.offset >= known[where], "repeated after it was committed"
            following[where] = max(following[where], message.offset + 1)
        if chance.random() < 0.3:
            one.commit()
    except (IllegalGeneration, CommitTimeout, ManagerNotFound):
        pass  # the last when heartbeats failed for longer than the short delivery_timeout_ms
    for where, partition in enumerate(world.twin.topics["logs"]):
        known[where] = max(known[where], partition.group_offsets.get("g", (0, 0))[1])
