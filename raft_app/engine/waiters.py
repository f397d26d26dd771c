"""Requests that wait until their entry is applied, or another in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import CommitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Entry


class Waiters:
    """Futures by the (index, term) that they wait for."""

    def __init__(self) -> None:
        """Make an empty table."""
        self.by_index: dict[int, list[tuple[int, asyncio.Future[Any]]]] = {}
        """By index: (term, future)."""

    def wait_for(self, index: int, term: int) -> asyncio.Future[Any]:
        """Return the future of what applying the entry at (index, term) gives."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.by_index.setdefault(index, []).append((term, future))
        return future

    def answer(self, entry: Entry, result: Any, refusal: Callable[[], Exception]) -> None:
        """Resolve the requests at an index: their entry was applied, or another in its place."""
        waiting = self.by_index.pop(entry.index, None)
        if waiting is None:
            return
        for term, future in waiting:
            if future.done():
                continue
            if term == entry.term:
                future.set_result(result)
            else:
                future.set_exception(refusal())

    def fail(self, why: str) -> None:
        """Fail all requests; whether their entries are ever committed is unknown."""
        for waiters in self.by_index.values():
            for _, future in waiters:
                if not future.done():
                    future.set_exception(CommitTimeout(why))
        self.by_index.clear()
