"""Redis Streams: one server, its append-only file synced before every answer."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.peers.processes import Processes, free_ports, read_servers
from benchmarks.peers.session import Place, Reading, ThreadSession
from benchmarks.peers.system import SHARED_FAMILIES, Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.acknowledged import Value
    from benchmarks.peers.session import Receiver, Sender

READY = "Ready to accept connections"
FIELD = b"v"
NEXT_ID = "0-*"
"""Has the server number the messages from 0-1 on, so that the number tells the offset."""
FIRST_ID = b"0-0"
WAIT_MS = 1_000
"""Of a receiver that has nothing."""
CHECK_MESSAGES = 10_000
"""Read at once when a run is checked."""


class Redis:
    """One server; what it acknowledged is on its disk, and nowhere else."""

    name = "redis"
    summary = "Redis Streams, one node and no replica, appendfsync always, redis-py"
    families = SHARED_FAMILIES - {"failover"}

    def missing(self) -> str:
        """Say what is not installed."""
        if shutil.which("redis-server"):
            return ""
        return "not installed; get it with `apt-get install --no-install-recommends redis-server`"

    @contextmanager
    def running(self, directory: Path) -> Iterator[Address]:
        """Start the server."""
        program = shutil.which("redis-server")
        assert program, "looked for before"
        (port,) = free_ports(1)
        address = f"redis://127.0.0.1:{port}"
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with Processes(directory) as processes:
            processes.start([program, *words], address=address)
            processes.wait_for(lambda: READY in processes.printed(0), what="the server")
            yield Address(address, str(processes.state_path))

    def session(self, where: Address) -> RedisSession:
        """Connect to it."""
        return RedisSession(where)


class RedisSession(ThreadSession):
    """Clients that block."""

    keeps_read = True

    def __init__(self, where: Address) -> None:
        self._servers = read_servers(where.state_path)
        self._port = urlsplit(where.address).port
        self._numbers = itertools.count(1)
        self._client = self._connect()

    def new_topic(self, workload: str) -> str:
        """Return a name; a stream begins with its first message."""
        return f"{workload}-{os.getpid()}-{next(self._numbers)}"

    def new_partitions(self, workload: str, count: int) -> None:
        """Create streams, each with a group, for otherwise there are none that hold nothing."""
        for _ in range(count):
            self._client.xgroup_create(self.new_topic(workload), "idle", id=FIRST_ID, mkstream=True)

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a client with a pool of connections, one for each thread."""
        return _Sender(self._connect(), topic)

    def receiver(self, topic: str, reading: Reading) -> Receiver:
        """Return a reader of the stream, or the only consumer of a group."""
        if reading is Reading.FETCH:
            return _Reader(self._connect(), topic)
        assert reading is not Reading.POP, f"streams have no {reading}"
        group = f"readers-{next(self._numbers)}"
        self._client.xgroup_create(topic, group, id=FIRST_ID, mkstream=True)
        acknowledges = reading is Reading.GROUP
        return _GroupReader(self._connect(), topic, group, acknowledges=acknowledges)

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Read the stream from its beginning to its end."""
        last = FIRST_ID
        while True:
            items: Any = self._client.xrange(topic, min=b"(" + last, count=CHECK_MESSAGES)
            for last, fields in items:
                yield _offset(last), fields[FIELD]
            if not items:
                return

    def servers(self) -> list[Place]:
        """Return the server."""
        return self._servers

    def leader_of(self, topic: str) -> Place:
        """Return the server."""
        return self._servers[0]

    def mend(self, topic: str, killed: Place | None) -> None:
        """Refuse: with its only server gone there is nothing to go on with."""
        raise AssertionError("one node has no failover")

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _connect(self) -> Any:
        import redis

        return redis.Redis(host="127.0.0.1", port=self._port or 0)


class _Sender:
    """Adds to a stream."""

    def __init__(self, client: Any, topic: str) -> None:
        self._client = client
        self._topic = topic

    async def send(self, value: bytes) -> int:
        return _offset(self._client.xadd(self._topic, {FIELD: value}, id=NEXT_ID))

    async def send_batch(self, values: Sequence[bytes]) -> int:
        pipeline = self._client.pipeline(transaction=False)
        for value in values:
            pipeline.xadd(self._topic, {FIELD: value}, id=NEXT_ID)
        offsets = [_offset(one) for one in pipeline.execute()]
        assert offsets == list(range(offsets[0], offsets[0] + len(values))), "one sender a batch"
        return offsets[0]

    def close(self) -> None:
        self._client.close()


class _Reader:
    """Reads by id; nothing is kept at the server."""

    def __init__(self, client: Any, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._last = FIRST_ID

    async def receive(self, most: int) -> list[Value]:
        answer = self._client.xread({self._topic: self._last}, count=most, block=WAIT_MS)
        items = _items(answer)
        if items:
            self._last = items[-1][0]
        return [fields[FIELD] for _, fields in items]

    async def acknowledge(self) -> None:
        raise AssertionError("the last id is the reader's own")

    def close(self) -> None:
        self._client.close()


class _GroupReader:
    """The only consumer of a group."""

    def __init__(self, client: Any, topic: str, group: str, *, acknowledges: bool) -> None:
        """Acknowledge by itself what was received before, or wait to be told."""
        self._acknowledges = acknowledges
        self._client = client
        self._topic = topic
        self._group = group
        self._open: list[bytes] = []

    async def receive(self, most: int) -> list[Value]:
        if self._acknowledges and self._open:
            await self.acknowledge()
        answer = self._client.xreadgroup(
            self._group, "reader", {self._topic: ">"}, count=most, block=WAIT_MS
        )
        items = _items(answer)
        self._open += [one for one, _ in items]
        return [fields[FIELD] for _, fields in items]

    async def acknowledge(self) -> None:
        settled = self._client.xack(self._topic, self._group, *self._open)
        assert settled == len(self._open), f"{settled} of {len(self._open)} were acknowledged"
        self._open.clear()

    def close(self) -> None:
        self._client.close()


def _items(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return id and fields of the messages of the only stream that was asked for."""
    if not answer:
        return []
    if isinstance(answer, dict):  # The form of the protocol's third version.
        ((batches),) = answer.values()
        return [item for batch in batches for item in batch]
    ((_, items),) = answer
    return list(items)


def _offset(message_id: bytes) -> int:
    return int(message_id.partition(b"-")[2]) - 1
