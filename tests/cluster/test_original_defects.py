"""The defects of the original system stay away: each was seen once, none may come back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Client, Consumer, Producer
from tests.cluster.processes import (
    ROOT,
    STOP_SECONDS,
    create_topic,
    is_alive,
    popen,
    wait_until,
)
from tests.cluster.replicas import settled_replicas
from tests.cluster.rounds import MANY
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

MESSAGES = 300 if MANY else 100
MESSAGE_BYTES = 100
ENTRY_BYTES_MAX = 400
"""A stored entry holds its own message and a header, not the state of everything."""
SLOWEST_SECONDS = 1.0


def test_no_message_waits_for_seconds_and_none_carries_the_whole_state(
    cluster: Cluster, say: Callable[[str], None]
) -> None:
    create_topic(cluster, "logs", 1)
    slowest, waited = 0.0, cluster.waited()
    with (
        Producer("logs", cluster.manager) as producer,
        Consumer("logs", cluster.manager) as consumer,
    ):
        for number in range(MESSAGES):
            started = time.monotonic()
            producer.enqueue("logs", f"{number:>{MESSAGE_BYTES}}")
            slowest = max(slowest, time.monotonic() - started)
        for number in range(MESSAGES):
            started = time.monotonic()
            assert int(str(consumer.dequeue("logs"))) == number
            slowest = max(slowest, time.monotonic() - started)
    for_processor = waited.seconds
    [group_id] = {one["group_id"] for one in settled_replicas(cluster, "logs", 1)}
    databases = cluster.data_dir.rglob("broker.sqlite3")
    largest = max(_largest_entry(path, group_id) for path in databases)
    say(f"slowest of {2 * MESSAGES} calls: {slowest * 1000:.1f} ms; largest entry: {largest} bytes")
    assert slowest - for_processor < SLOWEST_SECONDS
    assert largest < MESSAGE_BYTES + ENTRY_BYTES_MAX


def _largest_entry(path: Path, group_id: int) -> int:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        (largest,) = connection.execute(
            "SELECT max(length(data)) FROM raft_app_raftentry WHERE group_id = ?", (group_id,)
        ).fetchone()
    connection.close()
    return int(largest)


def test_stopping_leaves_nothing_running_and_order_after_restart_is_the_order_before(
    cluster: Cluster,
) -> None:
    topics = [f"topic-{number}" for number in (3, 1, 2)]
    with Client(cluster.manager) as client:
        for topic in topics:
            client.create_topic(topic, number_of_partitions=2)
    with Producer(topics, cluster.manager) as producer:
        for number in range(40):
            producer.enqueue(topics[0], f"message {number}", partition_key=number)
    before = _picture(cluster, topics)
    pids = [place["pid"] for place in cluster.places()]
    assert cluster.stop() <= STOP_SECONDS
    assert not any(is_alive(pid) for pid in pids)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{cluster.manager}/healthz", timeout=1)
    cluster.start()
    assert _picture(cluster, topics) == before


def _picture(cluster: Cluster, topics: list[str]) -> object:
    with Client(cluster.manager) as client:
        listed = client.list_topics()
    with Consumer(topics[0], cluster.manager) as consumer:
        messages: dict[int, list[str]] = {}
        while found := consumer.poll(max_messages=10, timeout=0):
            for message in found:
                messages.setdefault(message.partition, []).append(message.text)
    return listed, messages


def test_failed_connection_to_a_broker_removes_nothing(cluster: Cluster) -> None:
    cluster.post("/topics", topic="logs", number_of_partitions=3)
    producer_id = cluster.post("/producer/register", topic="logs")["producer_id"]
    brokers = cluster.get("/brokers")["brokers"]
    address = cluster.leader_of("logs", 0)
    pid = cluster.kill(address)
    for number in range(9):
        answer = cluster.post(
            "/producer/produce",
            topic="logs",
            producer_id=producer_id,
            message=f"message {number}",
            request_id=f"request {number}",
        )
        assert answer["status"] == "success", answer
    assert cluster.get("/brokers")["brokers"] == brokers
    assert len(cluster.get("/topics/logs")["partitions"]) == 3
    cluster.wait_restarted(address, pid)


def test_read_only_manager_serves_reads_and_refuses_writes(cluster: Cluster) -> None:
    cluster.post("/topics", topic="logs", number_of_partitions=1)
    producer_id = cluster.post("/producer/register", topic="logs")["producer_id"]
    consumer_id = cluster.post("/consumer/register", topic="logs")["consumer_id"]
    cluster.post("/producer/produce", topic="logs", producer_id=producer_id, message="one")
    manager_dir = next(cluster.data_dir.rglob("manager.sqlite3")).parent
    [port] = free_ports(1)
    environment = {
        **os.environ,
        "QUEUE_PORT": str(port),
        "QUEUE_DATA_DIR": str(manager_dir),
        "QUEUE_CLUSTER_SECRET": next(cluster.data_dir.rglob("cluster.secret")).read_text().strip(),
        "QUEUE_ROLE": "manager",
    }
    reader = popen(
        [sys.executable, "manage.py", "manager", "-r"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: cluster.is_healthy(address), what="the read-only manager")
        topics = cluster.http.get(f"{address}/topics", timeout=5)
        assert topics.json()["topics"] == ["logs"]
        assert int(topics.headers["X-Metadata-Age-Ms"]) >= 0
        refused = cluster.post("/topics", address=address, topic="another")
        assert (refused["http_status"], refused["code"]) == (409, "READ_ONLY_MANAGER")
        read = cluster.get(
            "/consumer/consume", address=address, topic="logs", consumer_id=consumer_id
        )
        assert read["message"] == "one"
    finally:
        reader.terminate()
        reader.wait()
    assert "another" not in cluster.get("/topics")["topics"]
