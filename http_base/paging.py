"""Lists in pages: rows in the order of a key that never changes, from after one key on.

A walk along `next` meets each row that is there all the while exactly once, however many rows come
and go meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list."""

    rows: list[T]
    next: str | None
    """What to send as `after` for the rows that follow; None when there are none."""

    def map(self, render: Callable[[T], R]) -> Page[R]:
        """Return the page with each row made into something else."""
        return Page([render(row) for row in self.rows], self.next)


def page_of(found: Iterable[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """Return a page of at most `limit` rows.

    Args:
        found: the rows after the last page, at least one more than `limit` where there are so many.
        limit: at least 1.
        key: of a row, by which they are in order.
    """
    rows = list(found)
    shown = rows[:limit]
    return Page(shown, str(key(shown[-1])) if len(rows) > limit else None)
