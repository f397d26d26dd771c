"""No leader is replaced because the machine is busy."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.cluster.processes import create_topic, replicas_at
from tests.cluster.replicas import settled_replicas
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

TOPIC = "busy"
PARTITIONS = 6
BUSY_PROCESSES = 2
BUSY_SECONDS = 60 if MANY else 6
TRIES = 3
"""A time in which the machine itself held processes up says nothing."""
HELD_UP_SECONDS = 0.3
"""A sleep that ends so much too late; half of the silence that counts is more."""
WITNESS = """
import sys, time
late, end = 0.0, time.monotonic() + float(sys.argv[1])
while (now := time.monotonic()) < end:
    time.sleep(0.02)
    late = max(late, time.monotonic() - now - 0.02)
print(late)
"""
"""Says how much too late it was woken at most."""


@contextmanager
def busy() -> Iterator[None]:
    """Keep as many processors busy."""
    command = [sys.executable, "-c", "while True: sum(range(1000))"]
    processes = [subprocess.Popen(command) for _ in range(BUSY_PROCESSES)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def terms_of(cluster: Cluster) -> set[tuple[int, int]]:
    """Return (partition, term) of every replica."""
    return {
        (one["partition"], one["term"])
        for address in cluster.broker_addresses()
        for one in replicas_at(cluster.http, address, TOPIC)
    }


def held_up_s(seconds: float) -> float:
    """Wait; return by how much a process was woken too late at most."""
    command = [sys.executable, "-c", WITNESS, str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_no_leader_is_replaced_while_all_processors_are_busy(
    cluster: Cluster, say: Callable[[str], None]
) -> None:
    create_topic(cluster, TOPIC, PARTITIONS)
    settled_replicas(cluster, TOPIC, PARTITIONS)
    for _ in range(TRIES):
        before = terms_of(cluster)
        started = time.monotonic()
        with busy():
            late = held_up_s(BUSY_SECONDS)
        changed = terms_of(cluster) - before
        say(
            f"{BUSY_PROCESSES} busy processes for {time.monotonic() - started:.0f} s:"
            f" {len(changed)} replicas with another term; a witness was up to"
            f" {late * 1000:.0f} ms late"
        )
        if late < HELD_UP_SECONDS:
            assert not changed
            return
