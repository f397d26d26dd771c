"""This system itself: a manager and three brokers, and its client library."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from benchmarks.cluster import Cluster, Shape
from benchmarks.peers.session import Place, Reading, TaskSession, ThreadSession
from benchmarks.peers.system import SHARED_FAMILIES, Address
from myqueue import AsyncProducer, Client, Consumer, Producer, Worker
from myqueue.transport.metadata import topic_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.acknowledged import Value
    from benchmarks.peers.session import Receiver, Sender
    from myqueue import Delivery
    from myqueue.transport.blocking import Transport

REPLICATION_FACTOR = 3
FETCH_BYTES = 1 << 20
CHECK_FETCH_BYTES = 4 << 20
"""Read at once when a run is checked."""
WAIT_MS = 1_000
"""Of a long poll."""
TOPIC_PARTITIONS = 500
"""Of topics that are made for their number alone."""
ANSWER_S = 10.0
"""Longest wait for what a broker says of its replicas."""
PATIENCE_S = 60.0
"""Longest wait for the cluster to be whole."""
POLL_S = 0.05


class Queuesite:
    """The system that this project is."""

    name = "queuesite"
    summary = "three brokers, replication factor 3, durable on a quorum before each answer"
    families = SHARED_FAMILIES

    def __init__(self, shape: Shape = Shape()) -> None:  # noqa: B008 - it cannot be changed
        """Be like this; three brokers with the default settings when left out."""
        self._shape = shape

    def missing(self) -> str:
        """Say nothing: it is here."""
        return ""

    @contextmanager
    def running(self, directory: Path) -> Iterator[Address]:
        """Start a manager and its brokers.

        Raises:
            ClusterFailed: they did not start.
        """
        with Cluster(directory, shape=self._shape) as cluster:
            yield Address(cluster.manager, str(cluster.state_path))

    def session(self, where: Address) -> Site:
        """Return clients for it."""
        return Site(where.address, Path(where.state_path))


_LEADERS = re.compile(r'^queue_broker_replicas{role="leader"} (\S+)$', re.MULTILINE)


class Site(ThreadSession):
    """Addresses and processes of a cluster, and clients for them.

    Args:
        manager: address of the manager.
        state_path: the file in which the cluster says where its processes are.
        transport: how requests of the clients travel; HTTP when left out.
    """

    keeps_read = True

    def __init__(
        self, manager: str, state_path: Path, *, transport: Transport | None = None
    ) -> None:
        self.manager = manager
        self._state_path = state_path
        self._transport = transport
        self._client = Client(manager, transport=transport)
        self._numbers = itertools.count(1)

    @property
    def directory(self) -> Path:
        """Where the cluster has its data."""
        return self._state_path.parent

    def new_topic(
        self,
        workload: str,
        *,
        replication_factor: int = REPLICATION_FACTOR,
        retention_bytes: int | None = None,
    ) -> str:
        """Create a topic of one partition, on all brokers where nothing else is said.

        Returns:
            Its name.
        """
        topic = f"{workload}-{os.getpid()}-{next(self._numbers)}"
        self._client.create_topic(topic, 1, replication_factor, retention_bytes=retention_bytes)
        return topic

    def new_partitions(self, workload: str, count: int) -> None:
        """Create topics of up to `TOPIC_PARTITIONS` partitions, and wait until all are led."""
        for start in range(0, count, TOPIC_PARTITIONS):
            self.new_wide_topic(workload, min(TOPIC_PARTITIONS, count - start))

    def new_wide_topic(self, workload: str, partitions: int) -> str:
        """Create a topic of several partitions, wait until all are led, and return its name."""
        topic = f"{workload}-{os.getpid()}-{next(self._numbers)}"
        before = self.serving()
        self._client.create_topic(topic, partitions, REPLICATION_FACTOR)
        self.wait_for(lambda: self.serving() >= before + partitions, what=f"leaders of {topic}")
        return topic

    def holders(self, topic: str) -> frozenset[int]:
        """Return the ids of the brokers that have a voter of the topic's partition."""
        [partition] = self._client.describe_topic(topic)["partitions"]
        return frozenset(
            one["broker_id"] for one in partition["replicas"] if one["state"] == "voter"
        )

    def empty_broker(self, broker_id: int) -> bool:
        """Have a broker's leaderships and replicas go to others.

        Returns:
            Whether that begins: not while others move, and no broker is free of its partitions.
        """
        try:
            self._change_broker("DELETE", broker_id)
        except HTTPError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def keep_broker(self, broker_id: int) -> None:
        """Empty a broker no more."""
        self._change_broker("PATCH", broker_id, {"draining": False})

    def serving(self) -> int:
        """Return how many partitions are served, by the brokers that answer.

        These are asked one after the other: what moves on meanwhile is counted once.
        """
        return len(
            {
                replica["group_id"]
                for place in self.brokers()
                for replica in self.replicas(place.address)
                if replica["serves"]
            }
        )

    def leaders(self) -> int:
        """Return how many replicas lead, on all brokers that answer.

        From their metrics, which cost a broker of thousands less than a list of what it has.
        """
        leaders = 0.0
        for place in self.brokers():
            try:
                with urlopen(f"{place.address}/metrics", timeout=ANSWER_S) as answer:  # noqa: S310 - http, our own
                    leaders += sum(map(float, _LEADERS.findall(answer.read().decode())))
            except OSError:
                continue
        return int(leaders)

    def replicas(self, address: str) -> list[dict[str, Any]]:
        """Return what a broker says of its replicas; nothing when it is down."""
        return self._ask(f"{address}/partitions")

    def producer(self, topic: str) -> Producer:
        """Return a new producer."""
        return Producer(topic, self.manager, transport=self._transport)

    def consumer(self, topic: str, group: str | None = None) -> Consumer:
        """Return a new consumer with its cursor at the beginning; with a group, a member of it."""
        return Consumer(topic, self.manager, group=group, transport=self._transport)

    def worker(self, topic: str) -> Worker:
        """Return the only worker of a group that begins with the first message."""
        return Worker(
            topic, self.manager, f"workers-{next(self._numbers)}", transport=self._transport
        )

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a producer that sends straight to the leader; it has its own patience."""
        return _Sender(self.producer(topic), topic)

    def for_tasks(self) -> TaskSite:
        """Return clients for asyncio of the same cluster."""
        return TaskSite(self.manager, self._state_path)

    def receiver(self, topic: str, reading: Reading) -> Receiver:
        """Return a consumer, or a worker with `Reading.WORKER`."""
        match reading:
            case Reading.FETCH:
                return _Fetching(self.consumer(topic), topic)
            case Reading.POP:
                return _Polling(self.consumer(topic))
            case Reading.GROUP:
                return _Polling(self.consumer(topic, group=f"group-{next(self._numbers)}"))
            case Reading.WORKER:
                return _Working(self.worker(topic))

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Yield offset and value of everything in the topic's partition, as the leader has it."""
        with self.consumer(topic) as consumer:
            offset = 0
            while True:
                fetched = consumer.fetch(topic, 0, offset, max_bytes=CHECK_FETCH_BYTES)
                for message in fetched.messages:
                    yield message.offset, message.value
                if not fetched.messages:
                    return
                offset = fetched.next_offset

    def leader(self, topic: str) -> str:
        """Return the address of the broker that leads the topic's partition and serves."""
        found = self._client.describe_topic(topic)
        leader = topic_view(found).partitions[0].leader
        if leader and self._serves(leader, topic):
            return leader
        found_address: str = self.wait_for(
            lambda: next((one for one in self._alive() if self._serves(one, topic)), ""),
            what=f"a leader of {topic}",
        )
        return found_address

    def leader_of(self, topic: str) -> Place:
        """Return the broker that leads the topic's partition and serves."""
        self.wait_until_whole(topic)
        address = self.leader(topic)
        return next(place for place in self.brokers() if place.address == address)

    def servers(self) -> list[Place]:
        """Return where the brokers' processes are now."""
        return self.brokers()

    def mend(self, topic: str, killed: Place | None) -> None:
        """Wait until a killed broker is back and all replicas have the same messages."""
        if killed is not None:
            self.wait_for(lambda: killed not in self.brokers(), what=f"{killed.address} restarted")
        self.wait_until_whole(topic)

    def brokers(self) -> list[Place]:
        """Return where the brokers' processes are now."""
        state = json.loads(self._state_path.read_text())
        return [Place(place["address"], place["pid"]) for place in state["brokers"]]

    def manager_pid(self) -> int:
        """Return the manager's process id."""
        return int(json.loads(self._state_path.read_text())["manager"]["pid"])

    def wait_until_whole(self, topic: str) -> None:
        """Wait until all brokers are up and their replicas of the topic have the same messages."""
        self.wait_for(lambda: self._is_whole(topic), what=f"all replicas of {topic}")

    def wait_for(self, look: Callable[[], Any], *, what: str) -> Any:
        """Return the first true value of `look`.

        Raises:
            TimeoutError: there was none in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(POLL_S)
        raise TimeoutError(f"not within {PATIENCE_S:g} s: {what}")

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _change_broker(
        self, method: str, broker_id: int, body: dict[str, Any] | None = None
    ) -> None:
        request = Request(  # noqa: S310 - http, our own cluster
            f"{self.manager}/brokers/{broker_id}",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=ANSWER_S):  # noqa: S310 - http, our own cluster
            pass

    def _alive(self) -> list[str]:
        return [place.address for place in self.brokers()]

    def _is_whole(self, topic: str) -> bool:
        replicas = [self._replica(address, topic) for address in self._alive()]
        watermarks = {replica.get("high_watermark") for replica in replicas}
        leads = any(replica.get("serves") for replica in replicas)
        return leads and len(watermarks) == 1 and None not in watermarks

    def _serves(self, address: str, topic: str) -> bool:
        return bool(self._replica(address, topic).get("serves"))

    def _replica(self, address: str, topic: str) -> dict[str, Any]:
        """Return what a broker says of its replica; nothing when it is down or has none."""
        replicas = self._ask(f"{address}/partitions?topic={topic}")
        return replicas[0] if replicas else {}

    def _ask(self, url: str) -> list[dict[str, Any]]:
        """Return the replicas of all pages."""
        replicas: list[dict[str, Any]] = []
        after: str | None = ""
        try:
            while after is not None:
                page = f"{url}{'&' if '?' in url else '?'}after={quote(after)}"
                with urlopen(page, timeout=ANSWER_S) as answer:  # noqa: S310 - http, our own
                    found = json.load(answer)
                replicas += found["partitions"]
                after = found.get("next")
        except OSError:
            return []
        return replicas


class TaskSite(TaskSession, Site):
    """The same, and what is sent comes from tasks.

    Args:
        manager: address of the manager.
        state_path: the file in which the cluster says where its processes are.
    """

    def __init__(self, manager: str, state_path: Path) -> None:
        TaskSession.__init__(self)
        Site.__init__(self, manager, state_path)

    def sender(self, topic: str, *, patience_s: float | None = None) -> Sender:
        """Return a producer for asyncio, which sends straight to the leader."""
        return _TaskSender(self, topic)

    def close(self) -> None:
        """Close idle connections, and the loop."""
        Site.close(self)
        TaskSession.close(self)


class _Sender:
    """A producer; the leader gives the offsets."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, value: bytes) -> int:
        return self._producer.enqueue(self._topic, value, partition=0).offset

    async def send_batch(self, values: Sequence[bytes]) -> int:
        return self._producer.produce_many(self._topic, values, partition=0)[0].base_offset

    def close(self) -> None:
        self._producer.close()


class _TaskSender:
    """The same for asyncio, in the loop of its session."""

    def __init__(self, site: TaskSite, topic: str) -> None:
        self._site = site
        self._topic = topic
        self._producer = AsyncProducer(topic, site.manager)

    async def send(self, value: bytes) -> int:
        return (await self._producer.enqueue(self._topic, value, partition=0)).offset

    async def send_batch(self, values: Sequence[bytes]) -> int:
        sent = await self._producer.produce_many(self._topic, values, partition=0)
        return sent[0].base_offset

    def close(self) -> None:
        self._site.run_one(self._producer.close())


class _Fetching:
    """Reads by offset; nothing is kept at the brokers."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._offset = 0

    async def receive(self, most: int) -> list[Value]:
        """Return what one answer held, whatever `most` says: its size is told in bytes."""
        fetched = self._consumer.fetch(
            self._topic, 0, self._offset, wait_ms=WAIT_MS, max_bytes=FETCH_BYTES
        )
        self._offset = fetched.next_offset
        return [one.value for one in fetched.messages]

    async def acknowledge(self) -> None:
        raise AssertionError("the next offset is the reader's own")

    def close(self) -> None:
        self._consumer.close()


class _Polling:
    """Reads with a cursor that the cluster keeps: of the consumer, or of its group."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def receive(self, most: int) -> list[Value]:
        return [one.value for one in self._consumer.poll(most, WAIT_MS / 1000)]

    async def acknowledge(self) -> None:
        raise AssertionError("the cursor moves by itself")

    def close(self) -> None:
        self._consumer.close()


class _Working:
    """Receives for work and acknowledges."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._open: list[Delivery] = []

    async def receive(self, most: int) -> list[Value]:
        received = self._worker.receive(most, WAIT_MS / 1000)
        self._open += received
        return [one.value for one in received]

    async def acknowledge(self) -> None:
        settled = self._worker.ack(*self._open)
        refused = [one for one in settled if not one.done]
        assert not refused, f"not acknowledged: {refused}"
        self._open.clear()

    def close(self) -> None:
        self._worker.close()
