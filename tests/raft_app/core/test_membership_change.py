"""Tests of changes of the membership: what a leader refuses, and what a change does at once."""

from __future__ import annotations

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.errors import ChangeReason, ChangeRefused, NodeNotLeader
from raft_app.core.membership_change import changed_membership
from raft_app.core.progress import ProgressState
from raft_app.core.types import (
    AddLearner,
    AppendEntries,
    EntryKind,
    Membership,
    MembershipChange,
    Promote,
    RaftMember,
    Remove,
    Role,
    TimeoutNow,
)
from tests.raft_app.core.group import HEARTBEAT, Group, T, led, members

FOUR = RaftMember(4, 40)
MEMBERSHIP = Membership(members(3), members(1, first=4), version=5)


def refusal(group: Group, change: MembershipChange, *, leader: int = 1, version: int = 0) -> str:
    """Return the name of the reason for which a leader refuses a change."""
    before = group[leader].last_index
    with pytest.raises(ChangeRefused) as refused:
        group[leader].propose_membership(change, version=version)
    assert group[leader].last_index == before, "a refusal appends nothing"
    return refused.value.reason.name


# --- the memberships themselves ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "voters", "learners"),
    [
        (AddLearner(RaftMember(5, 50)), (1, 2, 3), (4, 5)),
        (Promote(4), (1, 2, 3, 4), ()),
        (Remove(2), (1, 3), (4,)),
        (Remove(4), (1, 2, 3), ()),
    ],
)
def test_a_change_moves_one_replica(
    change: MembershipChange, voters: tuple[int, ...], learners: tuple[int, ...]
):
    changed = changed_membership(MEMBERSHIP, change)

    assert tuple(member.replica_id for member in changed.voters) == voters
    assert tuple(member.replica_id for member in changed.learners) == learners
    assert changed.version == MEMBERSHIP.version


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (AddLearner(RaftMember(3, 70)), ChangeReason.ALREADY_MEMBER),
        (AddLearner(RaftMember(4, 70)), ChangeReason.ALREADY_MEMBER),
        (Promote(3), ChangeReason.NOT_A_LEARNER),
        (Promote(9), ChangeReason.NOT_A_LEARNER),
        (Remove(9), ChangeReason.NOT_A_MEMBER),
    ],
)
def test_a_change_that_does_not_fit_is_refused(change: MembershipChange, reason: ChangeReason):
    with pytest.raises(ChangeRefused) as refused:
        changed_membership(MEMBERSHIP, change)

    assert refused.value.reason is reason


# --- when a leader refuses --------------------------------------------------------------------


def test_a_follower_takes_no_change_and_names_the_leader():
    with pytest.raises(NodeNotLeader) as refused:
        led()[2].propose_membership(AddLearner(FOUR), version=0)

    assert refused.value.leader == 1


def test_no_change_before_the_no_op_of_the_term_is_committed():
    group = Group(3)
    group.slow_disks = {2, 3}
    group[1].campaign()
    group.settle()
    for replica_id in (2, 3):
        group.send(group.replicas[replica_id].persist())
    group.settle()
    assert group[1].is_leader

    assert refusal(group, AddLearner(FOUR)) == "NOT_READY"

    group.slow_disks = set()
    group.settle()
    assert group[1].propose_membership(AddLearner(FOUR), version=0) == (3, 2)


def test_no_change_while_one_of_an_earlier_term_is_not_committed():
    group = led()
    group.isolate(1)
    group[1].propose_membership(AddLearner(FOUR), version=0)
    group.settle()
    group.heal()
    group[1].report_unreachable(2)
    group[1].report_unreachable(3)

    assert refusal(group, Remove(3)) == "UNCOMMITTED"

    group.tick(3 * HEARTBEAT, only=[1])
    assert group[1].propose_membership(Remove(3), version=0) == (4, 2)


def test_no_change_while_leadership_is_handed_over():
    group = led()
    group.isolate(3)
    group[1].transfer_leadership(3)

    assert refusal(group, Remove(2)) == "TRANSFER"

    group.tick(T, only=[1, 2])
    assert group[1].propose_membership(AddLearner(FOUR), version=0) == (3, 2)


def test_a_lower_version_is_refused_and_the_same_is_another_step_of_one_placement():
    group = led()
    group[1].propose_membership(AddLearner(FOUR), version=7)
    group.settle()

    assert refusal(group, Remove(3), version=6) == "OLD_VERSION"
    assert group[1].membership.version == 7
    group[1].propose_membership(Remove(3), version=7)
    assert group[1].membership.version == 7


def test_a_leader_does_not_remove_itself():
    assert refusal(led(), Remove(1)) == "ITSELF"


def test_a_learner_that_lacks_committed_entries_which_were_not_sent_is_not_promoted():
    group = led(config=RaftConfig(max_inflight_appends=1))
    group.add_learner(1, 4)
    group.slow_disks = {4}
    for text in "abc":
        group.propose(1, text)

    assert refusal(group, Promote(4)) == "BEHIND"

    group.slow_disks = set()
    group.settle()
    group[1].propose_membership(Promote(4), version=0)


def test_a_learner_that_was_not_heard_lately_is_not_promoted():
    group = led()
    group.add_learner(1, 4)
    group.isolate(4)
    group.tick(2 * T + HEARTBEAT, only=[1, 2, 3])

    assert refusal(group, Promote(4)) == "BEHIND"


def test_a_learner_that_needs_a_snapshot_is_not_promoted():
    group = led()
    group.propose(1, "a")
    group.replicas[1].compact()
    group.add_learner(1, 4)
    assert group[1].status().progress[4].state is ProgressState.SNAPSHOT

    assert refusal(group, Promote(4)) == "BEHIND"

    group.transfer_snapshot(1, 4)
    group[1].propose_membership(Promote(4), version=0)


def test_voters_of_whom_too_few_follow_are_refused():
    group = led()
    group.isolate(3)
    group.tick(2 * T + HEARTBEAT, only=[1, 2])

    assert refusal(group, Remove(2)) == "NO_QUORUM"
    group[1].propose_membership(Remove(3), version=0)


def test_the_only_other_voter_may_go_when_it_is_down():
    group = led(2)
    group.isolate(2)

    group[1].propose_membership(Remove(2), version=0)
    group.settle()

    assert group[1].commit_index == 3
    assert group[1].membership == Membership(members(1))


# --- what a change does -----------------------------------------------------------------------


def test_a_new_learner_is_sent_to_at_once():
    group = led()
    group.propose(1, "a", "b")
    group.join(4)
    group.sent.clear()

    group[1].propose_membership(AddLearner(FOUR), version=0)
    group.settle()

    assert group[4].last_index == 5
    assert group[4].role is Role.LEARNER
    assert group.applied_data(4) == ["a", "b"]


def test_a_learner_does_not_count_and_does_not_vote_itself_in():
    group = led()
    group.add_learner(1, 4)
    group.isolate(1, 4)

    group.propose(1, "x")
    group.tick(10 * T, only=[2, 3, 4])

    assert group[1].commit_index == 3
    assert (group[4].role, group[4].term) == (Role.LEARNER, 2)


def test_nothing_is_sent_to_a_removed_replica_and_its_answers_are_not_heard():
    group = led()
    group[1].propose_membership(Remove(3), version=0)
    group.settle()
    group.sent.clear()

    group.propose(1, "x")
    group.tick(3 * HEARTBEAT, only=[1])

    assert not [rpc for rpc in group.sent if rpc.to == 3]
    assert group[1].status().progress.keys() == {2}
    group[1].report_unreachable(3)
    group[1].report_snapshot(3, True)


def test_a_removal_may_commit_what_waited_for_the_removed_one():
    group = led(4)
    group.isolate(3, 4)
    group.propose(1, "x")
    assert group[1].commit_index == 2

    group[1].propose_membership(Remove(4), version=0)
    group.settle()

    assert group[1].commit_index == 4


def test_a_removal_may_confirm_reads_that_waited_for_the_removed_one():
    group = led(4)
    group.isolate(3, 4)
    group[1].read_index(9)
    group.settle()
    assert group.replicas[1].reads == []

    group[1].propose_membership(Remove(4), version=0)
    group.settle()

    assert group.replicas[1].reads == [(9, 2)]


def test_a_new_voter_counts_as_soon_as_its_promotion_is_in_the_log():
    group = led()
    group.add_learner(1, 4)
    group.isolate(3, 4)

    group[1].propose_membership(Promote(4), version=0)
    group.settle()

    assert group[1].commit_index == 3
    group.cut -= {(1, 4), (4, 1)}
    group.tick(3 * HEARTBEAT, only=[1])
    assert group[1].commit_index == 4


def test_leadership_goes_to_a_new_voter():
    group = led()
    group.add_voter(1, 4)

    group[1].transfer_leadership(4)
    group.settle()

    assert len(group.sent_of(TimeoutNow)) == 1
    assert group[4].is_leader


def test_a_change_is_not_limited_by_what_is_uncommitted():
    group = led(config=RaftConfig(max_uncommitted_entries=1))
    group.isolate(1)
    group.propose(1, "x")

    assert group[1].propose_membership(AddLearner(FOUR), version=0) == (4, 2)


def test_the_entry_carries_the_membership_with_its_version():
    group = led()
    group[1].propose_membership(AddLearner(FOUR), version=3)
    group.settle()

    entry = group.replicas[2].disk[-1]
    assert entry.kind is EntryKind.MEMBERSHIP
    assert Membership.decode(entry.data) == Membership(members(3), (FOUR,), version=3)
    assert [rpc.entries for rpc in group.sent_of(AppendEntries) if rpc.to == 2][-1] == (entry,)
