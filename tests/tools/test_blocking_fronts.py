from __future__ import annotations

import pytest

from tools.blocking_fronts import blocking

SOURCE = '''"""Calls."""

import asyncio
from myqueue.transport.aio_client_base import AsyncClientBase


class AsyncProducer(AsyncClientBase):
    """Who waits does so by await, async or not.

        async with AsyncProducer("logs") as producer:
            await producer.enqueue("logs", "x")
    """

    async def enqueue(self, text: str = "await AsyncProducer") -> None:  # await it
        """Do."""
        async with self._closing:
            return [
                await one
                async for one in self._sender.send(await self.start(), text)
            ]

    async def __aiter__(self):
        yield await (self.one())
'''
BLOCKING = '''# Written by `make fronts` from a.py; change it there.
"""Calls."""

import threading
from myqueue.transport.client_base import BlockingClient


class Producer(BlockingClient):
    """Who waits does so by await, async or not.

        with Producer("logs") as producer:
            producer.enqueue("logs", "x")
    """

    def enqueue(self, text: str = "await Producer") -> None:  # await it
        """Do."""
        with self._closing:
            return [
                one
                for one in self._sender.send(self.start(), text)
            ]

    def __iter__(self):
        yield (self.one())
'''
TEXTS = [{"asyncio": "import asyncio", "blocking": "import threading"}]


def test_the_words_of_event_loops_are_left_out_and_names_replaced() -> None:
    assert blocking(SOURCE, {"source": "a.py", "texts": TEXTS}) == BLOCKING


@pytest.mark.parametrize("text", ["await", "nowhere"])
def test_a_text_that_is_there_more_than_once_or_not_is_an_error(text: str) -> None:
    texts = [{"asyncio": text, "blocking": ""}]
    with pytest.raises(ValueError, match=r"a\.py does not have this once"):
        blocking(SOURCE, {"source": "a.py", "texts": texts})
