"""Who gets entries at once, and who a little later."""

from __future__ import annotations

from raft_app.core import spares
from raft_app.core.config import RaftConfig
from raft_app.core.types import AddLearner, AppendEntries, RaftMember
from tests.raft_app.core.group import HEARTBEAT, Group, data, led

CONFIG = RaftConfig(spares_wait_bytes=1_000)


def spare_ones(group: Group, leader: int = 1) -> set[int]:
    return {peer for peer, progress in group[leader].progress.items() if progress.is_spare}


def receivers(group: Group) -> set[int]:
    """Return who was sent entries since the last time."""
    sent, group.sent = group.sent, []
    return {rpc.to for rpc in sent if isinstance(rpc, AppendEntries) and rpc.entries}


def with_spares(voters: int = 3) -> Group:
    """Return a group that replica 1 leads, with spare followers, all of whom hold everything."""
    group = led(voters, config=CONFIG)
    group.propose(1, "first")
    group[1].send_to_spares()
    group.settle()
    receivers(group)
    return group


def test_quorum_commits_without_the_spare_follower_which_gets_several_entries_in_one_rpc():
    group = with_spares()
    (spare,) = spare_ones(group)
    for text in "abc":
        group.propose(1, text)
    assert receivers(group) == {2, 3} - {spare}
    assert group.applied_data(1) == ["first", "a", "b", "c"]
    assert group[1].spares_due
    group[1].send_to_spares()
    assert not group[1].spares_due
    group.settle()
    sent = [rpc for rpc in group.sent_of(AppendEntries) if rpc.to == spare and rpc.entries]
    assert [len(rpc.entries) for rpc in sent] == [3]
    assert group.applied_data(spare) == ["first", "a", "b", "c"]


def test_of_five_voters_two_are_spare():
    group = with_spares(5)
    assert len(spare_ones(group)) == 2
    group.propose(1, "a")
    assert receivers(group) == {2, 3, 4, 5} - spare_ones(group)


def test_as_long_as_nothing_is_committed_nobody_is_spare():
    group = Group(3, config=CONFIG)
    group[1].campaign()
    group.isolate(3)
    group.collect()
    assert spare_ones(group) == set()


def test_spare_follower_takes_the_place_of_one_that_does_not_acknowledge():
    group = with_spares()
    (spare,) = spare_ones(group)
    dead = 5 - spare
    group.isolate(dead)
    group.propose(1, "a")
    assert "a" not in group.applied_data(1)
    group[1].send_to_spares()
    group.settle()
    assert "a" in group.applied_data(1)
    assert spare_ones(group) == {dead}
    receivers(group)
    group.propose(1, "b")
    assert "b" in group.applied_data(1)
    assert receivers(group) == {spare}


def test_own_disk_that_is_the_last_to_have_an_entry_changes_nobody():
    group = with_spares()
    before = spare_ones(group)
    group.slow_disks.add(1)
    for text in "abc":
        group[1].propose([data(text)])
        group.settle()
        group.send(group.replicas[1].persist())
        group.settle()
    assert group.applied_data(1)[-1] == "c"
    assert spare_ones(group) == before


def test_spare_ones_are_chosen_also_when_the_own_disk_completes_the_quorum():
    group = led(config=CONFIG)
    spares.choose_none(group[1])
    group.slow_disks |= {1, 2}
    group[1].propose([data("a")])
    group.settle()
    assert spare_ones(group) == set()
    group.send(group.replicas[1].persist())
    assert spare_ones(group) == {2}


def test_what_is_large_goes_to_all_at_once_with_what_waited():
    group = with_spares()
    group.propose(1, "a")
    receivers(group)
    group.propose(1, "b" * 1_000)
    assert receivers(group) == {2, 3}
    assert group[2].last_index == group[3].last_index == group[1].last_index


def test_whose_turn_it_is_to_send_does_so_at_once():
    group = with_spares()
    (spare,) = spare_ones(group)
    group[1].limit_inflight({spare: 1_000})
    group.propose(1, "a")
    assert receivers(group) == {2, 3}


def test_whoever_takes_over_gets_everything_at_once():
    group = with_spares()
    (spare,) = spare_ones(group)
    group.propose(1, "a")
    group[1].transfer_leadership(spare)
    group.settle()
    assert group[spare].is_leader


def test_spare_follower_that_restarted_is_probed_at_once():
    group = with_spares()
    (spare,) = spare_ones(group)
    group[1].report_unreachable(spare)
    group.propose(1, "a")
    group.tick(2 * HEARTBEAT, only=[1])
    assert "a" in group.applied_data(spare)


def test_heartbeats_make_up_for_a_driver_that_forgets():
    group = with_spares()
    (spare,) = spare_ones(group)
    group.propose(1, "a")
    group.tick(3 * HEARTBEAT, only=[1])
    assert "a" in group.applied_data(spare)


def test_change_of_the_members_makes_nobody_spare_until_the_next_commit():
    group = with_spares()
    group.join(4)
    group[1].propose_membership(AddLearner(RaftMember(4, 40)), version=1)
    assert spare_ones(group) == set()
    assert not group[1].has_spares
    group.tick(2 * HEARTBEAT, only=[1])
    assert len(spare_ones(group)) == 1
    assert 4 not in spare_ones(group)


def test_who_leads_no_more_owes_nothing():
    group = with_spares()
    (spare,) = spare_ones(group)
    group.propose(1, "a")
    group.elect(5 - spare)
    assert not group[1].spares_due
    assert not group[1].has_spares
    group[1].send_to_spares()
    assert not group[1].has_ready()


def test_without_a_limit_nobody_is_spare():
    group = led()
    group[1].propose([data("a")])
    group.settle()
    assert spare_ones(group) == set()
    assert group.applied_data(2) == group.applied_data(3) == ["a"] or group[3].last_index == 3
