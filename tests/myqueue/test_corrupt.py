"""What a partition holds and nobody can decode: each way of reading with the library passes it.

The queue in memory has it as a broker has what an earlier version stored.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from myqueue import AsyncConsumer, AsyncWorker, Client, Consumer, Worker
from myqueue.cli.main import main
from myqueue.contract.errors import CorruptBatch, QueueEmpty
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MSGPACK
from myqueue.contract.records import Record, encode_batch
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport.blocking import encode_body, read_body
from tests.batches import crafted, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from myqueue.testing.partition import MemoryPartition

GOOD = ["a", "b", "c", "d"]
CORRUPT = 9
OFFSETS = [2, 3, 7, 8]
TIME_MS = 1_000

Read = tuple[list[Any], int]
"""The values, and how many messages were told as corrupt."""


def corrupt(count: int) -> bytes:
    return crafted(rows(*[b"\x07"] * count), record_count=count)


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    """Give two good messages, then two, with corrupt ones before, between and behind."""
    with InMemoryQueue({"logs": 1}) as queue:
        partition = stored(queue)
        partition.plant(corrupt(2))
        for values in (GOOD[:2], GOOD[2:]):
            partition.append(encode_batch([Record(one, timestamp=TIME_MS) for one in values]))
            partition.plant(corrupt(1 if values[0] == "c" else 3))
        partition.plant(corrupt(3))
        yield queue


def stored(queue: InMemoryQueue) -> MemoryPartition:
    [partition] = queue._api.state.topics["logs"]
    return partition


def consume(queue: InMemoryQueue, most: int, **options: Any) -> Read:
    values: list[Any] = []
    with Consumer("logs", queue.address, **options) as consumer:
        while found := consumer.poll(most):
            values += [message.value for message in found]
        return values, consumer.corrupt().get(("logs", 0), 0)


def work(queue: InMemoryQueue, most: int) -> Read:
    values: list[Any] = []
    with Worker("logs", queue.address, "workers") as worker:
        while found := worker.receive(most, timeout=0):
            values += [delivery.value for delivery in found]
            worker.ack(*found)
        assert worker.missed == 0
        return values, worker.corrupt


def fetch(queue: InMemoryQueue, most: int) -> Read:
    values: list[Any] = []
    count = offset = 0
    with Consumer("logs", queue.address) as consumer:
        while True:
            fetched = consumer.fetch("logs", 0, offset, max_bytes=most)
            values += [message.value for message in fetched.messages]
            count, offset = count + fetched.corrupt, fetched.next_offset
            if offset == fetched.high_watermark:
                return values, count


async def consume_async(queue: InMemoryQueue, most: int, **options: Any) -> Read:
    values: list[Any] = []
    async with AsyncConsumer("logs", queue.address, **options) as consumer:
        while found := await consumer.poll(most):
            values += [message.value for message in found]
        return values, consumer.corrupt().get(("logs", 0), 0)


async def work_async(queue: InMemoryQueue, most: int) -> Read:
    values: list[Any] = []
    async with AsyncWorker("logs", queue.address, "workers") as worker:
        while found := await worker.receive(most, timeout=0):
            values += [delivery.value for delivery in found]
            await worker.ack(*found)
        return values, worker.corrupt


WAYS: dict[str, Callable[[InMemoryQueue, int], Read]] = {
    "consumer": consume,
    "group": lambda queue, most: consume(queue, most, group="members"),
    "worker": work,
    "fetch": fetch,
    "asyncio consumer": lambda queue, most: asyncio.run(consume_async(queue, most)),
    "asyncio group": lambda queue, most: asyncio.run(consume_async(queue, most, group="members")),
    "asyncio worker": lambda queue, most: asyncio.run(work_async(queue, most)),
}


@pytest.mark.parametrize("most", [1, 2, 100])
@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_reading_passes_it_and_tells(queue: InMemoryQueue, way: str, most: int) -> None:
    assert WAYS[way](queue, most) == (GOOD, CORRUPT)


def test_what_a_broker_refuses_is_refused_in_memory_too(queue: InMemoryQueue) -> None:
    partition, before = stored(queue), len(stored(queue).records)
    with pytest.raises(CorruptBatch):
        partition.append(corrupt(1))
    with pytest.raises(CorruptBatch, match="at most 8192"):
        partition.append(encode_batch([Record("v", "k" * 8_193)]))
    assert len(partition.records) == before
    assert queue.values("logs") == GOOD
    assert [message.offset for message in queue.messages("logs")] == OFFSETS


def test_single_pops_tell_of_it_with_the_next_message_and_with_none(queue: InMemoryQueue) -> None:
    with Consumer("logs", queue.address) as consumer:
        client_id, token = consumer.registration("logs")
        asked = {"topic": "logs", "partition": 0, "consumer_id": client_id}
        request = Request(
            "POST",
            "/consumer/consume",
            body=encode_body(asked),
            content_type=MSGPACK,
            accept=MSGPACK,
            token=token,
        )
        told = []
        for _ in GOOD:
            body = read_body(queue.handle(queue.address, request))
            told.append((body["message"], body["corrupt"]))
        assert told == [("a", 2), ("b", 0), ("c", 3), ("d", 0)]
        with pytest.raises(QueueEmpty) as empty:
            read_body(queue.handle(queue.address, request))
        assert empty.value.details["corrupt"] == 4


@pytest.mark.parametrize("group", [None, "members"])
def test_the_age_of_a_lag_is_that_of_the_first_message_behind_it(
    queue: InMemoryQueue, group: str | None
) -> None:
    with Consumer("logs", queue.address, group=group) as consumer:
        [lag] = consumer.lag()
        assert lag.messages == len(GOOD) + CORRUPT
        assert lag.seconds > 1_000_000
        while consumer.poll(100):
            pass
        [lag] = consumer.lag()
        assert (lag.messages, lag.seconds) == (0, 0)


def test_commands_pass_it(queue: InMemoryQueue, capfd: pytest.CaptureFixture[str]) -> None:
    def run(command: str, *arguments: str) -> list[str]:
        assert main([command, "--address", queue.address, *arguments]) == 0
        return capfd.readouterr().out.splitlines()

    assert run("consume", "logs", "--from-beginning") == GOOD
    assert run("consume", "logs", "--group", "cli", "--from-beginning") == GOOD
    assert run("tail", "logs", "-n", "7") == ["c", "d"]
    echo = [sys.executable, "-c", "import sys; print(sys.stdin.read())"]
    assert run("work", "logs", "--group", "w", "--until-empty", "--", *echo) == GOOD
    for more in ([], ["--pop"]):
        [figures] = run("perf", "consume", "logs", "--messages", "100", "--json", *more)
        assert json.loads(figures)["messages"] == len(GOOD)
    with Consumer("logs", queue.address), Client(queue.address) as client:
        [row] = [json.loads(line) for line in run("lag", "logs", "--json")]
        assert row["lag"] == len(GOOD) + CORRUPT
        assert row["age_ms"] > 1_000_000_000
        [group] = client.describe_group("w")["partitions"]
        assert (group["lag"], group["unsettled"], group["dead"]) == (0, 0, 0)
