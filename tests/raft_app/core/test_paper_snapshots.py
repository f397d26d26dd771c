"""One test per claim of section 7 of the Raft paper and chapter 5 of the thesis: snapshots."""

from __future__ import annotations

from raft_app.core.progress import ProgressState
from raft_app.core.types import AppendEntriesReply, Membership, SnapshotMeta
from tests.raft_app.core.group import HEARTBEAT, Group, T, append, data, entries_of, led, members


def short_of(group: Group, replica_id: int, *texts: str) -> None:
    """Let a replica miss entries that leader 1 then drops."""
    group.isolate(replica_id)
    group.propose(1, *texts)
    group.replicas[1].compact()
    group.heal()
    group.tick(3 * HEARTBEAT, only=[1])


def test_each_replica_compacts_on_its_own_section_7():
    group = led()
    group.propose(1, "a", "b")
    group.tick(HEARTBEAT, only=[1])

    group.replicas[2].compact()
    group.propose(1, "c")
    group.replicas[1].compact()
    group.propose(1, "d")

    firsts = [group[replica_id].first_index for replica_id in (1, 2, 3)]
    assert firsts == [6, 5, 1]
    assert [group[replica_id].last_index for replica_id in (1, 2, 3)] == [6, 6, 6]


def test_the_consistency_check_works_for_the_first_entry_after_the_snapshot_section_7():
    group = led()
    group.propose(1, "a")
    group.tick(HEARTBEAT, only=[1])
    group.replicas[3].compact()

    entry = entries_of([2], first_index=4)
    group[3].step(append(3, 1, term=2, prev=(3, 2), entries=entry))
    group.collect()

    assert group.sent_of(AppendEntriesReply)[-1].success
    assert group[3].last_index == 4


def test_a_snapshot_carries_the_latest_membership_up_to_its_end_section_7():
    group = led()
    group.add_voter(1, 4)
    group.tick(HEARTBEAT, only=[1])
    group.join(5)

    group[5].offer_snapshot(1, 2, group.replicas[1].snapshot())
    group.replicas[5].install(group.replicas[1].snapshot())

    assert group[5].membership == Membership(members(4))


def test_a_leader_sends_a_snapshot_when_it_has_dropped_the_next_entry_section_7():
    group = led()

    short_of(group, 3, "a", "b")

    assert group.replicas[1].snapshots_wanted == [3]
    assert group[1].status().progress[3].state is ProgressState.SNAPSHOT


def test_a_follower_that_is_only_slow_gets_entries_section_7():
    group = led()
    group.isolate(3)
    group.propose(1, "a", "b")
    group.heal()
    group.tick(3 * HEARTBEAT, only=[1])

    assert group.replicas[1].snapshots_wanted == []
    assert group[3].last_index == 4


def test_a_follower_discards_its_whole_log_for_a_snapshot_of_what_it_lacks_section_7():
    group = led()
    group.isolate(1)
    group.propose(1, "lost", "lost too")
    group.elect(2)
    group.propose(2, "a", "b", "c")
    group.replicas[2].compact()
    group.heal()
    group.tick(3 * HEARTBEAT, only=[2])
    assert group.replicas[2].snapshots_wanted == [1]

    assert group.transfer_snapshot(2, 1)
    group.propose(2, "d")
    group.tick(HEARTBEAT, only=[2])

    assert (group[1].first_index, group[1].last_index) == (7, 7)
    assert group.applied_data(1) == ["d"]


def test_a_snapshot_of_a_prefix_leaves_the_entries_after_it_section_7():
    group = led()
    group.propose(1, "a", "b", "c")

    wanted = group[3].offer_snapshot(1, 2, SnapshotMeta(4, 2, group.membership, 1))

    assert not wanted
    assert (group[3].last_index, group[3].commit_index) == (5, 4)


def test_a_retransmitted_snapshot_changes_nothing_section_7():
    group = led()
    short_of(group, 3, "a", "b")
    snapshot = group.replicas[1].snapshot()
    assert group.transfer_snapshot(1, 3)
    group.propose(1, "c")
    before = group[3].status()

    assert not group[3].offer_snapshot(1, 2, snapshot)

    assert group[3].status() == before


def test_a_snapshot_of_a_deposed_leader_is_refused_section_7():
    group = led()
    short_of(group, 3, "a", "b")
    snapshot = group.replicas[1].snapshot()
    group[2].step(append(2, 3, term=7, prev=(0, 0)))

    assert not group[2].offer_snapshot(1, 2, snapshot)
    assert group[2].leader == 3


def test_the_sender_of_a_snapshot_stays_the_leader_that_is_heard_thesis_5_1():
    group = led()
    short_of(group, 3, "a", "b")
    snapshot = group.replicas[1].snapshot()
    assert group[3].offer_snapshot(1, 2, snapshot)
    group[3].begin_install()

    group.tick(10 * T)

    assert group[1].is_leader
    assert (group[3].term, group[3].leader) == (2, 1)
    group.replicas[3].install(snapshot)
    group.tick(2 * HEARTBEAT)
    assert group[1].status().progress[3].state is ProgressState.REPLICATE


def test_a_follower_that_installs_keeps_nobody_from_committing_thesis_5_1():
    group = led()
    group[3].begin_install()

    group[1].propose([data("x")])
    group.settle()

    assert group[1].commit_index == 3
