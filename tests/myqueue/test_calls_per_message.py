"""How many Python functions one message costs the thread that sends or reads it.

Layers are what makes a message slow: a function that only calls another one takes as long as a
good part of what is done for the message. So a layer that is added is to be noticed here, and
allowed by a new bound, or not. The bounds are a little above what was counted, because a socket
may be looked at once more or less; `pytest -s` prints the counts.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from types import FrameType

import pytest

from myqueue import Consumer, Producer, Worker
from tests.myqueue.http_twin import HttpCluster

ROUNDS = 21
WARM_UP = 5


def calls(one: Callable[[], object]) -> int:
    """Return how many Python functions a call enters in this thread, in the middle of many."""
    entered = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal entered
        entered += event == "call"

    for _ in range(WARM_UP):
        one()
    counts = []
    for _ in range(ROUNDS):
        entered = 0
        sys.setprofile(note)
        try:
            one()
        finally:
            sys.setprofile(None)
        # The call of `one` itself is of the test.
        counts.append(entered - 1)
    return int(statistics.median(counts))


def check(what: str, found: float, most: float) -> None:
    """Say how many calls a message costs, and fail when they are more than allowed."""
    sys.stdout.write(f"{what}: {found} calls a message, {most} allowed\n")
    assert found <= most


@pytest.fixture
def cluster() -> Iterator[HttpCluster]:
    """Servers on real sockets; they answer in threads of their own, which are not counted."""
    cluster = HttpCluster()
    cluster.twin.create("logs", 1)
    yield cluster
    cluster.stop()


def test_a_lone_message_that_is_sent(cluster: HttpCluster) -> None:
    with Producer("logs", cluster.address) as producer:
        found = calls(lambda: producer.enqueue("logs", "x"))
    check("enqueue", found, 106)


def test_a_message_that_is_sent_in_the_background(cluster: HttpCluster) -> None:
    with Producer("logs", cluster.address) as producer:
        producer.enqueue("logs", "x")
        with cluster.changed:  # nobody answers, so all wait for the first
            producer.send("logs", "x")
            found = calls(lambda: producer.send("logs", "x"))
        assert producer.flush(10)
    check("send", found, 23)


def test_a_message_of_a_batch_that_is_sent(cluster: HttpCluster) -> None:
    texts = ["x"] * 1000
    with Producer("logs", cluster.address) as producer:
        found = calls(lambda: producer.produce_many("logs", texts)) / len(texts)
    check("produce_many of 1,000", found, 0.2)


def test_a_message_that_is_polled_alone(cluster: HttpCluster) -> None:
    cluster.twin.topics["logs"][0].put(*["x"] * 200)
    with Consumer("logs", cluster.address) as consumer:
        found = calls(lambda: consumer.poll(1))
    check("poll(1)", found, 106)


def test_a_message_of_an_iteration(cluster: HttpCluster) -> None:
    for _ in range(3):
        cluster.twin.topics["logs"][0].put(*["x"] * 10_000)
    with Consumer("logs", cluster.address) as consumer:
        messages = iter(consumer)
        found = calls(lambda: list(islice(messages, 1000))) / 1000
    check("iteration", found, 5)


def test_a_message_for_work(cluster: HttpCluster) -> None:
    cluster.twin.topics["logs"][0].put(*["x"] * 200)
    with Worker("logs", cluster.address, "group") as worker:
        found = calls(lambda: worker.ack(*worker.receive(1, 10)))
    check("receive(1) and ack", found, 192)


def test_a_message_of_an_iteration_of_a_group(cluster: HttpCluster) -> None:
    for _ in range(3):
        cluster.twin.topics["logs"][0].put(*["x"] * 10_000)
    with Consumer("logs", cluster.address, group="g") as consumer:
        messages = iter(consumer)
        found = calls(lambda: list(islice(messages, 1000))) / 1000
    check("iteration of a group", found, 6)
