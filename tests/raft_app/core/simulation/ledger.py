"""The state machine of the simulation: it remembers values and counts offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind, Membership, Proposal, SnapshotMeta

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_app.core.types import Entry


class Ledger:
    """Applied values of one replica with the index of each.

    Attributes:
        applied_index: the last index it applied.
        applied_term: its term.
        membership: of the last MEMBERSHIP entry applied.
        membership_index: its index; 0 when there was none.
        next_offset: the offset after the last message.
        rows: the DATA entries, in order; never changed, only added to.
        values: index of each DATA entry's value.
    """

    def __init__(self, membership: Membership) -> None:
        self.applied_index = 0
        self.applied_term = 0
        self.membership = membership
        self.membership_index = 0
        self.next_offset = 0
        self.rows: list[Entry] = []
        self.values: dict[bytes, int] = {}

    def copy(self) -> Ledger:
        """Return an independent copy."""
        return self.installed(self.meta, ()) if self.applied_index else Ledger(self.membership)

    @property
    def meta(self) -> SnapshotMeta:
        """What a snapshot of it covers; something is applied."""
        return SnapshotMeta(
            self.applied_index, self.applied_term, self.membership, self.membership_index
        )

    def installed(self, meta: SnapshotMeta, rows: Iterable[Entry]) -> Ledger:
        """Return the state after a snapshot of which this one lacked just these rows."""
        other = Ledger(meta.membership)
        other.membership_index = meta.membership_index
        other.applied_index = meta.last_index
        other.applied_term = meta.last_term
        other.next_offset = self.next_offset
        other.rows = list(self.rows)
        other.values = dict(self.values)
        for row in rows:
            other.add(row)
        return other

    def rows_from(self, offset: int) -> Sequence[Entry]:
        """Return the DATA entries from the one that begins at `offset` on."""
        position = next((n for n, row in enumerate(self.rows) if row.base_offset == offset), None)
        return () if position is None else self.rows[position:]

    def apply(self, entry: Entry) -> None:
        """Apply the next committed entry."""
        assert entry.index == self.applied_index + 1
        self.applied_index = entry.index
        self.applied_term = entry.term
        match entry.kind:
            case EntryKind.DATA:
                self.add(entry)
            case EntryKind.MEMBERSHIP:
                self.membership = Membership.decode(entry.data)
                self.membership_index = entry.index

    def add(self, row: Entry) -> None:
        """Add a DATA entry."""
        assert row.base_offset == self.next_offset, "offsets are contiguous"
        self.next_offset += row.record_count
        self.rows.append(row)
        self.values[row.data] = row.index


class Speculation:
    """What a leader's state machine will be once everything in its log is applied.

    Attributes:
        term: the term in which it is valid.
        values: (index, term) of each value that is proposed and not known to be applied.
    """

    def __init__(self, term: int, ledger: Ledger) -> None:
        self.term = term
        self.values: dict[bytes, tuple[int, int]] = {}
        self._next_offset = ledger.next_offset

    def make(self, values: list[bytes], record_count: int) -> list[Proposal]:
        """Return the proposals of new values, with the offsets that they will get."""
        return [
            Proposal(
                kind=EntryKind.DATA,
                data=value,
                base_offset=self._next_offset + number * record_count,
                record_count=record_count,
            )
            for number, value in enumerate(values)
        ]

    def proposed(self, proposal: Proposal, index: int, term: int) -> None:
        """The proposal is in the log at (index, term)."""
        self.values[proposal.data] = (index, term)
        self._next_offset += proposal.record_count
