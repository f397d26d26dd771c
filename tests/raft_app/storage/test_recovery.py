"""Reading a log back, against a reader that looks at every entry."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import HardState
from raft_app.storage.protocol import GroupSpec
from raft_app.storage.recovery import EMPTY_CHECKPOINT, GroupHeader, recover
from tests.raft_app.storage.storage_harness import checkpoint_at, data_entry, noop

if TYPE_CHECKING:
    from raft_app.core.types import Entry
    from raft_app.storage.protocol import Checkpoint

SPEC = GroupSpec(group_id=1, replica_id=1, topic="orders", partition=0)


class ListLog:
    """A log in a list that counts what it is asked."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = {entry.index: entry for entry in entries}
        self.terms_asked = 0

    def last_index(self) -> int:
        return max(self._entries, default=0)

    def term_at(self, index: int) -> int | None:
        self.terms_asked += 1
        entry = self._entries.get(index)
        return None if entry is None else entry.term

    def entries(self, first_index: int, last_index: int) -> list[Entry]:
        return [
            entry
            for index, entry in sorted(self._entries.items())
            if first_index <= index <= last_index
        ]


def header(
    *, first_index: int = 1, checkpoint: Checkpoint | None = EMPTY_CHECKPOINT, term: int = 99
) -> GroupHeader:
    return GroupHeader(
        spec=SPEC,
        hard_state=HardState(term=term),
        first_index=first_index,
        previous_term=0,
        checkpoint=checkpoint,
    )


@given(
    first_index=st.integers(1, 50),
    terms=st.lists(st.integers(1, 8), max_size=60).map(sorted),
    applied=st.integers(0, 60),
)
def test_terms_and_entries_are_those_of_a_reader_of_everything(
    first_index: int, terms: list[int], applied: int
) -> None:
    entries = [noop(index, term=term) for index, term in enumerate(terms, start=first_index)]
    applied = min(applied, len(terms))
    applied_term = terms[applied - 1] if applied else 0
    checkpoint = checkpoint_at(first_index - 1 + applied, term=applied_term)
    group = recover(header(first_index=first_index, checkpoint=checkpoint), ListLog(entries))
    starts = [
        (after.index, after.term)
        for before, after in pairwise([noop(0, term=0), *entries])
        if after.term != before.term
    ]
    assert group.faulty == ""
    assert list(group.initial.term_starts) == starts
    assert list(group.initial.entries) == entries[applied:]
    assert group.initial.last_index == first_index + len(terms) - 1


def test_terms_of_a_long_log_are_found_by_bisection() -> None:
    log = ListLog([noop(index, term=1 + (index > 70_000)) for index in range(1, 100_001)])
    group = recover(header(checkpoint=checkpoint_at(100_000, term=2)), log)
    assert group.initial.term_starts == ((1, 1), (70_001, 2))
    assert log.terms_asked < 40


def test_entries_below_the_first_index_are_not_of_the_log() -> None:
    log = ListLog([noop(3), noop(5), noop(11), noop(12)])
    group = recover(header(first_index=11, checkpoint=checkpoint_at(10)), log)
    assert group.faulty == ""
    assert [entry.index for entry in group.initial.entries] == [11, 12]


def test_empty_log_above_a_checkpoint_ends_there() -> None:
    group = recover(header(first_index=11, checkpoint=checkpoint_at(10)), ListLog([noop(3)]))
    assert group.faulty == ""
    assert (group.initial.last_index, group.initial.entries) == (10, ())


def test_log_that_begins_above_the_checkpoint_is_faulty() -> None:
    group = recover(header(first_index=11, checkpoint=checkpoint_at(8)), ListLog([noop(11)]))
    assert "begins at 11, above the checkpoint at 8" in group.faulty


def test_missing_checkpoint_is_faulty() -> None:
    group = recover(header(checkpoint=None), ListLog([noop(1)]))
    assert "checkpoint" in group.faulty
    assert group.checkpoint == EMPTY_CHECKPOINT


def test_term_that_goes_back_is_faulty() -> None:
    group = recover(header(), ListLog([noop(1, term=2), noop(2, term=1)]))
    assert "has term 1 after 2" in group.faulty
    assert group.initial.last_index == 1


def test_other_term_than_the_checkpoint_says_is_faulty() -> None:
    log = ListLog([noop(1, term=1), noop(2, term=2)])
    assert recover(header(checkpoint=checkpoint_at(2, term=2)), log).faulty == ""
    faulty = recover(header(checkpoint=checkpoint_at(2, term=1)), log).faulty
    assert faulty == "entry 2 has term 2, its checkpoint 1"


def test_entry_missing_under_the_checkpoint_is_found_when_bisection_meets_it() -> None:
    log = ListLog([noop(2, term=1), noop(3, term=2)])
    assert "missing" in recover(header(checkpoint=checkpoint_at(3, term=2)), log).faulty


def test_replica_that_is_known_to_be_faulty_is_not_read() -> None:
    log = ListLog([noop(index) for index in range(1, 10)])
    group = recover(replace(header(checkpoint=checkpoint_at(4)), faulty="lost its vote"), log)
    assert group.faulty == "lost its vote"
    assert (group.initial.applied_index, group.initial.last_index) == (4, 4)
    assert group.initial.entries == ()
    assert log.terms_asked == 0


@given(
    first_index=st.integers(1, 8),
    applied=st.one_of(st.none(), st.integers(0, 8)),
    commit=st.integers(0, 9),
    term=st.integers(0, 4),
    stored=st.lists(st.tuples(st.integers(1, 10), st.integers(1, 4)), max_size=10),
)
def test_node_can_be_made_of_whatever_is_stored(
    first_index: int,
    applied: int | None,
    commit: int,
    term: int,
    stored: list[tuple[int, int]],
) -> None:
    state = HardState(term=term, commit=commit)
    checkpoint = None if applied is None else checkpoint_at(applied)
    group = recover(
        replace(header(first_index=first_index, checkpoint=checkpoint), hard_state=state),
        ListLog([noop(index, term=entry_term) for index, entry_term in stored]),
    )
    node = RawNode(RaftConfig(), group.initial, randomizer=lambda low, _high: low)
    assert not node.is_leader


def installing(*, checkpoint: Checkpoint, **fields: Any) -> GroupHeader:
    plain = header(checkpoint=checkpoint)
    return replace(plain, installing=True, install_offset=9, log_start_offset=2, **fields)


def test_log_of_an_installing_replica_ends_at_the_checkpoint() -> None:
    log = ListLog([noop(1), noop(2), data_entry(5), data_entry(9)])
    group = recover(installing(checkpoint=checkpoint_at(2)), log)
    assert (group.faulty, group.installing) == ("", True)
    assert (group.install_offset, group.log_start_offset) == (9, 2)
    assert (group.initial.last_index, group.initial.entries) == (2, ())
    assert group.initial.term_starts == ((1, 1),)


def test_commit_index_above_the_log_of_an_installing_replica_is_no_doubt() -> None:
    state = HardState(99, 1, 4)
    log = ListLog([noop(1), noop(2), data_entry(5)])
    group = recover(installing(checkpoint=checkpoint_at(2), hard_state=state), log)
    assert (group.faulty, group.initial.hard_state) == ("", HardState(99, 1, 2))


def test_entry_that_an_installing_replica_lost_below_its_checkpoint_is_noticed() -> None:
    group = recover(installing(checkpoint=checkpoint_at(2)), ListLog([noop(1), data_entry(5)]))
    assert "entry 2 of group 1 is missing" in group.faulty
