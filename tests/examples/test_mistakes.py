"""What programs get wrong first, and what they are told."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, get_args

import pytest

from myqueue import Client, Consumer, Producer, Worker
from myqueue.config import Compression
from myqueue.contract.inputs import Start
from myqueue.producer.options import Connect
from myqueue.testing import InMemoryQueue

Place = tuple[str, Producer, Consumer, Worker]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A queue in memory, and one of each."""
    with (
        InMemoryQueue(["t"]) as queue,
        Producer("t", queue.address) as producer,
        Consumer("t", queue.address) as consumer,
        Worker("t", queue.address, "workers") as worker,
    ):
        yield queue.address, producer, consumer, worker


Mistake = Callable[[str, Any, Any, Any], object]
MISTAKES: dict[str, tuple[Mistake, str]] = {
    "a time in place of a number": (
        lambda a, p, c, w: c.poll(1.0),
        "max_messages must be a whole number from 1 on, not 1.0; the time to wait is timeout=",
    ),
    "a text as a timeout": (
        lambda a, p, c, w: w.receive(timeout="1"),
        "timeout is a number of seconds, or None for ever, not '1'",
    ),
    "a text in place of a list": (
        lambda a, p, c, w: p.produce_many("t", "hello"),
        "messages must be a list of messages, or another iterable, not one str",
    ),
    "a dictionary without a serializer": (
        lambda a, p, c, w: p.enqueue("t", {"a": 1}),
        "message must be a text or bytes (bytes not in JSON), not dict; turn it into one yourself",
    ),
    "another topic": (
        lambda a, p, c, w: p.enqueue("other", "x"),
        "this producer is not registered for 'other'; call register('other')",
    ),
    "a key under both names": (
        lambda a, p, c, w: p.send("t", "x", "k", partition_key="k"),
        "partition_key is an older name of key; give key alone",
    ),
    "a partition and what picks one": (
        lambda a, p, c, w: p.enqueue("t", "x", 5, partition=0),
        "give partition or an integer as key, not both: each picks the partition",
    ),
    "no topic": (
        lambda a, p, c, w: Producer(None, a),  # type: ignore[arg-type]
        "topics is a name or a list of names, not None",
    ),
    "a topic that is missing": (
        lambda a, p, c, w: Consumer("missing", a),
        "topic 'missing' does not exist",
    ),
    "a misspelt option": (
        lambda a, p, c, w: Consumer("t", a, group="g", autocommit=False),  # type: ignore[call-overload]
        "a consumer has no argument 'autocommit'; did you mean auto_commit?",
    ),
    "another start": (
        lambda a, p, c, w: Consumer("t", a, start="beginning"),  # type: ignore[arg-type]
        "start must be earliest or latest, not 'beginning'",
    ),
    "a port alone": (
        lambda a, p, c, w: Client("8000"),
        "'8000' is no address like http://127.0.0.1:8000",
    ),
    "no address": (
        lambda a, p, c, w: Client(),
        "no manager is named: give address, or set MYQUEUE_ADDRESS",
    ),
    "a worker without a group": (
        lambda a, p, c, w: Worker("t", a),
        "a worker needs the name of its group: Worker(topics, address, group)",
    ),
    "a receipt in place of a delivery": (
        lambda a, p, c, w: w.ack("1.2.3"),
        "deliveries are what receive returns, one by one or as a list, not str",
    ),
    "milliseconds in place of seconds": (
        lambda a, p, c, w: w.extend(visibility=60_000),
        "visibility must be 0 to 43200 seconds, not 60000",
    ),
    "a worker that runs nothing": (
        lambda a, p, c, w: w.run(),
        "this worker has no handler: decorate a function with handler",
    ),
    "a commit of nobody": (
        lambda a, p, c, w: c.commit(),
        "commit belongs to consumers with a group",
    ),
    "a time without a zone": (
        lambda a, p, c, w: c.seek_to_time("t", datetime(2030, 1, 1)),  # noqa: DTZ001
        "a time needs a time zone",
    ),
    "a kind of client in the singular": (
        lambda a, p, c, w: p.list_clients("producer"),
        "kind must be producers or consumers, not 'producer'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(place: Place, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MYQUEUE_ADDRESS", raising=False)
    call, text = MISTAKES[mistake]
    with pytest.raises(Exception, match=re.escape(text)):
        call(*place)


def test_calls_that_read_wait_when_they_are_told_to_and_for_seconds() -> None:
    for read in (Consumer.poll, Consumer.fetch, Worker.receive):
        assert inspect.signature(read).parameters["timeout"].default == 0.0, read
    for write in (Producer.enqueue, Producer.send, Producer.produce_many):
        assert list(inspect.signature(write).parameters)[3] == "key", write


def test_choices_are_literals_for_type_checkers() -> None:
    choice, *_ = get_args(Start)  # with what the description of the API says
    assert get_args(choice) == ("earliest", "latest")
    assert get_args(Compression) == ("none", "zstd")
    assert get_args(Connect) == ("now", "lazy")


def test_what_was_a_mistake_and_works(place: Place) -> None:
    _, producer, consumer, worker = place
    assert producer.produce_many("t", []) == []
    assert sum(one.message_count for one in producer.produce_many("t", ["x"] * 20_000)) == 20_000
    producer.enqueue("t", memoryview(b"bytes"))
    found = worker.receive(3)
    assert [one.done for one in worker.ack(found)] == [True] * 3
    assert worker.ack() == worker.ack([]) == []
    consumer.seek_to_time("t", time.time() + 60)
    assert consumer.poll() == []
    consumer.seek_to_time("t", time.time() - 60)
    assert len(consumer.poll(3)) == 3
