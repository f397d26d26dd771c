"""One test per claim of the Raft thesis that goes beyond the paper.

"Consensus: Bridging Theory and Practice". Each test names its section.
"""

from __future__ import annotations

import pytest

from raft_app.core.errors import DropReason, NodeNotLeader, NodeNotReady, ProposalDropped
from raft_app.core.types import (
    PreVote,
    PreVoteReply,
    Role,
    TimeoutNow,
)
from tests.raft_app.core.group import (
    HEARTBEAT,
    Group,
    T,
    answer_to,
    data,
    led,
)

# --- thesis -----------------------------------------------------------------------------------


def test_a_transferee_is_brought_up_to_date_then_told_to_campaign_thesis_3_10():
    group = led()
    group.isolate(3)
    group.propose(1, "x")
    group.heal()

    group[1].transfer_leadership(3)
    with pytest.raises(ProposalDropped) as dropped:
        group[1].propose([data("y")])
    group.tick(3 * HEARTBEAT, only=[1])

    assert dropped.value.reason is DropReason.TRANSFER
    assert len(group.sent_of(TimeoutNow)) == 1
    assert group.roles() == {1: Role.FOLLOWER, 2: Role.FOLLOWER, 3: Role.LEADER}


def test_a_leader_resumes_when_the_transfer_took_longer_than_t_thesis_3_10():
    group = led()
    group.isolate(3)
    group[1].transfer_leadership(3)

    group.tick(T)

    assert group[1].is_leader
    assert group.propose(1, "y") == [(3, 2)]


def test_a_leader_steps_down_without_a_quorum_of_answers_thesis_6_2():
    group = led()
    group.isolate(1)

    group.tick(2 * T, only=[1])

    assert group[1].role is Role.FOLLOWER
    with pytest.raises(NodeNotLeader):
        group[1].propose([data("x")])


def test_a_read_needs_an_applied_entry_of_the_own_term_thesis_6_4():
    group = Group(3)
    group.slow_disks = {2, 3}
    group[1].campaign()
    group.settle()
    for replica_id in (2, 3):
        group.send(group.replicas[replica_id].persist())
    group.settle()
    assert group[1].is_leader

    with pytest.raises(NodeNotReady):
        group[1].read_index(1)
    with pytest.raises(ProposalDropped) as dropped:
        group[1].propose([data("x")])
    group.slow_disks = set()
    group.settle()
    group[1].read_index(2)
    group.settle()

    assert dropped.value.reason is DropReason.NOT_READY
    assert group.replicas[1].reads == [(2, 2)]


def test_a_read_waits_for_a_quorum_of_heartbeat_answers_thesis_6_4():
    group = led(5)
    group.isolate(1)

    group[1].read_index(1)
    group.settle()
    assert group.replicas[1].reads == []

    group.cut -= {(1, 2), (2, 1)}
    group.tick(HEARTBEAT, only=[1])
    assert group.replicas[1].reads == []

    group.heal()
    group.tick(HEARTBEAT, only=[1])
    assert group.replicas[1].reads == [(1, 2)]


def test_a_deposed_leader_never_confirms_a_read_thesis_6_4():
    group = led()
    group.isolate(1)
    group[1].read_index(1)
    group.settle()
    group.tick(2 * T, only=[2, 3])
    assert group[2].is_leader

    group.heal()
    group.tick(HEARTBEAT)

    assert group.replicas[1].reads == []
    assert group.replicas[1].failed_reads == [1]


def test_a_pre_vote_changes_neither_term_nor_vote_thesis_9_6():
    group = Group(3)
    group.collect()
    before = group[2].status()

    group[2].step(PreVote(2, 1, 2, 1, 1))

    assert answer_to(group, 2) == [PreVoteReply(1, 2, 2, granted=True)]
    assert group[2].status() == before


def test_a_partitioned_node_does_not_raise_its_term_thesis_9_6():
    group = led()
    group.isolate(3)

    group.tick(20 * T)
    assert (group[3].role, group[3].term) == (Role.PRE_CANDIDATE, 2)
    group.heal()
    group.tick(2 * T)

    assert group.roles() == {1: Role.LEADER, 2: Role.FOLLOWER, 3: Role.FOLLOWER}
    assert group[1].term == 2
