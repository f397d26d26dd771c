"""Folders of brokers that were copied back from older copies: noticed, and never taken silently."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Consumer, Producer
from tests.cluster.fault_cluster import SECRET
from tests.cluster.processes import ROOT, inherited, wait_until
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

TOPIC = "values"
REPORTED_SECONDS = 6.0
"""Longer than QUEUE_BROKER_SIGN_S: by then a manager has been told."""
SETTLED_SECONDS = 1.5
"""After which followers have written and stored all: a copy made meanwhile might be torn."""
LEADERLESS_SECONDS = 30.0
"""Longer than a broker waits for a manager's word, and an election takes."""


@pytest.fixture
def cluster(fault_cluster: FaultCluster) -> FaultCluster:
    fault_cluster.create_topic(TOPIC)
    return fault_cluster


def produce(cluster: FaultCluster, first: int, end: int) -> None:
    with Producer(TOPIC, cluster.manager.address) as producer:
        for number in range(first, end):
            producer.enqueue(TOPIC, f"value {number}")


def copied(cluster: FaultCluster, broker_ids: list[int], to: Path) -> dict[int, Path]:
    """Copy the folders of brokers that run, as `cp -r` does, while nothing is written."""
    time.sleep(SETTLED_SECONDS)
    copies = {one: to / str(one) for one in broker_ids}
    for broker_id, copy in copies.items():
        shutil.copytree(cluster.brokers[broker_id].directory, copy)
    return copies


def restore(cluster: FaultCluster, copies: dict[int, Path]) -> None:
    """Kill brokers, and put the copies in the place of their folders."""
    for broker_id in copies:
        cluster.brokers[broker_id].kill()
    for broker_id, copy in copies.items():
        shutil.rmtree(cluster.brokers[broker_id].directory)
        shutil.copytree(copy, cluster.brokers[broker_id].directory)


def accept_loss(cluster: FaultCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "accept-loss", TOPIC, "0", *arguments]
    return subprocess.run(
        [*command, "--manager", cluster.manager.address],
        check=False,
        cwd=ROOT,
        env={**inherited(), "QUEUE_CLUSTER_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def condition(cluster: FaultCluster) -> str:
    told = requests.get(f"{cluster.manager.address}/topics/{TOPIC}", timeout=10).json()
    return str(told["partitions"][0]["condition"])


@pytest.mark.skipif(not MANY, reason="with CLUSTER_ROUNDS; in small in test_vouching.py")
def test_one_restored_broker_is_refilled_under_a_new_replica_id(
    cluster: FaultCluster, tmp_path: Path, say: Callable[[str], None]
) -> None:
    leader = cluster.leader_id(TOPIC)
    restored = next(one for one in cluster.brokers if one != leader)
    old = cluster.replica(restored, TOPIC)["replica_id"]
    produce(cluster, 0, 50)
    copies = copied(cluster, [restored], tmp_path)
    produce(cluster, 50, 100)
    restore(cluster, copies)
    began = time.monotonic()
    cluster.brokers[restored].start()
    new = cluster.wait_refilled(restored, TOPIC, old)
    say(f"one restored broker: noticed, refilled as {new} in {time.monotonic() - began:.1f} s")
    assert f"replica {old} is faulty" in cluster.brokers[restored].log()
    with Consumer(TOPIC, cluster.manager.address) as consumer:
        read = [consumer.dequeue(TOPIC) for _ in range(100)]
    assert read == [f"value {number}" for number in range(100)]


def test_a_cluster_of_restored_brokers_waits_for_a_person(
    cluster: FaultCluster, tmp_path: Path, say: Callable[[str], None]
) -> None:
    everyone = list(cluster.brokers)
    produce(cluster, 0, 50)
    copies = copied(cluster, everyone, tmp_path)
    produce(cluster, 50, 100)
    time.sleep(REPORTED_SECONDS)
    restore(cluster, copies)
    for broker_id in everyone:
        cluster.brokers[broker_id].launch()
    for broker_id in everyone:
        cluster.brokers[broker_id].wait_healthy()

    wait_until(
        lambda: condition(cluster) == "no healthy replica",
        what="all replicas are known as restored",
        seconds=LEADERLESS_SECONDS,
    )
    for broker_id in everyone:
        replica = cluster.replica(broker_id, TOPIC)
        assert "older copy" in replica["faulty"], replica["faulty"]
        ready = requests.get(f"{cluster.brokers[broker_id].address}/readyz", timeout=10)
        assert ready.status_code == 503
        assert "older copy" in ready.text
    assert "accept-loss" in cluster.manager.log()

    refused = accept_loss(cluster)
    assert refused.returncode != 0
    assert "nothing was changed" in refused.stderr
    assert condition(cluster) == "no healthy replica"
    accepted = accept_loss(cluster, "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert "loses 50 messages from offset 50 to 99" in accepted.stdout

    began = time.monotonic()
    cluster.leader_id(TOPIC)
    produce(cluster, 100, 101)
    with Consumer(TOPIC, cluster.manager.address) as consumer:
        read = [consumer.dequeue(TOPIC) for _ in range(51)]
        assert consumer.corrupt() == {(TOPIC, 0): 1_000_050}
    assert read == [f"value {number}" for number in (*range(50), 100)]
    wait_until(lambda: condition(cluster) == "healthy", what="three replicas again", seconds=90)
    say(
        "three restored brokers: not served until accepted, 50 of 100 known as lost; served"
        f" again, with three replicas after {time.monotonic() - began:.1f} s"
    )
    again = accept_loss(cluster, "--yes")
    assert again.returncode != 0
    assert "has a leader" in again.stderr
