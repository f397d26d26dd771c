"""How many bytes lie behind some positions of a log that grows at its end and shrinks at its front.

Marks are spread so that their number is bounded: when there are too many, every second one goes
and new ones are set half as often. What follows depends on the calls alone, so equal logs have
equal marks.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKS_MAX = 256
"""More than that are thinned out."""
SPACING_BYTES = 1_024
"""Between two marks of a short log."""

Mark = tuple[int, int]
"""(position, bytes of everything before it since the count began)."""


class SizeMarks:
    """Positions and the bytes before them, ascending; the first one is where the log begins."""

    def __init__(self, begin: int = 0) -> None:
        """Begin an empty log at a position."""
        self._marks: list[Mark] = [(begin, 0)]
        self._spacing = SPACING_BYTES
        self._total = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole log; at most one spacing too many after the front was cut."""
        return self._total - self._marks[0][1]

    def add(self, end: int, size_bytes: int) -> None:
        """Note that `size_bytes` were appended, after which the log ends at `end`."""
        self._total += size_bytes
        if self._total - self._marks[-1][1] < self._spacing:
            return
        self._marks.append((end, self._total))
        if len(self._marks) > MARKS_MAX:
            del self._marks[1::2]
            self._spacing *= 2

    def last_leaving(self, size_bytes: int) -> int:
        """Return the highest marked position behind which at least `size_bytes` lie.

        The beginning of the log when there is not that much.
        """
        after = bisect_right(self._marks, self._total - size_bytes, key=lambda mark: mark[1])
        return self._marks[max(0, after - 1)][0]

    def cut(self, begin: int) -> None:
        """Note that the log begins at `begin` now."""
        passed = bisect_right(self._marks, begin, key=lambda mark: mark[0])
        if passed:
            self._marks[:passed] = [(begin, self._marks[passed - 1][1])]

    def encode(self) -> tuple[int, int, list[Mark]]:
        """Return (bytes between two marks, bytes counted in all, marks)."""
        return self._spacing, self._total, list(self._marks)

    @classmethod
    def decode(cls, spacing: int, total: int, marks: Iterable[Mark]) -> SizeMarks:
        """Return what `encode` was called on.

        Raises:
            ValueError: there is no first mark.
        """
        made = cls()
        made._spacing, made._total, made._marks = spacing, total, list(marks)
        if not made._marks:
            raise ValueError("sizes without a beginning")
        return made
