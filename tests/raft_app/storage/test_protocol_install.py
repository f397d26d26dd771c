"""Installing a snapshot, on both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.core.types import Entry, EntryKind, HardState
from raft_app.storage.protocol import (
    CreateGroup,
    DeleteGroup,
    GroupSpec,
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
    finish,
    install,
    noop,
    only_group,
)

if TYPE_CHECKING:
    from raft_app.storage.protocol import Operation, Storage
    from tests.raft_app.storage.storage_harness import Disk

MIB = 1 << 20


def offsets(storage: Storage, offset: int, high_watermark: int = 99) -> list[int]:
    return [batch.base_offset for batch in storage.read_batches(1, offset, high_watermark, MIB)]


def lagging(disk: Disk) -> Storage:
    """A replica that applied 4 entries, offsets 0 to 2, and has a doubtful end of 3 more."""
    disk.storage.write(
        [
            create(),
            append(data_entry(1, offset=0), noop(2), data_entry(3, offset=1)),
            append(data_entry(4, offset=2), hard_state=HardState(1, 2, 4)),
            append(noop(5), data_entry(6, offset=3), data_entry(7, offset=4)),
            SaveCheckpoint(1, checkpoint_at(4)),
        ]
    )
    return disk.storage


def test_rows_go_into_place_and_the_replica_is_installing(disk: Disk) -> None:
    lagging(disk)
    rows = (data_entry(9, term=2, offset=3), data_entry(12, term=2, offset=4))
    disk.storage.write([install(*rows)])
    storage = disk.reopened()
    group = only_group(storage)
    assert (group.installing, group.install_offset, group.faulty) == (True, 5, "")
    initial = group.initial
    assert (initial.first_index, initial.last_index, initial.applied_index) == (1, 4, 4)
    assert initial.entries == ()
    assert initial.term_starts == ((1, 1),)
    assert initial.hard_state == HardState(1, 2, 4)
    assert storage.read_rows(1, 3, 99, MIB) == list(rows)
    assert offsets(storage, 0) == [0, 1, 2, 3, 4]


def test_log_of_an_installing_replica_is_not_read(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3))])
    assert disk.storage.read_entries(1, 1, 9, MIB) == []
    assert disk.storage.read_entries(1, 9, 9, MIB) == []


def test_install_goes_on_after_a_restart_and_ends_with_the_snapshot(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, term=2, offset=3))])
    storage = disk.reopened()
    assert only_group(storage).install_offset == 4
    storage.write([install(data_entry(10, term=3, offset=4), data_entry(12, term=3, offset=5))])
    storage.write([finish(14, term=3, next_offset=6, hard_state=HardState(3, 1, 14))])
    storage.write([append(data_entry(15, term=3, offset=6))])
    storage = disk.reopened()
    group = only_group(storage)
    assert (group.installing, group.install_offset, group.faulty) == (False, 0, "")
    assert group.checkpoint == checkpoint_at(14, term=3, state=b"snapshot")
    initial = group.initial
    assert initial.hard_state == HardState(3, 1, 14)
    assert (initial.first_index, initial.previous_term, initial.last_index) == (15, 3, 15)
    assert initial.entries == (data_entry(15, term=3, offset=6),)
    assert offsets(storage, 0) == list(range(7))
    assert storage.read_entries(1, 15, 15, MIB) == [data_entry(15, term=3, offset=6)]
    assert storage.scrub(1, ScrubMark(), MIB).rows == 7


def test_only_messages_stay_below_a_snapshot(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3)), finish(9, next_offset=4)])
    kept = disk.storage.read_rows(1, 0, 99, MIB)
    assert [entry.index for entry in kept] == [1, 3, 4, 9]
    assert disk.storage.scrub(1, ScrubMark(), MIB).rows == 4
    for index in (1, 2, 5, 9):
        assert disk.storage.read_entries(1, index, 9, MIB) == []


def test_snapshot_without_missing_rows_replaces_the_end_of_the_log_alone(disk: Disk) -> None:
    lagging(disk).write([append(hard_state=HardState(2)), finish(9, term=2, next_offset=3)])
    storage = disk.reopened()
    group = only_group(storage)
    assert (group.installing, group.initial.first_index, group.initial.entries) == (False, 10, ())
    assert group.initial.hard_state == HardState(2)
    assert offsets(storage, 0) == [0, 1, 2]
    storage.write([append(data_entry(10, term=2, offset=3))])
    assert only_group(disk.reopened()).faulty == ""


def test_messages_below_the_log_start_of_a_snapshot_are_gone(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(20, offset=10), log_start_offset=10)])
    storage = disk.reopened()
    assert only_group(storage).log_start_offset == 10
    assert offsets(storage, 0) == offsets(storage, 2) == []
    assert offsets(storage, 10) == [10]
    storage.write([finish(20, next_offset=11, log_start_offset=10)])
    assert storage.scrub(1, ScrubMark(), MIB).complete
    storage.write([compact(1, log_start_offset=10)])
    assert not storage.compact_left(1)
    assert storage.scrub(1, ScrubMark(), MIB).rows == 1
    assert only_group(disk.reopened()).faulty == ""


def test_later_snapshot_may_begin_above_the_rows_in_place(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3))])
    storage = disk.reopened()
    storage.write([finish(30, next_offset=8, log_start_offset=8)])
    group = only_group(disk.reopened())
    assert (group.installing, group.log_start_offset, group.faulty) == (False, 8, "")
    assert offsets(disk.storage, 3) == []
    disk.storage.write([compact(31, log_start_offset=8), append(data_entry(31, offset=8))])
    assert offsets(disk.storage, 8) == [8]


def test_joining_replica_is_filled_by_a_snapshot(disk: Disk) -> None:
    empty = checkpoint_at(0, term=0, state=b"")
    joining = CreateGroup(GroupSpec(1, 4, "orders", 0), HardState(), (), empty)
    disk.storage.write([joining])
    rows = [data_entry(index, term=5, offset=index - 3) for index in range(3, 9)]
    disk.storage.write([install(*rows[:3])])
    disk.storage.write([install(*rows[3:])])
    disk.storage.write([finish(9, term=5, next_offset=6, hard_state=HardState(5, 0, 9))])
    group = only_group(disk.reopened())
    assert group.faulty == ""
    assert (group.initial.first_index, group.initial.previous_term) == (10, 5)
    assert disk.storage.read_rows(1, 0, 99, MIB) == rows


def test_hard_state_changes_while_installing(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3)), append(hard_state=HardState(7, 3, 4))])
    group = only_group(disk.reopened())
    assert (group.installing, group.initial.hard_state) == (True, HardState(7, 3, 4))


def test_commit_index_that_the_install_cut_off_is_that_of_the_checkpoint(disk: Disk) -> None:
    lagging(disk).write([append(hard_state=HardState(1, 2, 6)), install(data_entry(9, offset=3))])
    group = only_group(disk.reopened())
    assert (group.faulty, group.initial.hard_state) == ("", HardState(1, 2, 4))


def test_log_end_before_an_install_is_kept_until_its_end(disk: Disk) -> None:
    storage = lagging(disk)
    storage.write([append(data_entry(8, term=2, offset=5), hard_state=HardState(2, 0, 4))])
    storage.write([install(data_entry(9, term=3, offset=3))])
    storage = disk.reopened()
    assert only_group(storage).initial.acknowledged_end == (8, 2)
    storage.write([install(data_entry(10, term=3, offset=4))])
    storage = disk.reopened()
    assert only_group(storage).initial.acknowledged_end == (8, 2)
    storage.write([finish(11, term=3, next_offset=5, hard_state=HardState(3))])
    assert only_group(disk.reopened()).initial.acknowledged_end is None


def test_log_that_is_empty_before_an_install_ends_before_its_first_entry(disk: Disk) -> None:
    lagging(disk).write([finish(9, term=1, next_offset=3), install(data_entry(12, offset=3))])
    assert only_group(disk.reopened()).initial.acknowledged_end == (9, 1)


def test_log_end_that_is_damaged_before_an_install_is_not_known(disk: Disk) -> None:
    lagging(disk)
    disk.damage_entry(1, 7)
    disk.storage.write([install(data_entry(9, offset=3))])
    group = only_group(disk.reopened())
    assert (group.installing, group.faulty, group.initial.acknowledged_end) == (True, "", None)


def test_installing_replica_can_be_dropped(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3)), DeleteGroup(1)])
    disk.storage.write([create(replica_id=2), append(data_entry(1))])
    group = only_group(disk.reopened())
    assert (group.installing, group.initial.last_index) == (False, 1)
    assert offsets(disk.storage, 0) == [0]


def test_log_may_be_compacted_while_installing(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3)), compact(5)])
    group = only_group(disk.reopened())
    assert (group.installing, group.initial.first_index, group.faulty) == (True, 5, "")
    disk.storage.write([install(data_entry(11, offset=4)), finish(11, next_offset=5)])
    assert offsets(disk.storage, 0) == [0, 1, 2, 3, 4]


def test_damage_to_an_installed_row_is_noticed(disk: Disk) -> None:
    lagging(disk).write([install(data_entry(9, offset=3), data_entry(10, offset=4))])
    disk.damage_entry(1, 9)
    with pytest.raises(Exception, match="checksum"):
        disk.storage.read_rows(1, 3, 99, MIB)
    with pytest.raises(Exception, match="checksum"):
        disk.storage.scrub(1, ScrubMark(), MIB)


COMMAND = Entry(9, 1, EntryKind.COMMAND, b"pop")


@pytest.mark.parametrize(
    "operation",
    [
        install(),
        install(COMMAND),
        install(data_entry(4, offset=3)),
        install(data_entry(9, offset=3), data_entry(9, offset=4)),
        install(data_entry(9, offset=3), data_entry(10, offset=5)),
        install(data_entry(1 << 40, offset=3)),
        install(data_entry(9, offset=3, record_count=0)),
        install(data_entry(9, offset=3), group_id=2),
        finish(4, next_offset=3),
    ],
    ids=[
        *("nothing", "a command", "below the checkpoint", "an index twice", "a gap"),
        *("beyond the limit", "no messages", "no group", "nothing new"),
    ],
)
def test_impossible_install_is_refused(disk: Disk, operation: Operation) -> None:
    lagging(disk)
    with pytest.raises(StorageError):
        disk.storage.write([operation])
    disk.storage.write([append(data_entry(8, offset=5))])
    assert only_group(disk.reopened()).initial.last_index == 8


@pytest.mark.parametrize(
    "operation",
    [
        append(data_entry(5, offset=3)),
        install(data_entry(10, offset=3)),
        install(data_entry(10, offset=5)),
        install(data_entry(9, offset=4)),
        install(data_entry(10, offset=4), log_start_offset=5),
        finish(8, next_offset=4),
        finish(9, next_offset=5),
        finish(9, next_offset=4, log_start_offset=5),
        compact(6),
    ],
    ids=[
        *("entries", "a row again", "a gap", "an index again", "below the log start"),
        *("a snapshot below the rows", "rows are missing", "rows below the log start"),
        "a log above the checkpoint",
    ],
)
def test_what_does_not_go_on_with_an_install_is_refused(disk: Disk, operation: Operation) -> None:
    lagging(disk).write([install(data_entry(9, offset=3))])
    storage = disk.reopened()
    with pytest.raises(StorageError):
        storage.write([operation])
    storage.write([install(data_entry(10, offset=4)), finish(11, next_offset=5)])
    assert only_group(disk.reopened()).faulty == ""


@pytest.mark.parametrize(
    "operation",
    [
        install(data_entry(9, offset=2)),
        install(data_entry(9, offset=4)),
        install(data_entry(9, offset=3), log_start_offset=4),
        finish(9, next_offset=4),
        finish(9, next_offset=2),
    ],
)
def test_install_that_begins_elsewhere_than_the_messages_end_is_refused(
    disk: Disk, operation: Operation
) -> None:
    lagging(disk)
    with pytest.raises(StorageError, match="comes where"):
        disk.storage.write([operation])
    group = only_group(disk.reopened())
    assert (group.installing, group.faulty) == (False, "")
