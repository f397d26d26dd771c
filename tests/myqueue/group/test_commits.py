from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import CommitTimeout, IllegalGeneration, InvalidRequest
from myqueue.group.commits import GroupSettings
from tests.myqueue.conftest import World
from tests.myqueue.group.test_membership import beat, committed, fill, member


def test_settings_are_checked() -> None:
    assert GroupSettings("billing").session_timeout_ms == 30_000
    for wrong in (
        {"group": ""},
        {"group": "g", "session_timeout_ms": 999},
        {"group": "g", "start": "middle"},
    ):
        with pytest.raises(InvalidRequest) as refused:
            GroupSettings(**wrong)
        assert refused.value.details["field"] == list(wrong)[-1]


def test_a_commit_of_somebody_else_takes_the_partition(world: World) -> None:
    fill(world, 5)
    consumer = member(world)
    consumer.poll(2)
    world.twin.topics["logs"][0].group_offsets["g"] = (9, 4)
    with pytest.raises(IllegalGeneration, match="logs/0 belongs to another member"):
        consumer.commit()
    assert consumer.assignment() == {}
    assert committed(world) == [4]
    # The managers say that it is this member's: it waits until its generation is the latest.
    beat(world, consumer)
    assert consumer.poll() == []
    group = world.twin.groups.by_name["g"]
    group.state = replace(group.state, generation=9)
    beat(world, consumer, seconds=1)
    beat(world, consumer, seconds=1)
    assert [message.offset for message in consumer.poll()] == [4]


def test_a_failed_commit_of_a_heartbeat_is_made_up_for(world: World) -> None:
    fill(world, 5)
    config = ClientConfig(auto_commit_interval_ms=1_000, leader_patience_ms=100)
    consumer = member(world, config=config)
    consumer.poll(2)
    consumer.poll(1)
    world.twin.fail("/offsets/commit", CommitTimeout(), times=50)
    beat(world, consumer, seconds=1)
    assert committed(world) == [0]
    world.twin.faults.clear()
    beat(world, consumer, seconds=1)
    assert committed(world) == [2]


def test_what_is_finished_while_a_commit_is_under_way_is_left_for_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 5)
    consumer = member(world)
    consumer.poll(2)
    consumer.poll(1)
    core = consumer._core
    (assigned,) = core.assignment.held.values()
    at_leader = core.session.at_leader

    def meanwhile(*arguments: Any) -> Any:
        assigned.finished = 4
        return (yield from at_leader(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(core.session, "at_leader", meanwhile)
        consumer.commit()
    sent = committed(world)
    assert sent == [assigned.committed] != [4]
    assert assigned.to_commit
    consumer.commit()
    assert committed(world) == [4]
