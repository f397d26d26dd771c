from __future__ import annotations

import logging
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import (
    IllegalGeneration,
    ManagerNotFound,
    UnknownMember,
)
from myqueue.testing.state import decoded
from myqueue.transport.session import HEARTBEAT_TIMEOUT_S
from tests.myqueue.conftest import World


def fill(world: World, *counts: int) -> None:
    for partition, count in zip(world.twin.create("logs", len(counts)), counts, strict=True):
        if count:
            partition.put(*(str(number) for number in range(count)))


def member(world: World, **options: Any) -> Consumer:
    return world.consumer(group="g", session_timeout_ms=9_000, **options)


def beat(world: World, *consumers: Consumer, seconds: float = 3.0) -> None:
    """Let time pass, and send the heartbeats that are due."""
    world.clock.sleep(seconds)
    for consumer in consumers:
        consumer.beat()


def committed(world: World) -> list[int | None]:
    known = [one.group_offsets.get("g") for one in world.twin.topics["logs"]]
    return [None if one is None else one[1] for one in known]


def heartbeats(world: World) -> list[dict[str, list[int]]]:
    return [decoded(one)["owned"] for one in world.twin.bodies if one.path == "/groups/g/heartbeat"]


def test_heartbeats_say_what_is_owned(world: World) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    assert consumer.assignment() == {"logs": [0, 1]}
    beat(world, consumer)
    assert heartbeats(world) == [{"logs": [0, 1]}]
    assert consumer.next_beat_s() <= world.clock.now_s + 3.0


def test_what_is_not_in_hand_moves_with_two_heartbeats(world: World) -> None:
    fill(world, 1, 1)
    one = member(world)
    while one.poll():
        pass
    other = member(world)
    assert other.assignment() == {}
    beat(world, one)
    assert len(one.assignment()["logs"]) == 1
    assert len(heartbeats(world)[-1]["logs"]) == 1
    beat(world, other)
    assert len(other.assignment()["logs"]) == 1
    assert one.assignment() != other.assignment()


def test_what_is_in_hand_stays_owned_until_the_program_comes_back(world: World) -> None:
    fill(world, 3, 3)
    one = member(world)
    assert [one.poll(1)[0].partition for _ in range(2)] == [0, 1]
    other = member(world)
    known = world.twin.members_of("g")
    mine = known[one._core.membership.member_id]  # type: ignore[union-attr, index]
    ((_, where),) = mine.granted - mine.target
    one.seek("logs", where, 0)
    one.poll(1, partition=where)
    for _ in range(6):
        beat(world, one, other)
    assert one.assignment() == {"logs": [1 - where]}
    assert heartbeats(world)[-2] == {"logs": [0, 1]}
    assert other.assignment() == {}
    before = world.beats.hurried
    one.poll(1)
    assert world.beats.hurried > before
    assert one.next_beat_s() <= world.clock.now_s
    one.beat()
    assert committed(world)[where] == 1
    beat(world, other)
    assert other.assignment() == {"logs": [where]}
    assert [message.offset for message in other.poll()] == [1, 2]


def test_what_comes_back_before_it_was_given_up_goes_on(world: World) -> None:
    fill(world, 5, 5)
    one = member(world)
    one.poll(2)
    one.poll(2)
    other = member(world)
    beat(world, one)
    other.close()
    for _ in range(3):
        beat(world, one)
    assert one.assignment() == {"logs": [0, 1]}
    found = []
    while messages := one.poll(9):
        found += [(message.partition, message.offset) for message in messages]
    assert len(set(found)) == len(found)
    assert len(found) == 6


def test_members_go_on_while_no_manager_answers(world: World) -> None:
    fill(world, 5)
    consumer = member(world)
    consumer.poll(1)
    world.twin.down.add(world.twin.manager)
    consumer.poll(1)
    for _ in range(10):
        beat(world, consumer)
    assert [message.offset for message in consumer.poll(2)] == [2, 3]
    beat(world, consumer, seconds=6)
    assert committed(world) == [2]
    consumer.commit()
    assert committed(world) == [4]
    world.twin.down.clear()
    beat(world, consumer)
    assert consumer.assignment() == {"logs": [0]}


def test_an_expired_member_commits_what_is_done_and_joins_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    fill(world, 5)
    consumer = member(world)
    consumer.poll(2)
    consumer.poll(1)
    world.twin.lose_members("g", *world.twin.members_of("g"))
    with caplog.at_level(logging.WARNING):
        beat(world, consumer)
    assert committed(world) == [2]
    assert "joining again" in caplog.text
    assert "0 was lost" in caplog.text
    assert world.twin.groups.by_name["g"].state.generation == 3
    with pytest.raises(IllegalGeneration, match="logs/0"):
        consumer.commit()
    assert [message.offset for message in consumer.poll()] == [2, 3, 4]
    assert world.twin.topics["logs"][0].group_offsets["g"][0] == 3


def test_a_refused_heartbeat_joins_again_under_the_same_id(world: World) -> None:
    fill(world, 2)
    consumer = member(world)
    (known,) = world.twin.members_of("g")
    world.twin.fail("/groups/g/heartbeat", IllegalGeneration())
    beat(world, consumer)
    assert list(world.twin.members_of("g")) == [known]
    assert consumer.assignment() == {"logs": [0]}
    assert len(consumer.poll()) == 2


def test_joining_again_is_tried_until_it_succeeds(world: World) -> None:
    fill(world, 2)
    consumer = member(world, config=ClientConfig(manager_timeout_ms=10))
    world.twin.fail("/groups/g/heartbeat", UnknownMember())
    world.twin.fail("/groups/g/join", ManagerNotFound(), times=30)
    beat(world, consumer)
    assert consumer.assignment() == {}
    assert consumer.poll() == []
    world.twin.faults.clear()
    beat(world, consumer)
    assert len(consumer.poll()) == 2


def test_closing_commits_then_leaves(world: World, caplog: pytest.LogCaptureFixture) -> None:
    fill(world, 5)
    consumer = member(world)
    consumer.poll(2)
    consumer.poll(1)
    consumer.close()
    assert committed(world) == [2]
    assert not world.twin.members_of("g")
    assert [path for _, _, path in world.twin.requests][-2:] == [
        "/offsets/commit",
        "/groups/g/leave",
    ]
    consumer.beat()
    assert not world.twin.members_of("g")
    consumer = member(world)
    world.twin.down.add(world.twin.manager)
    with caplog.at_level(logging.WARNING):
        consumer.close()
    assert "its session ends by itself" in caplog.text


def test_the_child_of_a_fork_joins_as_another_member(world: World) -> None:
    fill(world, 2, 2)
    consumer = member(world)
    consumer.poll(1)
    (parent,) = world.twin.members_of("g")
    consumer.restart_after_fork()
    consumer.beat()
    assert list(world.twin.members_of("g")) == [parent]
    consumer.poll()
    assert len(world.twin.members_of("g")) == 2
    assert consumer.assignment() == {}


def test_forgetting_leaves_and_unregisters(world: World) -> None:
    fill(world, 2)
    consumer = member(world)
    consumer.poll()
    consumer.commit()
    consumer.forget()
    assert not world.twin.members_of("g")
    assert not world.twin.clients
    assert committed(world) == [2]


ODD = [
    '{"status": "success"}',
    '{"status": "success", "generation": 1}',
    '{"status": "success", "generation": "1", "assignment": {"logs": [0]}}',
    '{"status": "success", "generation": 1, "assignment": [["logs", 0]]}',
    '{"status": "success", "generation": 1, "assignment": {"logs": ["a"]}}',
    "[]",
]


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_of_another_version_is_a_heartbeat_that_failed(
    world: World, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    world.twin.odd["/groups/g/heartbeat"] = odd
    beat(world, consumer)
    beat(world, consumer)
    assert consumer.assignment() == {"logs": [0, 1]}
    assert "a heartbeat to group g failed" in caplog.text
    world.twin.odd.clear()
    beat(world, consumer)
    assert heartbeats(world)[-1] == {"logs": [0, 1]}
    assert consumer._core.membership.is_joined  # type: ignore[union-attr]


def test_a_member_whose_heartbeats_fail_oddly_lets_go_when_its_session_is_over(
    world: World,
) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    world.twin.odd = {f"/groups/g/{call}": ODD[0] for call in ("heartbeat", "join")}
    for _ in range(2):
        beat(world, consumer)
        assert consumer.assignment() == {"logs": [0, 1]}
    beat(world, consumer)
    assert consumer.assignment() == {}
    assert consumer.poll() == []
    world.twin.odd.clear()
    beat(world, consumer)
    assert consumer.assignment() == {"logs": [0, 1]}
    assert len(consumer.poll()) == 1


def test_a_member_that_reaches_no_manager_goes_on_with_what_it_has(world: World) -> None:
    fill(world, 1, 1)
    consumer = member(world)
    world.twin.down.add(world.twin.manager)
    for _ in range(5):
        beat(world, consumer)
    assert consumer.assignment() == {"logs": [0, 1]}


def test_a_manager_that_hangs_holds_the_group_up_for_one_heartbeat_alone(world: World) -> None:
    topics = [f"t{number}" for number in range(5)]
    for topic in topics:
        world.twin.create(topic, 1)
    consumer = world.consumer(topics, group="g", session_timeout_ms=30_000)
    world.clock.sleep(20)  # heartbeats of the client and of the group are due
    world.twin.stopped.add(world.twin.manager)
    begun_s = world.clock.now_s
    consumer.beat()
    assert 0 < world.clock.now_s - begun_s <= 2 * HEARTBEAT_TIMEOUT_S
