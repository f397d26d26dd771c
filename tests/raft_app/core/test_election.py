"""Tests of elections beyond the paper: hints, retries, learners as voters."""

from __future__ import annotations

import pytest

from raft_app.core.types import PreVote, PreVoteReply, RequestVote, RequestVoteReply, Role
from tests.raft_app.core.group import HEARTBEAT, Group, T


def led(voters: int = 3, *, learners: int = 0) -> Group:
    """Return a group that replica 1 leads."""
    group = Group(voters, learners=learners)
    group.elect(1)
    group.tick(HEARTBEAT)
    return group


def test_a_lost_connection_and_a_hint_replace_a_dead_leader_without_waiting():
    group = led()
    group.isolate(1)
    for replica_id in (2, 3):
        group[replica_id].report_connection_lost(1)

    assert group[2].campaign_hint()
    group.settle()

    assert (group[2].role, group[2].term) == (Role.LEADER, 3)


def test_a_hint_is_refused_where_no_election_is_wanted():
    group = led(learners=1)

    assert not group[1].campaign_hint()
    assert not group[2].campaign_hint()
    group[4].report_connection_lost(1)
    assert not group[4].campaign_hint()


def test_a_hint_is_refused_while_the_own_vote_is_written_and_taken_after_a_split():
    group = led(5)
    group.isolate(1)
    for replica_id in (2, 3, 4, 5):
        group[replica_id].report_connection_lost(1)
    group.slow_disks = {2}
    group[2].campaign_hint()
    group.settle()
    assert group[2].role is Role.CANDIDATE

    assert not group[2].campaign_hint()
    group.cut |= {(2, 3), (2, 4), (2, 5)}
    group.send(group.replicas[2].persist())
    assert not group[2].campaign_hint()
    group[2].step(RequestVoteReply(2, 3, 3, granted=False))
    assert group[2].role is Role.CANDIDATE
    assert group[2].campaign_hint()

    assert (group[2].role, group[2].term) == (Role.PRE_CANDIDATE, 3)


def voting_slowly() -> Group:
    """Return a group without its leader in which 3 has voted for 2, not durably yet."""
    group = led()
    group.isolate(1)
    for replica_id in (2, 3):
        group[replica_id].report_connection_lost(1)
    group.slow_disks = {3}
    group[2].campaign_hint()
    group.settle()
    assert (group[2].role, group[3].term) == (Role.CANDIDATE, group[2].term)
    return group


def test_a_voter_gives_its_candidate_time_before_a_hint_of_its_own():
    group = voting_slowly()

    assert not group[3].campaign_hint()
    group.send(group.replicas[3].persist())
    group.slow_disks = set()
    group.settle()

    assert (group[2].role, group[2].term) == (Role.LEADER, 3)


def test_a_candidate_without_answers_takes_a_hint_once_it_had_its_time():
    group = led()
    group.isolate(1)
    group[2].report_connection_lost(1)
    group[3].report_connection_lost(1)
    group[2].campaign_hint()
    group.slow_disks = {3}
    group.settle()

    for _ in range(T // 2):
        assert not group[2].campaign_hint()
        group[2].tick()

    assert group[2].campaign_hint()


def test_a_voter_takes_a_hint_once_its_candidate_had_its_time():
    group = voting_slowly()

    for _ in range(T // 2):
        assert not group[3].campaign_hint()
        group[3].tick()

    assert group[3].campaign_hint()


def test_a_voter_does_not_wait_for_a_candidate_whose_connection_broke():
    group = voting_slowly()

    group[3].report_connection_lost(2)

    assert group[3].campaign_hint()


@pytest.mark.parametrize("draw", [2, 3, 4])
def test_a_refused_pre_candidate_asks_again_after_two_to_four_ticks(draw: int):
    group = led()
    asked: list[tuple[int, int]] = []

    def randomizer(low: int, high: int) -> int:
        asked.append((low, high))
        return draw if low == 2 else low

    replica = group.replicas[2]
    node = type(replica.node)(replica.config, replica.initial, randomizer=randomizer)
    node.campaign()
    node.ready()
    node.step(PreVoteReply(2, 3, 1, granted=False))
    for _ in range(draw - 1):
        node.tick()
    assert not node.has_ready()
    node.tick()

    assert (2, 5) in asked
    assert [type(rpc) for rpc in node.ready().send_now] == [PreVote, PreVote]


def test_a_pre_candidate_that_learns_a_higher_term_asks_again_soon_in_that_term():
    group = Group(3)
    node = group[1]
    node.campaign()
    group.collect()

    node.step(PreVoteReply(1, 2, 7, granted=False))
    assert (node.role, node.term) == (Role.FOLLOWER, 7)
    for _ in range(4):
        node.tick()

    assert [rpc.term for rpc in node.ready().send_now] == [8, 8]


def test_a_late_grant_of_another_round_does_not_count():
    group = Group(3)
    group[1].campaign()

    group[1].step(PreVoteReply(1, 2, 5, granted=True))

    assert group[1].role is Role.PRE_CANDIDATE


def test_a_pre_vote_for_the_current_term_is_refused_with_it():
    group = Group(3)
    group.collect()

    group[1].step(PreVote(1, 2, 1, 9, 1))

    assert group[1].ready().send_now == (PreVoteReply(2, 1, 1, granted=False),)


def test_a_pre_candidate_that_grants_a_vote_gives_up_its_own_round():
    group = Group(3, logs={1: [1], 2: [1], 3: [1]}, term=4)
    group[1].campaign()
    group.collect()

    group[1].step(RequestVote(1, 2, 4, 1, 1))
    group[1].step(PreVoteReply(1, 3, 5, granted=True))

    assert (group[1].role, group[1].status().vote) == (Role.FOLLOWER, 2)


def test_a_learner_answers_vote_requests():
    """It may be a voter by an entry that has not reached it, and be needed for the majority."""
    group = Group(3, learners=1)

    group[4].step(RequestVote(4, 1, 2, 1, 1))
    group.collect()

    assert group.sent == [RequestVoteReply(1, 4, 2, granted=True)]


def test_votes_of_learners_do_not_elect():
    group = Group(3, learners=2)
    group[1].campaign()
    group.collect()

    for learner in (4, 5):
        group[1].step(PreVoteReply(1, learner, 2, granted=True))

    assert group[1].role is Role.PRE_CANDIDATE


def test_learners_are_not_asked():
    group = Group(2, learners=2)
    group.elect(1)

    assert {rpc.to for rpc in (*group.sent_of(PreVote), *group.sent_of(RequestVote))} == {2}


def test_a_candidate_with_a_higher_term_is_not_stuck_behind_a_sticky_leader():
    """Its answer to the leader's heartbeat names the higher term, and all meet in a new one."""
    group = led()
    group[3].step(RequestVote(3, 2, 9, 99, 99, transfer=True))
    group.settle()

    group.tick(4 * T)

    leaders = [replica_id for replica_id, role in group.roles().items() if role is Role.LEADER]
    assert len(leaders) == 1
    assert group[3].term >= 9
    assert len({group[replica_id].term for replica_id in (1, 2, 3)}) == 1


def test_campaigning_as_leader_changes_nothing():
    group = led()

    group[1].campaign()

    assert group[1].is_leader


def test_who_may_not_vote_gives_no_vote_and_does_not_campaign():
    group = Group(3)
    node = group[1]
    node.withhold_votes()

    node.step(PreVote(1, 2, node.term + 1, 9, 9))
    node.step(RequestVote(1, 2, node.term + 1, 9, 9))
    node.campaign()
    for _ in range(3 * T):
        node.tick()
    group.collect()

    replies = [rpc for rpc in group.sent if isinstance(rpc, PreVoteReply | RequestVoteReply)]
    assert [reply.granted for reply in replies] == [False, False]
    assert (node.role, node.vote) == (Role.FOLLOWER, 0)


def test_who_may_vote_again_gives_its_vote():
    group = Group(3)
    node = group[1]
    node.withhold_votes()
    node.allow_votes()

    node.step(RequestVote(1, 2, node.term + 1, 9, 9))

    assert node.vote == 2
