"""One test per claim of chapter 4 of the Raft thesis and section 6 of the paper: membership."""

from __future__ import annotations

import pytest

from raft_app.core.errors import ChangeReason, ChangeRefused
from raft_app.core.types import (
    AddLearner,
    Membership,
    PreVote,
    PreVoteReply,
    Promote,
    RaftMember,
    Remove,
    Role,
)
from tests.raft_app.core.group import HEARTBEAT, Group, T, data, led, members


def voters(group: Group, replica_id: int) -> set[int]:
    return set(group[replica_id].membership.voter_ids)


def test_a_change_is_used_as_soon_as_it_is_in_the_log_thesis_4_1():
    group = led()
    group.isolate(2)

    group[1].propose_membership(Remove(3), version=0)
    group.collect()
    assert voters(group, 1) == {1, 2}

    group.isolate(1)
    group.heal()
    group.tick(3 * HEARTBEAT, only=[1])
    assert voters(group, 2) == {1, 2}
    assert group[2].commit_index == 3


def test_a_change_is_taken_back_when_its_entry_is_overwritten_thesis_4_1():
    group = led()
    group.isolate(1)
    group[1].propose_membership(Remove(3), version=0)
    group.settle()
    assert voters(group, 1) == {1, 2}
    group.elect(2)

    group.heal()
    group.tick(3 * HEARTBEAT, only=[2])

    assert voters(group, 1) == {1, 2, 3}
    assert group[1].role is Role.FOLLOWER


def test_the_next_change_waits_for_the_one_before_thesis_4_1():
    group = led(5)
    group.isolate(1)
    group[1].propose_membership(Remove(5), version=0)

    with pytest.raises(ChangeRefused) as refused:
        group[1].propose_membership(Remove(4), version=0)

    assert refused.value.reason is ChangeReason.UNCOMMITTED


def test_two_leaders_cannot_both_change_one_membership_correction_of_thesis_4_1():
    """Four voters; S1 adds a fifth and S2 removes one: majorities of the two could be disjoint."""
    group = led(4)
    group.add_learner(1, 5)
    group.isolate(2, 3, 4)
    group[1].propose_membership(Promote(5), version=0)
    group.settle()
    assert (voters(group, 1), voters(group, 5)) == ({1, 2, 3, 4, 5}, {1, 2, 3, 4, 5})
    for replica_id in (2, 3, 4):
        group[replica_id].report_connection_lost(1)
    group.slow_disks = {3, 4}
    group[2].campaign()
    group.settle()
    for replica_id in (3, 4):
        group.send(group.replicas[replica_id].persist())
    group.settle()
    assert group[2].is_leader

    with pytest.raises(ChangeRefused) as refused:
        group[2].propose_membership(Remove(4), version=0)
    assert refused.value.reason is ChangeReason.NOT_READY
    group.slow_disks = set()
    group.settle()
    group[2].propose_membership(Remove(4), version=0)
    group.settle()
    assert (voters(group, 2), group[2].commit_index) == ({1, 2, 3}, 5)

    # The removed 4 would give S1, with 5 and itself, the majority of its own five.
    group.heal()
    group.isolate(2, 3)
    group.tick(4 * T, only=[1, 4, 5])
    assert not any(group[replica_id].is_leader for replica_id in (1, 4, 5))


def test_a_removed_server_that_was_not_told_wins_nothing_and_disturbs_nobody_thesis_4_2_3():
    group = led(4)
    group.isolate(4)
    group[1].propose_membership(Remove(4), version=0)
    group.settle()
    group.heal()

    group.tick(20 * T)

    assert group.roles()[1] is Role.LEADER
    assert [group[replica_id].term for replica_id in (1, 2, 3, 4)] == [2, 2, 2, 2]
    asked = [rpc for rpc in group.sent_of(PreVote) if rpc.sender == 4]
    answers = [rpc for rpc in group.sent_of(PreVoteReply) if rpc.to == 4]
    assert asked
    assert not any(rpc.granted for rpc in answers)


def test_a_removed_server_wins_nothing_when_the_leader_is_gone_either_thesis_4_2_3():
    group = led(4)
    group.isolate(4)
    group[1].propose_membership(Remove(4), version=0)
    group.settle()
    group.heal()
    group.isolate(1)
    for replica_id in (2, 3):
        group[replica_id].report_connection_lost(1)

    group[4].campaign()
    group.tick(T - 2, only=[4])
    assert group[4].role is Role.PRE_CANDIDATE
    group.tick(2 * T, only=[2, 3, 4])

    assert group[4].role is Role.PRE_CANDIDATE
    assert sorted(group.roles()[replica_id] for replica_id in (2, 3)) == ["follower", "leader"]


def test_a_new_server_catches_up_before_it_counts_thesis_4_2_1():
    group = led()
    group.propose(1, *"abcdefgh")
    group.join(4)
    group.isolate(4)
    group[1].propose_membership(AddLearner(RaftMember(4, 40)), version=0)
    group.settle()

    assert group.propose(1, "x") == [(12, 2)]
    assert group[1].commit_index == 12
    with pytest.raises(ChangeRefused) as refused:
        group[1].propose_membership(Promote(4), version=0)
    assert refused.value.reason is ChangeReason.BEHIND

    group.heal()
    group.tick(4 * HEARTBEAT, only=[1])
    group[1].propose_membership(Promote(4), version=0)
    group.settle()
    assert group[1].membership == Membership(members(4))


def test_a_leader_hands_over_before_it_is_removed_thesis_4_2_2():
    group = led()
    with pytest.raises(ChangeRefused) as refused:
        group[1].propose_membership(Remove(1), version=0)
    assert refused.value.reason is ChangeReason.ITSELF

    group[1].transfer_leadership(2)
    group.settle()
    group.tick(2 * HEARTBEAT, only=[2])
    group[2].propose_membership(Remove(1), version=0)
    group.settle()

    assert voters(group, 2) == {2, 3}
    assert group.propose(2, "x") == [(5, 3)]
    assert group[2].commit_index == 5


def test_a_voter_that_does_not_know_it_yet_votes_all_the_same_thesis_4_2_1():
    """Three of four have to vote: the candidate, 2, and 4, which still believes to be a learner."""
    group = led()
    group.add_learner(1, 4)
    group.isolate(4)
    group[1].propose_membership(Promote(4), version=0)
    group.settle()
    group.heal()
    group.isolate(1)
    for replica_id in (2, 3, 4):
        group[replica_id].report_connection_lost(1)
    assert group[4].role is Role.LEARNER

    group[3].campaign()
    group.settle()

    assert group[3].is_leader
    assert group[4].role is Role.FOLLOWER


def test_a_whole_group_is_replaced_step_by_step_while_it_works_thesis_4():
    group = led()
    leader = 1
    for new, old in ((4, 1), (5, 2), (6, 3)):
        group.add_voter(leader, new)
        group[leader].propose([data(f"with {new}")])
        group.settle()
        group.tick(HEARTBEAT, only=[leader])
        if leader == old:
            group[leader].transfer_leadership(new)
            group.settle()
            leader = new
            group.tick(2 * HEARTBEAT, only=[leader])
        group[leader].propose_membership(Remove(old), version=0)
        group.settle()
        group.tick(2 * HEARTBEAT, only=[leader])

    assert voters(group, leader) == {4, 5, 6}
    assert [group.applied_data(replica_id) for replica_id in (4, 5, 6)] == [
        ["with 4", "with 5", "with 6"]
    ] * 3
