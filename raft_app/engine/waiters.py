"""Requests that wait until their entry is applied, or another in its place."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from myqueue.contract.errors import CommitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Entry

logger = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often it is looked for what has waited for too long: it ends so much later, at most."""


class Told:
    """Waits as a future does, and is told at once: in the turn in which the entry is applied."""

    __slots__ = ("_tell", "until_s")

    def __init__(self, tell: Callable[[Any, BaseException | None], None]) -> None:
        """Wait.

        Args:
            tell: is given the result, or None and the error.
        """
        self._tell: Callable[[Any, BaseException | None], None] | None = tell

    def done(self) -> bool:
        """Tell whether it was told."""
        return self._tell is None

    def set_result(self, result: Any) -> None:
        """Tell the result."""
        self._say(result, None)

    def set_exception(self, error: BaseException) -> None:
        """Tell the error."""
        self._say(None, error)

    def _say(self, result: Any, error: BaseException | None) -> None:
        tell, self._tell = self._tell, None
        assert tell is not None, "it is told once"
        try:
            tell(result, error)
        except Exception:  # a turn of the engine goes on, whoever cannot answer
            logger.exception("a request that was done could not be told")


class Labelled(Protocol):
    """A partition, as messages to people call it."""

    @property
    def label(self) -> str:
        """How they call it."""


def too_late(where: Labelled, timeout_ms: int) -> CommitTimeout:
    """Return the error of what no quorum confirmed in time."""
    return CommitTimeout(f"{where.label}: no quorum confirmed it within {timeout_ms} ms")


class Deadlines:
    """Ends what has waited for too long: one timer for all, since most are told long before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch nothing yet."""
        self._loop = loop
        self._waiting: list[tuple[Told, float, int, Labelled]] = []
        """What waited when it was last looked, and what came since: (told, until when by the loop's
        clock, for how long, where)."""

    def watch(self, told: Told, timeout_ms: int, where: Labelled) -> None:
        """End a wait after so long, and up to `LOOK_S` more."""
        if not self._waiting:
            self._loop.call_later(LOOK_S, self._look)
        self._waiting.append((told, self._loop.time() + timeout_ms / 1000, timeout_ms, where))

    def _look(self) -> None:
        now_s = self._loop.time()
        self._waiting = waiting = [one for one in self._waiting if not one[0].done()]
        for told, until_s, timeout_ms, where in waiting:
            if until_s <= now_s:
                told.set_exception(too_late(where, timeout_ms))
        if waiting:
            self._loop.call_later(LOOK_S, self._look)


class Waiters:
    """Futures and others that are told, by the (index, term) that they wait for."""

    def __init__(self) -> None:
        """Make an empty table."""
        self.by_index: dict[int, list[tuple[int, asyncio.Future[Any] | Told]]] = {}
        """By index: (term, who waits)."""

    def add(self, index: int, term: int, waiting: asyncio.Future[Any] | Told) -> None:
        """Tell what applying the entry at (index, term) gives."""
        self.by_index.setdefault(index, []).append((term, waiting))

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
