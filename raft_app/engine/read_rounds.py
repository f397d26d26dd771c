"""The ReadIndex reads of one group: one quorum round serves all readers that asked in a turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from raft_app.core.errors import NotLeader, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_app.core.rawnode import RawNode
    from raft_app.core.types import Ready


class ReadRounds:
    """Readers on their way: asked, sent with a round, confirmed but not applied yet."""

    def __init__(self, refusal: Callable[[], Exception]) -> None:
        """Make an empty set.

        Args:
            refusal: makes the error for readers that cannot be served here.
        """
        self._refusal = refusal
        self._asked: list[asyncio.Future[None]] = []
        self._sent: dict[int, list[asyncio.Future[None]]] = {}
        self._confirmed: list[tuple[int, list[asyncio.Future[None]]]] = []
        self._context = 0

    def ask(self) -> asyncio.Future[None]:
        """Return a future that is done when the applied state is at least as new as this call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        return future

    def start(self, node: RawNode) -> None:
        """Start one round for all readers that asked since the last one."""
        if not self._asked:
            return
        futures, self._asked = self._asked, []
        self._context += 1
        try:
            node.read_index(self._context)
        except (NotLeader, NotReady):
            self._refuse(futures)
            return
        self._sent[self._context] = futures

    def settle(self, ready: Ready, applied_index: int) -> None:
        """Take in what a `Ready` says of the rounds under way."""
        for confirmed in ready.reads_confirmed:
            futures = self._sent.pop(confirmed.context, None)
            if futures:
                self._confirmed.append((confirmed.index, futures))
        for context in ready.reads_failed:
            self._refuse(self._sent.pop(context, ()))
        self.release(applied_index)

    def release(self, applied_index: int) -> None:
        """Answer the confirmed readers whose index is applied."""
        if not self._confirmed:
            return
        waiting = []
        for index, futures in self._confirmed:
            if index > applied_index:
                waiting.append((index, futures))
                continue
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._confirmed = waiting

    def refuse_all(self) -> None:
        """End every read that is under way."""
        self._refuse(self._asked)
        for futures in self._sent.values():
            self._refuse(futures)
        for _, futures in self._confirmed:
            self._refuse(futures)
        self._asked = []
        self._sent.clear()
        self._confirmed.clear()

    def _refuse(self, futures: Iterable[asyncio.Future[None]]) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(self._refusal())
