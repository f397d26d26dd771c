"""Consumer groups on a leader and its followers: in flight, lost with a leader, taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker_app.partition.commands import (
    CommitOffsets,
    CommitRefusal,
    CommitResult,
    ForgetGroup,
    Start,
    Truncate,
)
from broker_app.partition.groups import ConsumerGroup
from broker_app.partition.limits import StateLimits
from myqueue.contract.errors import IllegalGeneration, OffsetOutOfRange, TooManyGroups
from raft_app.statemachine import Propose
from tests.broker_app.replica import Leader, batch_of, replay

if TYPE_CHECKING:
    from broker_app.partition.commands import PartitionWrite


@pytest.fixture
def leader() -> Leader:
    """Six messages are there."""
    leader = Leader(StateLimits(groups_max=2))
    leader.run(batch_of(*"abcdef"))
    return leader


def refused(leader: Leader, request: PartitionWrite) -> int:
    """Return the known generation that a commit is refused for; nothing was proposed."""
    before = len(leader.log)
    with pytest.raises(IllegalGeneration) as error:
        leader.decide(request)
    assert len(leader.log) == before
    known: int = error.value.details["generation"]
    return known


def test_applied_generation_refuses_before_anything_is_proposed(leader: Leader) -> None:
    assert leader.run(CommitOffsets("g", 3, 2)) == CommitResult(3, 2)
    assert refused(leader, CommitOffsets("g", 2, 4)) == 3
    assert refused(leader, CommitOffsets("g", 0)) == 3


def test_generation_in_flight_fences_when_it_is_applied_and_not_before(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 3, 2))
    leader.decide(CommitOffsets("g", 4))
    assert isinstance(leader.decide(CommitOffsets("g", 3, 5)), Propose)
    assert leader.apply_next() == CommitResult(4, 2)
    assert leader.apply_next() == CommitResult(4, 2, refused=CommitRefusal.GENERATION)
    assert refused(leader, CommitOffsets("g", 3, 5)) == 4


def test_fence_that_was_lost_with_its_leader_fenced_nobody(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 3, 2))
    kept = len(leader.log)
    leader.decide(CommitOffsets("g", 4))
    leader.fail_over(kept)
    assert leader.run(CommitOffsets("g", 3, 5)) == CommitResult(3, 5)


def test_fence_in_the_log_of_the_next_leader_holds_there(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 3, 2))
    leader.decide(CommitOffsets("g", 4))
    leader.decide(CommitOffsets("g", 3, 5))
    leader.fail_over(len(leader.log))
    assert refused(leader, CommitOffsets("g", 3, 5)) == 4
    assert leader.run(CommitOffsets("g", 4)) == CommitResult(4, 2), "the old member moved nothing"


def test_generation_fences_on_the_follower_that_takes_over(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 3, 2))
    half = leader.state.snapshot()
    leader.run(CommitOffsets("g", 4, 5))
    follower = replay(leader.log, leader.limits)
    late = replay(leader.log[2:], leader.limits, half)
    assert follower.snapshot() == late.snapshot() == leader.state.snapshot()
    leader.state = late
    leader.fail_over(len(leader.log))
    assert refused(leader, CommitOffsets("g", 3, 6)) == 4
    assert leader.state.consumer_group("g") == ConsumerGroup(4, 5, origin=2)


def test_restored_snapshot_fences(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 3, 2))
    other = Leader(leader.limits)
    other.state.restore(leader.state.snapshot())
    assert refused(other, CommitOffsets("g", 2, 4)) == 3


def test_retention_moves_a_group_up_and_its_next_member_is_told_once(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 1, 2))
    leader.run(Truncate(6))
    leader.decide(CommitOffsets("g", 2))
    leader.decide(CommitOffsets("g", 2))
    told = [leader.apply_next(), leader.apply_next()]
    assert told == [CommitResult(2, 6, missed=4), CommitResult(2, 6)]


def test_retention_in_flight_before_a_commit_counts_for_it(leader: Leader) -> None:
    leader.run(CommitOffsets("g", 1, 2))
    leader.decide(Truncate(6))
    leader.decide(CommitOffsets("g", 1, 3))
    assert leader.apply_all() == CommitResult(1, 6, missed=3)


def test_new_group_at_latest_begins_behind_what_is_in_flight_before_it(leader: Leader) -> None:
    leader.decide(batch_of("g", "h"))
    leader.decide(CommitOffsets("g", 1, None, Start.LATEST))
    leader.decide(batch_of("i"))
    assert [leader.apply_next() for _ in range(3)][1] == CommitResult(1, 8)


def test_offset_must_be_committed_already_when_it_is_named(leader: Leader) -> None:
    leader.decide(batch_of("g"))
    for offset in (7, -1):
        with pytest.raises(OffsetOutOfRange) as error:
            leader.decide(CommitOffsets("g", 1, offset))
        assert error.value.details == {"log_start_offset": 0, "high_watermark": 6}
    leader.apply_all()
    assert leader.run(CommitOffsets("g", 1, 7)) == CommitResult(1, 7)


def test_full_table_refuses_new_groups_and_serves_the_known(leader: Leader) -> None:
    leader.decide(CommitOffsets("one", 1))
    leader.decide(CommitOffsets("two", 1))
    leader.decide(CommitOffsets("two", 1, 3))
    for _ in range(2):
        with pytest.raises(TooManyGroups, match="2 consumer groups"):
            leader.decide(CommitOffsets("three", 1))
        leader.decide(CommitOffsets("one", 1, 4))
        leader.apply_all()
    leader.run(ForgetGroup("one"))
    assert leader.run(CommitOffsets("three", 1)) == CommitResult(1, 0)
    assert leader.state.table_sizes().consumer_groups == 2


def test_group_forgotten_in_flight_takes_its_place_again(leader: Leader) -> None:
    leader.run(CommitOffsets("one", 5, 4))
    leader.run(CommitOffsets("two", 1))
    leader.decide(ForgetGroup("one"))
    leader.decide(CommitOffsets("one", 5, 4))
    leader.apply_next()
    with pytest.raises(TooManyGroups):
        leader.decide(CommitOffsets("three", 1))
    assert leader.apply_next() == CommitResult(5, 4)
    assert leader.state.table_sizes().consumer_groups == 2


def test_lost_commits_of_new_groups_free_their_places(leader: Leader) -> None:
    kept = len(leader.log)
    for name in ("one", "two"):
        leader.decide(CommitOffsets(name, 1))
    leader.fail_over(kept)
    for name in ("three", "four"):
        assert leader.run(CommitOffsets(name, 1)) == CommitResult(1, 0)
