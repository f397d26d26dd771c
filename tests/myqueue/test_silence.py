"""What readers say when nobody answers: in time, in the log, and at last as an error."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from myqueue import AsyncConsumer, AsyncWorker, ClientConfig, Consumer, Worker
from myqueue.contract.errors import QueueEmpty, QueueError, UnreadMessages
from myqueue.transport import partition_waiting
from myqueue.transport.heartbeats import HEARTBEATS
from tests.myqueue.dead_ends import KINDS, dead_end
from tests.myqueue.http_twin import HttpCluster

TIMEOUT_S = 0.5
TOOK_MAX_S = 3.0
"""Of a call with that timeout, on a busy machine; without a limit it is at least 20 s here."""
PATIENT = ClientConfig(delivery_timeout_ms=20_000, request_timeout_ms=5_000, close_timeout_ms=100)
HURRIED = ClientConfig(
    delivery_timeout_ms=1_500,
    manager_timeout_ms=300,
    request_timeout_ms=300,
    answer_margin_ms=100,
    close_timeout_ms=100,
    long_poll_ms=500,
)
CLIENTS = ("consumer", "member", "worker")


@contextmanager
def dead(cluster: HttpCluster, kind: str) -> Iterator[None]:
    """Let all addresses of a cluster become dead ends."""
    addresses = [cluster.twin.manager, *cluster.twin.brokers]
    cluster.stop()
    with ExitStack() as stack:
        for address in addresses:
            stack.enter_context(dead_end(kind, int(address.rpartition(":")[2])))
        yield


def make(client: str, address: str, config: ClientConfig, topic: str) -> Any:
    match client:
        case "consumer":
            return Consumer(topic, address, config=config)
        case "member":
            return Consumer(topic, address, group="g", config=config, session_timeout_ms=1_000)
        case _:
            return Worker(topic, address, "w", config=config)


def read(client: Any) -> list[Any]:
    reading = client.receive if isinstance(client, Worker) else client.poll
    found: list[Any] = reading(10, timeout=TIMEOUT_S)
    return found


def read_for(client: Any, *, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        assert read(client) == []


@contextmanager
def client_of(
    client: str, cluster: HttpCluster, config: ClientConfig, topic: str = "logs"
) -> Iterator[Any]:
    """Give a client that has read everything; it is dropped without a goodbye."""
    made = make(client, cluster.address, config, topic)
    while found := read(made):
        if client == "worker":
            made.ack(*found)
    yield made
    HEARTBEATS.leave(made)
    made._core.session.closed = made._core.session.closing = True
    made._core.stop_waiting()
    made._transport.close()


def warnings_of(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [
        one.getMessage()
        for one in caplog.records
        if one.levelno == logging.WARNING and text in one.getMessage()
    ]


@contextmanager
def clients_of(
    cluster: HttpCluster, config: ClientConfig, topics: list[tuple[str, str]]
) -> Iterator[Callable[[Callable[..., None]], None]]:
    """Give what calls a function with each of (client, topic), all at once: they wait for long."""
    with ExitStack() as stack, ThreadPoolExecutor(len(topics)) as pool:

        def enter(one: tuple[str, str]) -> tuple[str, str, Any]:
            client, topic = one
            return client, topic, stack.enter_context(client_of(client, cluster, config, topic))

        made = list(pool.map(enter, topics))

        def all_do(function: Callable[..., None]) -> None:
            for done in [pool.submit(function, *one) for one in made]:
                done.result()

        yield all_do


@pytest.mark.parametrize("kind", KINDS)
def test_a_timeout_is_kept_and_the_log_says_what_was_not_seen(
    http_cluster: HttpCluster,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_waiting, "WARN_AFTER_S", 2 * TIMEOUT_S)
    topics = []
    for client, partitions in itertools.product(CLIENTS, (1, 3)):
        topics.append((client, f"{client}-of-{partitions}"))
        http_cluster.twin.create(topics[-1][1], partitions)

    def reads_in_time(client: str, topic: str, made: Any) -> None:
        for _ in range(3):
            started_s = time.monotonic()
            assert read(made) == []
            took_s = time.monotonic() - started_s
            assert TIMEOUT_S * 0.9 <= took_s < TOOK_MAX_S
        if client != "member":  # whose fetches may be held for a while
            assert len([one for one in warnings_of(caplog, "may not be seen") if topic in one]) == 1

    with clients_of(http_cluster, PATIENT, topics) as all_do, dead(http_cluster, kind):
        all_do(reads_in_time)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_after_the_delivery_timeout_it_is_an_error(http_cluster: HttpCluster, kind: str) -> None:
    for client in CLIENTS:
        http_cluster.twin.create(client, 2)

    def fails(client: str, topic: str, made: Any) -> None:
        started_s = time.monotonic()
        with pytest.raises(QueueError):
            read_for(made, seconds=20)
        assert time.monotonic() - started_s > 1.4
        for call in (lambda: made.lag(), lambda: made.dequeue(topic)):
            if client != "worker":
                with pytest.raises(QueueError) as caught:
                    call()
                assert not isinstance(caught.value, QueueEmpty)

    topics = [(client, client) for client in CLIENTS]
    with clients_of(http_cluster, HURRIED, topics) as all_do, dead(http_cluster, kind):
        all_do(fails)


def test_heartbeats_that_fail_are_told_without_any_call(
    http_cluster: HttpCluster, caplog: pytest.LogCaptureFixture
) -> None:
    http_cluster.twin.create("logs", 1)
    with client_of("member", http_cluster, HURRIED), dead(http_cluster, "refuses"):
        end_s = time.monotonic() + 20
        while not warnings_of(caplog, "heartbeats of this consumer fail"):
            assert time.monotonic() < end_s
            time.sleep(0.05)
        time.sleep(0.5)
        assert len(warnings_of(caplog, "heartbeats of this consumer fail")) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_in_an_event_loop_it_is_the_same(
    http_cluster: HttpCluster,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_waiting, "WARN_AFTER_S", TIMEOUT_S / 2)
    http_cluster.twin.create("logs", 2)
    address = http_cluster.address
    consumer = await AsyncConsumer("logs", address, config=PATIENT).start()
    member = await AsyncConsumer("logs", address, group="g", config=PATIENT).start()
    worker = await AsyncWorker("logs", address, "w", config=PATIENT).start()
    calls = (consumer.poll, member.poll, worker.receive)

    async def reads_in_time(call: Callable[..., Awaitable[list[Any]]]) -> None:
        started_s = time.monotonic()
        assert await call(10, timeout=TIMEOUT_S) == []
        assert TIMEOUT_S * 0.9 <= time.monotonic() - started_s < TOOK_MAX_S

    async def closes(client: Any) -> None:
        with suppress(UnreadMessages):  # of a pop that was cut off nobody says what it gave
            await client.close()

    assert await asyncio.gather(*[call(10, timeout=TIMEOUT_S) for call in calls]) == [[], [], []]
    with dead(http_cluster, kind):
        await asyncio.gather(*map(reads_in_time, calls))
        await asyncio.gather(*map(closes, (consumer, member, worker)))
    assert len(warnings_of(caplog, "may not be seen")) >= 2
