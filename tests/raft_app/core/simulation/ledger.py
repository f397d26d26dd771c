"""The state machine of the simulation: it remembers values and counts offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind, Proposal

if TYPE_CHECKING:
    from raft_app.core.types import Entry


class Ledger:
    """Applied values of one replica with the index of each.

    Attributes:
        applied_index: the last index it applied.
        next_offset: the offset after the last message.
        values: index of each DATA entry's value.
    """

    def __init__(self) -> None:
        self.applied_index = 0
        self.next_offset = 0
        self.values: dict[bytes, int] = {}

    def copy(self) -> Ledger:
        """Return an independent copy."""
        other = Ledger()
        other.applied_index = self.applied_index
        other.next_offset = self.next_offset
        other.values = dict(self.values)
        return other

    def apply(self, entry: Entry) -> None:
        """Apply the next committed entry."""
        assert entry.index == self.applied_index + 1
        self.applied_index = entry.index
        if entry.kind == EntryKind.DATA:
            assert entry.base_offset == self.next_offset, "offsets are contiguous"
            self.next_offset += entry.record_count
            self.values[entry.data] = entry.index


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
