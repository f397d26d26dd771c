"""What a server sends without being asked, kept until a receiver takes it."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Between a callback and a receiver on one loop."""

    def __init__(self, wait_s: float) -> None:
        """Let a receiver wait so long for something."""
        self._wait_s = wait_s
        self._items: list[T] = []
        self._filled = asyncio.Event()

    async def put(self, item: T) -> None:
        """Keep something; for callbacks that are coroutines."""
        self.add(item)

    def add(self, item: T) -> None:
        """Keep something."""
        self._items.append(item)
        self._filled.set()

    async def take(self) -> list[T]:
        """Return all that has come, in its order; nothing when nothing comes in time."""
        if not self._items:
            self._filled.clear()
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._filled.wait()
            except TimeoutError:
                return []
        items, self._items = self._items, []
        return items
