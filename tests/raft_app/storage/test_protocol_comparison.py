"""The storage on a disk against the one in memory, which is right by inspection."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_app.core.types import EntryKind, HardState
from raft_app.storage.protocol import (
    CorruptEntry,
    DeleteGroup,
    ReleaseSpace,
    SaveCheckpoint,
    ScrubMark,
    SetFaulty,
    StorageError,
)
from tests.doubles.storage import MemoryStorage
from tests.raft_app.storage.storage_harness import (
    SqliteDisk,
    append,
    checkpoint_at,
    compact,
    create,
    data_entry,
    finish,
    install,
    noop,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from raft_app.core.types import Entry
    from raft_app.storage.protocol import Operation, Storage
    from tests.doubles.storage_replica import MemoryReplica

FIRST_WRITE = [create(1), create(2)]
MIB = 1 << 20


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: pytest.FixtureRequest
) -> Iterator[Path]:
    """A directory after the first write; copying it is faster than making one."""
    directory = tmp_path_factory.mktemp("template") / "broker"
    with django_db_blocker.unblock():
        disk = SqliteDisk(directory)
        disk.storage.open()
        disk.storage.write(FIRST_WRITE)
        disk.storage.close()
        yield directory


@dataclass(frozen=True)
class Step:
    """Makes the next operation from numbers, near what is stored: mostly sound, sometimes not."""

    kind: str
    group_id: int
    back: int
    count: int
    error: int

    def operation(self, memory: MemoryStorage, term: int) -> Operation:
        replica = memory._replicas.get(self.group_id)
        if self.kind == "create" or replica is None:
            return create(self.group_id, replica_id=self.count + 1)
        match self.kind:
            case "delete":
                return DeleteGroup(self.group_id)
            case "faulty":
                return SetFaulty(self.group_id, f"reason {term}")
            case "release":
                return ReleaseSpace()
            case _:
                make: Callable[[MemoryReplica, int], Operation] = getattr(self, self.kind)
                return make(replica, term)

    def append(self, replica: MemoryReplica, term: int) -> Operation:
        applied_index = replica.checkpoint.applied_index
        end = max(replica.last_index(), replica.first_index - 1)
        index = max(applied_index, end - self.back) + 1 + self.error
        offset = end_below(replica, index)
        entries = []
        for number in range(self.count):
            if (index + number + self.back) % 3:
                entries.append(data_entry(index + number, term=term, offset=offset))
                offset += 1
            else:
                entries.append(noop(index + number, term=term))
        state = HardState(term, self.count) if term % 2 else None
        return append(*entries, group_id=self.group_id, hard_state=state)

    def checkpoint(self, replica: MemoryReplica, _term: int) -> Operation:
        index = max(replica.last_index() - self.back, 0) + self.error
        stored = checkpoint_at(index, term=replica.term_at(index) or replica.previous_term)
        return SaveCheckpoint(self.group_id, stored)

    def install(self, replica: MemoryReplica, term: int) -> Operation:
        begin, index = self._install_point(replica)
        log_start_offset = begin + self.back if self.back > 4 else replica.log_start_offset
        offset = max(begin, log_start_offset) + self.error
        rows = [
            data_entry(index + 1 + number * (1 + self.back), term=term, offset=offset + number)
            for number in range(self.count)
        ]
        return install(*rows, group_id=self.group_id, log_start_offset=log_start_offset)

    def finish(self, replica: MemoryReplica, term: int) -> Operation:
        next_offset, index = self._install_point(replica)
        state = HardState(term, 0, index) if self.count % 2 else None
        return finish(
            index + self.back + 1 - self.installing(replica),
            next_offset=next_offset + self.error,
            group_id=self.group_id,
            term=term if state else replica.hard_state.term,
            hard_state=state,
        )

    def compact(self, replica: MemoryReplica, _term: int) -> Operation:
        first_index = replica.checkpoint.applied_index + 1 - self.back + self.error
        term = replica.term_at(first_index - 1) or replica.previous_term
        log_start_offset = max(0, end_below(replica, first_index) - self.count + 1)
        return compact(
            first_index,
            term=term,
            group_id=self.group_id,
            log_start_offset=log_start_offset,
            max_rows=1 + self.count,
            max_bytes=80 * self.count,
        )

    def _install_point(self, replica: MemoryReplica) -> tuple[int, int]:
        """Where an install begins or goes on: its offset, and the index before it."""
        end = replica.last_index() if replica.installing else replica.checkpoint.applied_index
        return max(end_below(replica, end + 1), replica.log_start_offset), end

    @staticmethod
    def installing(replica: MemoryReplica) -> bool:
        return replica.installing and replica.last_index() > replica.checkpoint.applied_index


def end_below(replica: MemoryReplica, index: int) -> int:
    """Return the offset after the last message below an index."""
    messages = [
        row.base_offset + row.record_count
        for row in replica.rows
        if row.kind is EntryKind.DATA and row.index < index
    ]
    return max(messages, default=0)


KINDS = {
    **dict.fromkeys(["append"], 10),
    **dict.fromkeys(["checkpoint", "compact", "install"], 5),
    **dict.fromkeys(["finish"], 3),
    **dict.fromkeys(["create", "delete", "faulty", "release"], 1),
}
steps = st.builds(
    Step,
    kind=st.sampled_from([kind for kind, weight in KINDS.items() for _ in range(weight)]),
    group_id=st.sampled_from([1, 1, 1, 2]),
    back=st.sampled_from([0, 0, 0, 1, 2, 3, 5]),
    count=st.integers(0, 4),
    error=st.sampled_from([0] * 12 + [1, -1]),
)


def outcome(call: Callable[..., object], *args: Any) -> object:
    """Return what a call returns, or what it says is wrong."""
    try:
        return call(*args)
    except CorruptEntry as error:
        return str(error)


def scrubbed(storage: Storage, group_id: int, max_bytes: int) -> list[object]:
    found: list[object] = []
    mark, complete = ScrubMark(), False
    while not complete:
        step = outcome(storage.scrub, group_id, mark, max_bytes)
        found.append(step)
        if isinstance(step, str):
            break
        mark, complete = step.mark, step.complete
    return found


def answers(storage: Storage, group_id: int) -> dict[str, list[object]]:
    """Return everything that a storage tells of a group, whatever it is asked."""
    reads: dict[str, Callable[..., list[Any]]] = {
        "batches": storage.read_batches,
        "rows": storage.read_rows,
    }
    found: dict[str, list[object]] = {
        name: [outcome(read, group_id, offset, 30, 200) for offset in range(30)]
        for name, read in reads.items()
    }
    found["entries"] = [outcome(storage.read_entries, group_id, i, 40, 200) for i in range(1, 41)]
    found["scrubbed"] = [scrubbed(storage, group_id, max_bytes) for max_bytes in (1, 300, MIB)]
    found["used"] = [storage.used_replica_ids(group_id)]
    return found


def write(storage: Storage, operations: list[Operation]) -> tuple[str, bool, bool]:
    try:
        storage.write(operations)
        told = "stored"
    except StorageError as error:
        told = str(error)
    return told, storage.compact_left(1), storage.compact_left(2)


def stored_rows(memory: MemoryStorage) -> dict[int, list[Entry]]:
    return {group_id: list(replica.rows) for group_id, replica in memory._replicas.items()}


def copy_of(memory: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    copy.open()
    copy._replicas = {group_id: replica.copy() for group_id, replica in memory._replicas.items()}
    copy._facts = dict(memory._facts)
    copy._used_replica_ids = dict(memory._used_replica_ids)
    return copy


def operations_of(made: list[Step], memory: MemoryStorage, term: int) -> list[Operation]:
    """Return operations that go on from each other, as far as they are sound."""
    scratch = copy_of(memory)
    operations = []
    for step in made:
        operations.append(step.operation(scratch, term))
        with suppress(StorageError):
            copy = copy_of(scratch)
            copy.write(operations[-1:])
            scratch = copy
    return operations


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(steps, min_size=1, max_size=3), st.booleans()), max_size=16),
)
def test_sqlite_and_memory_store_the_same(
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[tuple[list[Step], bool]],
) -> None:
    directory = tmp_path_factory.mktemp("storage") / "broker"
    shutil.copytree(template, directory)
    disk = SqliteDisk(directory)
    memory = MemoryStorage()
    disk.storage.open()
    memory.open()
    memory.write(FIRST_WRITE)
    for term, (made, restarts) in enumerate(writes, start=2):
        operations = operations_of(made, memory, term)
        before = stored_rows(memory)
        told = write(memory, operations)
        assert write(disk.storage, operations) == told, operations
        if told[0] != "stored":
            assert stored_rows(memory) == before
        if restarts or told[0] != "stored":
            memory.close()
            memory.open()
            assert disk.reopened().load_groups() == memory.load_groups()
    sqlite = disk.reopened()
    assert sqlite.load_groups() == memory.load_groups()
    for group_id in (1, 2):
        assert answers(sqlite, group_id) == answers(memory, group_id)
    sqlite.close()
