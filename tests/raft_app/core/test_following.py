"""Tests of what a follower does with the RPCs of leaders."""

from __future__ import annotations

from raft_app.core.types import AppendEntriesReply, Heartbeat, HeartbeatReply, Quiesce, Role
from tests.raft_app.core.group import HEARTBEAT, Group, append, entries_of


def follower(terms: list[int], *, commit: int = 0) -> Group:
    """Return a group whose replica 1 follows replica 2 in term 5 with this log."""
    group = Group(3, logs={1: terms, 2: terms, 3: terms})
    group[1].step(Heartbeat(1, 2, 5, commit))
    group.collect()
    group.sent.clear()
    return group


def test_an_append_that_starts_below_the_commit_index_is_taken_from_there():
    group = follower([1, 1, 1], commit=2)

    entries = entries_of([1, 1, 1, 5], first_index=1)
    group[1].step(append(1, 2, term=5, prev=(0, 0), entries=entries))
    group.collect()

    assert group.sent == [AppendEntriesReply(2, 1, 5, success=True, index=4, last_index=4)]
    assert [entry.term for entry in group.replicas[1].disk] == [1, 1, 1, 5]


def test_an_append_that_lies_below_the_commit_index_is_acknowledged_up_to_it():
    group = follower([1, 1, 1], commit=3)

    group[1].step(append(1, 2, term=5, prev=(0, 0), entries=entries_of([1])))
    group.collect()

    assert group.sent == [AppendEntriesReply(2, 1, 5, success=True, index=3, last_index=3)]


def test_the_commit_index_moves_no_further_than_what_the_append_confirms():
    group = follower([1, 1, 1])

    group[1].step(append(1, 2, term=5, prev=(2, 1), commit=3))

    assert group[1].commit_index == 2


def test_a_refused_append_commits_nothing():
    group = follower([1, 1, 1])

    group[1].step(append(1, 2, term=5, prev=(3, 4), commit=3))

    assert group[1].commit_index == 0


def test_a_heartbeat_commits_what_the_leader_knows_this_node_to_hold():
    group = follower([1, 1, 1])

    group[1].step(Heartbeat(1, 2, 5, 2, context=8))
    group.collect()

    assert group[1].commit_index == 2
    assert group.sent == [HeartbeatReply(2, 1, 5, context=8)]


def test_a_heartbeat_cannot_commit_what_the_log_lacks():
    group = follower([1, 1, 1])

    group[1].step(Heartbeat(1, 2, 5, 9))

    assert group[1].commit_index == 0


def test_who_lacks_what_its_leader_heard_it_acknowledge_votes_no_more():
    group = follower([1, 1, 1])
    group[1].step(Heartbeat(1, 2, 5, 3))
    assert (group[1].lost_index, group[1].may_campaign) == (0, True)

    group[1].step(Heartbeat(1, 2, 5, 4))
    group[1].allow_votes()

    assert (group[1].lost_index, group[1].may_campaign) == (4, False)


def test_nobody_vouched_for_acknowledges_entries_or_confirms_a_read():
    group = follower([1])
    group[1].withhold_votes()
    group[1].step(
        append(1, 2, term=5, prev=(1, 1), entries=entries_of([5], first_index=2), commit=1)
    )
    group[1].step(Heartbeat(1, 2, 5, 2, context=8))
    group.collect()
    assert group[1].last_index == 2
    assert group[1].commit_index == 2, "up to where the logs agree"
    assert group.sent == [HeartbeatReply(2, 1, 5, context=0)]


def test_nobody_vouched_for_commits_by_a_heartbeat_what_may_be_another_entry():
    group = follower([1, 1, 1])
    group[1].withhold_votes()
    group[1].step(Heartbeat(1, 2, 5, 3))
    group[1].step(Quiesce(1, 2, 5, 3, ()))
    assert (group[1].commit_index, group[1].is_asleep) == (0, False)

    group[1].allow_votes()
    group[1].step(Heartbeat(1, 2, 5, 3))

    assert group[1].commit_index == 3


def test_a_log_that_a_snapshot_replaces_has_lost_nothing():
    group = follower([1, 1, 1])
    group[1].begin_install()

    group[1].step(Heartbeat(1, 2, 5, 9))

    assert group[1].lost_index == 0


def test_a_refusal_says_where_the_logs_may_agree():
    group = follower([1, 1, 3, 3, 3])

    group[1].step(append(1, 2, term=5, prev=(4, 2)))
    group[1].step(append(1, 2, term=5, prev=(9, 4)))
    group.collect()

    hints = [
        (reply.index, reply.conflict_index, reply.conflict_term, reply.last_index)
        for reply in group.sent_of(AppendEntriesReply)
    ]
    assert hints == [(4, 2, 1, 5), (9, 5, 3, 5)]


def test_a_pre_candidate_returns_to_a_leader_that_lives_after_all():
    group = Group(3)
    group.elect(1)
    group[2].report_connection_lost(1)
    group[2].campaign_hint()
    assert group[2].role is Role.PRE_CANDIDATE

    group.tick(HEARTBEAT, only=[1])

    assert (group[2].role, group[2].leader, group[2].term) == (Role.FOLLOWER, 1, 2)


def test_overwritten_entries_are_acknowledged_to_nobody_later():
    """The acknowledgement to the new leader waits for the write that replaces them."""
    group = follower([1, 1])
    group.slow_disks = {1}
    group[1].step(append(1, 2, term=5, prev=(2, 1), entries=entries_of([5, 5], first_index=3)))
    group.collect()
    group[1].step(append(1, 3, term=6, prev=(2, 1), entries=entries_of([6], first_index=3)))
    group.collect()
    assert group.sent == []

    first = group.replicas[1].persist()
    assert [rpc.to for rpc in first] == [2]
    assert group[1].status().durable_index == 2
    second = group.replicas[1].persist()

    assert second == [AppendEntriesReply(3, 1, 6, success=True, index=3, last_index=3)]
    assert group[1].status().durable_index == 3
