"""Tests of roles, transitions and time."""

from __future__ import annotations

import pytest

from raft_app.core.bootstrap import bootstrap_state
from raft_app.core.config import RaftConfig
from raft_app.core.raft import NEVER, TRANSITIONS
from raft_app.core.rawnode import RawNode
from raft_app.core.types import NO_REPLICA, Heartbeat, HeartbeatReply, Membership, Role
from tests.raft_app.core.group import Group, T, fixed_randomizer, members


def raft_of(replica_id: int = 1, *, voters: int = 3, learners: int = 0) -> RawNode:
    """Return a fresh node of a bootstrapped group."""
    membership = Membership(members(voters), members(learners, first=voters + 1))
    initial = bootstrap_state(replica_id, membership)
    return RawNode(RaftConfig(), initial, randomizer=fixed_randomizer(replica_id))


def in_role(role: Role) -> RawNode:
    """Return a node in a role, led there by legal transitions."""
    if role is Role.LEARNER:
        return raft_of(4, learners=1)
    raft = raft_of()
    if role is not Role.FOLLOWER:
        raft.become_pre_candidate()
    if role in {Role.CANDIDATE, Role.LEADER}:
        raft.become_candidate()
    if role is Role.LEADER:
        raft.become_leader()
    assert raft.role is role
    return raft


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("target", [Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_illegal_transitions_assert(role: Role, target: Role):
    raft = in_role(role)
    become = {
        Role.PRE_CANDIDATE: raft.become_pre_candidate,
        Role.CANDIDATE: raft.become_candidate,
        Role.LEADER: raft.become_leader,
    }[target]

    if target in TRANSITIONS[role]:
        become()
        assert raft.role is target
    else:
        with pytest.raises(AssertionError):
            become()
        assert raft.role is role


@pytest.mark.parametrize("role", list(Role))
def test_every_role_may_end_in_following(role: Role):
    raft = in_role(role)

    raft.become_follower(raft.term + 1, 2)

    assert raft.role is (Role.LEARNER if role is Role.LEARNER else Role.FOLLOWER)
    assert (raft.vote, raft.leader) == (NO_REPLICA, 2)


def test_the_term_never_falls():
    raft = raft_of()

    with pytest.raises(AssertionError, match="terms never fall"):
        raft.become_follower(0, NO_REPLICA)


def test_a_follower_keeps_its_vote_within_a_term():
    raft = in_role(Role.CANDIDATE)

    raft.become_follower(raft.term, 2)

    assert raft.vote == 1


def test_an_rpc_for_another_replica_is_a_bug_of_the_caller():
    with pytest.raises(AssertionError, match="not for this node"):
        raft_of().step(Heartbeat(2, 3, 1, 0))


def test_two_leaders_of_one_term_are_noticed():
    raft = raft_of()
    raft.step(Heartbeat(1, 2, 5, 0))

    with pytest.raises(AssertionError, match="two leaders"):
        raft.step(Heartbeat(1, 3, 5, 0))


def test_the_timer_of_a_candidate_stands_still_while_its_vote_is_written():
    group = Group(3)
    group.slow_disks = {1}
    group[1].campaign()
    group.settle()
    assert group[1].role is Role.CANDIDATE

    group.tick(10 * T, only=[1])
    assert (group[1].role, group[1].term) == (Role.CANDIDATE, 2)
    group.isolate(1)
    group.send(group.replicas[1].persist())

    group.tick(T - 1, only=[1])
    assert group[1].role is Role.CANDIDATE
    group.tick(1, only=[1])
    assert group[1].role is Role.PRE_CANDIDATE


def test_a_learner_waits_without_campaigning():
    raft = in_role(Role.LEARNER)

    for _ in range(10 * T):
        raft.tick()

    assert raft.role is Role.LEARNER
    assert not raft.hears_leader
    assert not raft.outbox.now
    assert not raft.outbox.after_durable


def test_hearing_the_leader_takes_a_connection_and_a_recent_rpc():
    raft = raft_of()
    assert not raft.hears_leader
    raft.step(Heartbeat(1, 2, 2, 0))
    assert raft.hears_leader

    raft.report_connection_lost(3)
    assert raft.hears_leader
    raft.report_connection_lost(2)
    assert not raft.hears_leader
    assert raft.leader == 2

    raft.step(Heartbeat(1, 2, 2, 0))
    for _ in range(T - 1):
        raft.tick()
    assert raft.hears_leader
    raft.become_follower(raft.term, 2)
    raft.deadline = NEVER
    raft.tick()
    assert not raft.hears_leader


def test_check_quorum_counts_voters_and_not_learners():
    group = Group(3, learners=2)
    leader = group.elect(1)
    group.isolate(1, 4, 5)

    group.tick(2 * T, only=[1])

    assert not leader.is_leader


def test_a_leader_stays_with_just_a_quorum():
    group = Group(5)
    group.elect(1)
    group.isolate(4, 5)

    group.tick(5 * T)

    assert group[1].is_leader


def test_a_late_heartbeat_answer_of_an_unknown_replica_is_ignored():
    group = Group(3)
    leader = group.elect(1)

    leader.step(HeartbeatReply(1, 9, leader.term))

    assert leader.is_leader
