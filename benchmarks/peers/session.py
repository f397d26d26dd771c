"""A system as the process of a client sees it.

Everything that waits is a coroutine. A client that blocks has coroutines that never wait for a
loop: `ThreadSession` drives each program in a thread. A client for asyncio has a loop:
`TaskSession` runs each program as a task. So one workload measures both, each in its usual way.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from benchmarks.acknowledged import Value

    Program = Coroutine[Any, Any, "T"]

T = TypeVar("T")


class Refused(Exception):
    """A message was not acknowledged; it may be stored all the same. The next one may be sent."""


class Reading(StrEnum):
    """How messages are received, always in their order from the first one on."""

    FETCH = "fetch"
    """Nothing is kept at the servers, where they can do that."""
    POP = "pop"
    """The cursor moves durably with each answer."""
    GROUP = "group"
    """As the only member of a group, or what comes nearest: what was received is committed, or
    acknowledged, durably, and nobody waits for that."""
    WORKER = "worker"
    """Each message is acknowledged durably and never comes again."""


class Place(NamedTuple):
    """One server process."""

    address: str
    pid: int


class Sender(Protocol):
    """Sends to one topic; several programs may share it."""

    async def send(self, value: bytes) -> int | None:
        """Return when the message is durable: its offset, None from a system that does not tell.

        Raises:
            Refused: it was not acknowledged.
        """
        ...

    async def send_batch(self, values: Sequence[bytes]) -> int | None:
        """Return when all messages are durable: the offset of the first, or None.

        Raises:
            Refused: not all were acknowledged.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Receiver(Protocol):
    """Receives the messages of one topic in their order."""

    async def receive(self, most: int) -> Sequence[Value]:
        """Return up to so many next messages; none when none came within about a second.

        With `Reading.FETCH` it may return more: what came in one answer.
        """
        ...

    async def acknowledge(self) -> None:
        """Return when everything received so far is durably acknowledged (`Reading.WORKER`)."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Mailbox(Protocol):
    """From one program to another in the same process."""

    def put(self, item: Any) -> None:
        """Hand something over."""
        ...

    async def get(self, patience_s: float) -> Any:
        """Return what was put first.

        Raises:
            TimeoutError: there was nothing in time.
        """
        ...


class Session(Protocol):
    """A system that runs, and clients of it."""

    @property
    def keeps_read(self) -> bool:
        """Whether messages stay when they were received; where not, they are gone for all."""
        ...

    def new_topic(self, workload: str) -> str:
        """Create a topic of one partition, replicated as the system can, and return its name."""
        ...

    def new_partitions(self, workload: str, count: int) -> None:
        """Create so many partitions that hold nothing, replicated as the system can."""
        ...

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a new sender.

        Args:
            topic: to which it sends.
            patience_s: after which an answer is not waited for any more, where a client has such
                a limit; its usual one when None.
        """
        ...

    def receiver(self, topic: str, reading: Reading) -> Receiver:
        """Return a new receiver that begins with the first message."""
        ...

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Yield offset and value of everything in the topic, in order.

        Where messages do not stay when they were received, offsets are positions in what is left,
        and this takes it out.
        """
        ...

    def run(self, *programs: Program[T]) -> list[T]:
        """Run programs side by side to their ends and return what they returned."""
        ...

    def for_tasks(self) -> Session:
        """Return one with the client for asyncio, whose programs are tasks; this one without it."""
        ...

    def mailbox(self) -> Mailbox:
        """Return a mailbox for programs that run side by side."""
        ...

    def servers(self) -> list[Place]:
        """Return the server processes that keep messages."""
        ...

    def leader_of(self, topic: str) -> Place:
        """Return the server process that takes the topic's messages."""
        ...

    def mend(self, topic: str, killed: Place | None) -> None:
        """Wait until all replicas are there again, and a killed server if it comes back at all."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class ThreadSession:
    """Runs programs that never wait for a loop: one in the calling thread, several in threads."""

    def run(self, *programs: Program[T]) -> list[T]:
        """Run programs side by side to their ends and return what they returned."""
        if len(programs) == 1:
            return [_drive(programs[0])]
        with ThreadPoolExecutor(len(programs)) as pool:
            return [one.result() for one in [pool.submit(_drive, each) for each in programs]]

    def for_tasks(self) -> Self:
        """Return this one: there is no client for asyncio."""
        return self

    def mailbox(self) -> Mailbox:
        """Return a mailbox between threads."""
        return _ThreadMailbox()


class TaskSession:
    """Runs programs as tasks of one loop that lives as long as the session."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def run(self, *programs: Program[T]) -> list[T]:
        """Run programs side by side to their ends and return what they returned."""

        async def run_all() -> list[T]:
            return list(await asyncio.gather(*programs))

        return self._runner.run(run_all())

    def run_one(self, program: Program[T]) -> T:
        """Run one program to its end and return what it returned."""
        return self._runner.run(program)

    def for_tasks(self) -> Self:
        """Return this one."""
        return self

    def mailbox(self) -> Mailbox:
        """Return a mailbox between tasks."""
        return _TaskMailbox()

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()


def _drive(program: Program[T]) -> T:
    """Run a coroutine that never waits for a loop."""
    try:
        program.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("a program of a client that blocks waited for a loop")


class _ThreadMailbox:
    def __init__(self) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()

    def put(self, item: Any) -> None:
        self._items.put(item)

    async def get(self, patience_s: float) -> Any:
        try:
            return self._items.get(timeout=patience_s)
        except Empty:
            raise TimeoutError(f"nothing came within {patience_s:g} s") from None


class _TaskMailbox:
    def __init__(self) -> None:
        self._items: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, item: Any) -> None:
        self._items.put_nowait(item)

    async def get(self, patience_s: float) -> Any:
        async with asyncio.timeout(patience_s):
            return await self._items.get()
