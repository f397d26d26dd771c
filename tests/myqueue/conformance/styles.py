"""The two ways to write programs, behind one: what is blocking is awaited too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from myqueue import AsyncConsumer, AsyncProducer, AsyncWorker, Consumer, Producer, Worker


class Awaited:
    """A blocking client whose calls can be awaited; each runs in a thread of its own.

    So calls of one client overlap as they do in a program with threads.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        if not callable(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await asyncio.to_thread(value, *args, **kwargs)
            return asyncio.wrap_future(result) if name == "send" else result

        return call

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self.client:
            yield message

    async def __aenter__(self) -> Awaited:
        self.client.__enter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await asyncio.to_thread(self.client.__exit__, *error)


class Style:
    """Makes clients of one kind."""

    def __init__(self, address: str, *, is_async: bool) -> None:
        self.address = address
        self.is_async = is_async

    async def producer(self, topics: Any, **options: Any) -> Any:
        if self.is_async:
            return await AsyncProducer(topics, self.address, **options).start()
        return Awaited(Producer(topics, self.address, **options))

    async def consumer(self, topics: Any, **options: Any) -> Any:
        if self.is_async:
            return await AsyncConsumer(topics, self.address, **options).start()
        return Awaited(Consumer(topics, self.address, **options))

    async def worker(self, topics: Any, group: str = "workers", **options: Any) -> Any:
        if self.is_async:
            return await AsyncWorker(topics, self.address, group, **options).start()
        return Awaited(Worker(topics, self.address, group, **options))


def later(seconds: float, call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """Begin a call a little later, beside what is going on; return how to wait for it."""
    task = asyncio.ensure_future(_after(seconds, call))

    async def done() -> Any:
        return await task

    return done


async def _after(seconds: float, call: Callable[[], Awaitable[Any]]) -> Any:
    await asyncio.sleep(seconds)
    return await call()


def thread_names() -> set[str]:
    """Return the names of the threads that run."""
    return {thread.name for thread in threading.enumerate()}
