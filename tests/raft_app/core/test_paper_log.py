"""One test per claim of the Raft paper, sections 5.3 to 6: replication, safety, disturbances.

Each test names its section.
"""

from __future__ import annotations

import pytest

from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    Role,
)
from tests.raft_app.core.group import (
    HEARTBEAT,
    Group,
    answer_to,
    append,
    data,
    entries_of,
    led,
)

# --- section 5.3: log replication -------------------------------------------------------------


def test_a_leader_appends_a_proposal_and_sends_it_to_all_in_parallel_5_3():
    group = led()
    group.sent.clear()

    position = group[1].propose([data("x")])
    group.collect()

    entry = Entry(3, 2, EntryKind.DATA, b"x", record_count=1)
    assert position == [(3, 2)]
    assert group.sent_of(AppendEntries) == [
        append(peer, 1, term=2, prev=(2, 2), entries=[entry], commit=2) for peer in (2, 3)
    ]


@pytest.mark.parametrize(
    ("voters", "acknowledging", "committed"),
    [(3, 0, False), (3, 1, True), (4, 1, False), (4, 2, True), (5, 1, False), (5, 2, True)],
)
def test_an_entry_is_committed_when_a_majority_stores_it_5_3(
    voters: int, acknowledging: int, committed: bool
):
    group = led(voters)
    group[1].propose([data("x")])
    group.collect()

    for peer in range(2, 2 + acknowledging):
        group[1].step(AppendEntriesReply(1, peer, 2, success=True, index=3, last_index=3))

    assert group[1].commit_index == (3 if committed else 2)


def test_the_leader_counts_its_own_log_only_when_it_is_durable_5_3():
    group = Group(1)
    group.slow_disks = {1}
    group[1].campaign()
    group.collect()
    assert group[1].role is Role.CANDIDATE

    group.replicas[1].persist()
    group.collect()
    assert (group[1].role, group[1].commit_index) == (Role.LEADER, 1)

    group.replicas[1].persist()
    assert group[1].commit_index == 2


def test_committing_an_entry_commits_all_before_it_also_of_earlier_leaders_5_3():
    group = Group(3, logs={1: [1, 1, 2], 2: [1], 3: [1, 1]})

    group.elect(1)

    assert group[1].commit_index == 4
    assert [entry.term for entry in group.replicas[1].applied] == [1, 1, 2, 3]


def test_followers_learn_the_commit_index_and_apply_in_log_order_5_3():
    group = led()
    group.propose(1, "a", "b")
    group.propose(1, "c")

    group.tick(HEARTBEAT, only=[1])

    assert group.applied_data(2) == group.applied_data(3) == ["a", "b", "c"]
    assert [entry.index for entry in group.replicas[2].applied] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("prev", "success"),
    [((0, 0), True), ((1, 1), True), ((2, 2), True), ((3, 2), False), ((2, 1), False)],
)
def test_a_follower_refuses_entries_whose_predecessor_it_lacks_5_3(
    prev: tuple[int, int], success: bool
):
    group = Group(3, logs={1: [1, 2], 2: [1, 2], 3: [1, 2]})

    group[1].step(append(1, 2, term=4, prev=prev))

    (reply,) = answer_to(group, 1)
    assert isinstance(reply, AppendEntriesReply)
    assert (reply.success, reply.index) == (success, prev[0])


@pytest.mark.parametrize(
    ("prev", "terms", "result"),
    [
        ((3, 3), [4], [1, 2, 3, 4]),
        ((2, 2), [4], [1, 2, 4]),
        ((1, 1), [4, 4], [1, 4, 4]),
        ((0, 0), [4], [4]),
        ((2, 2), [3], [1, 2, 3]),
        ((1, 1), [2], [1, 2, 3]),
        ((0, 0), [], [1, 2, 3]),
    ],
)
def test_a_follower_drops_conflicting_entries_and_only_those_5_3(
    prev: tuple[int, int], terms: list[int], result: list[int]
):
    group = Group(3, logs={1: [1, 2, 3], 2: [1], 3: [1]})

    entries = entries_of(terms, first_index=prev[0] + 1)
    group[1].step(append(1, 2, term=5, prev=prev, entries=entries))
    group.collect()

    assert [entry.term for entry in group.replicas[1].disk] == result


def test_a_repeated_append_is_harmless_5_3():
    group = Group(3)
    early = append(1, 2, term=2, prev=(1, 1), entries=entries_of([2], first_index=2))
    late = append(1, 2, term=2, prev=(2, 2), entries=entries_of([2], first_index=3))

    for rpc in (early, late, early, late, early):
        group[1].step(rpc)
    replies = answer_to(group, 1)

    assert [entry.index for entry in group.replicas[1].disk] == [1, 2, 3]
    acknowledged = [
        (reply.success, reply.index) for reply in replies if isinstance(reply, AppendEntriesReply)
    ]
    assert acknowledged == [(True, 3), (True, 3), (True, 2)]


@pytest.mark.parametrize(
    "terms",
    [
        [1, 1, 1, 4, 4, 5, 5, 6, 6],
        [1, 1, 1, 4],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        [1, 1, 1, 4, 4, 4, 4],
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ],
)
def test_a_leader_brings_every_follower_of_figure_7_into_line_5_3(terms: list[int]):
    leader_log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    group = Group(3, logs={1: leader_log, 2: leader_log, 3: terms}, term=7)

    group.elect(1)

    logs = [[entry.term for entry in replica.disk] for replica in group.replicas.values()]
    assert logs == [[*leader_log, 8]] * 3


def test_backtracking_skips_whole_terms_5_3():
    """However long the term, one refusal is enough for it (end of the section)."""
    group = Group(3, logs={1: [1, 3], 2: [1, 3], 3: [1] + [2] * 500}, term=3)

    group.elect(1)

    refusals = [rpc for rpc in group.sent_of(AppendEntriesReply) if not rpc.success]
    assert len(refusals) == 1
    assert len(group.replicas[3].disk) == 3


# --- section 5.4: safety ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "last_index", "last_term", "granted"),
    [
        ([1], 1, 1, True),
        ([1], 1, 2, True),
        ([1, 1], 1, 2, True),
        ([1], 2, 1, True),
        ([1, 1], 1, 1, False),
        ([2], 1, 1, False),
        ([2], 5, 1, False),
        ([1, 2], 1, 2, False),
    ],
)
@pytest.mark.parametrize("kind", [PreVote, RequestVote])
def test_a_voter_refuses_a_candidate_whose_log_is_behind_5_4_1(
    kind: type[PreVote | RequestVote],
    own: list[int],
    last_index: int,
    last_term: int,
    granted: bool,
):
    group = Group(3, logs={1: own, 2: [1], 3: [1]})

    group[1].step(kind(1, 2, 5, last_index, last_term))

    (reply,) = answer_to(group, 1)
    assert isinstance(reply, PreVoteReply | RequestVoteReply)
    assert reply.granted is granted


def test_entries_of_earlier_terms_are_not_committed_by_counting_5_4_2():
    """Figure 8: replicas 1, 2 and 3 store index 2 of term 2, and it stays uncommitted."""
    group = Group(5, logs={1: [1, 2], 2: [1, 2], 3: [1, 2], 4: [1], 5: [1]}, term=3)
    leader = group[1]
    leader.campaign()
    group.collect()
    for peer in (2, 3):
        leader.step(PreVoteReply(1, peer, 4, granted=True))
    group.collect()
    for peer in (2, 3):
        leader.step(RequestVoteReply(1, peer, 4, granted=True))
    group.collect()

    for peer in (2, 3):
        leader.step(AppendEntriesReply(1, peer, 4, success=True, index=2, last_index=2))
    assert leader.commit_index == 0

    for peer in (2, 3):
        leader.step(AppendEntriesReply(1, peer, 4, success=True, index=3, last_index=3))
    assert leader.commit_index == 3


def test_a_new_leader_has_every_committed_entry_5_4_3():
    group = led(5)
    group.isolate(4, 5)
    group.propose(1, "kept")
    group.heal()
    group.isolate(1)
    for replica_id in (2, 3, 4, 5):
        group[replica_id].report_connection_lost(1)

    group[4].campaign_hint()
    group.settle()
    assert not group[4].is_leader
    group[2].campaign_hint()
    group.settle()

    assert group[2].is_leader
    assert "kept" in group.applied_data(2)


# --- section 5.5: crashes ---------------------------------------------------------------------


def test_a_crashed_follower_catches_up_when_it_is_back_5_5():
    group = led()
    group.isolate(3)
    for text in "abcdef":
        group.propose(1, text)
    group.replicas[3].start()
    group.heal()

    group.tick(4 * HEARTBEAT, only=[1])

    assert group.applied_data(3) == list("abcdef")


def test_lost_requests_are_sent_again_5_5():
    group = led()
    group[1].propose([data("x")])
    group.collect()
    group.network.clear()

    group.tick(2 * HEARTBEAT, only=[1])

    assert group[1].commit_index == 3


# --- section 6: disturbances ------------------------------------------------------------------


@pytest.mark.parametrize("replica_id", [1, 2])
def test_a_node_that_hears_its_leader_disregards_vote_requests_6(replica_id: int):
    group = led()

    group[replica_id].step(RequestVote(replica_id, 3, 9, 99, 9))

    assert answer_to(group, replica_id) == [RequestVoteReply(3, replica_id, 2, granted=False)]
    assert group[replica_id].term == 2
