"""Every checker finds the violation that it is there for, and is content without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raft_app.core.types import Entry, EntryKind, HardState, PreVoteReply, RequestVoteReply
from tests.raft_app.core.simulation.checker import Violation
from tests.raft_app.core.simulation.client_checkers import LinearizableReads, Messages, Offsets
from tests.raft_app.core.simulation.log_checkers import (
    AppliedPrefixes,
    CommitQuorum,
    CommittedEntries,
    LeaderCompleteness,
    LogMatching,
    TruthfulAcknowledgements,
)
from tests.raft_app.core.simulation.vote_checkers import (
    CutOff,
    DurableFirst,
    OneLeader,
    OneVote,
    Stickiness,
)


def data(index: int, value: bytes, *, offset: int = 0, term: int = 1) -> Entry:
    """Return a DATA entry of one message."""
    return Entry(index, term, EntryKind.DATA, value, base_offset=offset, record_count=1)


def noop(index: int, term: int) -> Entry:
    """Return a NOOP entry."""
    return Entry(index, term, EntryKind.NOOP)


def test_violation_names_its_checker() -> None:
    checker = OneLeader()
    checker.leads(1, 5)
    with pytest.raises(Violation, match="OneLeader: replicas 1 and 2 both lead term 5") as caught:
        checker.leads(2, 5)
    assert caught.value.checker == "OneLeader"


def test_one_replica_may_lead_many_terms() -> None:
    checker = OneLeader()
    checker.leads(1, 5)
    checker.leads(1, 5)
    checker.leads(1, 6)
    checker.leads(2, 7)


def test_second_vote_of_a_term_is_found() -> None:
    checker = OneVote()
    checker.votes(1, 5, 2)
    checker.votes(1, 5, 2)
    checker.votes(1, 6, 3)
    with pytest.raises(Violation, match="for 2 and for 3"):
        checker.votes(1, 5, 3)


@pytest.mark.parametrize(
    "stored", [HardState(4, 2), HardState(5, 0), HardState(5, 3)], ids=["term", "vote", "other"]
)
def test_vote_that_is_not_on_disk_is_found(stored: HardState) -> None:
    with pytest.raises(Violation, match="DurableFirst"):
        DurableFirst().votes(1, 5, 2, stored)


@pytest.mark.parametrize("stored", [HardState(5, 2), HardState(6, 3)])
def test_vote_on_disk_or_fenced_by_a_later_term_may_leave(stored: HardState) -> None:
    DurableFirst().votes(1, 5, 2, stored)


def test_acknowledgement_before_its_write_is_durable_is_found() -> None:
    checker = DurableFirst()
    checker.acknowledged(1, 9, needed_write_id=3, durable_write_id=3)
    with pytest.raises(Violation, match="write 4 with write 3"):
        checker.acknowledged(1, 9, needed_write_id=4, durable_write_id=3)


@pytest.mark.parametrize("kind", [PreVoteReply, RequestVoteReply])
def test_grant_by_one_who_hears_a_leader_is_found(kind: type) -> None:
    checker = Stickiness()
    checker.asked(kind, 1, 2, 7, hears=True)
    with pytest.raises(Violation, match="hears a leader"):
        checker.granted(kind, 1, 2, 7)


def test_each_request_while_no_leader_is_heard_allows_one_grant() -> None:
    checker = Stickiness()
    checker.asked(RequestVoteReply, 1, 2, 7, hears=False)
    checker.asked(RequestVoteReply, 1, 2, 7, hears=True)
    checker.granted(RequestVoteReply, 1, 2, 7)
    with pytest.raises(Violation, match="hears a leader"):
        checker.granted(RequestVoteReply, 1, 2, 7)


def test_term_that_grows_while_cut_off_is_found() -> None:
    checker = CutOff(step_down_ticks=40)
    checker.begins(1, 5)
    checker.ticked(1, 5, leads=False)
    checker.hears(1, 6)
    checker.ticked(1, 6, leads=False)
    with pytest.raises(Violation, match="from 6 to 7"):
        checker.ticked(1, 7, leads=False)


def test_term_may_grow_once_the_links_are_back() -> None:
    checker = CutOff(step_down_ticks=40)
    checker.begins(1, 5)
    checker.ends(1)
    checker.ticked(1, 9, leads=True)


def test_leader_that_goes_on_leading_while_cut_off_is_found() -> None:
    checker = CutOff(step_down_ticks=3)
    checker.begins(1, 5)
    for _ in range(3):
        checker.ticked(1, 5, leads=True)
    with pytest.raises(Violation, match="leads 4 ticks"):
        checker.ticked(1, 5, leads=True)


def test_leader_that_sleeps_while_cut_off_has_until_it_notices_and_then_as_long_again() -> None:
    checker = CutOff(step_down_ticks=3)
    checker.begins(1, 5)
    for sleeps in (True, True, True, False, False, False):
        checker.ticked(1, 5, leads=True, sleeps=sleeps)
    for sleeps in (True, False):
        with pytest.raises(Violation, match="leads 4 ticks"):
            checker.ticked(1, 5, leads=True, sleeps=sleeps)


@pytest.mark.parametrize(
    ("entry", "previous_term"), [(data(2, b"y"), 1), (data(2, b"x"), 2)], ids=["data", "previous"]
)
def test_different_entry_of_one_index_and_term_is_found(entry: Entry, previous_term: int) -> None:
    checker = LogMatching()
    checker.stored(1, data(2, b"x"), 1)
    checker.stored(2, data(2, b"x"), 1)
    checker.stored(2, data(2, b"y", term=2), 1)
    with pytest.raises(Violation, match="LogMatching"):
        checker.stored(3, entry, previous_term)


@pytest.mark.parametrize(("own", "leader"), [(1, 2), (None, 2), (2, None), (None, None)])
def test_acknowledgement_of_another_log_is_found(own: int | None, leader: int | None) -> None:
    checker = TruthfulAcknowledgements()
    checker.acknowledged(1, 9, own_term=2, leader_term=2)
    with pytest.raises(Violation, match="acknowledges index 9"):
        checker.acknowledged(1, 9, own_term=own, leader_term=leader)


def test_commit_without_a_quorum_of_disks_is_found() -> None:
    checker = CommitQuorum()
    checker.committed(noop(2, 2), holders=3, quorum=3)
    with pytest.raises(Violation, match="on 2 disks"):
        checker.committed(noop(2, 2), holders=2, quorum=3)


def test_commit_of_an_earlier_term_by_counting_is_found() -> None:
    checker = CommitQuorum()
    checker.moved(1, noop(2, 3), 3)
    with pytest.raises(Violation, match="by counting"):
        checker.moved(1, noop(2, 2), 3)


def test_changed_committed_entry_is_found() -> None:
    checker = CommittedEntries()
    assert checker.committed(1, noop(1, 1))
    assert not checker.committed(2, noop(1, 1))
    with pytest.raises(Violation, match="the group committed"):
        checker.committed(2, noop(1, 2))


def test_commit_with_a_gap_is_found() -> None:
    with pytest.raises(Violation, match="only 0 entries"):
        CommittedEntries().committed(1, noop(2, 1))


def test_applied_entry_that_is_not_committed_is_found() -> None:
    committed = CommittedEntries()
    committed.committed(1, noop(1, 1))
    checker = AppliedPrefixes(committed)
    checker.started(1, 0)
    checker.applied(1, noop(1, 1))
    with pytest.raises(Violation, match="did not commit"):
        checker.applied(1, noop(2, 1))


@pytest.mark.parametrize("index", [1, 3])
def test_entry_applied_twice_or_left_out_is_found(index: int) -> None:
    committed = CommittedEntries()
    checker = AppliedPrefixes(committed)
    for each in (1, 2, 3):
        committed.committed(1, noop(each, 1))
    checker.started(1, 1)
    with pytest.raises(Violation, match="expected 2"):
        checker.applied(1, noop(index, 1))


def test_leader_without_a_committed_entry_is_found() -> None:
    checker = LeaderCompleteness()
    checker.committed(noop(1, 1), 1)
    checker.committed(noop(2, 2), 2)
    checker.leads(1, 3, {1: 1, 2: 2, 3: 3}.get)
    for log in ({1: 1}, {1: 1, 2: 1}):
        with pytest.raises(Violation, match="without the committed entry"):
            checker.leads(2, 4, log.get)


def test_leader_needs_nothing_that_later_terms_committed() -> None:
    checker = LeaderCompleteness()
    checker.committed(noop(1, 1), 1)
    checker.committed(noop(2, 9), 9)
    checker.leads(2, 8, {1: 1}.get)


def test_invented_message_is_found() -> None:
    with pytest.raises(Violation, match="nobody proposed"):
        Messages().committed(data(1, b"x"))


def test_message_stored_twice_is_found() -> None:
    checker = Messages()
    checker.proposed(b"x")
    checker.committed(data(1, b"x"))
    with pytest.raises(Violation, match="repeats the value of index 1"):
        checker.committed(data(2, b"x", offset=1))


def test_acknowledgement_of_what_is_not_stored_is_found() -> None:
    checker = Messages()
    checker.proposed(b"x")
    with pytest.raises(Violation, match="stored at None"):
        checker.acknowledged(b"x", 1)


def test_lost_acknowledged_message_is_found() -> None:
    checker = Messages()
    checker.proposed(b"x")
    checker.committed(data(1, b"x"))
    checker.acknowledged(b"x", 1)
    checker.finished(1, [b"x"])
    with pytest.raises(Violation, match="replica 2 lost"):
        checker.finished(2, [])


@pytest.mark.parametrize(("values", "what"), [([b"x", b"y"], "invented"), ([b"x", b"x"], "twice")])
def test_invented_or_doubled_value_in_the_end_is_found(values: list[bytes], what: str) -> None:
    checker = Messages()
    checker.proposed(b"x")
    with pytest.raises(Violation, match=what):
        checker.finished(1, values)


@pytest.mark.parametrize("offset", [0, 2])
def test_offset_that_is_not_the_next_one_is_found(offset: int) -> None:
    checker = Offsets()
    checker.committed(noop(1, 1))
    checker.committed(data(2, b"x", offset=0))
    with pytest.raises(Violation, match="should begin at offset 1"):
        checker.committed(data(3, b"y", offset=offset))


def test_entry_without_messages_is_found() -> None:
    with pytest.raises(Violation, match="Offsets"):
        Offsets().committed(replace(data(1, b"x"), record_count=0))


def test_stale_read_is_found() -> None:
    checker = LinearizableReads()
    checker.seen(4)
    checker.seen(3)
    floor = checker.seen_index
    checker.answered(1, 4, floor=floor)
    with pytest.raises(Violation, match="began after index 4"):
        checker.answered(1, 3, floor=floor)
