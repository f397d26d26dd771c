from __future__ import annotations

from collections import Counter

import pytest

from myqueue.contract.errors import IllegalGeneration, UnknownMember
from myqueue.testing.groups import MemoryGroup, assign
from tests.myqueue.conftest import World
from tests.myqueue.group.test_membership import beat, fill, member

FOUR = [("logs", index) for index in range(4)]


def test_partitions_are_spread_evenly() -> None:
    target = assign({"a": {"logs"}, "b": {"logs"}, "c": {"logs"}}, FOUR, {})
    assert sorted(Counter(target.values()).values()) == [1, 1, 2]


def test_who_stays_keeps_what_it_had() -> None:
    before = assign({"a": {"logs"}, "b": {"logs"}}, FOUR, {})
    after = assign({"a": {"logs"}, "b": {"logs"}, "c": {"logs"}}, FOUR, before)
    kept = [where for where in FOUR if before[where] == after[where]]
    assert len(kept) == 3
    assert assign({"b": {"logs"}}, FOUR, after) == dict.fromkeys(FOUR, "b")


def test_topics_go_to_those_that_read_them() -> None:
    partitions = [*FOUR, ("other", 0)]
    target = assign({"a": {"logs"}, "b": {"logs", "other"}}, partitions, {("logs", 9): "gone"})
    assert target["other", 0] == "b"
    assert set(target) == set(partitions)


def test_a_partition_is_granted_once() -> None:
    group = MemoryGroup()
    one = group.join(None, ["logs"], 1_000, 0)
    group.rebalance({"logs": 4})
    assert len(group.assignment(one)) == 4
    other = group.join(None, ["logs"], 1_000, 0)
    group.rebalance({"logs": 4})
    assert group.generation == 2
    assert group.assignment(other) == set()
    assert len(group.assignment(one)) == 2
    group.member(one).granted &= group.assignment(one)
    assert len(group.assignment(other)) == 2
    group.rebalance({"logs": 4})
    assert group.generation == 2


def test_silent_members_expire() -> None:
    group = MemoryGroup()
    one = group.join(None, ["logs"], 1_000, 0)
    group.expire(1_000)
    assert one in group.members
    group.expire(1_001)
    with pytest.raises(UnknownMember):
        group.member(one)
    with pytest.raises(UnknownMember):
        group.join(one, ["logs"], 1_000, 0)


def test_owning_what_was_not_granted_is_refused(world: World) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    for known in world.twin.groups["g"].members.values():
        known.granted.clear()
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
