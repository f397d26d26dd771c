"""Batches that nobody can decode, with real processes: at the door, and read in every way."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from myqueue import AsyncConsumer, AsyncWorker, Client, Consumer, Producer, Worker
from myqueue.contract.inputs import BATCH
from myqueue.contract.records import Record, encode_batch, read_header
from queuesite.log_lines import LINES_MAX
from tests.batches import MIB, bomb, undecodable
from tests.cluster.processes import Cluster
from tests.peak_memory import PeakMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster
GROWTH_MAX = 50 * MIB
TIMEOUT_S = 20


class Site:
    """A cluster, and record batches sent to it by hand."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.http = requests.Session()

    def make(self, topic: str) -> None:
        replicas = min(3, self.cluster.brokers)
        with Client(self.cluster.manager) as client:
            client.create_topic(topic, number_of_partitions=1, replication_factor=replicas)

    def send(self, topic: str, *batches: bytes) -> list[requests.Response]:
        """Send batches to the leader of partition 0."""
        with Producer(topic, self.cluster.manager) as producer:
            client_id, token = producer.registration(topic)
            query: Any = {"topic": topic, "partition": 0, "producer_id": client_id}
            headers = {"Authorization": f"Bearer {token}", "Content-Type": BATCH}
            url = f"{self.cluster.leader_of(topic, 0)}/producer/produce"
            return [
                self.http.post(url, params=query, data=batch, headers=headers, timeout=TIMEOUT_S)
                for batch in batches
            ]

    def measure(self) -> list[PeakMemory]:
        """Measure every broker from now on."""
        places = self.cluster.state()["brokers"]
        return [PeakMemory(int(place["pid"])) for place in places]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Cluster(tmp_path_factory.mktemp("guarded") / "data", brokers=1) as cluster:
        yield Site(cluster)


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three brokers without the check at the door."""
    directory: Path = tmp_path_factory.mktemp("unguarded")
    with Cluster(
        directory / "data", program=(sys.executable, "tests/cluster/unguarded.py")
    ) as cluster:
        yield Site(cluster)


def test_bombs_and_all_else_that_nobody_can_decode_are_refused(
    guarded: Site, say: Callable[[str], None]
) -> None:
    guarded.make("door")
    good = encode_batch([Record("good")])
    assert [answer.status_code for answer in guarded.send("door", *[good] * 20)] == [200] * 20
    [memory] = guarded.measure()
    for answer in guarded.send("door", *undecodable().values(), *[bomb()] * 20):
        assert (answer.status_code, answer.json()["code"]) == (400, "CORRUPT_BATCH"), answer.text
    grown = memory.grown()
    say(f"the broker grew by {grown / MIB:.1f} MiB at most")
    assert grown < GROWTH_MAX
    assert guarded.send("door", good)[0].json()["base_offset"] == 20


Read = tuple[list[Any], int]
"""The values, and how many messages were told as corrupt."""


def pop_at(site: Site, address: str, topic: str) -> Read:
    """Pop over HTTP."""
    with Consumer(topic, site.cluster.manager) as consumer:
        client_id, token = consumer.registration(topic)
    call = {"topic": topic, "partition": 0, "consumer_id": client_id, "max_messages": 7}
    values: list[Any] = []
    corrupt = 0
    while True:
        body = site.cluster.post("/consumer/consume", address=address, token=token, **call)
        assert body["http_status"] == 200, body
        corrupt += body["corrupt"]
        if not body["messages"]:
            return values, corrupt
        values += [message["message"] for message in body["messages"]]


def pop_singly(site: Site, topic: str) -> Read:
    """Pop over HTTP through the manager, one by one."""
    with Consumer(topic, site.cluster.manager) as consumer:
        client_id, _ = consumer.registration(topic)
    values: list[Any] = []
    corrupt = 0
    while True:
        body = site.cluster.post("/consumer/consume", topic=topic, consumer_id=client_id)
        corrupt += body.get("corrupt", 0)
        if body["http_status"] == 404:
            return values, corrupt
        values.append(body["message"])


def fetch_json(site: Site, address: str, topic: str) -> Read:
    with Consumer(topic, site.cluster.manager) as consumer:
        _, token = consumer.registration(topic)
    values: list[Any] = []
    corrupt = offset = 0
    while True:
        body = site.cluster.get(
            "/fetch",
            address=address,
            topic=topic,
            partition=0,
            offset=offset,
            token=token,
        )
        assert body["http_status"] == 200, body
        values += [message["message"] for message in body["messages"]]
        corrupt, offset = corrupt + body["corrupt"], body["next_offset"]
        if offset == body["high_watermark"]:
            return values, corrupt


def receive_at(site: Site, address: str, topic: str) -> Read:
    with Consumer(topic, site.cluster.manager) as consumer:
        _, token = consumer.registration(topic)
    group = "by-hand" if address else "through-the-manager"
    call = {"topic": topic, "partition": 0, "group": group, "max_messages": 7, "token": token}
    values: list[Any] = []
    corrupt = 0
    while True:
        body = site.cluster.post("/messages/receive", address=address, **call)
        assert body["http_status"] == 200, body
        assert body["missed"] == 0
        corrupt += body["corrupt"]
        if not body["messages"]:
            return values, corrupt
        values += [message["message"] for message in body["messages"]]


def consume(site: Site, topic: str, **options: Any) -> Read:
    """Poll through the library."""
    values: list[Any] = []
    with Consumer(topic, site.cluster.manager, **options) as consumer:
        while found := consumer.poll(7):
            values += [message.value for message in found]
        return values, sum(consumer.corrupt().values())


def fetch(site: Site, topic: str) -> Read:
    values: list[Any] = []
    corrupt = offset = 0
    with Consumer(topic, site.cluster.manager) as consumer:
        while True:
            fetched = consumer.fetch(topic, 0, offset)
            values += [message.value for message in fetched.messages]
            corrupt, offset = corrupt + fetched.corrupt, fetched.next_offset
            if offset == fetched.high_watermark:
                return values, corrupt


def work(site: Site, topic: str) -> Read:
    values: list[Any] = []
    with Worker(topic, site.cluster.manager, "workers") as worker:
        while found := worker.receive(7, timeout=0):
            worker.ack(*found)
            values += [delivery.value for delivery in found]
        assert worker.missed == 0
        return values, worker.corrupt


async def consume_async(site: Site, topic: str, **options: Any) -> Read:
    values: list[Any] = []
    async with AsyncConsumer(topic, site.cluster.manager, **options) as consumer:
        while found := await consumer.poll(7):
            values += [message.value for message in found]
        return values, sum(consumer.corrupt().values())


async def work_async(site: Site, topic: str) -> Read:
    values: list[Any] = []
    async with AsyncWorker(topic, site.cluster.manager, "async-workers") as worker:
        while found := await worker.receive(7, timeout=0):
            await worker.ack(*found)
            values += [delivery.value for delivery in found]
        return values, worker.corrupt


WAYS: dict[str, Callable[[Site, str], Read]] = {
    "pop at the leader": lambda site, topic: pop_at(site, site.cluster.leader_of(topic, 0), topic),
    "pop through the manager": lambda site, topic: pop_at(site, "", topic),
    "single pops through the manager": pop_singly,
    "fetch in JSON": lambda site, topic: fetch_json(site, site.cluster.leader_of(topic, 0), topic),
    "fetch in JSON through the manager": lambda site, topic: fetch_json(site, "", topic),
    "receive at the leader": lambda site, topic: receive_at(
        site, site.cluster.leader_of(topic, 0), topic
    ),
    "receive through the manager": lambda site, topic: receive_at(site, "", topic),
    "library consumer": consume,
    "library group member": lambda site, topic: consume(site, topic, group="members"),
    "library fetch": fetch,
    "library worker": work,
    "asyncio consumer": lambda site, topic: asyncio.run(consume_async(site, topic)),
    "asyncio group member": lambda site, topic: asyncio.run(
        consume_async(site, topic, group="async-members")
    ),
    "asyncio worker": lambda site, topic: asyncio.run(work_async(site, topic)),
}


def test_every_way_of_reading_passes_what_nobody_can_decode(
    unguarded: Site, say: Callable[[str], None]
) -> None:
    for topic in ("good", "poisoned"):
        unguarded.make(topic)
    bad = list(undecodable().values())
    expected = [str(number) for number in range(len(bad) + 1)]
    good = [encode_batch([Record(value)]) for value in expected]
    mixed = [good[0], *(one for pair in zip(bad, good[1:], strict=True) for one in pair)]
    for topic, batches in (("good", good), ("poisoned", mixed)):
        answers = unguarded.send(topic, *batches)
        assert {answer.status_code for answer in answers} == {200}
    count = sum(read_header(batch).record_count for batch in bad)
    for read in WAYS.values():
        assert read(unguarded, "good") == (expected, 0)
    memories = unguarded.measure()
    for way, read in WAYS.items():
        assert read(unguarded, "poisoned") == (expected, count), way
    grown = max(memory.grown() for memory in memories)
    say(f"{len(WAYS)} ways past {len(bad)} batches; a broker grew by {grown / MIB:.1f} MiB at most")
    assert grown < GROWTH_MAX
    for place in unguarded.cluster.state()["brokers"]:
        metrics = unguarded.http.get(f"{place['address']}/metrics", timeout=TIMEOUT_S).text
        if place["address"] == unguarded.cluster.leader_of("poisoned", 0):
            assert "queue_broker_messages_corrupt_total" in metrics
    for log in unguarded.cluster.data_dir.glob("**/*.log"):
        text = log.read_text()
        assert "Traceback" not in text, log
        lines = [line for line in text.splitlines() if "cannot be decoded by anybody" in line]
        written = sum("were left out" not in line for line in lines)
        assert written == 0 or min(len(bad), LINES_MAX) <= written <= len(bad), log
