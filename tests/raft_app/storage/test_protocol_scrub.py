"""Verifying what is stored, on both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import CorruptEntry, SaveCheckpoint, Scrubbed, ScrubMark
from tests.raft_app.storage.storage_harness import (
    append,
    checkpoint_at,
    compact,
    create,
    data_entry,
    noop,
)

if TYPE_CHECKING:
    from tests.raft_app.storage.storage_harness import Disk

MIB = 1 << 20


@pytest.fixture
def filled(disk: Disk) -> Disk:
    """Twenty entries of 1,000 bytes; the log begins at 11, the messages at offset 3."""
    entries = [data_entry(index, data=b"x" * 936) for index in range(1, 21)]
    disk.storage.write([create(), append(*entries), SaveCheckpoint(1, checkpoint_at(15))])
    disk.storage.write([compact(11, log_start_offset=3, max_rows=12)])
    return disk


def scrub(disk: Disk, max_bytes: int = MIB) -> list[Scrubbed]:
    steps = [disk.storage.scrub(1, ScrubMark(), max_bytes)]
    while not steps[-1].complete:
        steps.append(disk.storage.scrub(1, steps[-1].mark, max_bytes))
    return steps


def test_every_row_is_verified_once_in_bounded_steps(filled: Disk) -> None:
    assert [(step.mark.index, step.rows) for step in scrub(filled, 4_000)] == [
        (6, 4),
        (10, 4),
        (14, 4),
        (18, 4),
        (20, 2),
    ]
    assert [step.rows for step in scrub(filled, 1)] == [1] * 18
    assert scrub(filled) == [Scrubbed(ScrubMark(20, 1, 20), 18, complete=True)]


@pytest.mark.parametrize("max_bytes", [1, MIB])
@pytest.mark.parametrize("index", [3, 10, 11, 20])
def test_damaged_row_is_found(filled: Disk, index: int, max_bytes: int) -> None:
    filled.damage_entry(1, index)
    with pytest.raises(CorruptEntry, match=f"entry {index} of group 1 does not match") as caught:
        scrub(filled, max_bytes)
    assert caught.value.group_id == 1


@pytest.mark.parametrize("max_bytes", [1, MIB])
@pytest.mark.parametrize("index", [4, 10, 11, 19])
def test_lost_row_is_found(filled: Disk, index: int, max_bytes: int) -> None:
    filled.lose_entry(1, index)
    with pytest.raises(CorruptEntry, match=f"(entry {index}|offset {index - 1}) of group 1"):
        scrub(filled, max_bytes)


def test_lost_entries_without_messages_are_found(disk: Disk) -> None:
    disk.storage.write([create(), append(*(noop(index) for index in range(1, 9)))])
    disk.lose_entry(1, 4)
    for max_bytes in (1, MIB):
        with pytest.raises(CorruptEntry, match="entry 4 of group 1 is missing"):
            scrub(disk, max_bytes)


def test_lost_beginning_of_the_log_is_found(disk: Disk) -> None:
    disk.storage.write([create(), append(*(noop(index) for index in range(1, 9)))])
    disk.lose_entry(1, 1)
    with pytest.raises(CorruptEntry, match="entry 1 of group 1 is missing"):
        scrub(disk)


def test_damaged_checkpoint_is_found_at_the_beginning(filled: Disk) -> None:
    filled.damage_checkpoint(1)
    with pytest.raises(CorruptEntry, match="checkpoint of group 1"):
        filled.storage.scrub(1, ScrubMark(), MIB)
    assert filled.storage.scrub(1, ScrubMark(5), MIB).complete


def test_row_that_was_replaced_or_deleted_between_two_steps_is_no_damage(filled: Disk) -> None:
    assert filled.storage.scrub(1, ScrubMark(), 10_000).mark == ScrubMark(12, 1, 12)
    filled.storage.write([SaveCheckpoint(1, checkpoint_at(16))])
    filled.storage.write([compact(17, log_start_offset=14)])
    rest = filled.storage.scrub(1, ScrubMark(12, 1, 12), MIB)
    assert rest == Scrubbed(ScrubMark(20, 1, 20), 6, complete=True)
    filled.storage.write([append(data_entry(17, term=2), noop(18, term=2))])
    mark = ScrubMark(18, 1, 18)  # of a term before that of the entry that is there now
    assert filled.storage.scrub(1, mark, MIB) == Scrubbed(ScrubMark(18, 2), 0, complete=True)
    assert filled.storage.scrub(1, rest.mark, MIB) == Scrubbed(rest.mark, 0, complete=True)


def test_group_that_is_not_here_has_nothing_to_verify(disk: Disk) -> None:
    assert disk.storage.scrub(7, ScrubMark(), MIB) == Scrubbed(ScrubMark(), 0, complete=True)
    disk.storage.write([create()])
    assert disk.storage.scrub(1, ScrubMark(), MIB) == Scrubbed(ScrubMark(), 0, complete=True)
