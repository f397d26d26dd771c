"""What Python itself allows: the least that three processes must do for a durable message."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.cluster import ROOT
from benchmarks.peers.processes import Processes, free_ports, read_servers
from benchmarks.peers.python_floor_server import READY, Frames, connect
from benchmarks.peers.session import Place, Reading, Refused, TaskSession
from benchmarks.peers.system import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.acknowledged import Value
    from benchmarks.peers.session import Receiver, Sender

SERVERS = 3

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class PythonFloor:
    """A leader and two followers without elections, topics and deduplication."""

    name = "python_floor"
    summary = "three bare Python processes, SQLite on each, answered when two of three have it"
    families = frozenset({"sync", "tasks", "produce_batch"})
    options: tuple[str, ...] = ()
    """Of its servers."""

    def missing(self) -> str:
        """Say nothing: it is here."""
        return ""

    @contextmanager
    def running(self, directory: Path) -> Iterator[Address]:
        """Start three servers."""
        ports = free_ports(SERVERS)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "benchmarks.peers.python_floor_server", *self.options]
        with Processes(directory) as processes:
            for number, port in enumerate(ports):
                followers = [str(one) for one in ports[1:]] if number == 0 else []
                processes.start(
                    [*command, str(port), str(directory / f"{number}.sqlite"), *followers],
                    address=f"tcp://127.0.0.1:{port}",
                    environment=environment,
                )
            processes.wait_for(
                lambda: all(READY in processes.printed(one) for one in range(SERVERS)),
                what="three servers",
            )
            yield Address(f"tcp://127.0.0.1:{ports[0]}", str(processes.state_path))

    def session(self, where: Address) -> PythonFloorSession:
        """Connect to the leader."""
        return PythonFloorSession(where)


class PythonFloorGrowing(PythonFloor):
    """The same with WALs that only grow, as in the program by which the aims were set.

    A commit takes longer then, where the file system has to write down that a file got longer.
    """

    name = "python_floor_growing"
    summary = "the same with WALs that are never written back"
    families = frozenset({"sync", "tasks"})
    options = ("--wal-grows",)


class PythonFloorSession(TaskSession):
    """Callers on one connection. There is but one log, and each topic is what follows in it."""

    keeps_read = True

    def __init__(self, where: Address) -> None:
        super().__init__()
        self._servers = read_servers(where.state_path)
        self._port = urlsplit(where.address).port or 0
        self._connection = self._connect()
        self._first: dict[str, int] = {}
        """By topic: the index before its first entry."""
        self._batched: set[str] = set()
        """Topics whose entries are batches."""

    def new_topic(self, workload: str) -> str:
        """Have the next topic begin at the end of the log."""
        topic = f"{workload}-{len(self._first)}"
        self._first[topic] = sum(1 for _ in self._entries(0))
        return topic

    def new_partitions(self, workload: str, count: int) -> None:
        """Refuse: there is but one log."""
        raise AssertionError("the floor has no partitions")

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a connection to the leader."""
        return _Sender(self._connect(), self._first[topic], partial(self._batched.add, topic))

    def receiver(self, topic: str, reading: Reading) -> Receiver:
        """Refuse: it only takes messages."""
        raise AssertionError(f"the floor has no {reading}")

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Read what the leader has in its database."""
        before = self._first[topic]
        entries = self._entries(before)
        if topic in self._batched:
            return enumerate(value for _, batch in entries for value in _unpack(batch))
        return ((index - before - 1, value) for index, value in entries)

    def servers(self) -> list[Place]:
        """Return the three servers."""
        return self._servers

    def leader_of(self, topic: str) -> Place:
        """Return the only server that ever leads."""
        return self._servers[0]

    def mend(self, topic: str, killed: Place | None) -> None:
        """Refuse: nobody is elected."""
        raise AssertionError("the floor has no failover")

    def close(self) -> None:
        """Close everything."""
        self._connection.close()
        super().close()

    def _connect(self) -> Calls:
        calls = Calls()
        self.run_one(calls.connect(self._port))
        return calls

    def _entries(self, after: int) -> Iterator[tuple[int, bytes]]:
        while True:
            entries = self.run_one(self._connection.call(after))
            yield from ((index, value) for index, value in entries)
            if not entries:
                return
            after = entries[-1][0]


class Calls:
    """Requests on one connection, answered in any order."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def connect(self, port: int) -> None:
        """Connect to a server of this machine."""
        self._loop = asyncio.get_running_loop()
        self._frames = await connect(port, self._answered, self._lost)

    async def call(self, what: bytes | int) -> Any:
        """Return the answer to a value to append, or to an index behind which to read."""
        number = next(self._numbers)
        self._waiting[number] = answered = self._loop.create_future()
        self._frames.send((number, what))
        return await answered

    def close(self) -> None:
        """Close the connection."""
        self._frames.close()

    def _answered(self, frames: Frames, message: Any) -> None:
        number, answer = message
        self._waiting.pop(number).set_result(answer)

    def _lost(self, error: Exception | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered.set_exception(Refused(f"the connection is gone: {error}"))


class _Sender:
    """Appends and waits."""

    def __init__(self, calls: Calls, before: int, note_batch: Callable[[], None]) -> None:
        self._calls = calls
        self._before = before
        self._note_batch = note_batch

    async def send(self, value: bytes) -> int:
        return int(await self._calls.call(value)) - self._before - 1

    async def send_batch(self, values: Sequence[bytes]) -> None:
        self._note_batch()
        await self._calls.call(_pack(values))

    def close(self) -> None:
        self._calls.close()
