"""Tests of ReadIndex reads that wait for their rounds."""

from __future__ import annotations

from raft_app.core.outbox import drain
from raft_app.core.reads import PendingReads
from raft_app.core.types import ReadConfirmed


def test_reads_registered_before_a_round_share_it():
    reads = PendingReads()
    reads.add(1, 10)
    reads.add(2, 11)
    assert reads.unstarted

    reads.start_round()
    assert not reads.unstarted
    reads.confirm(1)

    assert drain(reads.confirmed) == (ReadConfirmed(1, 10), ReadConfirmed(2, 11))
    assert drain(reads.confirmed) == ()
    assert not reads.is_waiting


def test_a_round_does_not_confirm_reads_that_came_after_it():
    reads = PendingReads()
    reads.add(1, 10)
    reads.start_round()
    reads.add(2, 10)

    reads.confirm(1)

    assert drain(reads.confirmed) == (ReadConfirmed(1, 10),)
    assert reads.unstarted


def test_a_later_round_confirms_earlier_ones():
    reads = PendingReads()
    for context in (1, 2, 3):
        reads.add(context, 10)
        reads.start_round()

    reads.confirm(2)

    assert [read.context for read in drain(reads.confirmed)] == [1, 2]
    assert reads.is_waiting


def test_losing_leadership_fails_all_that_wait_and_none_that_are_confirmed():
    reads = PendingReads()
    reads.add(1, 10)
    reads.start_round()
    reads.confirm(1)
    reads.add(2, 10)
    reads.start_round()
    reads.add(3, 10)

    reads.fail_all()

    assert drain(reads.failed) == (2, 3)
    assert drain(reads.failed) == ()
    assert [read.context for read in drain(reads.confirmed)] == [1]


def test_round_numbers_go_on_after_leadership_was_lost():
    reads = PendingReads()
    reads.add(1, 10)
    reads.start_round()
    reads.fail_all()

    reads.add(2, 10)
    reads.start_round()

    assert reads.round_number == 2
