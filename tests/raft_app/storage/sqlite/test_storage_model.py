"""SQLite against the storage in memory: the same operations store the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_app.core.types import HardState
from raft_app.storage.protocol import (
    CorruptEntry,
    DeleteGroup,
    SaveCheckpoint,
    SetFaulty,
    StorageError,
)
from tests.doubles.storage import MemoryStorage
from tests.raft_app.storage.storage_harness import (
    SqliteDisk,
    append,
    checkpoint_at,
    create,
    data_entry,
    noop,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_app.storage.protocol import Operation, Storage, StoredBatch


@pytest.fixture(autouse=True)
def _with_databases(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


class Step:
    """Makes the next operation from numbers, near what is stored, sound or not."""

    def __init__(self, kind: str, group_id: int, index: int, count: int) -> None:
        self.kind, self.group_id, self.index, self.count = kind, group_id, index, count

    def __repr__(self) -> str:
        return f"{self.kind}({self.group_id}, {self.index}, {self.count})"

    def operation(self, term: int) -> Operation:
        match self.kind:
            case "create":
                return create(self.group_id, replica_id=self.count + 1)
            case "delete":
                return DeleteGroup(self.group_id)
            case "checkpoint":
                return SaveCheckpoint(self.group_id, checkpoint_at(self.index, term=term))
            case "faulty":
                return SetFaulty(self.group_id, f"reason {self.index}")
            case _:
                entries = [
                    noop(index, term=term) if index % 4 == 0 else data_entry(index, term=term)
                    for index in range(self.index, self.index + self.count)
                ]
                state = HardState(term, self.count) if self.index % 2 else None
                return append(*entries, group_id=self.group_id, hard_state=state)


steps = st.builds(
    Step,
    kind=st.sampled_from(["append"] * 8 + ["create", "create", "delete", "checkpoint", "faulty"]),
    group_id=st.integers(1, 2),
    index=st.integers(1, 6),
    count=st.integers(0, 3),
)


def batches(storage: Storage, group_id: int, offset: int) -> list[StoredBatch] | str:
    try:
        return storage.read_batches(group_id, offset, 8, 20)
    except CorruptEntry as error:  # The operations leave offsets out.
        return str(error)


@settings(max_examples=30)
@given(st.lists(st.lists(steps, min_size=1, max_size=4), max_size=12))
def test_sqlite_and_memory_store_the_same(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[Step]]
) -> None:
    disk = SqliteDisk(tmp_path_factory.mktemp("storage"))
    memory = MemoryStorage()
    disk.storage.open()
    memory.open()
    first_write = [create(1), create(2)]
    for term, operations in enumerate(
        [first_write, *([s.operation(n) for s in w] for n, w in enumerate(writes, 1))], start=1
    ):
        outcomes = []
        for storage in (disk.storage, memory):
            try:
                storage.write(operations)
                outcomes.append("stored")
            except StorageError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1], term
    sqlite = disk.reopened()
    assert sqlite.load_groups() == memory.load_groups()
    for group_id in (1, 2):
        assert sqlite.used_replica_ids(group_id) == memory.used_replica_ids(group_id)
        for offset in range(9):
            assert batches(sqlite, group_id, offset) == batches(memory, group_id, offset)
        for index in range(1, 9):
            assert sqlite.read_entries(group_id, index, 8, 200) == memory.read_entries(
                group_id, index, 8, 200
            )
    sqlite.close()
