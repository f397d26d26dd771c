"""Tests of what a leader does beyond the paper: limits, windows, losses, older entries."""

from __future__ import annotations

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.errors import DropReason, NodeNotLeader, ProposalDropped
from raft_app.core.progress import ProgressState
from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    EntriesWanted,
    EntryKind,
    HeartbeatReply,
    Proposal,
)
from tests.raft_app.core.group import HEARTBEAT, Group, data, entries_of


def led(voters: int = 3, *, config: RaftConfig | None = None) -> Group:
    """Return a group that replica 1 leads, at rest; index 2 is the no-op."""
    group = Group(voters, config=config)
    group.elect(1)
    group.tick(HEARTBEAT)
    group.sent.clear()
    return group


# --- proposals --------------------------------------------------------------------------------


def test_proposals_are_appended_in_order_with_all_their_fields():
    group = led()
    proposals = [
        Proposal(EntryKind.DATA, b"a", base_offset=7, record_count=2, append_timestamp=99),
        Proposal(EntryKind.COMMAND, b"b"),
    ]

    assert group[1].propose(proposals) == [(3, 2), (4, 2)]
    group.settle()

    first, second = group.replicas[3].disk[2:]
    assert (first.base_offset, first.record_count, first.append_timestamp) == (7, 2, 99)
    assert (second.kind, second.data) == (EntryKind.COMMAND, b"b")


def test_proposing_nothing_appends_nothing():
    group = led()

    assert group[1].propose([]) == []
    assert group[1].last_index == 2


def test_a_follower_takes_no_proposal_and_names_the_leader():
    with pytest.raises(NodeNotLeader) as refused:
        led()[2].propose([data("x")])

    assert refused.value.leader == 1


def test_a_membership_is_no_proposal():
    group = led()

    with pytest.raises(AssertionError):
        group[1].propose([Proposal(EntryKind.MEMBERSHIP, group.membership.encode())])


def test_uncommitted_entries_are_limited_and_a_list_is_taken_whole_or_not_at_all():
    group = led(config=RaftConfig(max_uncommitted_entries=5))
    group.isolate(1)
    group.propose(1, "a", "b", "c")

    with pytest.raises(ProposalDropped) as dropped:
        group[1].propose([data("d"), data("e"), data("f")])
    assert dropped.value.reason is DropReason.LIMIT
    assert group[1].last_index == 5
    group.propose(1, "d", "e")

    group.heal()
    group.tick(4 * HEARTBEAT)
    assert group.propose(1, "f") == [(8, 2)]


def test_uncommitted_bytes_are_limited_but_one_entry_may_always_be():
    group = led(config=RaftConfig(max_uncommitted_bytes=1000))
    group.isolate(1)

    group.propose(1, "x" * 5000)
    with pytest.raises(ProposalDropped):
        group[1].propose([data("y")])

    group.heal()
    group.tick(4 * HEARTBEAT)
    group.propose(1, "y" * 500, "z" * 300)
    assert group[1].commit_index == 5


# --- sending ------------------------------------------------------------------------------------


def test_proposals_between_two_readies_travel_together():
    group = led()

    for text in "abc":
        group[1].propose([data(text)])
    group.collect()

    assert [len(rpc.entries) for rpc in group.sent_of(AppendEntries)] == [3, 3]


def test_appends_to_one_peer_do_not_wait_for_acknowledgements():
    group = led()
    for text in "abc":
        group[1].propose([data(text)])
        group.collect()

    sent = [rpc for rpc in group.sent_of(AppendEntries) if rpc.to == 2]

    assert [(rpc.prev_index, len(rpc.entries)) for rpc in sent] == [(2, 1), (3, 1), (4, 1)]


def test_nothing_is_sent_to_an_idle_peer_but_heartbeats():
    group = led()

    group.tick(20 * HEARTBEAT)

    assert group.sent_of(AppendEntries) == []


@pytest.mark.parametrize("lost", range(1, 6))
def test_any_lost_append_is_recovered_by_heartbeats_alone(lost: int):
    group = led()
    for count, text in enumerate("abcde", 1):
        group[1].propose([data(text)])
        group.collect()
        if count == lost:
            group.network = [rpc for rpc in group.network if rpc.to != 3]

    group.settle()
    group.tick(3 * HEARTBEAT)

    assert group.applied_data(3) == list("abcde")
    assert group[1].status().progress[3].state is ProgressState.REPLICATE


def test_a_stalled_window_recovers_by_heartbeats_alone():
    group = led(config=RaftConfig(max_inflight_appends=2, max_append_bytes=64))
    group.isolate(3)
    group.propose(1, *"abcdef")
    group.heal()

    group.tick(4 * HEARTBEAT)

    assert group.applied_data(3) == list("abcdef")


def test_a_lost_acknowledgement_is_made_up_for():
    group = led()
    group.cut = {(3, 1)}
    group.propose(1, "a")
    group.heal()

    group.tick(3 * HEARTBEAT)

    assert group[1].status().progress[3].match == 3


def test_an_unreachable_peer_gets_nothing_before_it_answers_a_heartbeat():
    group = led()
    group[1].report_unreachable(3)
    group[1].propose([data("a")])
    group.collect()
    assert {rpc.to for rpc in group.sent_of(AppendEntries)} == {2}

    group.tick(HEARTBEAT)

    assert group[1].status().progress[3].match == 3


def test_unreachability_means_nothing_to_a_follower():
    group = led()

    group[2].report_unreachable(3)

    assert not group[2].has_ready()


def test_repeated_heartbeat_answers_in_one_turn_ask_once():
    group = led()
    group[1].propose([data("a")])
    group.collect()
    group.network.clear()
    group.sent.clear()

    for _ in range(5):
        group[1].step(HeartbeatReply(1, 3, 2))
    group.collect()

    assert [(rpc.to, rpc.entries) for rpc in group.sent_of(AppendEntries)] == [(3, ())]


def test_a_refusal_of_what_a_peer_had_acknowledged_is_not_believed():
    """Such a replica lost what it stored; it must not be filled up as if nothing had happened."""
    group = led()
    group.propose(1, "a")

    group[1].step(
        AppendEntriesReply(1, 3, 2, success=False, index=3, conflict_index=1, conflict_term=1)
    )
    group.settle()

    assert group[1].status().progress[3].match == 3


def test_replies_of_strangers_are_ignored():
    group = led()
    before = group[1].status()

    group[1].step(AppendEntriesReply(1, 9, 2, success=True, index=2))
    group[1].step(HeartbeatReply(1, 9, 2))

    assert group[1].status() == before


# --- older entries --------------------------------------------------------------------------------


def lagging() -> tuple[Group, EntriesWanted]:
    """Return a group whose leader has just asked for entries that replica 3 lacks."""
    group = led(config=RaftConfig(max_recent_bytes=100))
    group.isolate(3)
    group.propose(1, *"abcdef")
    group.propose(1, *"ghij")
    group.heal()
    replica = group.replicas[1]
    for _ in range(HEARTBEAT):
        group[1].tick()
    for _ in range(6):
        ready = group[1].ready()
        if ready.entries_wanted:
            assert ready.write is None
            return group, ready.entries_wanted[0]
        for rpc in ready.send_now:
            group[rpc.to].step(rpc)
        if ready.write is not None:
            replica.persist()
        group.send(group.replicas[3].take_ready()[1] if group[3].has_ready() else [])
        for rpc in group.network:
            group[rpc.to].step(rpc)
        group.network.clear()
        group[1].step(HeartbeatReply(1, 3, 2))
    raise AssertionError("nothing was wanted")


def test_older_entries_are_asked_for_once_and_sent_when_they_come():
    group, wanted = lagging()
    assert (wanted.peer, wanted.first_index) == (3, 3)

    group[1].step(HeartbeatReply(1, 3, 2))
    assert group[1].ready().entries_wanted == ()
    group[1].entries_read(wanted, group.replicas[1].disk[2:6])
    ready = group[1].ready()

    (sent,) = [rpc for rpc in ready.send_now if isinstance(rpc, AppendEntries)]
    assert (sent.to, sent.prev_index, len(sent.entries)) == (3, 2, 4)


def test_entries_that_could_not_be_read_are_asked_for_again_later():
    group, wanted = lagging()

    group[1].entries_read(wanted, ())
    for _ in range(2):
        group[1].step(HeartbeatReply(1, 3, 2))

    assert group[1].ready().entries_wanted == (wanted,)


def test_an_answer_that_nobody_waits_for_is_dropped():
    group, wanted = lagging()
    other = EntriesWanted(2, 3, 4, 100)
    group[2].ready()

    group[1].entries_read(other, entries_of([2, 2], first_index=3))
    group[2].entries_read(wanted, entries_of([2, 2], first_index=3))

    assert not group[1].has_ready()
    assert not group[2].has_ready()


def test_a_peer_that_lags_far_catches_up_through_older_entries():
    group = led(config=RaftConfig(max_recent_bytes=100, max_append_bytes=200))
    group.isolate(3)
    texts = [str(number) for number in range(60)]
    for text in texts:
        group.propose(1, text)
    group.heal()

    group.tick(4 * HEARTBEAT)

    assert group.applied_data(3) == texts


def test_a_narrower_limit_holds_entries_back_until_it_is_lifted():
    group = led()
    group[1].limit_inflight({3: 0})
    group[1].propose([data("a"), data("b")])
    group.collect()
    assert {rpc.to for rpc in group.sent_of(AppendEntries)} == {2}
    assert (group[1].is_held(2), group[1].is_held(3)) == (False, True)
    assert not group[1].has_ready()

    group.tick(4 * HEARTBEAT)  # heartbeats, and the question where the logs agree, go on
    assert {len(rpc.entries) for rpc in group.sent_of(AppendEntries) if rpc.to == 3} == {0}
    assert group[3].last_index == 2

    group[1].limit_inflight({3: 1})
    group.settle()
    assert group.applied_data(3) == ["a", "b"]
    assert not group[1].is_held(3)


def test_a_limit_of_one_byte_lets_one_append_leave_at_a_time():
    group = led(config=RaftConfig(max_append_bytes=70))
    group[1].limit_inflight({3: 1})
    group[1].propose([data("a"), data("b"), data("c")])
    group.collect()

    assert [len(rpc.entries) for rpc in group.sent_of(AppendEntries) if rpc.to == 3] == [1]
    group.settle()
    assert group.applied_data(3) == ["a", "b", "c"]


def test_what_a_limit_holds_back_is_not_read_from_storage_either():
    group, wanted = lagging()
    group[1].limit_inflight({3: 0})
    group[1].entries_read(wanted, group.replicas[1].disk[2:6])
    ready = group[1].ready()
    assert [rpc for rpc in ready.send_now if isinstance(rpc, AppendEntries)] == []
    assert ready.entries_wanted == ()
    assert group[1].is_held(3)

    group[1].limit_inflight({})
    assert group[1].ready().entries_wanted == (wanted,)


def test_a_follower_is_not_held_back_by_limits_of_the_time_when_it_led():
    group = led()
    group[2].limit_inflight({1: 0})

    assert not group[2].has_ready()
