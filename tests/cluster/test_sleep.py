"""Partitions that sleep, on real processes: the leader's broker dies, pauses, is cut off, restarts.

The brokers of these tests let partitions sleep after a second.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from myqueue import Consumer, Producer
from tests.cluster.processes import wait_until
from tests.cluster.proxy import WHOLE, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

TOPIC = "sleepy"
ROUNDS = 5
GAP_KILL_SECONDS = 1.0
GAP_STOP_SECONDS = 2.5
SLEEPS_MIN = 4
"""One write alone may wait for a processor: the fastest of several tells."""
WRITE_SLOWER_SECONDS = 0.01
"""A write that had to wait for a heartbeat or a tick would be slower by more.

That it takes no frame and no transaction more is counted in test_calls_per_message.py.
"""


@pytest.fixture
def cluster(fault_cluster: FaultCluster) -> FaultCluster:
    fault_cluster.create_topic(TOPIC)
    return fault_cluster


def is_asleep(cluster: FaultCluster, broker_ids: Collection[int]) -> bool:
    """Tell whether the one replica of each of some brokers sleeps."""
    return all(metric(cluster, one, "queue_broker_replicas_asleep") == 1 for one in broker_ids)


def metric(cluster: FaultCluster, broker_id: int, name: str) -> float:
    """Return what a broker's metrics say."""
    text = requests.get(f"{cluster.brokers[broker_id].address}/metrics", timeout=10).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                return float(sample.value)
    raise AssertionError(f"broker {broker_id} has no metric {name}")


def wait_asleep(cluster: FaultCluster, *, without: int = 0) -> None:
    """Wait until the partition sleeps on all brokers, or on all but one."""
    ids = [one for one in cluster.brokers if one != without]
    wait_until(lambda: is_asleep(cluster, ids), what=f"the partition sleeps on brokers {ids}")


def stored(cluster: FaultCluster, count: int) -> list[str]:
    """Return the first messages of the topic."""
    with Consumer(TOPIC, cluster.manager.address) as consumer:
        return [str(consumer.dequeue(TOPIC)) for _ in range(count)]


def test_a_write_to_a_sleeping_partition_is_hardly_slower(
    cluster: FaultCluster, say: Callable[[str], None]
) -> None:
    asleep, awake = [], []
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.enqueue(TOPIC, "first")
        for number in range(max(ROUNDS, SLEEPS_MIN)):
            wait_asleep(cluster)
            for kind in (asleep, awake, awake, awake):
                started = time.perf_counter()
                producer.enqueue(TOPIC, str(number))
                kind.append(time.perf_counter() - started)
    first, later = min(asleep), min(awake)
    say(f"fastest write: partition asleep {first * 1000:.2f} ms, awake {later * 1000:.2f} ms")
    assert first <= later + max(WRITE_SLOWER_SECONDS, 2 * later)  # a busy machine slows both


def test_a_killed_leader_is_replaced_while_its_partition_sleeps(
    cluster: FaultCluster, say: Callable[[str], None]
) -> None:
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.enqueue(TOPIC, "before")
        wait_asleep(cluster)
        leader = cluster.leader_id(TOPIC)
        waited, killed = cluster.waited(), time.monotonic()
        cluster.brokers[leader].kill()
        producer.enqueue(TOPIC, "after")
        gap = time.monotonic() - killed - waited.seconds
        wait_asleep(cluster, without=leader)  # a dead broker keeps nobody awake
        cluster.brokers[leader].start()
        wait_asleep(cluster)
        producer.enqueue(TOPIC, "with all")
    say(f"write gap after kill -9 of a sleeping leader: {gap * 1000:.0f} ms")
    assert stored(cluster, 3) == ["before", "after", "with all"]
    assert gap <= GAP_KILL_SECONDS


def test_a_paused_leader_is_replaced_while_its_partition_sleeps(
    cluster: FaultCluster, say: Callable[[str], None]
) -> None:
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.enqueue(TOPIC, "before")
        wait_asleep(cluster)
        leader = cluster.leader_id(TOPIC)
        term = cluster.term(leader, TOPIC)
        waited, paused = cluster.waited(), time.monotonic()
        cluster.brokers[leader].signal(signal.SIGSTOP)
        producer.enqueue(TOPIC, "after")
        gap = time.monotonic() - paused - waited.seconds
        cluster.brokers[leader].signal(signal.SIGCONT)
        assert cluster.term(cluster.leader_id(TOPIC), TOPIC) > term
        wait_asleep(cluster)
    say(f"write gap after SIGSTOP of a sleeping leader: {gap * 1000:.0f} ms")
    assert stored(cluster, 2) == ["before", "after"]
    assert gap <= GAP_STOP_SECONDS


@pytest.mark.parametrize("link", [Link(silent=True), Link(cut=True)], ids=["silent", "cut"])
def test_a_leader_that_is_cut_off_is_replaced_and_learns_it(
    cluster: FaultCluster, link: Link
) -> None:
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.enqueue(TOPIC, "before")
        wait_asleep(cluster)
        leader = cluster.leader_id(TOPIC)
        cluster.network.isolate(leader, list(cluster.brokers), link)
        wait_until(
            lambda: not cluster.replica(leader, TOPIC)["serves"],
            what="the leader that is cut off steps down",
        )
        producer.enqueue(TOPIC, "after")
        cluster.network.isolate(leader, list(cluster.brokers), WHOLE)
        wait_asleep(cluster)
    assert stored(cluster, 2) == ["before", "after"]


def test_a_broker_that_starts_again_sleeps_again_and_disturbs_no_leader(
    cluster: FaultCluster,
) -> None:
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.enqueue(TOPIC, "before")
        wait_asleep(cluster)
        leader = cluster.leader_id(TOPIC)
        term = cluster.term(leader, TOPIC)
        follower = cluster.brokers[next(one for one in cluster.brokers if one != leader)]
        follower.kill()
        follower.start()
        wait_asleep(cluster)
        assert cluster.leader_id(TOPIC) == leader
        assert cluster.term(leader, TOPIC) == term
        leading = cluster.brokers[leader]
        leading.kill()
        leading.start()
        wait_asleep(cluster)
        producer.enqueue(TOPIC, "after")
    assert stored(cluster, 2) == ["before", "after"]
