"""The memory of real brokers: what they take is what their budget says."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
import requests

from benchmarks.process_figures import resident_mb
from http_base.memory_budget import BUDGET_BYTES_MIN
from myqueue import Producer
from tests.cluster.processes import Cluster
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not MANY, reason="with CLUSTER_ROUNDS; in small in test_memory.py of raft_app"
    ),
]
PARTITIONS = 20
SENT_MB = 400
PART_MB = 20
UNCOUNTED_MB = 80
"""Beside the budget: objects around the bytes, SQLite, and what the allocator keeps."""
VARIABLES = {"QUEUE_MEMORY_BUDGET_BYTES": str(BUDGET_BYTES_MIN)}


@pytest.fixture(scope="module")
def small_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster with the smallest budget."""
    with Cluster(tmp_path_factory.mktemp("memory") / "data", variables=VARIABLES) as cluster:
        made = cluster.post("/topics", topic="logs", number_of_partitions=PARTITIONS)
        assert made["http_status"] == 201, made
        yield cluster


def counted_mb(address: str) -> float:
    """Return what a broker's shares of memory hold together, in millions of bytes."""
    text = requests.get(f"{address}/metrics", timeout=10).text
    held = re.findall(r'^queue_broker_memory_bytes\{share="\w+"\} (\S+)$', text, re.MULTILINE)
    return sum(map(float, held)) / 1e6


def test_brokers_take_what_they_count_although_one_of_them_hangs(small_cluster: Cluster) -> None:
    pids = {address: small_cluster.pid_of(address) for address in small_cluster.broker_addresses()}
    leaders = {small_cluster.leader_of("logs", index) for index in range(PARTITIONS)}
    hanging = next(address for address in pids if address not in leaders or len(leaders) > 1)
    before = {address: resident_mb(pid) for address, pid in pids.items()}
    os.kill(pids[hanging], signal.SIGSTOP)
    try:
        living = [address for address in pids if address != hanging]
        with Producer("logs", small_cluster.manager) as producer:
            for part in range(SENT_MB // PART_MB):
                size = PART_MB * 1_000_000 // PARTITIONS // 10
                for partition in range(PARTITIONS):
                    messages = ["x" * size] * 10
                    producer.produce_many("logs", messages, partition=partition)
                for address in living:
                    counted = counted_mb(address)
                    assert counted <= BUDGET_BYTES_MIN / 1e6
                    taken = resident_mb(pids[address]) - before[address]
                    assert taken <= counted + UNCOUNTED_MB, (part, taken, counted)
        for address in living:
            taken = resident_mb(pids[address]) - before[address]
            print(f"\n{taken:.0f} MB taken, {counted_mb(address):.0f} counted")  # noqa: T201
    finally:
        os.kill(pids[hanging], signal.SIGCONT)
