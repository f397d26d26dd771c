"""Clients that reach the manager alone, not one broker: everything works, at the manager's hand."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest

from myqueue import AsyncConsumer, AsyncProducer, AsyncWorker, Consumer, Producer, Worker
from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.transport.aio import HttpAsyncTransport
from myqueue.transport.blocking import HttpTransport
from tests.cluster.processes import create_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myqueue.transport.aio import HttpAsyncExchange
    from myqueue.transport.blocking import HttpExchange
    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

PARTITIONS = 3
VALUES = {f"value {number}" for number in range(60)}
LARGE = "x" * (1 << 20)
HEALTH = Request("GET", "/healthz")
SECONDS_MAX = 15.0
"""For everything that one kind of client does; the limit of a call is 120 s."""


@pytest.fixture
def nowhere() -> Iterator[str]:
    """Give an address where connections are refused, for as long as the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class ManagerAlone(HttpTransport):
    """Sends what is for a broker nowhere, as a firewall would."""

    def __init__(self, manager: str, nowhere: str) -> None:
        super().__init__(connect_timeout_s=1.0)
        self._manager, self._nowhere = manager, nowhere

    def begin(self, address: str, request: Request, *, timeout_s: float) -> HttpExchange:
        address = address if address == self._manager else self._nowhere
        return super().begin(address, request, timeout_s=timeout_s)


class AsyncManagerAlone(HttpAsyncTransport):
    """The same for event loops."""

    def __init__(self, manager: str, nowhere: str) -> None:
        super().__init__(connect_timeout_s=1.0)
        self._manager, self._nowhere = manager, nowhere

    async def begin(self, address: str, request: Request, *, timeout_s: float) -> HttpAsyncExchange:
        address = address if address == self._manager else self._nowhere
        return await super().begin(address, request, timeout_s=timeout_s)


@pytest.fixture(scope="module")
def topic(shared_cluster: Cluster) -> str:
    """Give the name of a topic with `VALUES`, and behind them one message of 1 MiB."""
    create_topic(shared_cluster, "blocking", PARTITIONS)
    with Producer("blocking", shared_cluster.manager) as producer:
        producer.produce_many("blocking", sorted(VALUES))
        producer.enqueue("blocking", LARGE, partition=0)
    return "blocking"


@pytest.fixture
def alone(shared_cluster: Cluster, nowhere: str) -> Iterator[ManagerAlone]:
    """Give the way to the manager, and to nobody else."""
    transport = ManagerAlone(shared_cluster.manager, nowhere)
    with pytest.raises(BrokerUnreachable):
        transport.request(shared_cluster.broker_addresses()[0], HEALTH, timeout_s=1)
    started_s = time.monotonic()
    yield transport
    assert time.monotonic() - started_s < SECONDS_MAX


def test_a_producer_works_through_the_manager(shared_cluster: Cluster, alone: ManagerAlone) -> None:
    create_topic(shared_cluster, "sent", PARTITIONS)
    with Producer("sent", shared_cluster.manager, transport=alone) as producer:
        futures = [producer.send("sent", value) for value in sorted(VALUES)]
        assert producer.flush(30)
        assert len({future.result() for future in futures}) == len(VALUES)
        assert producer.enqueue("sent", LARGE, partition=0).partition == 0


def test_a_consumer_works_through_the_manager(
    shared_cluster: Cluster, topic: str, alone: ManagerAlone
) -> None:
    with Consumer(topic, shared_cluster.manager, transport=alone) as consumer:
        fetched = consumer.fetch(topic, 0, 0, max_bytes=2 << 20)
        assert (fetched.messages[-1].value, fetched.high_watermark) == (LARGE, fetched.next_offset)
        assert sum(one.messages for one in consumer.lag()) == len(VALUES) + 1
        assert consumer.get_size(topic) == len(VALUES) + 1
        assert len(consumer.poll(5, timeout=5)) == 5
        assert consumer.seek_to_time(topic, 0) == {0: 0, 1: 0, 2: 0}
        read = 0
        while messages := consumer.poll(500):
            read += len(messages)
        assert read == len(VALUES) + 1


def test_a_member_of_a_group_works_through_the_manager(
    shared_cluster: Cluster, topic: str, alone: ManagerAlone
) -> None:
    with Consumer(topic, shared_cluster.manager, group="g", transport=alone) as member:
        seen: set[str] = set()
        while seen != VALUES | {LARGE}:
            seen |= {message.text for message in member.poll(7, timeout=5)}
            member.commit()
        assert [one.messages for one in member.lag()] == [0] * PARTITIONS
        assert member.seek_to_time(topic, 0) == {0: 0, 1: 0, 2: 0}
        assert member.poll(1, timeout=5)[0].offset == 0


def test_a_worker_works_through_the_manager(
    shared_cluster: Cluster, topic: str, alone: ManagerAlone
) -> None:
    with Worker(topic, shared_cluster.manager, "mailers", transport=alone) as worker:
        first = worker.receive(4, timeout=5)
        assert all(one.done for one in worker.extend(*first, visibility=60))
        assert all(one.done for one in worker.nack(*first[:1]))
        assert all(one.done for one in worker.ack(*first[1:]))
        settled = len(first) - 1
        while deliveries := worker.receive(500, timeout=0):
            settled += sum(one.done for one in worker.ack(*deliveries))
        assert settled == len(VALUES) + 1


def test_everything_works_through_the_manager_in_an_event_loop(
    shared_cluster: Cluster, nowhere: str
) -> None:
    manager = shared_cluster.manager
    create_topic(shared_cluster, "asyncio", PARTITIONS)
    values = VALUES

    def means() -> AsyncManagerAlone:
        return AsyncManagerAlone(manager, nowhere)

    async def run() -> None:
        async with AsyncProducer("asyncio", manager, transport=means()) as producer:
            await asyncio.gather(*[await producer.send("asyncio", value) for value in values])
        async with AsyncConsumer("asyncio", manager, transport=means()) as consumer:
            seen = {message.text for message in await consumer.poll(500, timeout=5)}
            assert seen < values
            while messages := await consumer.poll(500):
                seen |= {message.text for message in messages}
            assert seen == values
        async with AsyncConsumer("asyncio", manager, group="g", transport=means()) as member:
            seen = set()
            while seen != values:
                seen |= {message.text for message in await member.poll(7, timeout=5)}
                await member.commit()
        async with AsyncWorker("asyncio", manager, "mailers", transport=means()) as worker:
            seen = set()
            while deliveries := await worker.receive(500, timeout=0):
                seen |= {delivery.text for delivery in deliveries}
                assert all(one.done for one in await worker.ack(*deliveries))
            assert seen == values

    started_s = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started_s < SECONDS_MAX
