"""Measures what real processes take: idle groups, calls of clients, single messages."""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

from benchmarks.cluster import Cluster, Shape
from benchmarks.peers.queuesite import Site
from benchmarks.process_figures import processor_seconds, resident_mb
from benchmarks.scale.costs import ClusterCosts, Line
from myqueue import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKERS = 3
SETTLE_S = 6.0
"""After partitions were made, before anything is measured."""
WATCH_S = 30.0
"""How long idle processes are watched: two reports of each broker."""
CALLS = 200
MESSAGES = 300
TIMEOUT_S = 30.0
GROUPS = (30, 300)
"""Partitions of the two idle clusters that lines go through; each broker has a replica of all."""
TOPIC_PARTITIONS = 60
"""Of the larger of the topics that are asked for."""


class Idle(NamedTuple):
    """What one process takes while nobody asks for anything, the mean of the brokers."""

    processor: float
    """Seconds of a processor in a second."""
    memory: float
    """Bytes in RAM."""
    files: float
    """Bytes."""
    frames: float
    """Sent in a second."""
    frame_bytes: float
    """Sent in a second."""
    manager: float
    """Seconds of a processor of the manager in a second."""


@contextmanager
def running(directory: Path, settings: tuple[tuple[str, str], ...] = ()) -> Iterator[Site]:
    """Start a cluster of three brokers in a directory that is there.

    Args:
        directory: which.
        settings: environment variables of its processes, by name.
    """
    with Cluster(directory, shape=Shape(BROKERS, settings)) as cluster:
        site = Site(cluster.manager, cluster.state_path)
        with closing(site):
            yield site


def measure_cluster(directory: Path) -> ClusterCosts:
    """Start a cluster, measure it with few groups and with more, and what calls cost."""
    with running(directory) as site:
        few, more = GROUPS
        site.new_partitions("few", few)
        first = watch(site)
        calls = _calls(site)
        # Topics of the calls are partitions as well.
        there = len(site.replicas(site.brokers()[0].address))
        site.new_partitions("more", more - there)
        second = watch(site)
        lines = {
            name: Line.through((few, getattr(first, name)), (more, getattr(second, name)))
            for name in ("processor", "memory", "files", "frame_bytes")
        }
        return ClusterCosts(
            broker_idle=lines["processor"],
            broker_bytes=lines["memory"],
            broker_file_bytes=lines["files"],
            frame_bytes=lines["frame_bytes"],
            manager_idle=first.manager,
            manager_bytes=resident_mb(_manager(site)) * 1e6,
            message=_message(site),
            **calls,
        )


def watch(site: Site, seconds: float = WATCH_S) -> Idle:
    """Return what the processes take while nobody asks for anything."""
    time.sleep(SETTLE_S)
    brokers = site.brokers()
    manager = _manager(site)
    before = [processor_seconds(place.pid) for place in brokers]
    manager_before = processor_seconds(manager)
    sent = [_sent(place.address) for place in brokers]
    began_s = time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began_s
    used = sum(processor_seconds(place.pid) for place in brokers) - sum(before)
    manager_used = processor_seconds(manager) - manager_before
    after = [_sent(place.address) for place in brokers]
    count = len(brokers) * took_s
    return Idle(
        processor=used / count,
        memory=1e6 * sum(resident_mb(place.pid) for place in brokers) / len(brokers),
        files=sum(_size_of(path) for path in site.directory.glob("broker-*")) / len(brokers),
        frames=sum(one[0] - two[0] for one, two in zip(after, sent, strict=True)) / count,
        frame_bytes=sum(one[1] - two[1] for one, two in zip(after, sent, strict=True)) / count,
        manager=manager_used / took_s,
    )


def _calls(site: Site) -> dict[str, Any]:
    """Return what calls of clients take of the manager."""
    with closing(Client(site.manager)) as client:
        client.create_topic("one", 1, 1)
        client.create_topic("three", BROKERS, 1)
        client.create_topic("wide", TOPIC_PARTITIONS, BROKERS)
    calling = _Caller(site.manager, _manager(site))
    producer = int(calling.ask("POST", "/producer/register", {"topic": "one"})["producer_id"])
    member = calling.ask("POST", "/groups/scale/join", {"topics": ["one"]})
    beat = {
        "member_id": member["member_id"],
        "generation": member["generation"],
        "owned": member["assignment"],
    }
    one = calling.cost("GET", "/topics/one")
    three = calling.cost("GET", "/topics/three")
    wide = calling.cost("GET", "/topics/wide")
    by_partition = Line.through((BROKERS, three), (TOPIC_PARTITIONS, wide))
    asked = max(0.0, three - one - (BROKERS - 1) * by_partition.each) / (BROKERS - 1)
    sizes = [calling.size(f"/topics/{topic}") for topic in ("three", "wide")]
    costs = {
        "call": calling.cost("GET", f"/health?type=1&key={producer}"),
        "member_call": calling.cost("POST", "/groups/scale/heartbeat", beat),
        "topic_call": Line(max(0.0, one - by_partition.each), by_partition.each),
        "topic_broker": asked,
        "topic_bytes": Line.through((BROKERS, sizes[0]), (TOPIC_PARTITIONS, sizes[1])),
    }
    calling.close()
    return costs


class _Caller:
    """Calls a manager on one connection and looks at the processor time of its process."""

    def __init__(self, address: str, pid: int) -> None:
        parts = urlsplit(address)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        self._pid = pid

    def cost(self, method: str, path: str, body: object = None) -> float:
        """Return the seconds of a processor that a call takes, the mean of many."""
        self._send(method, path, body)
        before = processor_seconds(self._pid)
        for _ in range(CALLS):
            self._send(method, path, body)
        return (processor_seconds(self._pid) - before) / CALLS

    def size(self, path: str) -> float:
        """Return the bytes of an answer."""
        return float(len(self._send("GET", path, None)))

    def ask(self, method: str, path: str, body: object) -> dict[str, Any]:
        """Return an answer."""
        answer: dict[str, Any] = json.loads(self._send(method, path, body))
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(self, method: str, path: str, body: object) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, body=data, headers=headers)
        answer = self._connection.getresponse()
        read = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {read[:500]!r}"
        return read


def _message(site: Site) -> float:
    """Return what one message sent alone takes of all brokers."""
    topic = site.new_topic("messages")
    with closing(site.producer(topic)) as producer:
        producer.enqueue(topic, b"warm", partition=0)
        pids = [place.pid for place in site.brokers()]
        before = sum(map(processor_seconds, pids))
        began_s = time.monotonic()
        for _ in range(MESSAGES):
            producer.enqueue(topic, b"x" * 100, partition=0)
        took_s = time.monotonic() - began_s
        used = sum(map(processor_seconds, pids)) - before
    after = sum(map(processor_seconds, pids))
    time.sleep(took_s)
    idle = sum(map(processor_seconds, pids)) - after
    return max(0.0, used - idle) / MESSAGES


def _manager(site: Site) -> int:
    state = json.loads((site.directory / "cluster.json").read_text())
    return int(state["manager"]["pid"])


def _sent(address: str) -> tuple[float, float]:
    """Return the frames and bytes that a broker has sent to its peers."""
    with urlopen(f"{address}/metrics", timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own cluster
        lines = answer.read().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return (
        float(found["queue_broker_raft_frames_sent_total"]),
        float(found["queue_broker_raft_sent_bytes_total"]),
    )


def _size_of(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
