"""What only the in-memory twin can do: lose what was staged, and be damaged."""

from __future__ import annotations

import pytest

from raft_app.core.types import HardState
from raft_app.storage.protocol import BrokerIdentity, DeleteGroup, SaveIdentity, StorageError
from tests.doubles.storage import MemoryStorage
from tests.raft_app.storage.storage_harness import append, create, data_entry, only_group

MIB = 1 << 20


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage(incarnation="ab" * 16)
    storage.open()
    return storage


def test_crash_loses_what_was_staged_and_keeps_what_was_synced(storage: MemoryStorage) -> None:
    storage.write([create()])
    storage.stage([append(data_entry(1), hard_state=HardState(2))])
    storage.sync()
    storage.stage([append(data_entry(2), hard_state=HardState(3))])
    storage.crash()
    assert storage.open().incarnation == "ab" * 16
    initial = only_group(storage).initial
    assert (initial.last_index, initial.hard_state) == (1, HardState(2))
    storage.write([append(data_entry(2), data_entry(3))])


def test_staged_operations_build_on_each_other_before_the_sync(storage: MemoryStorage) -> None:
    storage.stage([create(), append(data_entry(1))])
    storage.stage([append(data_entry(2))])
    with pytest.raises(StorageError, match="gap"):
        storage.stage([append(data_entry(4))])
    assert storage.load_groups() == []
    storage.sync()
    assert only_group(storage).initial.last_index == 2
    assert storage.transactions == 1


def test_refused_stage_leaves_earlier_ones_in_place(storage: MemoryStorage) -> None:
    storage.stage([create()])
    with pytest.raises(StorageError):
        storage.stage([DeleteGroup(1), append(data_entry(1))])
    storage.write([append(data_entry(1))])
    assert only_group(storage).initial.last_index == 1


def test_crash_forgets_a_staged_identity(storage: MemoryStorage) -> None:
    storage.stage([SaveIdentity(BrokerIdentity("ab" * 16, broker_id=1, cluster_id="c"))])
    storage.crash()
    assert storage.open() == BrokerIdentity("ab" * 16)
    storage.write([SaveIdentity(BrokerIdentity("ab" * 16, broker_id=2, cluster_id="c"))])


def test_replacing_a_damaged_entry_heals_it(storage: MemoryStorage) -> None:
    storage.write([create(), append(data_entry(1), data_entry(2))])
    storage.damage_entry(1, 2)
    storage.write([append(data_entry(2, term=2), hard_state=HardState(2))])
    assert storage.read_entries(1, 1, 2, MIB) == [data_entry(1), data_entry(2, term=2)]


def test_incarnations_are_random_unless_given() -> None:
    first, second = MemoryStorage(), MemoryStorage()
    assert first.open().incarnation != second.open().incarnation
