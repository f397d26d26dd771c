"""What both storages make of what they stored: checkpoints, damage, and the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.core.types import HardState, Membership
from raft_app.storage.protocol import (
    SaveCheckpoint,
    SetFaulty,
    StorageError,
)
from tests.raft_app.storage.storage_harness import (
    MemoryDisk,
    SqliteDisk,
    append,
    checkpoint_at,
    create,
    data_entry,
    only_group,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.raft_app.storage.storage_harness import Disk

MIB = 1 << 20


@pytest.fixture(params=[MemoryDisk, SqliteDisk], ids=["memory", "sqlite"])
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: pytest.FixtureRequest
) -> Iterator[Disk]:
    with django_db_blocker.unblock():
        disk = request.param(tmp_path / "broker")
        disk.storage.open()
        yield disk
        disk.storage.close()


def test_checkpoint_replaces_the_one_before(disk: Disk) -> None:
    disk.storage.write([create(), append(*(data_entry(index) for index in range(1, 5)))])
    disk.storage.write([SaveCheckpoint(1, checkpoint_at(1, state=b"one"))])
    newer = checkpoint_at(3, state=bytes(range(256)) * 100)
    disk.storage.write([SaveCheckpoint(1, newer)])
    group = only_group(disk.reopened())
    assert group.checkpoint == newer
    assert group.faulty == ""
    assert group.initial.applied_index == 3
    assert group.initial.entries == (data_entry(4),)
    assert (group.initial.first_index, group.initial.last_index) == (1, 4)


def test_checkpoint_of_everything_leaves_no_entries_to_load(disk: Disk) -> None:
    disk.storage.write(
        [create(), append(data_entry(1), data_entry(2)), SaveCheckpoint(1, checkpoint_at(2))]
    )
    initial = only_group(disk.reopened()).initial
    assert (initial.entries, initial.last_index, initial.term_starts) == ((), 2, ((1, 1),))


def test_checkpoint_beyond_the_log_or_behind_the_present_one_is_refused(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2))])
    with pytest.raises(StorageError):
        disk.storage.write([SaveCheckpoint(1, checkpoint_at(3))])
    disk.storage.write([SaveCheckpoint(1, checkpoint_at(2))])
    with pytest.raises(StorageError):
        disk.reopened().write([SaveCheckpoint(1, checkpoint_at(1))])
    assert only_group(disk.reopened()).checkpoint.applied_index == 2


def test_terms_of_the_whole_log_are_found(disk: Disk) -> None:
    terms = [1] * 5 + [3] + [4] * 20 + [9] * 2
    entries = [data_entry(index, term=term) for index, term in enumerate(terms, start=1)]
    disk.storage.write([create(), append(*entries, hard_state=HardState(9))])
    disk.storage.write([SaveCheckpoint(1, checkpoint_at(26, term=4))])
    initial = only_group(disk.reopened()).initial
    assert initial.term_starts == ((1, 1), (6, 3), (7, 4), (27, 9))
    assert initial.entries == tuple(entries[26:])


def test_damaged_entry_above_the_checkpoint_makes_the_replica_faulty(disk: Disk) -> None:
    disk.storage.write([create(1), create(2)])
    disk.storage.write([append(*(data_entry(index) for index in range(1, 5)))])
    disk.damage_entry(1, 3)
    damaged, sound = disk.reopened().load_groups()
    assert "checksum" in damaged.faulty
    assert damaged.initial.entries == (data_entry(1), data_entry(2))
    assert damaged.initial.last_index == 2
    assert sound.faulty == ""


@pytest.mark.parametrize("index", [1, 2, 3])
def test_lost_entry_above_the_checkpoint_makes_the_replica_faulty(disk: Disk, index: int) -> None:
    disk.storage.write([create(), append(*(data_entry(index) for index in range(1, 5)))])
    disk.lose_entry(1, index)
    group = only_group(disk.reopened())
    assert f"entry {index} of group 1 is missing" in group.faulty
    assert group.initial.last_index == index - 1


def test_lost_end_below_the_commit_index_makes_the_replica_faulty(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2))])
    disk.storage.write([append(hard_state=HardState(1, 0, 2))])
    disk.lose_entry(1, 2)
    assert "below the commit index" in only_group(disk.reopened()).faulty


def test_lost_end_below_the_checkpoint_makes_the_replica_faulty(disk: Disk) -> None:
    disk.storage.write(
        [create(), append(data_entry(1), data_entry(2)), SaveCheckpoint(1, checkpoint_at(2))]
    )
    disk.lose_entry(1, 2)
    assert "below the checkpoint" in only_group(disk.reopened()).faulty


def test_damaged_checkpoint_makes_the_replica_faulty(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1)), SaveCheckpoint(1, checkpoint_at(1))])
    disk.damage_checkpoint(1)
    group = only_group(disk.reopened())
    assert "checkpoint" in group.faulty
    assert group.initial.membership == Membership()


def test_term_of_the_log_above_the_hard_state_makes_the_replica_faulty(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1, term=4), hard_state=HardState(4))])
    disk.damage_hard_state(1, "term", 3)
    assert "above its own term 3" in only_group(disk.reopened()).faulty


def test_nothing_of_a_faulty_replica_is_deleted(disk: Disk) -> None:
    disk.storage.write([create(), append(*(data_entry(index) for index in range(1, 5)))])
    disk.damage_entry(1, 1)
    storage = disk.reopened()
    assert only_group(storage).faulty
    assert storage.read_entries(1, 2, 4, MIB) == [data_entry(2), data_entry(3), data_entry(4)]


def test_faulty_mark_stays_with_its_first_reason(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1))])
    disk.storage.write([SetFaulty(1, "lost its vote")])
    disk.storage.write([SetFaulty(1, "something else"), append(hard_state=HardState(2, 1))])
    disk.storage.write([create()])
    group = only_group(disk.reopened())
    assert group.faulty == "lost its vote"
