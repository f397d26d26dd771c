"""Tests of handing leadership over."""

from __future__ import annotations

import pytest

from raft_app.core.errors import NodeNotLeader
from raft_app.core.types import NO_REPLICA, RequestVote, Role, TimeoutNow
from tests.raft_app.core.group import HEARTBEAT, Group, T


def led(voters: int = 3, *, learners: int = 0) -> Group:
    """Return a group that replica 1 leads."""
    group = Group(voters, learners=learners)
    group.elect(1)
    group.tick(HEARTBEAT)
    return group


def test_an_up_to_date_voter_takes_over_in_one_round_without_a_pre_vote():
    group = led()
    group.sent.clear()

    group[1].transfer_leadership(2)
    group.settle()

    assert group.roles() == {1: Role.FOLLOWER, 2: Role.LEADER, 3: Role.FOLLOWER}
    assert isinstance(group.sent[0], TimeoutNow)
    assert [rpc.transfer for rpc in group.sent_of(RequestVote)][-2:] == [True, True]
    assert group[2].serves


@pytest.mark.parametrize("to", [1, 4, 9])
def test_only_another_voter_may_take_over(to: int):
    group = led(learners=1)

    with pytest.raises(ValueError, match="not another voter"):
        group[1].transfer_leadership(to)


def test_only_the_leader_hands_over():
    with pytest.raises(NodeNotLeader) as refused:
        led()[2].transfer_leadership(3)

    assert refused.value.leader == 1


def test_asking_twice_does_not_prolong_the_transfer():
    group = led()
    group.isolate(3)
    group[1].transfer_leadership(3)
    group.tick(T - 1)

    group[1].transfer_leadership(3)
    group.tick(1)

    assert group[1].status().transferee == NO_REPLICA


def test_another_transferee_replaces_the_first():
    group = led()
    group.isolate(3)
    group[1].transfer_leadership(3)
    group.settle()

    group[1].transfer_leadership(2)
    group.settle()

    assert group[2].is_leader


def test_a_learner_ignores_the_request_to_take_over():
    group = led(learners=1)

    group[4].step(TimeoutNow(4, 1, 2))

    assert group[4].role is Role.LEARNER


def test_a_request_of_an_earlier_term_is_ignored():
    group = led()

    group[2].step(TimeoutNow(2, 3, 1))

    assert group[2].role is Role.FOLLOWER
