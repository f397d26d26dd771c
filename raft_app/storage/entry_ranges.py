"""Which part of a range of stored entries fits into a limit; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.storage.protocol import CorruptEntry, StoredBatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.core.types import Entry


def entries_within(
    group_id: int, first_index: int, max_bytes: int, found: Iterable[Entry]
) -> list[Entry]:
    """Return the first of `found` that make up to `max_bytes`, at least one.

    Args:
        group_id: whose they are.
        first_index: what the first must have; nothing is returned when it does not.
        max_bytes: limit on the sum of `Entry.size_bytes`.
        found: entries in order.

    Raises:
        CorruptEntry: one is missing between two others.
    """
    entries: list[Entry] = []
    size_bytes = 0
    for entry in found:
        if entry.index != first_index + len(entries):
            if not entries:
                break
            raise CorruptEntry(
                group_id, f"entry {entries[-1].index + 1} of group {group_id} is missing"
            )
        size_bytes += entry.size_bytes
        if entries and size_bytes > max_bytes:
            break
        entries.append(entry)
    return entries


def rows_within(group_id: int, offset: int, max_bytes: int, found: Iterable[Entry]) -> list[Entry]:
    """Return the first of `found` that make up to `max_bytes`, at least one.

    Args:
        group_id: whose they are.
        offset: what the first must contain; nothing is returned when it does not.
        max_bytes: limit on the sum of `Entry.size_bytes`.
        found: DATA entries in the order of their offsets.

    Raises:
        CorruptEntry: offsets are missing between two of them.
    """
    return _data_within(group_id, offset, max_bytes, ((entry, entry.size_bytes) for entry in found))


def batches_within(
    group_id: int, offset: int, max_bytes: int, found: Iterable[Entry]
) -> list[StoredBatch]:
    """Return the first of `found` that make up to `max_bytes` of data, as consumers see them.

    Args:
        group_id: whose they are.
        offset: what the first must contain; nothing is returned when it does not.
        max_bytes: limit on the sum of the data's lengths; the first is returned anyway.
        found: DATA entries in the order of their offsets.

    Raises:
        CorruptEntry: offsets are missing between two of them.
    """
    entries = _data_within(
        group_id, offset, max_bytes, ((entry, len(entry.data)) for entry in found)
    )
    return [
        StoredBatch(
            base_offset=entry.base_offset,
            record_count=entry.record_count,
            append_timestamp=entry.append_timestamp,
            data=entry.data,
        )
        for entry in entries
    ]


def _data_within(
    group_id: int, offset: int, max_bytes: int, found: Iterable[tuple[Entry, int]]
) -> list[Entry]:
    """Return the first of `found`, which are entries with what each counts."""
    entries: list[Entry] = []
    size_bytes = 0
    next_offset = -1
    for entry, entry_bytes in found:
        end_offset = entry.base_offset + entry.record_count
        if not entries and not entry.base_offset <= offset < end_offset:
            break
        if entries and entry.base_offset != next_offset:
            raise CorruptEntry(group_id, f"offset {next_offset} of group {group_id} is not stored")
        size_bytes += entry_bytes
        if entries and size_bytes > max_bytes:
            break
        entries.append(entry)
        next_offset = end_offset
    return entries
