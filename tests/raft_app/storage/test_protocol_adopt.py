"""A replica that a person lets go on under a new id, on both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.core.types import Entry, EntryKind, HardState
from raft_app.storage.protocol import AdoptGroup, GroupSpec, SetFaulty, StorageError
from tests.raft_app.storage.storage_harness import (
    MEMBERSHIP,
    append,
    create,
    data_entry,
    only_group,
)

if TYPE_CHECKING:
    from tests.raft_app.storage.storage_harness import Disk

NEW_ID = 99


def adoption(index: int, *, replica_id: int = NEW_ID, term: int = 5) -> AdoptGroup:
    created = create().spec
    spec = GroupSpec(created.group_id, replica_id, created.topic, created.partition)
    entry = Entry(index, term, EntryKind.MEMBERSHIP, MEMBERSHIP.encode())
    return AdoptGroup(spec, HardState(term, 0, 1), (entry,))


def test_a_faulty_replica_shows_its_whole_log_when_it_is_examined(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2)), SetFaulty(1, "old")])
    disk.storage.close()
    disk.storage.open()
    assert only_group(disk.storage).initial.last_index == 0
    examined = disk.storage.examine(1)
    assert examined is not None
    assert (examined.stored.faulty, examined.stored.initial.last_index) == ("", 2)
    assert examined.end_offset == 2
    assert disk.storage.examine(2) is None


def test_an_adopted_replica_is_sound_under_its_new_id_with_a_log_that_goes_on(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2)), SetFaulty(1, "old")])
    disk.storage.write([adoption(3)])
    disk.storage.close()
    disk.storage.open()
    found = only_group(disk.storage)
    assert (found.faulty, found.spec.replica_id, found.initial.last_index) == ("", NEW_ID, 3)
    assert found.initial.hard_state == HardState(5, 0, 1)
    assert [entry.index for entry in found.initial.entries] == [1, 2, 3]
    assert disk.storage.used_replica_ids(1) == {create().spec.replica_id, NEW_ID}


@pytest.mark.parametrize("index", [1, 2, 4])
def test_the_log_goes_on_where_it_ends(disk: Disk, index: int) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2))])
    with pytest.raises(StorageError, match="goes on at 3"):
        disk.storage.write([adoption(index)])


def test_an_id_that_was_used_or_a_group_that_is_not_here_is_refused(disk: Disk) -> None:
    with pytest.raises(StorageError, match="no replica of group 1"):
        disk.storage.write([adoption(1)])
    disk.storage.write([create()])
    with pytest.raises(StorageError, match="not a new one"):
        disk.storage.write([adoption(1, replica_id=create().spec.replica_id)])


def test_a_damaged_log_says_why_it_cannot_be_used(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2)), SetFaulty(1, "old")])
    disk.damage_entry(1, 2)
    examined = disk.storage.examine(1)
    assert examined is not None
    assert "checksum" in examined.stored.faulty
