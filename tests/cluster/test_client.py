"""The client library under fire: eight threads, pipelined batches, consumers that come and go."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from myqueue import AsyncConsumer, ClientConfig, Consumer, Producer
from myqueue.contract.errors import OUTCOME_UNKNOWN, BrokerUnreachable, QueueError
from myqueue.transport.blocking import HttpTransport
from tests.cluster.processes import MANAGER_BACK_MS, wait_until
from tests.cluster.rounds import MANY, ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.http1 import Answer, Request
    from myqueue.results import Message, Registration
    from myqueue.transport.blocking import HttpExchange
    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

SEED = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
TOPIC = "values"
PARTITIONS = 3
THREADS = 8
PAUSE_SECONDS = 0.001 if MANY else 0.02
"""Of a thread between two calls."""
KILL_EVERY_SECONDS = 2.0
GAP_STOP_SECONDS = 2.5
DROPPING_SECONDS = 3.0 if MANY else 1.5
DRAIN_SECONDS = 120


@pytest.fixture
def cluster(fault_cluster: FaultCluster) -> FaultCluster:
    fault_cluster.create_topic(TOPIC, partitions=PARTITIONS)
    return fault_cluster


class Threads:
    """Threads that share one producer; each sends numbered values until it is told to end.

    Every other thread queues its values with `send`, so that several batches are out at once.
    """

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.acknowledged: list[dict[str, tuple[int, int]]] = [{} for _ in range(THREADS)]
        self.unknown: set[str] = set()
        self.errors: list[BaseException] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for_more(self) -> None:
        """Return when every thread has had one more value acknowledged."""
        before = [len(one) for one in self.acknowledged]

        def more() -> bool:
            assert not self.errors, self.errors
            return all(len(one) > old for one, old in zip(self.acknowledged, before, strict=True))

        wait_until(more, what="every thread sends")

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), "a producer thread still sends"
        if self.errors:
            raise self.errors[0]

    def _run(self, name: int) -> None:
        number = 0
        try:
            while not self._ended.is_set():
                values = [f"{name}|{number + index}" for index in range(20 if name % 2 else 1)]
                number += len(values)
                if name % 2:
                    futures = [self.producer.send(TOPIC, one, partition=name % 3) for one in values]
                    for value, future in zip(values, futures, strict=True):
                        self._note(name, value, future.result)
                else:
                    self._note(name, values[0], partial(self.producer.enqueue, TOPIC, values[0]))
                time.sleep(PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.errors.append(error)

    def _note(self, name: int, value: str, deliver: Callable[[], Any]) -> None:
        try:
            self.acknowledged[name][value] = tuple(deliver())  # type: ignore[assignment]
        except QueueError as error:
            if error.outcome_known:
                raise
            self.unknown.add(value)


class Reader:
    """A consumer that comes and goes: it reads some, closes, and goes on under its registration."""

    def __init__(self, address: str, seed: int) -> None:
        self.address = address
        self.found: list[Message] = []
        self.errors: list[BaseException] = []
        self._chance = random.Random(seed)
        self._enough = -1
        self._polls = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def poll_alone(self) -> None:
        """Break off the iteration with the next message; from then on waits have an end."""
        self._polls = True

    def read_until(self, count: int) -> None:
        """Return when so many messages were read; nobody may be left to wait for one more."""
        assert self._polls
        self._enough = count
        self._thread.join(DRAIN_SECONDS)
        if self.errors:
            raise self.errors[0]
        assert not self._thread.is_alive(), f"only {len(self.found)} of {count} were read"

    def _run(self) -> None:
        config = ClientConfig(
            prefetch_messages=50,
            long_poll_ms=500,
            close_timeout_ms=60_000,
            manager_timeout_ms=MANAGER_BACK_MS,
        )
        registrations: dict[str, Registration] | None = None
        try:
            while self._enough != len(self.found):
                with Consumer(TOPIC, self.address, config=config, attach=registrations) as consumer:
                    registrations = consumer.registrations
                    wanted = self._chance.randrange(1, 400)
                    self.found += self._some(consumer, wanted)
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.errors.append(error)

    def _some(self, consumer: Consumer, wanted: int) -> list[Message]:
        if self._chance.random() < 0.3 or self._polls:
            return consumer.poll(wanted, timeout=0.5)
        found = []
        for message in consumer:
            found.append(message)
            if len(found) == wanted or self._polls:
                break
        return found


def check(threads: Threads, readers: list[list[Message]]) -> int:
    """Check every promise to the producers and to each reader; return how many were stored."""
    stored = {(one.partition, one.offset): one.text for one in readers[0]}
    for reader in readers:
        places = [(one.partition, one.offset) for one in reader]
        assert len(places) == len(set(places)), "a reader was handed a message twice"
        assert {(one.partition, one.offset): one.text for one in reader} == stored
        by_partition = defaultdict(list)
        for partition, offset in places:
            by_partition[partition].append(offset)
        for partition, offsets in by_partition.items():
            assert offsets == list(range(len(offsets))), f"partition {partition} is out of order"
    texts = list(stored.values())
    assert len(texts) == len(set(texts)), "a message is stored twice"
    acknowledged = {value: place for one in threads.acknowledged for value, place in one.items()}
    for value, place in acknowledged.items():
        assert stored.get(place) == value, f"{value} was acknowledged at {place}"
    assert set(texts) <= acknowledged.keys() | threads.unknown, "invented"
    for partition in range(PARTITIONS):
        for name in range(THREADS):
            mine = [
                int(text.partition("|")[2])
                for (where, _), text in sorted(stored.items())
                if where == partition and text.startswith(f"{name}|")
            ]
            assert mine == sorted(mine), f"thread {name} is reordered in partition {partition}"
    return len(stored)


def stored_count(cluster: FaultCluster) -> int:
    """Return how many messages a consumer that reads once from the beginning finds."""
    with Consumer(TOPIC, cluster.manager.address) as consumer:
        return consumer.get_size(TOPIC)


def test_threads_and_readers_under_kills_and_a_restart_of_the_manager(
    cluster: FaultCluster, say: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    address = cluster.manager.address
    readers = [Reader(address, SEED + number) for number in range(2)]
    with Producer(TOPIC, address) as producer:
        threads = Threads(producer)
        threads.start()
        for number in range(ROUNDS):
            time.sleep(KILL_EVERY_SECONDS)
            broker = cluster.brokers[chance.choice(sorted(cluster.brokers))]
            broker.kill()
            broker.launch()
            if number == ROUNDS // 2:
                cluster.manager.kill()
                cluster.manager.start()
            broker.wait_healthy()
        for reader in readers:
            reader.poll_alone()
        threads.wait_for_more()
        threads.end()
    count = stored_count(cluster)
    for reader in readers:
        reader.read_until(count)
    assert check(threads, [reader.found for reader in readers]) == count
    say(
        f"kill -9 every {KILL_EVERY_SECONDS:g} s, {ROUNDS} rounds, and the manager: {count} stored,"
        f" {len(threads.unknown)} unknown; lost, doubled, reordered: 0; seed {SEED}"
    )


class ForgetfulExchange:
    """An exchange that loses some answers after they came."""

    def __init__(self, exchange: HttpExchange, forgets: Callable[[], bool]) -> None:
        self.exchange = exchange
        self.connection = exchange.connection
        self._forgets = forgets

    def answer(self, patience_s: float | None = None) -> Answer | None:
        answer = self.exchange.answer(patience_s)
        if answer is not None and self._forgets():
            raise BrokerUnreachable("the answer was dropped", outcome=OUTCOME_UNKNOWN)
        return answer

    def cancel(self) -> None:
        self.exchange.cancel()


class ForgetfulTransport(HttpTransport):
    """Drops a share of the answers to writes, all of which took effect."""

    def __init__(self, share: float) -> None:
        super().__init__(connect_timeout_s=5)
        self.dropped = 0
        self._share = share
        self._chance = random.Random(SEED)

    def begin(self, address: str, request: Request, *, timeout_s: float) -> Any:
        exchange = super().begin(address, request, timeout_s=timeout_s)
        if request.path in ("/producer/produce", "/consumer/consume", "/cursors/reset"):
            return ForgetfulExchange(exchange, self._forgets)
        return exchange

    def wait(self, exchanges: Any, **options: Any) -> Any:
        inner = {getattr(one, "exchange", one): one for one in exchanges}
        return [inner[one] for one in super().wait(list(inner), **options)]

    def _forgets(self) -> bool:
        forgets = self._chance.random() < self._share
        self.dropped += forgets
        return forgets


def test_dropped_answers_double_and_lose_nothing(
    cluster: FaultCluster, say: Callable[[str], None]
) -> None:
    transport, reading = ForgetfulTransport(0.3), ForgetfulTransport(0.3)
    config = ClientConfig(retry_backoff_ms=1, avoid_ms=1, prefetch_messages=20)
    with Producer(TOPIC, cluster.manager.address, config=config, transport=transport) as producer:
        threads = Threads(producer)
        threads.start()
        time.sleep(DROPPING_SECONDS)
        threads.end()
    count = stored_count(cluster)
    found: list[Message] = []
    registrations: dict[str, Registration] | None = None
    while len(found) < count:
        with Consumer(
            TOPIC,
            cluster.manager.address,
            config=config,
            transport=reading,
            attach=registrations,
        ) as consumer:
            registrations = consumer.registrations
            for message in consumer:
                found.append(message)
                if not len(found) % 97 or len(found) == count:
                    break
    assert check(threads, [found]) == count
    say(f"{transport.dropped + reading.dropped} answers dropped, {count} messages, none doubled")


async def test_a_paused_leader_holds_nobody_for_long(
    cluster: FaultCluster, say: Callable[[str], None]
) -> None:
    leader = cluster.leader_id(TOPIC)
    async with AsyncConsumer(TOPIC, cluster.manager.address) as consumer:
        with Producer(TOPIC, cluster.manager.address) as producer:
            producer.enqueue(TOPIC, "before", partition=0)
            assert [one.text for one in await consumer.poll(timeout=10, partition=0)] == ["before"]
            waited = cluster.waited()
            cluster.brokers[leader].signal(signal.SIGSTOP)
            paused = time.monotonic()
            producer.enqueue(TOPIC, "after", partition=0)
            written, for_processor = time.monotonic() - paused, waited.seconds
            assert [one.text for one in await consumer.poll(timeout=30, partition=0)] == ["after"]
            read = time.monotonic() - paused
            cluster.brokers[leader].signal(signal.SIGCONT)
    say(f"SIGSTOP of the leader: write answered after {written:.2f} s, read after {read:.2f} s")
    assert written - for_processor <= GAP_STOP_SECONDS
