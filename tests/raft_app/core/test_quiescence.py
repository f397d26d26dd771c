"""Tests of sleep: who falls asleep when, and what wakes whom."""

from __future__ import annotations

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.types import (
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Quiesce,
    Role,
    Wake,
)
from tests.raft_app.core.group import HEARTBEAT, Group, T, data, led

CONFIG = RaftConfig(quiesce_after_ticks=T)
SOON = 2 * T
"""Ticks after which a group without traffic surely sleeps."""


def asleep(voters: int = 3) -> Group:
    """Return a group led by replica 1 that sleeps."""
    group = led(voters, config=CONFIG)
    group.tick(SOON)
    assert all(replica.node.is_asleep for replica in group.replicas.values())
    group.sent.clear()
    return group


def led_by_the_next() -> Group:
    """Return a group that slept until its leader, replica 1, was gone; replica 2 leads it."""
    group = asleep()
    group.isolate(1)
    for replica_id in (2, 3):
        group[replica_id].report_connection_lost(1, wakes=False)
    group[2].campaign_hint()
    group.settle()
    return group


def sleepers(group: Group) -> set[int]:
    """Return the replica ids of who sleeps."""
    return {replica_id for replica_id, one in group.replicas.items() if one.node.is_asleep}


# --- falling asleep -----------------------------------------------------------------------------


def test_a_group_without_traffic_sends_nothing_any_more_and_keeps_its_leader():
    group = asleep()
    group.tick(10 * T)
    assert group.sent == []
    assert group[1].serves
    assert group[2].hears_leader


def test_a_group_does_not_sleep_unless_told_to():
    group = led()
    group.tick(10 * T)
    assert sleepers(group) == set()


def test_a_group_sleeps_after_as_many_idle_ticks_as_it_is_told_and_not_before():
    group = led(config=CONFIG)
    group.propose(1, "a")
    group.tick(T - HEARTBEAT)
    assert sleepers(group) == set()
    group.tick(4 * HEARTBEAT)
    assert sleepers(group) == {1, 2, 3}


def test_followers_are_told_the_term_and_the_commit_index():
    group = led(config=CONFIG)
    group.propose(1, "a")
    group.sent.clear()
    group.tick(SOON)
    told = group.sent_of(Quiesce)
    assert told == [Quiesce(peer, 1, 2, group[1].last_index) for peer in (2, 3)]


def test_a_group_in_which_something_happens_now_and_then_does_not_sleep():
    group = led(config=CONFIG)
    for number in range(5):
        group.propose(1, str(number))
        group.tick(T - HEARTBEAT)
        group[1].read_index(number)
        group.tick(T - HEARTBEAT)
    assert sleepers(group) == set()


def test_a_single_voter_sleeps_alone_and_serves():
    group = asleep(1)
    group.propose(1, "a")
    assert group.applied_data(1) == ["a"]


def test_nobody_sleeps_while_an_entry_is_not_durable_on_a_follower_that_is_heard():
    group = led(config=CONFIG)
    group.slow_disks.add(3)
    group.propose(1, "a")
    group.tick(SOON)
    assert sleepers(group) == set()
    group.slow_disks.clear()
    group.tick(SOON)
    assert sleepers(group) == {1, 2, 3}


def test_a_leader_without_a_quorum_does_not_sleep():
    group = led(config=CONFIG)
    group[1].report_connection_lost(2)
    group[1].report_connection_lost(3)
    group.cut = {(2, 1), (3, 1)}
    group.tick(SOON)
    assert group.sent_of(Quiesce) == []


def test_a_group_sleeps_without_the_replica_that_is_gone_and_names_it():
    group = led(config=CONFIG)
    group.isolate(3)
    group.propose(1, "a")
    group.tick(4 * T, only=[1, 2])
    assert sleepers(group) == {1, 2}
    assert group.sent_of(Quiesce) == [Quiesce(2, 1, 2, group[1].last_index, (3,))]


def test_a_follower_that_was_not_told_does_not_sleep_and_wakes_the_others():
    group = led(config=CONFIG)
    while not group.sent_of(Quiesce):
        for replica_id in (1, 2, 3):
            group[replica_id].tick()
        group.collect()
        group.cut = {(1, 3)} if group[1].is_asleep else set()
        group.network = [rpc for rpc in group.network if not isinstance(rpc, Quiesce) or rpc.to < 3]
        group.settle()
    assert sleepers(group) == {1, 2}
    group.heal()
    group.tick(2 * T)
    assert group.sent_of(PreVote)
    group.tick(SOON)
    assert sleepers(group) == {1, 2, 3}
    assert group[1].term == 2
    assert group[1].is_leader


def test_a_follower_that_lacks_an_entry_does_not_sleep_and_says_so():
    group = led(config=CONFIG)
    group[3].step(Quiesce(3, 1, 2, group[3].last_index + 1))
    assert not group[3].is_asleep
    group.sent.clear()
    group.collect()
    assert group.sent == [Wake(1, 3, 2)]


def test_a_follower_that_knows_better_declines_and_wakes_its_leader():
    group = asleep()
    group[3].decline_sleep()
    group.settle()
    assert sleepers(group) == {2}


def test_a_doubled_quiesce_changes_nothing_and_a_late_one_is_undone_by_the_next_heartbeat():
    group = asleep()
    late = Quiesce(2, 1, 2, group[1].last_index)
    group[2].step(late)
    assert group[2].is_asleep
    group[1].read_index(1)
    group.settle()
    group[2].step(late)
    assert group[2].is_asleep
    group.tick(HEARTBEAT)
    assert sleepers(group) == set()


def test_a_quiesce_of_an_earlier_term_is_answered_with_the_present_one():
    group = asleep()
    late = Quiesce(2, 1, 2, group[1].last_index)
    group.elect(3)
    group.sent.clear()
    group[2].step(late)
    group.collect()
    assert not group[2].is_asleep
    assert group.sent[0] == HeartbeatReply(1, 2, 3)


# --- waking -------------------------------------------------------------------------------------


def test_a_proposal_to_a_sleeping_group_is_committed_in_the_same_round_as_ever():
    group = asleep()
    group.propose(1, "a")
    assert [type(rpc) for rpc in group.sent[:2]] == [AppendEntries, AppendEntries]
    assert sleepers(group) == set()
    assert group.applied_data(1) == ["a"]


def test_a_proposal_wakes_the_leader_before_anybody_answers():
    group = asleep()
    group.isolate(1)
    group[1].propose([data("a")])
    assert not group[1].is_asleep


def test_a_read_of_a_sleeping_leader_takes_a_round_of_heartbeats():
    group = asleep()
    group[1].read_index(7)
    assert not group[1].is_asleep
    assert len(group.replicas[1].reads) == 0
    group.settle()
    assert [rpc.to for rpc in group.sent_of(Heartbeat)][:2] == [2, 3]
    assert [context for context, _ in group.replicas[1].reads] == [7]


def test_a_sleeping_leader_that_was_deposed_confirms_no_read():
    group = asleep()
    group.isolate(1)
    group[2].report_connection_lost(1)
    group[3].report_connection_lost(1)
    group[2].campaign_hint()
    group.settle()
    assert group[2].is_leader
    assert group[1].is_asleep
    group[1].read_index(7)
    group.tick(2 * T)
    assert group.replicas[1].reads == []
    assert group[1].role is not Role.LEADER


@pytest.mark.parametrize("wakes", ["transfer", "membership", "campaign"])
def test_what_a_leader_is_asked_for_wakes_it(wakes: str):
    group = asleep()
    match wakes:
        case "transfer":
            group[1].transfer_leadership(2)
        case "membership":
            group.add_learner(1, 9)
        case "campaign":
            group[1].campaign()
    assert not group[1].is_asleep


def test_a_follower_refuses_a_proposal_without_waking():
    group = asleep()
    with pytest.raises(Exception, match="1"):
        group[2].propose([data("a")])
    assert group[2].is_asleep


def test_the_loss_of_the_connection_from_the_leader_wakes_its_followers():
    group = asleep()
    group[2].report_connection_lost(1)
    assert sleepers(group) == {1, 3}
    assert not group[2].hears_leader
    assert group[2].campaign_hint()


def test_the_loss_of_the_connection_from_a_follower_wakes_nobody():
    group = asleep()
    group[1].report_connection_lost(2)
    group[3].report_connection_lost(2)
    assert sleepers(group) == {1, 2, 3}


def test_a_leader_that_loses_its_quorum_wakes_and_steps_down():
    group = asleep()
    group.isolate(1)
    group[1].report_connection_lost(2)
    group[1].report_connection_lost(3)
    assert not group[1].is_asleep
    group.tick(T, only=[1])
    assert group[1].role is not Role.LEADER


def test_a_member_that_was_not_heard_is_no_part_of_the_quorum_that_a_leader_sleeps_on():
    group = led(config=CONFIG)
    group.isolate(3)
    for _ in range(6):
        group.propose(1, "a")
        group.tick(T // 2, only=[1, 2])
    group.tick(SOON, only=[1, 2])
    assert sleepers(group) == {1, 2}
    group.isolate(1)
    group[1].report_connection_lost(2)
    assert not group[1].is_asleep
    group.tick(T, only=[1])
    assert group[1].role is not Role.LEADER


def test_followers_woken_by_a_peer_wake_their_leader_and_keep_it():
    group = asleep()
    group[3].report_connection_lost(1)
    assert group[3].campaign_hint()
    group.settle()
    assert sleepers(group) == set()
    assert Wake(1, 2, 2) in group.sent
    group.tick(HEARTBEAT)
    assert group[1].is_leader
    assert group[3].leader == 1


def test_late_answers_to_heartbeats_wake_no_leader():
    group = asleep()
    group[1].step(HeartbeatReply(1, 2, 2))
    assert group[1].is_asleep


def test_the_pre_votes_of_a_replica_that_was_removed_wake_nobody():
    group = asleep()
    group[2].step(PreVote(2, 99, 3, 100, 2))
    assert group[2].is_asleep
    group.settle()
    assert not group.sent[0].granted


def test_a_peer_that_started_anew_is_told_to_sleep_without_waking_the_leader():
    group = asleep()
    group.replicas[3].start()
    assert sleepers(group) == {1, 2}
    group[1].report_back(3)
    group.settle()
    assert sleepers(group) == {1, 2, 3}
    assert group[3].leader == 1


def test_a_leader_wakes_for_a_peer_that_is_back_and_lags():
    group = led(config=CONFIG)
    group.isolate(3)
    group.propose(1, "a")
    group.tick(4 * T, only=[1, 2])
    group.heal()
    group[1].report_back(3)
    assert sleepers(group) == {2}
    group.tick(SOON)
    assert group.applied_data(3) == ["a"]
    assert sleepers(group) == {1, 2, 3}


def test_a_write_to_a_group_whose_followers_connections_broke_meanwhile_takes_one_round():
    group = asleep()
    for peer in (2, 3):
        group[1].report_unreachable(peer)
        group[1].report_connection_lost(2)
        group[1].report_back(peer)
    group.propose(1, "a")
    assert group.applied_data(1) == ["a"]


def test_followers_of_a_leader_that_resigns_hear_it_no_more():
    group = asleep()
    group[2].step(Wake(2, 1, 2))
    assert not group[2].is_asleep
    assert not group[2].hears_leader


def test_a_new_leader_is_found_when_the_old_one_dies_asleep():
    group = asleep()
    group.isolate(1)
    for replica_id in (2, 3):
        group[replica_id].report_connection_lost(1)
    group.tick(2 * T, only=[2, 3])
    assert Role.LEADER in {group[2].role, group[3].role}


# --- one after the other ------------------------------------------------------------------------


def test_a_follower_whose_turn_is_to_come_sleeps_on_and_misses_its_leader():
    group = asleep()
    group[2].report_connection_lost(1, wakes=False)
    assert sleepers(group) == {1, 2, 3}
    assert group[2].should_wake
    assert not group[2].hears_leader
    group.tick(10 * T, only=[2])
    assert group.sent == []

    assert group[2].campaign_hint()
    assert not group[2].is_asleep


def test_a_follower_that_lets_its_turn_come_votes_at_once_for_who_has_it():
    group = led_by_the_next()
    assert group[2].is_leader
    assert group[3].leader == 2


def test_a_silent_leader_that_is_found_again_is_not_missed():
    group = asleep()
    group[2].report_connection_lost(1, wakes=False)
    group[2].report_found(1)
    assert not group[2].should_wake
    assert group[2].hears_leader
    assert not group[2].campaign_hint()
    assert sleepers(group) == {1, 2, 3}


def test_a_leader_without_a_quorum_sleeps_on_until_it_is_woken_or_one_is_found():
    group = asleep()
    for peer in (2, 3):
        group[1].report_connection_lost(peer, wakes=False)
    assert group[1].should_wake
    assert group[1].is_asleep
    group[1].report_found(3)
    assert not group[1].should_wake
    group[1].report_connection_lost(3, wakes=False)
    group.isolate(1)
    group[1].wake()
    group.tick(2 * T)
    assert group[1].role is not Role.LEADER


def test_a_group_that_elects_because_its_leader_is_gone_sleeps_again_at_once():
    group = led_by_the_next()
    group[2].report_connection_lost(1)
    group.tick(3 * HEARTBEAT, only=[2, 3])
    assert sleepers(group) == {1, 2, 3}
    assert group[3].leader == 2


def test_it_stays_awake_while_somebody_it_is_connected_to_has_not_answered():
    group = led_by_the_next()
    group.tick(3 * HEARTBEAT, only=[2, 3])
    assert sleepers(group) == {1}


def test_it_stays_awake_for_who_has_something_to_do():
    group = led_by_the_next()
    group[2].report_connection_lost(1)
    group.propose(2, "a")
    group.tick(3 * HEARTBEAT, only=[2, 3])
    assert sleepers(group) == {1}


def test_who_asks_in_vain_is_stranded_until_something_comes():
    group = asleep()
    group.isolate(2)
    group[2].report_connection_lost(1)
    group[2].strand()
    assert not group[2].is_asleep, "it knows a leader"
    group[2].campaign_hint()
    group[2].strand()
    assert (group[2].role, group[2].is_asleep) == (Role.FOLLOWER, True)
    group.tick(10 * T, only=[2])
    assert group[2].is_asleep
    assert group[2].should_wake

    group.heal()
    group[2].campaign_hint()
    group.settle()
    group.tick(SOON)
    assert group[2].leader == 1
    assert sleepers(group) == {1, 2, 3}


def test_a_leader_and_a_candidate_are_not_stranded():
    group = led(config=CONFIG)
    group[1].strand()
    assert not group[1].is_asleep
    group.isolate(1)
    group[2].report_connection_lost(1)
    group[3].report_connection_lost(1)
    group[2].campaign_hint()
    group[2].step(PreVoteReply(2, 3, group[2].term + 1, granted=True))
    group[2].strand()
    assert (group[2].role, group[2].is_asleep) == (Role.CANDIDATE, False)


def test_a_stranded_node_takes_a_leader_that_lets_it_sleep():
    group = asleep()
    group.isolate(2)
    group[2].report_connection_lost(1)
    group[2].campaign_hint()
    group[2].strand()
    group.heal()
    group[2].step(Quiesce(2, 1, group[1].term, group[1].commit_index, ()))
    assert (group[2].leader, group[2].is_asleep) == (1, True)
