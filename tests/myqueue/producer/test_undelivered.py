from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import wait

import pytest

from myqueue import AsyncProducer, ClientConfig, Producer
from myqueue.contract.errors import DeliveryTimeout, QueueError, UndeliveredMessages
from myqueue.contract.records import Record
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.lanes import Batch
from myqueue.producer.undelivered import Undelivered, UnreportedFailures, lines, undelivered
from tests.myqueue.http_twin import HttpCluster

HURRIED = ClientConfig(delivery_timeout_ms=150, manager_timeout_ms=50)


def cut_off(cluster: HttpCluster, config: ClientConfig = HURRIED) -> Producer:
    """Return a producer that knows its topic, whose cluster is gone."""
    cluster.twin.create("logs", 1)
    producer = Producer("logs", cluster.address, config=config)
    assert producer.partition_count("logs") == 1
    cluster.stop()
    return producer


def test_closing_tells_of_messages_that_failed_before(http_cluster: HttpCluster) -> None:
    producer = cut_off(http_cluster)
    futures = [producer.send("logs", str(number)) for number in range(5)]
    wait(futures)  # which looks at none of them
    with pytest.raises(UndeliveredMessages) as caught:
        producer.close()
    assert caught.value.details["values"] == ["0", "1", "2", "3", "4"]
    assert "5 messages were not delivered" in caught.value.message
    assert "DELIVERY_TIMEOUT" in caught.value.message
    producer.close()


def test_a_with_block_tells_of_them_too(http_cluster: HttpCluster) -> None:
    producer = cut_off(http_cluster)

    def work() -> None:
        with producer:
            producer.send("logs", "x")
            producer.flush()

    with pytest.raises(UndeliveredMessages):
        work()


def test_what_the_program_took_is_not_told_again(http_cluster: HttpCluster) -> None:
    producer = cut_off(http_cluster)
    seen: list[BaseException | None] = []
    futures = [producer.send("logs", str(number)) for number in range(5)]
    futures[3].add_done_callback(lambda future: seen.append(future.exception()))
    futures[4].add_done_callback(lambda future: None)
    producer.flush()
    with pytest.raises(DeliveryTimeout):
        futures[0].result()
    assert futures[1].exception() is not None
    with pytest.raises(UndeliveredMessages) as caught:
        producer.close()
    assert caught.value.details["values"] == ["2", "4"]
    assert len(seen) == 1


def test_calls_that_raise_have_told(http_cluster: HttpCluster) -> None:
    producer = cut_off(http_cluster)
    for call in (
        lambda: producer.enqueue("logs", "x"),
        lambda: producer.produce_many("logs", ["y", "z"]),
    ):
        with pytest.raises(QueueError):
            call()
    producer.close()


def test_a_failure_is_logged_once_for_each_cause(
    http_cluster: HttpCluster, caplog: pytest.LogCaptureFixture
) -> None:
    producer = cut_off(http_cluster)
    with caplog.at_level(logging.WARNING, "myqueue"):
        for _ in range(3):
            producer.send("logs", "x")
            producer.flush()
    texts = [one.getMessage() for one in caplog.records if "not delivered" in one.getMessage()]
    assert len(texts) == 1
    assert texts[0].startswith("1 messages for logs/0 were not delivered: DELIVERY_TIMEOUT")
    with pytest.raises(UndeliveredMessages):
        producer.close()


async def test_closing_in_an_event_loop_tells_of_them_too(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    producer = AsyncProducer("logs", http_cluster.address, config=HURRIED)
    assert await producer.partition_count("logs") == 1
    http_cluster.stop()
    futures = [await producer.send("logs", str(number)) for number in range(4)]
    await producer.flush()
    with pytest.raises(DeliveryTimeout):
        await futures[0]
    assert futures[1].exception() is not None
    with pytest.raises(UndeliveredMessages) as caught:
        await producer.close()
    assert caught.value.details["values"] == ["2", "3"]


async def test_a_call_that_was_cancelled_was_not_told(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    producer = AsyncProducer("logs", http_cluster.address, config=HURRIED)
    assert await producer.partition_count("logs") == 1
    http_cluster.stop()
    call = asyncio.create_task(producer.enqueue("logs", "given"))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(UndeliveredMessages) as caught:
        await producer.close()
    assert caught.value.details["values"] == ["given"]


def failed(*values: str, size_bytes: int = 10) -> Batch:
    batch = Batch(("logs", 0), deadline_s=0.0, records=[Record(value) for value in values])
    batch.futures = [DeliveryFuture() for _ in values]
    batch.size_bytes = size_bytes
    return batch


def test_of_too_many_failures_the_last_are_kept_and_all_are_counted() -> None:
    unreported = UnreportedFailures(bytes_max=100)
    looked = failed("looked")
    unreported.add(looked, DeliveryTimeout())
    looked.take_unreported_records()
    for number in range(25):
        unreported.add(failed(str(number)), DeliveryTimeout())
    lost, dropped = unreported.take()
    assert len(lost) + dropped["logs"] == 25
    assert [one.value for one in lost] == [str(number) for number in range(25 - len(lost), 25)]
    assert 5 <= len(lost) <= 10
    assert "25 messages were not delivered" in str(undelivered(lost, dropped))
    assert unreported.take() == ([], Counter())


def test_the_messages_of_unknown_outcome_come_first() -> None:
    lost = [
        Undelivered("logs", "never", "A: a", True),
        Undelivered("logs", "perhaps", "B: b", False),
    ]
    error = undelivered(lost, Counter())
    assert error.details["values"] == ["perhaps", "never"]
    assert not error.outcome_known
    assert "1 of them have an unknown outcome" in error.message
    text = "myqueue: 2 messages of topic logs were not delivered"
    text += " (1 of them may have arrived all the same): A: a"
    assert lines(lost, Counter({"jobs": 3})) == [
        "myqueue: 3 messages of topic jobs were not delivered: see the log",
        text,
    ]
