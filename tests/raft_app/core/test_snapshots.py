"""Tests of snapshots: who needs one, who takes one, and what a node does in between."""

from __future__ import annotations

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.progress import ProgressState
from raft_app.core.types import (
    AppendEntriesReply,
    EntriesWanted,
    Heartbeat,
    HeartbeatReply,
    Membership,
    SnapshotMeta,
)
from tests.raft_app.core.group import (
    HEARTBEAT,
    Group,
    T,
    answer_to,
    append,
    data,
    entries_of,
    led,
    members,
)

THREE = Membership(members(3))


def behind(*, config: RaftConfig | None = None) -> Group:
    """Return a group whose replica 3 lacks what leader 1 dropped, and is asked for a snapshot."""
    group = led(config=config)
    group.isolate(3)
    group.propose(1, "a", "b", "c")
    group.replicas[1].compact()
    group.heal()
    group.tick(3 * HEARTBEAT, only=[1])
    assert group.replicas[1].snapshots_wanted == [3]
    return group


def state_of(group: Group, peer: int = 3) -> ProgressState:
    return group[1].status().progress[peer].state


def meta(last_index: int, last_term: int) -> SnapshotMeta:
    return SnapshotMeta(last_index, last_term, THREE, 1)


# --- of a leader ------------------------------------------------------------------------------


def test_a_snapshot_is_wanted_once_and_then_only_heartbeats_go_to_the_peer():
    group = behind()
    group.sent.clear()

    group.propose(1, "d")
    group[1].report_unreachable(3)
    group.tick(3 * T, only=[1, 2])

    assert group.replicas[1].snapshots_wanted == [3]
    assert {type(rpc) for rpc in group.sent if rpc.to == 3 and rpc.sender == 1} == {Heartbeat}
    assert group[1].is_leader


def test_the_peer_is_replicated_to_from_the_position_that_it_tells():
    group = behind()
    group.propose(1, "d")

    assert group.transfer_snapshot(1, 3)
    group.tick(2 * HEARTBEAT, only=[1])

    assert state_of(group) is ProgressState.REPLICATE
    assert (group[3].first_index, group[3].commit_index) == (7, 6)
    assert group.propose(1, "e") == [(7, 2)]
    group.tick(HEARTBEAT, only=[1])
    assert group.applied_data(3) == ["e"]


def test_a_peer_whose_answer_was_lost_is_probed_where_the_log_begins():
    group = behind()
    meta = group.replicas[1].snapshot()
    assert group[3].offer_snapshot(1, 2, meta)
    group.replicas[3].install(meta)
    answer_to(group, 3)
    group.network.clear()

    group[1].report_snapshot(3, True)
    group.propose(1, "d")

    assert state_of(group) is ProgressState.REPLICATE
    assert group.replicas[1].snapshots_wanted == [3]
    assert group[3].last_index == 6


def test_a_failed_transfer_is_tried_again_when_the_peer_is_heard():
    group = behind()
    group.isolate(3)
    group[1].report_snapshot(3, False)
    group.tick(5 * HEARTBEAT, only=[1, 2])
    assert (state_of(group), group.replicas[1].snapshots_wanted) == (ProgressState.PROBE, [3])

    group.heal()
    group.tick(2 * HEARTBEAT, only=[1])

    assert group.replicas[1].snapshots_wanted == [3, 3]
    assert state_of(group) is ProgressState.SNAPSHOT


def test_a_snapshot_that_is_too_old_by_now_is_followed_by_another():
    group = behind()
    early = group.replicas[1].snapshot()
    group.propose(1, "d")
    group.replicas[1].compact()
    group[3].offer_snapshot(1, 2, early)
    group.replicas[3].install(early)

    group.settle()
    assert state_of(group) is ProgressState.SNAPSHOT
    group[1].report_snapshot(3, True)
    group.tick(3 * HEARTBEAT, only=[1])

    assert group.replicas[1].snapshots_wanted == [3, 3]


def test_late_answers_do_not_end_a_snapshot_but_one_that_reaches_the_log_does():
    group = behind()

    group[1].step(AppendEntriesReply(1, 3, 2, True, 2))
    group[1].step(AppendEntriesReply(1, 3, 2, False, 5, 5, 2, 5))
    assert state_of(group) is ProgressState.SNAPSHOT

    group[1].step(AppendEntriesReply(1, 3, 2, True, 5))
    assert state_of(group) is ProgressState.REPLICATE


def test_a_report_about_a_peer_that_needs_none_changes_nothing():
    group = led()
    group[1].report_snapshot(3, False)
    group[1].report_snapshot(9, True)
    group[2].report_snapshot(3, True)

    assert state_of(group) is ProgressState.REPLICATE
    assert not group[1].has_ready()


def test_entries_that_were_read_before_they_were_dropped_lead_to_a_snapshot():
    group = led(config=RaftConfig(max_recent_bytes=1))
    group.isolate(3)
    group.propose(1, "a")
    group.propose(1, "b")
    group.heal()
    group[1].report_unreachable(3)
    node = group[1]
    node.step(HeartbeatReply(1, 3, 2))
    node.step(AppendEntriesReply(1, 3, 2, False, 4, 2, 2, 2))
    node.step(AppendEntriesReply(1, 3, 2, True, 2))
    wanted = node.ready().entries_wanted
    assert wanted == (EntriesWanted(3, 3, wanted[0].last_index, 1 << 20),)
    read = group.replicas[1].disk[2:3]

    group.replicas[1].compact()
    node.entries_read(wanted[0], read)

    assert [want.peer for want in node.ready().snapshots_wanted] == [3]


def test_a_leader_offers_one_to_a_peer_that_asks_although_its_log_is_whole():
    group = led()

    group[1].step(AppendEntriesReply(1, 3, 2, False, 2, wants_snapshot=True))
    group[1].step(AppendEntriesReply(1, 3, 2, False, 2, wants_snapshot=True))

    assert [want.peer for want in group[1].ready().snapshots_wanted] == [3]
    assert state_of(group) is ProgressState.SNAPSHOT


# --- what a follower thinks of an offer -------------------------------------------------------


def test_an_offer_counts_as_hearing_the_leader():
    group = led()
    group.tick(T - 1, only=[3])

    group[3].offer_snapshot(1, 2, meta(9, 2))

    group.tick(T - 1, only=[3])
    assert group[3].hears_leader


def test_an_offer_of_a_later_term_is_followed_and_of_an_earlier_one_ignored():
    group = led()

    assert group[3].offer_snapshot(2, 3, meta(9, 2))
    assert (group[3].term, group[3].leader) == (3, 2)
    assert not group[3].offer_snapshot(1, 2, meta(9, 2))
    assert (group[3].term, group[3].leader) == (3, 2)


@pytest.mark.parametrize(
    ("last", "wanted"),
    [((1, 1), False), ((2, 2), False), ((3, 2), False), ((3, 1), True), ((4, 2), True)],
)
def test_an_offer_is_wanted_above_the_commit_index_and_beyond_the_log(
    last: tuple[int, int], wanted: bool
):
    group = led()
    group.isolate(2)
    group[1].propose([data("x")])
    group.collect()
    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries_of([2], first_index=3)))
    assert (group[3].commit_index, group[3].last_index) == (2, 3)

    assert group[3].offer_snapshot(1, 2, meta(*last)) is wanted


def test_an_offer_below_a_log_that_has_moved_up_is_not_wanted():
    group = led()
    group.propose(1, "a", "b", "c")
    group.tick(HEARTBEAT)
    group.replicas[3].compact()
    assert group[3].term_at(3) is None

    assert not group[3].offer_snapshot(1, 2, meta(3, 2))

    assert group[3].commit_index == 5


def test_who_wants_no_snapshot_tells_its_position():
    group = led()

    assert not group[3].offer_snapshot(1, 2, meta(2, 2))

    assert answer_to(group, 3) == [AppendEntriesReply(1, 3, 2, True, 2, last_index=2)]


def test_an_offered_entry_of_the_log_is_committed():
    group = led()
    group[3].step(append(3, 1, term=2, prev=(2, 2), entries=entries_of([2, 2], first_index=3)))

    assert not group[3].offer_snapshot(1, 2, meta(3, 2))

    assert group[3].commit_index == 3
