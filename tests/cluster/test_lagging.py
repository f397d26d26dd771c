"""A follower that wakes far behind is served beside the living while it catches up."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Producer
from tests.cluster.processes import create_topic, wait_until
from tests.cluster.replicas import settled_replicas
from tests.cluster.rounds import MANY
from tests.cluster.waited import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

TOPIC = "lagging"
PARTITIONS = 50 if MANY else 10
BEHIND_BYTES = 300_000_000 if MANY else 10_000_000
WATCHED_S = 15 if MANY else 1
"""After it was woken."""
MESSAGE = b"x" * 10_000
MESSAGES = 50
"""Of a batch."""
PAUSE_S = 0.02
"""Between two batches."""
ANSWER_S = 1.0
"""The first answer of the woken broker, but for the time in which its loop waited for a processor;
also what the loop may compute between two answers."""


class LoopTime:
    """What the thread of a broker's event loop has computed, and waited for a processor."""

    def __init__(self, pid: int) -> None:
        self._schedstat = Path(f"/proc/{pid}/task/{pid}/schedstat")

    def read_s(self) -> tuple[float, float]:
        """Return seconds computed, and seconds waited."""
        ran_ns, waited_ns, _ = self._schedstat.read_text().split()
        return int(ran_ns) / NS_PER_S, int(waited_ns) / NS_PER_S


@contextmanager
def load(cluster: Cluster) -> Iterator[list[int]]:
    """Produce batches to one partition after the other; give the bytes of those acknowledged."""
    done, sent = threading.Event(), []

    def produce() -> None:
        with Producer(TOPIC, cluster.manager) as producer:
            while not done.wait(PAUSE_S):
                producer.produce_many(TOPIC, [MESSAGE] * MESSAGES, partition=len(sent) % PARTITIONS)
                sent.append(MESSAGES * len(MESSAGE))

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def answers_of(address: str, loop_time: LoopTime) -> list[tuple[float, float, float]]:
    """Ask a broker again and again.

    Returns:
        Of each answer: when it came, in seconds, and what the loop had computed and waited by then.
    """
    began = time.monotonic()
    ran, waited = loop_time.read_s()
    answers = [(0.0, ran, waited)]
    with requests.Session() as http:
        while answers[-1][0] < WATCHED_S:
            assert http.get(f"{address}/healthz", timeout=60).status_code == 200
            answers.append((time.monotonic() - began, *loop_time.read_s()))
    return answers


def test_who_wakes_far_behind_answers_while_it_catches_up(
    cluster: Cluster, say: Callable[[str], None]
) -> None:
    create_topic(cluster, TOPIC, PARTITIONS)
    settled_replicas(cluster, TOPIC, PARTITIONS)
    address = cluster.broker_addresses()[-1]
    pid = cluster.pid_of(address)
    with load(cluster) as sent:
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: sum(sent) >= BEHIND_BYTES, what="it is far behind", seconds=120)
        finally:
            os.kill(pid, signal.SIGCONT)
        behind_mb = sum(sent) / 1e6
        answers = answers_of(address, LoopTime(pid))
    first_s = answers[1][0] - (answers[1][2] - answers[0][2])
    busiest_s = max(after[1] - before[1] for before, after in pairwise(answers))
    longest_s = max(after[0] - before[0] for before, after in pairwise(answers))
    say(
        f"woken {behind_mb:.0f} MB behind in {PARTITIONS} partitions: first answer after"
        f" {answers[1][0]:.2f} s, {first_s:.2f} s without waiting for a processor; between two of"
        f" {len(answers) - 1} answers at most {busiest_s * 1000:.0f} ms of its loop,"
        f" {longest_s:.2f} s by the clock, at a load of {os.getloadavg()[0]:.0f}"
    )
    assert first_s <= ANSWER_S
    assert busiest_s <= ANSWER_S
    settled_replicas(cluster, TOPIC, PARTITIONS)
