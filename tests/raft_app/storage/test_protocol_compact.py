"""Moving the beginnings of a log and of its messages up, on both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.core.types import Entry, EntryKind, HardState
from raft_app.storage.protocol import (
    CorruptEntry,
    DeleteGroup,
    ReleaseSpace,
    SaveCheckpoint,
    ScrubMark,
    StorageError,
)
from tests.raft_app.storage.storage_harness import (
    append,
    checkpoint_at,
    compact,
    create,
    data_entry,
    noop,
    only_group,
)

if TYPE_CHECKING:
    from raft_app.storage.protocol import Compact, Storage
    from tests.raft_app.storage.storage_harness import Disk

MIB = 1 << 20


def filled(disk: Disk, *, last_index: int = 10, applied_index: int = 8) -> Storage:
    """Odd indexes hold one message each, even ones none; the term rises at 6."""
    entries = [
        data_entry(index, term=1 + index // 6, offset=index // 2)
        if index % 2
        else Entry(index, 1 + index // 6, EntryKind.COMMAND, b"pop")
        for index in range(1, last_index + 1)
    ]
    disk.storage.write(
        [
            create(),
            append(*entries, hard_state=HardState(9)),
            SaveCheckpoint(1, checkpoint_at(applied_index, term=1 + applied_index // 6)),
        ]
    )
    return disk.storage


def rows(storage: Storage) -> int:
    return storage.scrub(1, ScrubMark(), MIB).rows


def messages(storage: Storage, offset: int = 0) -> list[int]:
    return [entry.index for entry in storage.read_rows(1, offset, 99, MIB)]


def repeat(storage: Storage, operation: Compact) -> int:
    steps = 1
    storage.write([operation])
    while storage.compact_left(1):
        storage.write([operation])
        steps += 1
    return steps


def test_log_begins_higher_and_messages_below_it_stay(disk: Disk) -> None:
    filled(disk).write([compact(7, term=2)])
    assert not disk.storage.compact_left(1)
    storage = disk.reopened()
    initial = only_group(storage).initial
    assert (initial.first_index, initial.previous_term, initial.last_index) == (7, 2, 10)
    assert initial.term_starts == ((7, 2),)
    assert only_group(storage).faulty == ""
    assert messages(storage) == [1, 3, 5, 7, 9]
    assert rows(storage) == 3 + 4
    for index in range(1, 7):
        assert storage.read_entries(1, index, 10, MIB) == []
    assert [entry.index for entry in storage.read_entries(1, 7, 10, MIB)] == [7, 8, 9, 10]


def test_whole_log_below_the_checkpoint_may_go(disk: Disk) -> None:
    filled(disk, applied_index=10).write([compact(11, term=2)])
    storage = disk.reopened()
    group = only_group(storage)
    assert (group.faulty, group.initial.first_index, group.initial.last_index) == ("", 11, 10)
    storage.write([append(noop(11, term=9), data_entry(12, term=9, offset=5))])
    assert only_group(disk.reopened()).initial.last_index == 12
    assert messages(disk.storage) == [1, 3, 5, 7, 9, 12]


def test_messages_below_the_log_start_go_with_their_rows(disk: Disk) -> None:
    filled(disk).write([compact(9, term=2, log_start_offset=2)])
    storage = disk.reopened()
    assert only_group(storage).log_start_offset == 2
    assert messages(storage, 0) == messages(storage, 1) == []
    assert messages(storage, 2) == [5, 7, 9]
    assert rows(storage) == 2 + 2


def test_messages_that_the_log_still_holds_are_gone_for_readers_only(disk: Disk) -> None:
    filled(disk).write([compact(1, term=0, log_start_offset=4)])
    storage = disk.reopened()
    assert storage.read_batches(1, 3, 99, MIB) == []
    assert messages(storage, 4) == [9]
    assert len(storage.read_entries(1, 1, 10, MIB)) == 10
    storage.write([compact(9, term=2)])
    assert rows(storage) == 2
    assert messages(storage, 4) == [9]


def test_nothing_moves_back(disk: Disk) -> None:
    filled(disk).write([compact(7, term=2, log_start_offset=2)])
    disk.storage.write([compact(3, term=1, log_start_offset=1)])
    group = only_group(disk.reopened())
    assert (group.initial.first_index, group.log_start_offset) == (7, 2)
    assert (group.initial.previous_term, disk.storage.compact_left(1)) == (2, False)


def test_log_above_the_checkpoint_never_goes(disk: Disk) -> None:
    filled(disk)
    with pytest.raises(StorageError, match="checkpoint"):
        disk.storage.write([compact(10, term=2)])
    assert only_group(disk.reopened()).initial.first_index == 1


def test_wrong_term_before_the_log_is_refused(disk: Disk) -> None:
    filled(disk)
    with pytest.raises(StorageError, match="entry 6 of group 1 has term 2, not 1"):
        disk.storage.write([compact(7, term=1)])
    assert only_group(disk.reopened()).initial.first_index == 1


@pytest.mark.parametrize("max_rows", [1, 2, 3, 7])
def test_steps_of_few_rows_reach_the_same_end(disk: Disk, max_rows: int) -> None:
    storage = filled(disk, last_index=30, applied_index=28)
    steps = repeat(storage, compact(27, term=5, log_start_offset=10, max_rows=max_rows))
    assert steps >= 36 // max_rows
    storage = disk.reopened()
    group = only_group(storage)
    assert group.faulty == ""
    assert (group.initial.first_index, group.initial.previous_term) == (27, 5)
    assert messages(storage, 10) == [21, 23, 25, 27, 29]
    assert rows(storage) == 3 + 4


def test_each_step_leaves_a_sound_replica(disk: Disk) -> None:
    storage = filled(disk, last_index=20, applied_index=18)
    operation = compact(17, term=3, log_start_offset=6, max_rows=3)
    left = True
    while left:
        storage.write([operation])
        left = storage.compact_left(1)
        storage = disk.reopened()
        group = only_group(storage)
        assert group.faulty == ""
        first_index = group.initial.first_index
        assert group.initial.previous_term == (first_index - 1) // 6 + (first_index > 1)
        assert [entry.index for entry in storage.read_entries(1, first_index, 20, MIB)] == list(
            range(first_index, 21)
        )
        assert messages(storage, 6) == [13, 15, 17, 19]
        assert storage.scrub(1, ScrubMark(), MIB).complete


def test_steps_are_bounded_in_bytes(disk: Disk) -> None:
    entries = [data_entry(index, data=b"x" * 936) for index in range(1, 11)]  # 1,000 bytes each
    disk.storage.write([create(), append(*entries), SaveCheckpoint(1, checkpoint_at(10))])
    operation = compact(11, log_start_offset=8, max_bytes=3_000)
    left = []
    for _ in range(3):
        disk.storage.write([operation])
        left.append((rows(disk.storage), disk.storage.compact_left(1)))
    assert left == [(7, True), (4, True), (2, False)]


def test_row_larger_than_the_limit_goes_alone(disk: Disk) -> None:
    entries = [data_entry(index, data=b"x" * 5_000) for index in range(1, 4)]
    disk.storage.write([create(), append(*entries), SaveCheckpoint(1, checkpoint_at(3))])
    operation = compact(4, log_start_offset=3, max_bytes=10)
    assert repeat(disk.storage, operation) == 3
    assert rows(disk.storage) == 0


def test_end_of_the_log_can_be_replaced_afterwards(disk: Disk) -> None:
    filled(disk).write([compact(9, term=2, log_start_offset=3)])
    disk.storage.write([append(data_entry(9, term=9, offset=4), data_entry(10, term=9, offset=5))])
    storage = disk.reopened()
    assert only_group(storage).faulty == ""
    assert [(entry.index, entry.term) for entry in storage.read_rows(1, 3, 99, MIB)] == [
        (7, 2),
        (9, 9),
        (10, 9),
    ]


def test_log_with_a_missing_entry_stays_as_it_is(disk: Disk) -> None:
    filled(disk)
    disk.lose_entry(1, 4)
    disk.reopened()
    disk.storage.write([compact(9, term=2)])
    assert len(disk.storage.read_entries(1, 5, 10, MIB)) == 6
    assert repeat(disk.storage, compact(9, term=2)) == 1
    with pytest.raises(CorruptEntry, match="entry 4 of group 1 is missing"):
        disk.storage.scrub(1, ScrubMark(), MIB)


def test_log_with_a_damaged_entry_before_its_new_beginning_stays_as_it_is(disk: Disk) -> None:
    filled(disk)
    disk.damage_entry(1, 6)
    disk.storage.write([compact(7, term=2)])
    assert not disk.storage.compact_left(1)
    assert len(disk.storage.read_entries(1, 1, 5, MIB)) == 5


def test_groups_are_compacted_apart(disk: Disk) -> None:
    filled(disk)
    disk.storage.write([create(2), append(*(noop(index) for index in (1, 2, 3)), group_id=2)])
    disk.storage.write([compact(9, term=2, log_start_offset=4, max_rows=1)])
    assert disk.storage.compact_left(1)
    assert not disk.storage.compact_left(2)
    assert len(disk.storage.read_entries(2, 1, 3, MIB)) == 3


def test_dropped_replica_leaves_nothing_once_its_space_is_released(disk: Disk) -> None:
    entries = [data_entry(index, data=b"x" * 3_000) for index in range(1, 1_500)]
    disk.storage.write([create(1), create(2), append(*entries), append(*entries, group_id=2)])
    disk.storage.write([DeleteGroup(1)])
    storage = disk.reopened()
    assert [group.spec.group_id for group in storage.load_groups()] == [2]
    assert storage.read_entries(1, 1, 9, MIB) == []
    assert storage.read_batches(1, 0, 9, MIB) == []
    assert storage.scrub(1, ScrubMark(), MIB).rows == 0
    storage.write([ReleaseSpace()])
    while storage.release_left():
        storage.write([ReleaseSpace()])
    storage.write([create(1, replica_id=9), append(data_entry(1))])
    assert len(storage.read_entries(1, 1, 9, MIB)) == 1
    assert storage.read_entries(2, 1, 2_000, 16 * MIB) == entries


def test_replica_in_the_place_of_a_dropped_one_sees_none_of_its_rows(disk: Disk) -> None:
    entries = [data_entry(index, data=b"x" * 3_000) for index in range(1, 1_500)]
    disk.storage.write([create(), append(*entries)])
    disk.storage.write([DeleteGroup(1), create(replica_id=2), append(data_entry(1))])
    storage = disk.reopened()
    assert only_group(storage).initial.entries == (data_entry(1),)
    assert len(storage.read_rows(1, 0, 9_999, MIB)) == 1
