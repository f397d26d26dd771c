"""What a group did, as its clients may see it: messages, offsets, acknowledgements, pops, reads."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING
from zlib import crc32

from myqueue.contract.records import decode_records, read_header
from raft_app.core.types import EntryKind
from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.types import Entry
    from raft_app.storage.protocol import Checkpoint


class AppliedEntries(Checker):
    """Every replica applies the same entries in the same order, and none twice in one life."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._indexes: list[int] = []

    def entry(self, index: int) -> Entry | None:
        """Return what was applied at an index."""
        return self._entries.get(index)

    def __len__(self) -> int:
        return len(self._indexes)

    def applied(self, replica_id: int, entry: Entry, *, after: int) -> bool:
        """A replica applies an entry; return True when it is the first to do so.

        Args:
            replica_id: which.
            entry: DATA or COMMAND.
            after: index of the entry that it applied before; 0 when it began with a snapshot.
        """
        known = self._entries.get(entry.index)
        place = bisect_left(self._indexes, entry.index)
        if after:
            before = self._indexes[place - 1] if place else 0
            self.require(
                before == after,
                "replica %s applies index %s after %s, the group applied %s in between",
                replica_id,
                entry.index,
                after,
                before,
            )
        if known is not None:
            self.require(
                known == entry,
                "replica %s applies %s, the group applied %s",
                replica_id,
                entry,
                known,
            )
            return False
        self.require(
            place == len(self._indexes),
            "replica %s applies %s, which the group passed over",
            replica_id,
            entry,
        )
        self._entries[entry.index] = entry
        self._indexes.append(entry.index)
        return True


class StatesAt(Checker):
    """The state after one index is the same on every replica."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[int, int, int]] = {}

    def stored(self, broker_id: int, checkpoint: Checkpoint) -> None:
        """A checkpoint became durable, made here or sent by the leader."""
        found = (crc32(checkpoint.state), checkpoint.applied_term, checkpoint.membership_index)
        known = self._states.setdefault(checkpoint.applied_index, found)
        self.require(
            known == found,
            "broker %s has another state after index %s than others: %s, not %s",
            broker_id,
            checkpoint.applied_index,
            found,
            known,
        )


class History(Checker):
    """No acknowledged message is lost, none invented, none there twice, none out of order.

    Attributes:
        messages: all that were committed, by offset.
        seen: an offset that a client knows to be the high watermark or below it.
        log_start_offset: where the messages begin that were not let go.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.seen = 0
        self.log_start_offset = 0
        self.acknowledged = 0
        self.reads = 0
        self.popped = 0
        self._offsets: dict[str, int] = {}
        self._proposed: set[str] = set()
        self._latest: dict[str, int] = {}

    def proposed(self, values: Sequence[str]) -> None:
        """A producer asks for messages to be stored; it may ask again."""
        self._proposed.update(values)

    def committed(self, entry: Entry) -> None:
        """The group applied an entry for the first time."""
        if entry.kind is not EntryKind.DATA:
            return
        self.require(
            entry.base_offset == len(self.messages),
            "%s should begin at offset %s",
            entry,
            len(self.messages),
        )
        self.require(
            read_header(entry.data).record_count == entry.record_count, "%s miscounts", entry
        )
        for record in decode_records(entry.data):
            self._add(str(record.value))

    def _add(self, value: str) -> None:
        self.require(value in self._proposed, "nobody produced %s", value)
        known = self._offsets.setdefault(value, len(self.messages))
        self.require(known == len(self.messages), "%s is there twice, first at %s", value, known)
        producer, number = value.split("/")
        latest = self._latest.get(producer, -1)
        self.require(int(number) > latest, "%s comes after number %s", value, latest)
        self._latest[producer] = int(number)
        self.messages.append(value)

    def appended(self, values: Sequence[str], offset: int) -> None:
        """A producer hears that its messages are stored from an offset on."""
        self.require(
            self.messages[offset : offset + len(values)] == list(values),
            "%s are acknowledged at offset %s, where there are %s",
            values,
            offset,
            self.messages[offset : offset + len(values)],
        )
        self.acknowledged += len(values)
        self.seen = max(self.seen, offset + len(values))

    def returned(self, values: Sequence[str], offset: int) -> None:
        """A client gets messages from an offset on."""
        self.require(
            self.messages[offset : offset + len(values)] == list(values),
            "%s come from offset %s, where there are %s",
            values,
            offset,
            self.messages[offset : offset + len(values)],
        )
        self.seen = max(self.seen, offset + len(values))

    def watermark(self, lowest: int, highest: int, *, floor: int) -> None:
        """A client is told where the messages end, as far as it can tell: within a range.

        Args:
            lowest: it is not below.
            highest: it is not above.
            floor: `seen` when the client asked.
        """
        self.reads += 1
        self.require(highest >= floor, "an answer says %s, %s had been seen before", highest, floor)
        self.require(
            lowest <= len(self.messages), "an answer says %s of %s", lowest, len(self.messages)
        )
        self.seen = max(self.seen, lowest)
