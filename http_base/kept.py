"""What others remember of a replica, to tell when it comes back as an older copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """What a replica can never be without again, unless its disk or a person takes it away."""

    term: int
    """The highest that is durable here."""
    index: int
    """Highest index that is known to be committed and is durable here."""
    entry_term: int = 0
    """Term of the entry there; 0 where nobody remembers it."""

    def within(self, found: Found) -> Kept:
        """Return what of it was there at that moment."""
        return Kept(
            min(self.term, found.term),
            min(self.index, found.last_index),
            min(self.entry_term, found.last_term),
        )

    def more(self, other: Kept) -> Kept:
        """Return what both say: none of it ever falls."""
        return Kept(
            max(self.term, other.term),
            max(self.index, other.index),
            max(self.entry_term, other.entry_term),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a replica's disk had at one moment."""

    term: int
    last_index: int
    last_term: int
    """Of the entry there; 0 where it is not known, and for an empty log."""

    def lacks(self, kept: Kept) -> bool:
        """Tell whether it has less than was kept.

        A log as long may end in entries that were overwritten since. Terms never fall along a log,
        and two logs with an entry of the same index and term are one up to there (paper, section
        5.3): so who is behind by term and index, as in an election, lacks the entry, and nobody
        else does. Where one of the terms is not known, the indexes alone count.
        """
        if self.term < kept.term:
            return True
        if not (self.last_term and kept.entry_term):
            return self.last_index < kept.index
        return (self.last_term, self.last_index) < (kept.entry_term, kept.index)
