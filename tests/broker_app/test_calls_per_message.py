"""How many Python functions run for one message: each layer that is added shows here.

Three brokers in one process, each with its loop in a thread of its own, over real sockets and
SQLite. Nothing ticks while messages are counted, so that only messages cost calls. A resumed
coroutine or generator counts as a call, as Python itself counts it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler

from broker_app import runtime as runtimes
from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from broker_app.urls import HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import cluster_token
from myqueue.contract.inputs import BATCH, MSGPACK
from raft_app.core.config import RaftConfig
from raft_app.core.types import Membership, RaftMember
from raft_app.engine import spares
from raft_app.engine.config import EngineConfig
from raft_app.engine.engine import Engine
from raft_app.storage.protocol import GroupSpec, PeerAddress
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.workers import StorageThreads
from raft_app.transport.protocol import TransportLimits
from raft_app.transport.tcp.transport import TcpTransport
from tests.broker_app.engine_twin import runtime_over
from tests.broker_app.replica import batch_of
from tests.http_base.asgi_client import call_plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

MESSAGES = 100
BROKERS = (1, 2, 3)
QUIET_MS = 600_000
"""Nothing happens by itself so soon."""
ROOT = Path(__file__).resolve().parents[2]

STOP_S = 30.0
"""For the thread of a broker, whose event loop takes no exception that a timeout raises."""

RAFT = RaftConfig(quiesce_after_ticks=20, spares_wait_bytes=64 << 10)
SPARES_WAIT_MS = 250
"""Longer than in a broker, so that few of the messages that are counted meet such a moment."""
SLEEP_CALLS_MAX = 40
"""More than of a write to one awake, of all brokers together."""

STORAGE_MAX = {"leader: storage": 30, "followers: storage": 34}
PRODUCED_MAX = STORAGE_MAX | {"leader: HTTP": 128, "leader: engine": 160, "followers": 158}
"""Some 10 % above what was measured, since it depends a little on what meets in one turn."""
POPPED_MAX = STORAGE_MAX | {"leader: HTTP": 202, "leader: engine": 160, "followers": 158}


class Counting:
    """Counts calls by thread and by what is called, while it is switched on."""

    def __init__(self) -> None:
        self.is_on = False
        self.calls: Counter[tuple[str, str]] = Counter()
        """By (name of the thread, file and function)."""

    def watch(self, name: str) -> None:
        """Count the calls of the running thread from now on."""
        sys.setprofile(partial(self._note, name))

    def _note(self, name: str, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and self.is_on:
            code = frame.f_code
            self.calls[name, f"{code.co_filename}:{code.co_name}"] += 1


COUNTING = Counting()


class WatchedStorage(SqliteStorage):
    """Storage whose writing thread is counted."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(directory)
        self._name = name
        self._watched: set[int] = set()

    def write(self, operations: Any) -> None:
        """Store, as always."""
        if threading.get_ident() not in self._watched:
            self._watched.add(threading.get_ident())
            COUNTING.watch(self._name)
        super().write(operations)


@dataclass(eq=False)
class Broker:
    """One broker in a thread of its own."""

    broker_id: int
    directory: Path
    loop: asyncio.AbstractEventLoop = field(default_factory=uvloop.new_event_loop)

    @property
    def name(self) -> str:
        """What it is in this test: the first one leads."""
        return "leader" if self.broker_id == 1 else "followers"

    def start(self) -> None:
        """Start the thread, then the engine in it."""
        self.thread = threading.Thread(target=self.loop.run_forever, name=self.name, daemon=True)
        self.thread.start()
        self.run(self._start())

    async def _start(self) -> None:
        storage = WatchedStorage(self.directory, f"{self.name}: storage")
        await asyncio.to_thread(self._open, storage)
        limits = TransportLimits(ping_interval_ms=QUIET_MS, silence_timeout_ms=2 * QUIET_MS)
        memory = MemoryBudget()
        self.transport = TcpTransport(
            "cluster", self.broker_id, "a secret", queues=memory.queues, limits=limits
        )
        self.engine = Engine(
            storage=storage,
            transport=self.transport,
            factory=partial(PartitionState, limits=StateLimits()),
            config=EngineConfig(tick_ms=QUIET_MS, raft=RAFT),
            randomizer=Random(self.broker_id).randrange,
            memory=memory,
            workers=StorageThreads(storage, close_thread=storage.close_thread_connection),
        )
        await self.engine.start()
        COUNTING.watch(self.name)

    def _open(self, storage: SqliteStorage) -> None:
        storage.open()
        storage.close_thread_connection()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the broker's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        """End the engine, then the thread, also when the engine does not end."""
        try:
            self.run(self.engine.stop())
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(STOP_S)
            self.loop.close()


class Partition:
    """A partition that the first of three brokers leads, and its HTTP calls."""

    def __init__(self, brokers: list[Broker]) -> None:
        self.brokers = brokers
        self.leader = brokers[0]
        self.app = HotPaths(ASGIHandler(), HOT_PATHS, bodies=brokers[0].engine.memory.bodies)
        self.headers = {
            "authorization": f"Bearer {cluster_token(django_settings.QUEUE.cluster_secret)}",
            "accept": MSGPACK,
        }
        self.batch = batch_of("x" * 100).batch

    async def produce(self, count: int) -> None:
        """Append messages, one batch of one at a time."""
        for _ in range(count):
            answer = await call_plainly(
                self.app,
                "POST",
                "/producer/produce?topic=logs&partition=0&producer_id=1",
                body=self.batch,
                headers=self.headers | {"content-type": BATCH},
            )
            assert answer is not None
            assert answer.status == 200, answer

    async def pop(self, count: int) -> None:
        """Pop messages, one at a time."""
        for _ in range(count):
            answer = await call_plainly(
                self.app,
                "POST",
                "/consumer/consume?topic=logs&partition=0&consumer_id=1&max_messages=1",
                headers=self.headers,
            )
            assert answer is not None
            assert answer.status == 200, answer

    def count(self, work: Callable[[int], Coroutine[Any, Any, None]]) -> dict[str, float]:
        """Return calls for one message, by where they were made."""
        self.leader.run(work(20))  # what happens the first time only
        self.settle()
        COUNTING.calls.clear()
        COUNTING.is_on = True
        self.leader.run(work(MESSAGES))
        self.settle()
        COUNTING.is_on = False
        found: Counter[str] = Counter()
        for (thread, place), calls in COUNTING.calls.items():
            part = part_of(place)
            if part is not None:
                found[f"{thread}: {part}" if thread == "leader" else thread] += calls
        return {name: calls / MESSAGES for name, calls in sorted(found.items())}

    def one_write(self) -> dict[str, int]:
        """Produce one message; return what that took of all brokers: frames, commits and calls."""
        before = self._so_far()
        COUNTING.calls.clear()
        COUNTING.is_on = True
        self.leader.run(self.produce(1))
        self.settle()
        COUNTING.is_on = False
        calls = sum(n for (_, place), n in COUNTING.calls.items() if part_of(place) is not None)
        after = self._so_far()
        return {**{name: after[name] - before[name] for name in after}, "calls": calls}

    def _so_far(self) -> dict[str, int]:
        engines = [broker.engine for broker in self.brokers]
        return {
            "frames": sum(engine.transport_counters.frames_sent for engine in engines),
            "commits": sum(engine.stream.transactions for engine in engines),
        }

    def put_to_sleep(self) -> None:
        """Let time pass until the partition sleeps on all brokers."""
        for _ in range(2_000):
            if all(broker.engine.replicas[1].node.is_asleep for broker in self.brokers):
                return
            for broker in self.brokers:
                broker.engine.post_tick()
            time.sleep(0.01)
        raise AssertionError("the partition does not sleep")

    def settle(self) -> None:
        """Wait until the followers have what the leader has."""

        async def stored(broker: Broker, last_index: int) -> None:
            async with asyncio.timeout(20):
                while broker.engine.replicas[1].node.log.durable_index < last_index:
                    await asyncio.sleep(0.01)

        last_index = self.leader.engine.replicas[1].node.last_index
        for broker in self.brokers:
            broker.run(stored(broker, last_index))


def part_of(place: str) -> str | None:
    """Return what a file belongs to, None for this test's own."""
    path = place.rpartition(":")[0]
    if path.startswith(str(ROOT / "tests")):
        return None
    is_engine = path.startswith(str(ROOT / "raft_app")) or path.endswith("memory_budget.py")
    return "engine" if is_engine else "HTTP"


@pytest.fixture
def partition(
    tmp_path: Path, settings: Any, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Partition]:
    settings.ROOT_URLCONF = "queuesite.urls_broker"
    monkeypatch.setattr(spares, "WAIT_MS", SPARES_WAIT_MS)
    with django_db_blocker.unblock(), ExitStack() as started:
        brokers = [Broker(broker_id, tmp_path / str(broker_id)) for broker_id in BROKERS]
        for broker in brokers:
            broker.start()
            started.callback(broker.stop)
        started.callback(runtimes.install, None)
        yield _led(brokers)


def _led(brokers: list[Broker]) -> Partition:
    """Make the partition and return it once it is led."""
    peers = [
        PeerAddress(one.broker_id, f"http://127.0.0.1:{one.broker_id}", address)
        for one in brokers
        for address in [f"127.0.0.1:{one.transport.port}"]
    ]
    members = tuple(RaftMember(10 + broker_id, broker_id) for broker_id in BROKERS)
    for broker in reversed(brokers):
        broker.run(broker.engine.save_peers(peers))
    for broker in reversed(brokers):
        spec = GroupSpec(1, 10 + broker.broker_id, "logs", 0)
        membership = Membership(voters=members, version=1)
        creation = broker.engine.create_replica(spec, membership, campaign=broker.broker_id == 1)
        broker.run(creation)

    async def led() -> None:
        async with asyncio.timeout(20):
            while not brokers[0].engine.replicas[1].serves:
                await asyncio.sleep(0.01)

    brokers[0].run(led())

    async def install() -> None:
        runtimes.install(runtime_over(brokers[0].engine))

    brokers[0].run(install())
    return Partition(brokers)


def test_calls_for_one_message(partition: Partition, capsys: pytest.CaptureFixture[str]) -> None:
    for title, work, most in (
        ("produced", partition.produce, PRODUCED_MAX),
        ("popped", partition.pop, POPPED_MAX),
    ):
        found = partition.count(work)
        table = [f"\nPython calls for one message {title}, and the bound:"]
        table += [f"  {calls:7.1f}  {most[name]:4d}  {name}" for name, calls in found.items()]
        with capsys.disabled():
            sys.stdout.write("\n".join([*table, ""]))
        assert found.keys() == most.keys()
        assert {name: calls for name, calls in found.items() if calls > most[name]} == {}


def test_a_write_to_a_sleeping_partition_takes_no_round_or_commit_more(
    partition: Partition, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is slower by what it takes to call these functions, and waits for nothing else."""
    partition.leader.run(partition.produce(20))
    partition.settle()
    asleep, awake = [], []
    for _ in range(5):
        partition.put_to_sleep()
        asleep.append(partition.one_write())
        awake += [partition.one_write() for _ in range(3)]
    fewest = [
        {name: min(one[name] for one in found) for name in ("frames", "commits", "calls")}
        for found in (asleep, awake)
    ]
    with capsys.disabled():
        sys.stdout.write(f"\none write, asleep and awake: {fewest[0]}, {fewest[1]}\n")
    assert fewest[0]["frames"] == fewest[1]["frames"]
    assert fewest[0]["commits"] == fewest[1]["commits"]
    assert fewest[0]["calls"] <= fewest[1]["calls"] + SLEEP_CALLS_MAX
