"""How both storages read entries and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import (
    CorruptEntry,
    StoredBatch,
)
from tests.raft_app.storage.storage_harness import (
    MemoryDisk,
    SqliteDisk,
    append,
    create,
    data_entry,
    noop,
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


def test_entries_are_read_up_to_the_limit_but_at_least_one(disk: Disk) -> None:
    entries = [data_entry(index, data=b"x" * 936) for index in range(1, 6)]  # 1,000 bytes each
    disk.storage.write([create(), append(*entries)])
    read = disk.storage.read_entries
    assert read(1, 2, 5, 3_000) == entries[1:4]
    assert read(1, 2, 5, 2_999) == entries[1:3]
    assert read(1, 2, 5, 1) == entries[1:2]
    assert read(1, 2, 2, MIB) == entries[1:2]
    assert read(1, 4, 99, MIB) == entries[3:]
    assert read(1, 6, 99, MIB) == []
    assert read(2, 1, 1, MIB) == []


def test_batches_begin_with_the_one_that_contains_the_offset(disk: Disk) -> None:
    entries = [
        data_entry(1, offset=0, record_count=10),
        noop(2),
        data_entry(3, offset=10, record_count=1),
        data_entry(4, offset=11, record_count=9),
    ]
    disk.storage.write([create(), append(*entries)])

    def offsets(offset: int, high_watermark: int = 20) -> list[int]:
        found = disk.storage.read_batches(1, offset, high_watermark, MIB)
        return [batch.base_offset for batch in found]

    assert offsets(0) == offsets(9) == [0, 10, 11]
    assert offsets(10) == [10, 11]
    assert offsets(11) == offsets(19) == [11]
    assert offsets(20, 30) == offsets(25, 30) == []
    assert offsets(0, 11) == [0, 10]
    assert offsets(0, 10) == [0]
    assert offsets(0, 0) == []
    [batch] = disk.storage.read_batches(1, 10, 11, MIB)
    assert batch == StoredBatch(10, 1, entries[2].append_timestamp, entries[2].data)


def test_batches_are_read_up_to_the_limit_but_at_least_one(disk: Disk) -> None:
    disk.storage.write(
        [create(), append(*(data_entry(index, data=b"x" * 100) for index in range(1, 6)))]
    )
    sizes = [len(disk.storage.read_batches(1, 1, 5, limit)) for limit in (1, 199, 200, 400, MIB)]
    assert sizes == [1, 1, 2, 4, 4]


def test_groups_are_read_apart(disk: Disk) -> None:
    disk.storage.write([create(1), create(2), create(3)])
    disk.storage.write(
        [append(data_entry(1, data=b"%d" % group), group_id=group) for group in (1, 2, 3)]
    )
    for group in (1, 2, 3):
        [batch] = disk.storage.read_batches(group, 0, 1, MIB)
        [entry] = disk.storage.read_entries(group, 1, 99, MIB)
        assert batch.data == entry.data == b"%d" % group


def test_damaged_entry_is_never_handed_out(disk: Disk) -> None:
    disk.storage.write([create(), append(*(data_entry(index) for index in range(1, 5)))])
    disk.damage_entry(1, 3)
    with pytest.raises(CorruptEntry, match="checksum") as caught:
        disk.storage.read_entries(1, 1, 4, MIB)
    assert caught.value.group_id == 1
    with pytest.raises(CorruptEntry, match="checksum"):
        disk.storage.read_batches(1, 2, 4, MIB)
    assert disk.storage.read_entries(1, 1, 2, MIB) == [data_entry(1), data_entry(2)]


def test_lost_entry_is_noticed_when_read(disk: Disk) -> None:
    disk.storage.write([create(), append(*(data_entry(index) for index in range(1, 5)))])
    disk.lose_entry(1, 3)
    with pytest.raises(CorruptEntry, match="missing"):
        disk.storage.read_entries(1, 1, 4, MIB)
    with pytest.raises(CorruptEntry, match="not stored"):
        disk.storage.read_batches(1, 0, 4, MIB)
    assert disk.storage.read_entries(1, 3, 4, MIB) == []
