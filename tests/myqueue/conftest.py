"""The client against a cluster in memory and virtual time, or behind real sockets."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from myqueue.client import Client
from myqueue.config import ClientConfig
from myqueue.consumer.consumer import Consumer
from myqueue.producer.producer import Producer
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport import lifetime
from myqueue.transport.heartbeats import HEARTBEATS
from myqueue.worker.worker import Worker
from tests.myqueue.cluster_twin import ClusterTwin, MemoryTransport
from tests.myqueue.fake_clock import FakeClock
from tests.myqueue.http_twin import HttpCluster
from tests.myqueue.recorded import Recorded


class BeatRecorder:
    """Stands in for the heartbeat thread, which knows real time alone."""

    def __init__(self) -> None:
        self.clients: list[Any] = []
        self.hurried = 0

    def join(self, client: Any) -> None:
        self.clients.append(client)

    def leave(self, client: Any) -> None:
        # A client that joined the real one may leave here, from a thread of an earlier test.
        if client in self.clients:
            self.clients.remove(client)

    def hurry(self) -> None:
        self.hurried += 1


@dataclass
class World:
    """A cluster in memory and everything to talk to it with."""

    twin: ClusterTwin
    clock: FakeClock
    transport: MemoryTransport
    beats: BeatRecorder

    def _options(self, config: ClientConfig | None) -> dict[str, Any]:
        return {"config": config, "transport": self.transport, "clock": self.clock}

    def producer(self, topics: Any = "logs", config: ClientConfig | None = None) -> Producer:
        return Producer(topics, self.twin.manager, **self._options(config))

    def consumer(
        self, topics: Any = "logs", config: ClientConfig | None = None, **options: Any
    ) -> Consumer:
        return Consumer(topics, self.twin.manager, **self._options(config), **options)

    def worker(
        self, topics: Any = "logs", config: ClientConfig | None = None, **options: Any
    ) -> Worker:
        group = options.pop("group", "workers")
        return Worker(topics, self.twin.manager, group, **self._options(config), **options)

    def client(self, config: ClientConfig | None = None) -> Client:
        return Client(self.twin.manager, **self._options(config))


def beating() -> set[int]:
    """Return who has its heartbeats sent."""
    return {id(client) for client in HEARTBEATS._clients}


@pytest.fixture(autouse=True)
def nobody_beats_on() -> Iterator[None]:
    """Let no test leave a client open: its heartbeats would go on and disturb other tests."""
    before = beating()
    yield
    if beating() - before:
        gc.collect()  # One that was dropped without `close` stops when it is collected.
    assert beating() <= before, "a client was left open"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A cluster in memory with three brokers and no topic."""
    beats = BeatRecorder()
    monkeypatch.setattr(lifetime, "HEARTBEATS", beats)
    twin, clock = ClusterTwin(), FakeClock()
    monkeypatch.setattr(twin.state, "now_ms", clock.wall_ms)
    return World(twin, clock, MemoryTransport(twin, clock), beats)


@pytest.fixture
def one_thread_fails(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Have the next thread that is started fail as in a system that has none left."""
    start, failed = threading.Thread.start, []

    def failing(thread: threading.Thread) -> None:
        if failed:
            start(thread)
        else:
            failed.append(thread)
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", failing)
    return failed


@pytest.fixture
def http_cluster() -> Iterator[HttpCluster]:
    """The same behind real sockets."""
    cluster = HttpCluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def logs() -> Iterator[str]:
    """Address of a queue in memory with the topic logs of one partition."""
    with InMemoryQueue({"logs": 1}) as made:
        yield made.address


@pytest.fixture
def spans() -> Iterator[Recorded]:
    """Spans that this process makes."""
    with Recorded().recording() as recorded:
        yield recorded
