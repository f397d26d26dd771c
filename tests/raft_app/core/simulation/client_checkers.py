"""Checkers of what clients see: messages, offsets, reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind
from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Collection

    from raft_app.core.types import Entry


class Messages(Checker):
    """No acknowledged value is lost, none invented, none stored twice."""

    def __init__(self) -> None:
        self._proposed: set[bytes] = set()
        self._stored: dict[bytes, int] = {}
        self.acknowledged_values: dict[bytes, int] = {}

    def proposed(self, value: bytes) -> None:
        """A client asks for `value` to be stored; again when it did not hear of the first time."""
        self._proposed.add(value)

    def committed(self, entry: Entry) -> None:
        """The group committed `entry`; each index once, in order."""
        if entry.kind != EntryKind.DATA:
            return
        self.require(entry.data in self._proposed, "nobody proposed %s", entry)
        first = self._stored.setdefault(entry.data, entry.index)
        self.require(first == entry.index, "%s repeats the value of index %s", entry, first)

    def acknowledged(self, value: bytes, index: int) -> None:
        """A client hears that its value is stored at `index`."""
        self.require(
            self._stored.get(value) == index,
            "%r is acknowledged at index %s and stored at %s",
            value,
            index,
            self._stored.get(value),
        )
        self.acknowledged_values[value] = index

    def finished(self, replica_id: int, values: Collection[bytes]) -> None:
        """The run is over, and the replica's state machine holds `values`."""
        held = set(values)
        lost = sorted(self.acknowledged_values.keys() - held)
        self.require(not lost, "replica %s lost the acknowledged values %s", replica_id, lost[:5])
        invented = sorted(held - self._proposed)
        self.require(not invented, "replica %s invented the values %s", replica_id, invented[:5])
        self.require(len(held) == len(values), "replica %s holds a value twice", replica_id)


class Offsets(Checker):
    """The offsets of committed DATA entries are contiguous from 0."""

    def __init__(self) -> None:
        self._next_offset = 0

    def committed(self, entry: Entry) -> None:
        """The group committed `entry`; each index once, in order."""
        if entry.kind != EntryKind.DATA:
            return
        self.require(
            entry.base_offset == self._next_offset and entry.record_count > 0,
            "%s should begin at offset %s",
            entry,
            self._next_offset,
        )
        self._next_offset += entry.record_count


class LinearizableReads(Checker):
    """A read sees every write that was acknowledged, and every state read, before it began."""

    def __init__(self) -> None:
        self.seen_index = 0

    def seen(self, index: int) -> None:
        """A client learned that `index` is applied: a write was acknowledged or a read answered."""
        self.seen_index = max(self.seen_index, index)

    def answered(self, replica_id: int, index: int, *, floor: int) -> None:
        """A read that began when `floor` had been seen is confirmed at `index`."""
        self.require(
            index >= floor,
            "replica %s confirms a read at index %s that began after index %s was seen",
            replica_id,
            index,
            floor,
        )
