"""One test per claim of the Raft paper, sections 5.1 and 5.2: terms and elections.

"In Search of an Understandable Consensus Algorithm", extended version. Each test names its section.
"""

from __future__ import annotations

import pytest

from raft_app.core.types import (
    NO_REPLICA,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    Role,
)
from tests.raft_app.core.group import (
    HEARTBEAT,
    Group,
    T,
    answer_to,
    append,
    candidate,
    entries_of,
    led,
)

# --- section 5.1: terms -----------------------------------------------------------------------


def test_every_node_starts_as_a_follower_5_2():
    group = Group(3)

    assert set(group.roles().values()) == {Role.FOLLOWER}


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_node_adopts_a_higher_term_and_becomes_follower_5_1(role: Role):
    group = {Role.FOLLOWER: Group, Role.CANDIDATE: candidate, Role.LEADER: led}[role]()
    assert group[1].role is role

    group[1].step(append(1, 2, term=7, prev=(1, 1)))

    assert (group[1].role, group[1].term, group[1].leader) == (Role.FOLLOWER, 7, 2)


def test_a_request_with_a_stale_term_is_refused_with_the_own_term_5_1():
    group = Group(3, logs={1: [1], 2: [1], 3: [1]}, term=5)

    group[1].step(append(1, 2, term=4, prev=(1, 1), entries=entries_of([4], first_index=2)))
    group[1].step(Heartbeat(1, 2, 4, 0))
    group[1].step(RequestVote(1, 2, 4, 9, 4))
    group[1].step(PreVote(1, 2, 5, 9, 4))
    answers = answer_to(group, 1)

    assert answers == [
        HeartbeatReply(2, 1, 5),
        PreVoteReply(2, 1, 5, granted=False),
        AppendEntriesReply(2, 1, 5, success=False, index=1, last_index=1),
        RequestVoteReply(2, 1, 5, granted=False),
    ]
    assert (group[1].last_index, group[1].leader) == (1, NO_REPLICA)


def test_a_stale_leader_steps_down_when_any_answer_names_a_higher_term_5_1():
    for answer in (
        HeartbeatReply(1, 2, 9),
        AppendEntriesReply(1, 2, 9, success=False, index=1),
        RequestVoteReply(1, 2, 9, granted=False),
        PreVoteReply(1, 2, 9, granted=False),
    ):
        group = led()

        group[1].step(answer)

        assert (group[1].role, group[1].term) == (Role.FOLLOWER, 9)


def test_late_replies_of_earlier_terms_say_nothing_5_1():
    group = led()
    before = group[1].status()

    group[1].step(RequestVoteReply(1, 2, 1, granted=True))
    group[1].step(AppendEntriesReply(1, 2, 1, success=True, index=2))
    group[1].step(HeartbeatReply(1, 2, 1))

    assert group[1].status() == before


def test_term_and_vote_survive_a_crash_5_1():
    group = Group(3)
    group[1].step(RequestVote(1, 2, 4, 1, 1))
    group.collect()

    group.replicas[1].start()
    group[1].step(RequestVote(1, 3, 4, 1, 1))

    assert group[1].term == 4
    assert answer_to(group, 1) == [RequestVoteReply(3, 1, 4, granted=False)]


# --- section 5.2: leader election -------------------------------------------------------------


def test_a_leader_sends_heartbeats_periodically_5_2():
    group = led()
    group.sent.clear()

    group.tick(3 * HEARTBEAT, only=[1])

    assert [rpc.to for rpc in group.sent_of(Heartbeat)] == [2, 3] * 3


def test_heartbeats_keep_followers_from_campaigning_5_2():
    group = led()

    group.tick(10 * T)

    assert group.roles() == {1: Role.LEADER, 2: Role.FOLLOWER, 3: Role.FOLLOWER}
    assert group[3].term == 2


def test_a_follower_that_hears_nothing_starts_an_election_5_2():
    group = Group(3)

    group.tick(T, only=[1])

    assert group[1].is_leader
    assert group[1].term == 2


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_others_5_2():
    group = candidate(5)

    status = group[1].status()
    assert (status.role, status.term, status.vote) == (Role.CANDIDATE, 2, 1)
    assert group.sent_of(RequestVote) == [RequestVote(peer, 1, 2, 1, 1) for peer in (2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("voters", "granted", "refused", "role"),
    [
        (3, 0, 0, Role.CANDIDATE),
        (3, 1, 0, Role.LEADER),
        (3, 0, 1, Role.CANDIDATE),
        (3, 0, 2, Role.FOLLOWER),
        (5, 1, 0, Role.CANDIDATE),
        (5, 2, 0, Role.LEADER),
        (5, 2, 2, Role.LEADER),
        (5, 1, 2, Role.CANDIDATE),
        (5, 1, 3, Role.FOLLOWER),
        (4, 1, 0, Role.CANDIDATE),
        (4, 2, 0, Role.LEADER),
        (4, 1, 2, Role.FOLLOWER),
    ],
)
def test_a_candidate_wins_with_the_votes_of_a_majority_5_2(
    voters: int, granted: int, refused: int, role: Role
):
    group = candidate(voters)

    for peer in range(2, 2 + refused):
        group[1].step(RequestVoteReply(1, peer, 2, granted=False))
    for peer in range(2 + refused, 2 + refused + granted):
        group[1].step(RequestVoteReply(1, peer, 2, granted=True))

    assert group[1].role is role


def test_a_vote_is_counted_once_5_2():
    group = candidate(5)

    for _ in range(3):
        group[1].step(RequestVoteReply(1, 2, 2, granted=True))

    assert group[1].role is Role.CANDIDATE


@pytest.mark.parametrize(("second", "granted"), [(2, True), (3, False)])
def test_a_node_votes_for_one_candidate_per_term_first_come_first_served_5_2(
    second: int, granted: bool
):
    group = Group(3)
    group[1].step(RequestVote(1, 2, 2, 1, 1))
    group.collect()

    group[1].step(RequestVote(1, second, 2, 1, 1))

    assert answer_to(group, 1) == [RequestVoteReply(second, 1, 2, granted)]


@pytest.mark.parametrize("term", [2, 3])
def test_a_candidate_follows_a_legitimate_leader_5_2(term: int):
    group = candidate()

    group[1].step(append(1, 2, term=term, prev=(1, 1)))

    assert (group[1].role, group[1].term, group[1].leader) == (Role.FOLLOWER, term, 2)


def test_a_candidate_ignores_a_leader_of_an_earlier_term_5_2():
    group = candidate()

    group[1].step(append(1, 2, term=1, prev=(1, 1)))

    assert (group[1].role, group[1].term) == (Role.CANDIDATE, 2)


def test_a_candidate_that_neither_wins_nor_loses_starts_anew_after_a_timeout_5_2():
    group = candidate()

    for _ in range(T):
        group[1].tick()

    assert group[1].role is Role.PRE_CANDIDATE
    group.settle()
    assert (group[1].role, group[1].term) == (Role.LEADER, 3)


@pytest.mark.parametrize("draw", [T, T + 7, 2 * T - 1])
def test_election_timeouts_are_drawn_from_t_to_2t_5_2(draw: int):
    group = Group(3)
    asked: list[tuple[int, int]] = []

    def randomizer(low: int, high: int) -> int:
        asked.append((low, high))
        return draw

    replica = group.replicas[1]
    node = type(replica.node)(replica.config, replica.initial, randomizer=randomizer)
    for _ in range(draw - 1):
        node.tick()
    assert node.role is Role.FOLLOWER
    node.tick()

    assert node.role is Role.PRE_CANDIDATE
    assert set(asked) == {(T, 2 * T)}


def test_at_most_one_leader_is_elected_in_a_term_5_2():
    group = Group(3)
    for replica_id in (1, 2):
        group[replica_id].campaign()

    group.settle()

    leaders = [replica_id for replica_id, role in group.roles().items() if role is Role.LEADER]
    assert len(leaders) == 1
