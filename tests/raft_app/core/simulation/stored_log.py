"""A log as it lies on a disk: the entries from its first index on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_app.core.types import Entry


class StoredLog:
    """Contiguous entries, and the term of the one before them.

    Attributes:
        first_index: index of the first entry, stored or to come.
        previous_term: term of the entry before it.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.first_index = 1
        self.previous_term = 0
        self._entries = list(entries)

    def copy(self) -> StoredLog:
        """Return an independent copy."""
        other = StoredLog(self._entries)
        other.first_index = self.first_index
        other.previous_term = self.previous_term
        return other

    @property
    def last_index(self) -> int:
        """Index of the last entry; `first_index - 1` when there is none."""
        return self.first_index + len(self._entries) - 1

    def entry(self, index: int) -> Entry:
        """Return one entry, which is stored."""
        assert self.first_index <= index <= self.last_index
        return self._entries[index - self.first_index]

    def entries(self, first_index: int, last_index: int) -> Sequence[Entry]:
        """Return the inclusive range; nothing when its beginning is gone."""
        if first_index < self.first_index:
            return ()
        return self._entries[first_index - self.first_index : last_index + 1 - self.first_index]

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None when it is not known."""
        if index == self.first_index - 1:
            return self.previous_term
        if self.first_index <= index <= self.last_index:
            return self._entries[index - self.first_index].term
        return None

    def term_starts(self) -> tuple[tuple[int, int], ...]:
        """Return (first index, term) of each term."""
        starts: list[tuple[int, int]] = []
        for entry in self._entries:
            if not starts or starts[-1][1] != entry.term:
                starts.append((entry.index, entry.term))
        return tuple(starts)

    def write(self, entries: Sequence[Entry]) -> None:
        """Replace everything from the first of these entries on."""
        assert self.first_index <= entries[0].index <= self.last_index + 1, "no gaps"
        self.cut(entries[0].index - 1)
        self._entries += entries

    def cut(self, last_index: int) -> None:
        """Drop everything above `last_index`."""
        del self._entries[last_index + 1 - self.first_index :]

    def compact(self, first_index: int) -> None:
        """Drop everything below `first_index`, if that is above the present one."""
        if first_index > self.first_index:
            term = self.term_at(first_index - 1)
            assert term is not None
            del self._entries[: first_index - self.first_index]
            self.first_index, self.previous_term = first_index, term

    def reset(self, last_index: int, last_term: int) -> None:
        """Begin anew after the entry at `last_index`."""
        self._entries.clear()
        self.first_index, self.previous_term = last_index + 1, last_term
