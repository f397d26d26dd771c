"""RabbitMQ: three nodes, quorum queues of three replicas, publisher confirms."""

from __future__ import annotations

import asyncio
import glob
import importlib.util
import itertools
import os
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.acknowledged import CheckFailed
from benchmarks.peers.inbox import Inbox
from benchmarks.peers.processes import Processes, free_ports, is_listening, read_servers
from benchmarks.peers.session import Place, Reading, Refused, TaskSession
from benchmarks.peers.system import SHARED_FAMILIES, Address, SystemFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.acknowledged import Value
    from benchmarks.peers.session import Receiver, Sender

NODES = 3
PREFETCH_MESSAGES = 2_000
"""Sent before they are acknowledged: as many as a quorum queue does that is given no limit."""
PAUSE_S = 0.01
"""Between attempts to connect again."""
MEND_S = 60.0
WAIT_S = 1.0
"""Of a receiver that has nothing."""
CHECK_WAIT_S = 10.0
"""The same when a run is checked."""
LAST = b"everything has been read"
STARTED = "Server startup complete"
COMMAND_S = 60.0

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
cluster_formation.peer_discovery_backend = classic_config
{nodes}
loopback_users = none
log.console = true
log.console.level = info
log.file = false
vm_memory_high_watermark.absolute = 4GB
disk_free_limit.absolute = 50MB
"""


class RabbitMQ:
    """The nodes of a cluster, each an Erlang system of its own, and their port mapper."""

    name = "rabbitmq"
    summary = "RabbitMQ, three nodes, quorum queue of three, publisher confirms, pika on asyncio"
    families = SHARED_FAMILIES

    def missing(self) -> str:
        """Say what is not installed."""
        ways = []
        if not (_scripts() and shutil.which("epmd")):
            ways.append("the server with `apt-get install --no-install-recommends rabbitmq-server`")
        if not importlib.util.find_spec("pika"):
            ways.append("the client with `make bench-setup` (pika)")
        return f"not installed; get {' and '.join(ways)}" if ways else ""

    @contextmanager
    def running(self, directory: Path) -> Iterator[Address]:
        """Start a port mapper and three nodes, on free ports, that form a cluster."""
        mapper_port, *ports = free_ports(1 + 2 * NODES)
        names = [f"benchmark{port}@localhost" for port in ports[:NODES]]
        cookie = secrets.token_hex(10).upper()
        with Processes(directory) as processes:
            environment = _environment(directory, mapper_port, cookie)
            mapper = [shutil.which("epmd") or "epmd", "-port", str(mapper_port)]
            processes.start([*mapper, "-address", "127.0.0.1"], environment=environment)
            processes.wait_for(lambda: is_listening(mapper_port), what="the port mapper")
            for number in range(NODES):
                node = _node(directory / f"node{number}", names, ports, number)
                processes.start(
                    [f"{_scripts()}/rabbitmq-server"],
                    address=f"amqp://127.0.0.1:{ports[number]}",
                    environment=environment | node,
                )
            processes.wait_for(
                lambda: all(STARTED in processes.printed(1 + one) for one in range(NODES)),
                what="three nodes",
            )
            _await_all(names[0], environment, processes)
            yield Address(f"amqp://127.0.0.1:{ports[0]}", str(processes.state_path))

    def session(self, where: Address) -> RabbitSession:
        """Connect to the first node."""
        return RabbitSession(where)


class RabbitSession(TaskSession):
    """Clients on one asyncio loop; the first node leads the queues that it is asked for."""

    keeps_read = False

    def __init__(self, where: Address) -> None:
        super().__init__()
        self._servers = read_servers(where.state_path)
        self._numbers = itertools.count(1)

    def new_topic(self, workload: str) -> str:
        """Declare a queue; the node of the connection leads it."""
        topic = f"{workload}-{os.getpid()}-{next(self._numbers)}"
        self.run_one(self._declare(topic))
        return topic

    def new_partitions(self, workload: str, count: int) -> None:
        """Declare queues."""
        for _ in range(count):
            self.new_topic(workload)

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a publisher with a connection of its own; it waits as long as that stands."""
        sender = _Sender(self, self._servers, topic)
        self.run_one(sender.connect())
        return sender

    def receiver(self, topic: str, reading: Reading) -> Receiver:
        """Return a consumer. There is but one way of reading: what was received is acknowledged."""
        assert reading is not Reading.POP, f"queues have no {reading}"
        receiver = _Receiver(self, self._servers, acknowledges=reading is not Reading.WORKER)
        self.run_one(receiver.consume(topic))
        return receiver

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Take everything out of the queue."""
        return iter(enumerate(self.run_one(self._read(topic))))

    def servers(self) -> list[Place]:
        """Return the three nodes."""
        return self._servers

    def leader_of(self, topic: str) -> Place:
        """Return the first node, which declared the queue and so leads it."""
        return self._servers[0]

    def mend(self, topic: str, killed: Place | None) -> None:
        """Wait until the others serve the queue; nobody starts the killed one."""
        self.run_one(self._wait_for_queue(topic))

    async def _declare(self, topic: str) -> None:
        link = await _connect(self._servers)
        await link.call(
            "queue_declare",
            queue=topic,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-quorum-initial-group-size": NODES,
                "x-queue-leader-locator": "client-local",
                "x-delivery-limit": -1,
            },
        )
        await link.close()

    async def _read(self, topic: str) -> list[Value]:
        """Take out what is before a last message that is sent for this.

        The node's own count of a queue's messages may lag behind them.
        """
        link = await _connect(self._servers)
        await link.confirm()
        await link.publish(topic, LAST)
        inbox: Inbox[bytes] = Inbox(CHECK_WAIT_S)
        await link.consume(topic, inbox)
        found: list[Value] = []
        while not found or found[-1] != LAST:
            values = await inbox.take()
            if not values:
                raise CheckFailed(f"nothing comes after {len(found)} messages")
            found += values
            link.acknowledge()
        await link.close()
        return found[:-1]

    async def _wait_for_queue(self, topic: str) -> None:
        from pika.exceptions import AMQPError

        async with asyncio.timeout(MEND_S):
            while True:
                link = await _connect(self._servers)
                try:
                    await link.call("queue_declare", queue=topic, passive=True)
                except AMQPError:
                    await asyncio.sleep(PAUSE_S)
                else:
                    return
                finally:
                    await link.close()


class _Link:
    """A connection with one channel, for coroutines."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Exception] = loop.create_future()
        """Resolves when connection or channel are gone."""
        self._loop = loop
        self._published = 0
        self._received = 0
        """Number of the last message that came."""
        self._pending: dict[int, asyncio.Future[None]] = {}
        """By number of the published message; ascending."""

    async def open(self, address: str) -> None:
        """Connect.

        Raises:
            AMQPError: nobody serves there.
        """
        import pika
        from pika.adapters.asyncio_connection import AsyncioConnection

        parts = urlsplit(address)
        opened: asyncio.Future[Any] = self._loop.create_future()
        self._connection = AsyncioConnection(
            pika.ConnectionParameters(parts.hostname, parts.port, heartbeat=0),
            on_open_callback=opened.set_result,
            on_open_error_callback=lambda _, error: opened.set_exception(error),
            on_close_callback=lambda _, error: self._lose(error),
            custom_ioloop=self._loop,
        )
        await opened
        channel: asyncio.Future[Any] = self._loop.create_future()
        self._connection.channel(on_open_callback=channel.set_result)
        await asyncio.wait([channel, self.lost], return_when=asyncio.FIRST_COMPLETED)
        if not channel.done():
            raise self.lost.result()
        self.channel = channel.result()
        self.channel.add_on_close_callback(lambda _, error: self._lose(error))
        self._properties = pika.BasicProperties(delivery_mode=2)

    async def call(self, method: str, **arguments: Any) -> Any:
        """Return the answer of a channel's method.

        Raises:
            AMQPError: connection or channel broke.
        """
        answered: asyncio.Future[Any] = self._loop.create_future()
        getattr(self.channel, method)(callback=answered.set_result, **arguments)
        await asyncio.wait([answered, self.lost], return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise self.lost.result()
        return answered.result()

    async def confirm(self) -> None:
        """Have published messages confirmed."""
        await self.call("confirm_delivery", ack_nack_callback=self._confirmed)

    def publish(self, topic: str, value: bytes) -> asyncio.Future[None]:
        """Return a future that resolves when the message is confirmed.

        Raises:
            AMQPError: the channel is closed.
        """
        self.channel.basic_publish("", topic, value, self._properties)
        self._published += 1
        done = self._pending[self._published] = self._loop.create_future()
        return done

    async def consume(self, topic: str, inbox: Inbox[bytes]) -> None:
        """Put what the queue holds into an inbox, so far ahead of acknowledgements as is usual."""
        await self.call("basic_qos", prefetch_count=PREFETCH_MESSAGES)

        def take(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
            self._received = method.delivery_tag
            inbox.add(body)

        await self.call("basic_consume", queue=topic, on_message_callback=take)

    def acknowledge(self) -> None:
        """Acknowledge everything that came; the node gives no answer to it."""
        self.channel.basic_ack(self._received, multiple=True)

    async def close(self) -> None:
        """Close the connection, unless it is gone."""
        if not self.lost.done() and self._connection.is_open:
            self._connection.close()
            await self.lost

    def _confirmed(self, frame: Any) -> None:
        """Resolve one message, or all up to it."""
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = [tag for tag in self._pending if tag <= method.delivery_tag]
        for tag in tags:
            done = self._pending.pop(tag)
            if method.NAME == "Basic.Ack":
                done.set_result(None)
            else:
                done.set_exception(Refused("the queue did not take it"))

    def _lose(self, error: Exception) -> None:
        """Tell everybody who waits."""
        if not self.lost.done():
            self.lost.set_result(error)
        pending, self._pending = self._pending, {}
        for done in pending.values():
            done.set_exception(Refused(f"the connection broke: {error}"))


class _Sender:
    """Publishes on one channel; connects to another node when it broke."""

    def __init__(self, session: RabbitSession, servers: list[Place], topic: str) -> None:
        self._session = session
        self._servers = servers
        self._topic = topic

    async def connect(self) -> None:
        self._link = await _connect(self._servers)
        await self._link.confirm()

    async def send(self, value: bytes) -> None:
        if self._link.lost.done():
            await self.connect()
        await self._link.publish(self._topic, value)

    async def send_batch(self, values: Sequence[bytes]) -> None:
        await asyncio.gather(*[self._link.publish(self._topic, value) for value in values])

    def close(self) -> None:
        self._session.run_one(self._link.close())


class _Receiver:
    """Consumes a queue."""

    def __init__(self, session: RabbitSession, servers: list[Place], *, acknowledges: bool) -> None:
        self._session = session
        self._servers = servers
        self._acknowledges = acknowledges
        self._inbox: Inbox[bytes] = Inbox(WAIT_S)

    async def consume(self, topic: str) -> None:
        self._link = await _connect(self._servers)
        await self._link.consume(topic, self._inbox)

    async def receive(self, most: int) -> list[bytes]:
        """Return what has come, whatever `most` says: the node sends without being asked."""
        values = await self._inbox.take()
        if values and self._acknowledges:
            self._link.acknowledge()
        return values

    async def acknowledge(self) -> None:
        self._link.acknowledge()

    def close(self) -> None:
        self._session.run_one(self._link.close())


async def _connect(servers: list[Place]) -> _Link:
    """Connect to the first node that serves.

    Raises:
        TimeoutError: none does in time.
    """
    from pika.exceptions import AMQPError

    async with asyncio.timeout(MEND_S):
        for server in itertools.cycle(servers):
            link = _Link()
            try:
                await link.open(server.address)
            except (AMQPError, OSError):
                await asyncio.sleep(PAUSE_S)
            else:
                return link
    raise AssertionError("a cycle has no end")


def _scripts() -> str:
    """Return the folder of Debian's scripts that start nodes as the user who calls them."""
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
    return found[-1] if found else ""


def _environment(directory: Path, mapper_port: int, cookie: str) -> dict[str, str]:
    """Return what nodes and commands have in common: nothing of the machine's own installation."""
    home = directory / "home"
    home.mkdir()
    cookie_path = home / ".erlang.cookie"
    cookie_path.write_text(cookie)
    cookie_path.chmod(0o400)
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
    }


def _node(
    directory: Path, names: Sequence[str], ports: Sequence[int], number: int
) -> dict[str, str]:
    """Write a node's configuration and return the variables that are its own."""
    directory.mkdir()
    nodes = "\n".join(
        f"cluster_formation.classic_config.nodes.{position} = {name}"
        for position, name in enumerate(names, 1)
    )
    path = directory / "rabbitmq.conf"
    path.write_text(_CONFIGURATION.format(port=ports[number], nodes=nodes))
    (directory / "enabled_plugins").write_text("[].\n")
    return {
        "RABBITMQ_NODENAME": names[number],
        "RABBITMQ_NODE_PORT": str(ports[number]),
        "RABBITMQ_DIST_PORT": str(ports[NODES + number]),
        "RABBITMQ_MNESIA_BASE": str(directory),
        "RABBITMQ_LOG_BASE": str(directory),
        "RABBITMQ_CONFIG_FILE": str(path),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_ALLOW_INPUT": "1",  # The node replaces the script: its id is the process's.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-noinput -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }


def _await_all(name: str, environment: Mapping[str, str], processes: Processes) -> None:
    """Have a node say that all are in its cluster.

    Raises:
        SystemFailed: they are not.
    """
    command = [f"{_scripts()}/rabbitmqctl", "--node", name, "await_online_nodes", str(NODES)]
    asked = subprocess.run(
        command,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    if asked.returncode:
        raise SystemFailed(f"{asked.stdout}{asked.stderr}\n{processes.output()}")
