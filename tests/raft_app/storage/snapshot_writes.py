"""An endless sequence of writes in which snapshots are installed and logs and space shrink."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any

from raft_app.core.types import HardState
from raft_app.storage.protocol import DeleteGroup, ReleaseSpace, SaveCheckpoint, ScrubMark
from tests.doubles.storage import MemoryStorage
from tests.raft_app.storage.storage_harness import (
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
    from collections.abc import Iterator

    from raft_app.storage.protocol import Operation, Storage

MIB = 1 << 20
WRITES_PER_CYCLE = 14


def writes() -> Iterator[list[Operation]]:
    """The replica of group 1 appends, lags, is filled by a snapshot; that of group 2 comes new."""
    index, offset = 0, 0
    yield [create(1)]
    for cycle in count(1):
        term = 2 * cycle
        yield [
            append(
                data_entry(index + 1, term=term, offset=offset),
                noop(index + 2, term=term),
                data_entry(index + 3, term=term, offset=offset + 1),
                hard_state=HardState(term, 1, index),
            ),
            create(2, replica_id=cycle),
        ]
        index, offset = index + 3, offset + 2
        doubtful = data_entry(index + 2, term=term, offset=offset)
        yield [append(noop(index + 1, term=term), doubtful)]
        yield [append(*(noop(number) for number in range(1, 1_051)), group_id=2)]
        placed = [
            data_entry(index + step, term=term + 1, offset=offset + number, data=b"x" * 2_000)
            for number, step in enumerate((4, 5, 7))
        ]
        yield [SaveCheckpoint(1, checkpoint_at(index, term=term)), install(*placed[:2])]
        yield [install(placed[2]), append(hard_state=HardState(term + 1, 0, index))]
        index, offset, term = index + 8, offset + 3, term + 1
        state = HardState(term, 0, index)
        start = max(0, offset - 4)
        yield [
            finish(index, next_offset=offset, term=term, log_start_offset=start, hard_state=state)
        ]
        last = (data_entry(index + 1, term=term, offset=offset), noop(index + 2, term=term))
        yield [append(*last), DeleteGroup(2)]
        index, offset = index + 2, offset + 1
        yield [SaveCheckpoint(1, checkpoint_at(index, term=term))]
        step = compact(index + 1, term=term, log_start_offset=offset - 2, max_rows=2)
        yield from ([step] for _ in range(4))
        yield from ([ReleaseSpace()] for _ in range(2))


def told(storage: Storage) -> dict[str, Any]:
    """Return everything that a storage tells of the groups."""
    groups = storage.load_groups()
    found: dict[str, Any] = {"groups": groups}
    for group in groups:
        group_id, initial = group.spec.group_id, group.initial
        rows = storage.read_rows(group_id, group.log_start_offset, 1 << 40, MIB)
        entries = storage.read_entries(group_id, initial.first_index, initial.last_index, MIB)
        found[f"rows {group_id}"] = rows
        found[f"entries {group_id}"] = entries
        found[f"scrub {group_id}"] = storage.scrub(group_id, ScrubMark(), MIB)
    return found


def models(first: int, end: int) -> list[dict[str, Any]]:
    """Return what is told after `first` writes, after one more, and so on, before `end`."""
    memory = MemoryStorage()
    memory.open()
    found = []
    for number, operations in enumerate(islice(writes(), end)):
        if number >= first:
            found.append(told(memory))
        memory.write(operations)
    return found
