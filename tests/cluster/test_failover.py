"""A killed leader is replaced at once; term and vote outlive kill -9; managers are not needed."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from myqueue import Consumer, Producer
from tests.cluster.processes import create_topic, replicas_at, wait_until
from tests.cluster.replicas import settled_replicas

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

WRITE_GAP_SECONDS_MAX = 1.0
GARBAGE_BYTES = 100_000


def test_next_write_after_kill_of_the_leader_succeeds_within_a_second(
    cluster: Cluster, say: Callable[[str], None]
) -> None:
    create_topic(cluster, "logs", 1)
    with Producer("logs", cluster.manager) as producer:
        for number in range(20):
            producer.enqueue("logs", f"before {number}")
        leader, waited = cluster.leader_of("logs", 0), cluster.waited()
        cluster.kill(leader)
        started = time.monotonic()
        producer.enqueue("logs", "after")
        gap = time.monotonic() - started
        for_processor = waited.seconds
    say(f"write gap after kill -9 of the leader: {gap * 1000:.0f} ms")
    assert gap - for_processor <= WRITE_GAP_SECONDS_MAX


def test_term_and_vote_survive_kill_of_all_brokers(cluster: Cluster) -> None:
    create_topic(cluster, "logs", 1)
    with Producer("logs", cluster.manager) as producer:
        producer.enqueue("logs", "one")
        before = {one["term"] for one in settled_replicas(cluster, "logs", 1)}
        addresses = cluster.broker_addresses()
        pids = cluster.kill_all_brokers()
        for address, pid in zip(addresses, pids, strict=True):
            cluster.wait_restarted(address, pid)
        back = [
            one["term"]
            for address in addresses
            for one in replicas_at(cluster.http, address, "logs")
        ]
        producer.enqueue("logs", "two")
    assert len(back) == len(addresses)
    assert min(back) >= max(before)
    after = {one["term"] for one in settled_replicas(cluster, "logs", 1)}
    assert min(after) > max(before)


def test_brokers_elect_and_serve_without_any_manager(cluster: Cluster) -> None:
    create_topic(cluster, "logs", 1)
    with (
        Producer("logs", cluster.manager) as producer,
        Consumer("logs", cluster.manager) as consumer,
    ):
        producer.enqueue("logs", "one")
        assert consumer.dequeue("logs") == "one"
        # Stopped, not killed: the supervisor would start another one.
        manager_pid = cluster.pid_of(cluster.manager)
        os.kill(manager_pid, signal.SIGSTOP)
        try:
            leader = cluster.leader_of("logs", 0)
            pid = cluster.kill(leader)
            wait_until(
                lambda: cluster.leader_of("logs", 0) != leader or cluster.pid_of(leader) != pid,
                what="another leader",
            )
            producer.enqueue("logs", "two")
            assert consumer.dequeue("logs") == "two"
        finally:
            os.kill(manager_pid, signal.SIGCONT)


def test_garbage_on_the_raft_port_disturbs_no_group(cluster: Cluster) -> None:
    create_topic(cluster, "logs", 3)
    with Producer("logs", cluster.manager) as producer:
        producer.enqueue("logs", "one")
        terms = terms_of_settled(cluster, 3)
        for place in cluster.state()["brokers"]:
            host, _, port = place["raft_address"].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.settimeout(5)
                _send_garbage(connection)
        for number in range(30):
            producer.enqueue("logs", f"after {number}")
    assert terms_of_settled(cluster, 3) == terms


def terms_of_settled(cluster: Cluster, partitions: int) -> set[tuple[int, int]]:
    """Return the term of each partition, once all replicas are in it."""
    settled = settled_replicas(cluster, "logs", partitions)
    return {(replica["partition"], replica["term"]) for replica in settled}


def _send_garbage(connection: socket.socket) -> None:
    """Send until the other side has had enough; that it closes is what it should do."""
    try:
        connection.sendall(os.urandom(GARBAGE_BYTES))
        while connection.recv(65_536):
            pass
    except (ConnectionError, TimeoutError):
        pass
