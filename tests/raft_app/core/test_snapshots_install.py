"""Tests of a node while a snapshot is put in place of its log, after a crash, and afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import (
    AppendEntriesReply,
    HardState,
    Heartbeat,
    HeartbeatReply,
    InitialState,
    Membership,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    Role,
    SnapshotMeta,
    TimeoutNow,
)
from tests.raft_app.core.group import (
    HEARTBEAT,
    T,
    answer_to,
    append,
    candidate,
    entries_of,
    fixed_randomizer,
    led,
    members,
)

THREE = Membership(members(3))


def meta(last_index: int, last_term: int) -> SnapshotMeta:
    return SnapshotMeta(last_index, last_term, THREE, 1)


def interrupted(end: tuple[int, int] | None) -> RawNode:
    """Return voter 1 as it starts after an interrupted installation; applied index 4, term 2."""
    initial = InitialState(
        replica_id=1,
        hard_state=HardState(term=5, commit=4),
        membership=THREE,
        membership_index=1,
        applied_index=4,
        first_index=5,
        previous_term=2,
        last_index=4,
        installing=True,
        acknowledged_end=end,
    )
    return RawNode(RaftConfig(), initial, randomizer=fixed_randomizer(1))


def answers(node: RawNode) -> list[object]:
    ready = node.ready()
    return [*ready.send_now, *ready.send_after_durable]


# --- in the middle of it ----------------------------------------------------------------------


def test_no_acknowledgement_leaves_for_entries_that_will_not_be_written():
    group = led()
    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries_of([2], first_index=3)))
    group[3].offer_snapshot(1, 2, meta(9, 2))

    group[3].begin_install()

    ready = group[3].ready()
    assert ready.write is None
    assert ready.send_after_durable == ()


def test_the_commit_index_that_is_written_is_not_above_the_log_that_is():
    group = led()
    entries = entries_of([2, 2], first_index=3)
    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries, commit=4))
    group[3].offer_snapshot(2, 3, meta(9, 3))

    group[3].begin_install()

    write = group[3].ready().write
    assert write is not None
    assert write.hard_state is not None
    assert (write.hard_state.term, write.hard_state.commit, write.entries) == (3, 2, ())


def test_an_aborted_installation_leaves_the_log_as_it_was():
    group = led()
    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries_of([2], first_index=3)))
    group[3].offer_snapshot(1, 2, meta(9, 2))
    group[3].begin_install()
    assert group[3].is_installing

    group[3].abort_install()
    write = group[3].ready().write

    assert write is not None
    assert [entry.index for entry in write.entries] == [3]
    assert not group[3].is_installing


def test_appends_are_answered_with_the_wish_and_heartbeats_as_ever():
    group = led()
    group[3].begin_install()

    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries_of([2], first_index=3)))
    group[3].step(Heartbeat(3, 1, 2, 2, context=7))

    assert answer_to(group, 3) == [
        HeartbeatReply(1, 3, 2, context=7),
        AppendEntriesReply(1, 3, 2, False, 2, last_index=2, wants_snapshot=True),
    ]
    assert group[3].last_index == 2


def test_committed_entries_are_not_handed_out():
    group = led()
    group.isolate(1)
    entries = entries_of([2, 2], first_index=3)
    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries))
    group.collect()

    group[3].begin_install()
    group[3].step(Heartbeat(3, 1, 2, 4))

    assert not group[3].ready().committed
    assert group[3].commit_index == 2


def test_nobody_campaigns_in_the_middle_of_it():
    group = led()
    group[3].begin_install()

    group.tick(5 * T, only=[3])
    group[3].campaign()
    group[3].report_connection_lost(1)
    assert not group[3].campaign_hint()
    group[3].step(TimeoutNow(3, 1, 2))

    assert (group[3].role, group[3].term) == (Role.FOLLOWER, 2)


def test_a_candidate_gives_up_its_election():
    group = candidate()

    group[1].begin_install()

    assert group[1].role is Role.FOLLOWER


def test_a_leader_takes_no_snapshot():
    with pytest.raises(AssertionError):
        led()[1].begin_install()


def test_the_next_leader_hears_that_a_snapshot_is_wanted():
    group = led()
    group.propose(1, "a")
    group[3].begin_install()
    group.elect(2)
    group.tick(2 * HEARTBEAT, only=[2])

    assert group.replicas[2].snapshots_wanted == [3]
    assert group.transfer_snapshot(2, 3)
    assert group[3].last_index == 4


# --- after an interruption --------------------------------------------------------------------


def test_a_restarted_node_votes_by_the_log_that_it_had():
    node = interrupted((9, 3))
    asked = RequestVote(1, 2, 6, 8, 3)

    node.step(PreVote(1, 2, 6, 8, 3))
    node.step(asked)
    assert answers(node) == [
        PreVoteReply(2, 1, 5, granted=False),
        RequestVoteReply(2, 1, 6, granted=False),
    ]

    node.step(replace(asked, last_index=9))
    assert answers(node) == [RequestVoteReply(2, 1, 6, granted=True)]


def test_a_restarted_node_that_does_not_know_what_it_had_votes_for_nobody():
    node = interrupted(None)

    node.step(PreVote(1, 2, 9, 1000, 8))
    node.step(RequestVote(1, 2, 9, 1000, 8))

    assert answers(node) == [
        PreVoteReply(2, 1, 5, granted=False),
        RequestVoteReply(2, 1, 9, granted=False),
    ]


@pytest.mark.parametrize(
    ("end", "last", "wanted"),
    [
        ((9, 3), (8, 3), False),
        ((9, 3), (9, 2), True),
        ((9, 3), (5, 6), True),
        ((9, 6), (8, 6), False),
        ((9, 6), (9, 6), True),
        ((9, 3), (4, 6), False),
        (None, (1000, 5), False),
        (None, (5, 6), True),
    ],
)
def test_a_snapshot_must_make_up_for_what_was_acknowledged(
    end: tuple[int, int] | None, last: tuple[int, int], wanted: bool
):
    node = interrupted(end)

    assert node.offer_snapshot(2, 6, meta(*last)) is wanted


def test_an_interrupted_installation_goes_on_after_the_restart():
    node = interrupted((9, 3))
    assert node.is_installing
    assert node.offer_snapshot(2, 6, meta(12, 6))

    node.begin_install()
    node.finish_install(meta(12, 6))

    assert not node.is_installing
    assert (node.first_index, node.last_index, node.commit_index) == (13, 12, 12)
    assert (node.applied_index, node.term_at(12), node.term_at(11)) == (12, 6, None)
    assert AppendEntriesReply(2, 1, 6, True, 12, last_index=12) in answers(node)


def test_a_log_above_the_checkpoint_is_refused_as_a_beginning():
    with pytest.raises(ValueError, match="doubtful"):
        InitialState(1, HardState(), THREE, 0, last_index=3, installing=True)


# --- when it is in place ----------------------------------------------------------------------


def test_the_membership_comes_with_the_snapshot():
    group = led()
    group.add_voter(1, 4)
    group.propose(1, "a")
    group.replicas[1].compact()
    joining = group.join(5)
    snapshot = group.replicas[1].snapshot()

    assert joining.offer_snapshot(1, 2, snapshot)
    group.replicas[5].install(snapshot)

    assert joining.membership == Membership(members(4))
    assert joining.membership_index == 4
    assert joining.role is Role.LEARNER


def test_a_voter_that_a_snapshot_names_may_campaign_and_one_that_it_does_not_name_may_not():
    group = led()
    for replica_id, voters in ((2, 3), (3, 2)):
        group[replica_id].offer_snapshot(1, 2, meta(9, 2))
        group[replica_id].begin_install()
        group[replica_id].finish_install(SnapshotMeta(9, 2, Membership(members(voters)), 4))

    assert (group[2].role, group[3].role) == (Role.FOLLOWER, Role.LEARNER)
    group.isolate(1)
    group.tick(3 * T, only=[2, 3])
    assert (group[2].role, group[3].role) == (Role.LEADER, Role.LEARNER)


def test_writes_that_are_reported_later_do_not_vouch_for_entries_after_the_snapshot():
    group = led()
    group.slow_disks = {3}
    group.isolate(2)
    group.propose(1, "a", "b")
    replica = group.replicas[3]
    assert replica.writing
    late = replica.writing[-1].write_id
    replica.node.offer_snapshot(1, 2, meta(3, 1))
    replica.node.begin_install()
    replica.node.finish_install(meta(3, 1))
    replica.node.step(append(3, 1, term=2, prev=(3, 1), entries=entries_of([2], first_index=4)))
    replica.node.ready()

    replica.node.persisted(late)

    assert replica.node.status().durable_index == 3


def test_without_a_leader_nobody_is_told():
    group = led()
    group[3].offer_snapshot(1, 2, meta(9, 2))
    group[3].begin_install()
    group[3].report_connection_lost(1)
    group[3].step(RequestVote(3, 2, 7, 9, 6))
    group.collect()
    group.sent.clear()

    group[3].finish_install(meta(9, 2))
    group.collect()

    assert not group.sent_of(AppendEntriesReply)
