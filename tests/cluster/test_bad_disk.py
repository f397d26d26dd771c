"""Brokers whose disk is slow, or fails to sync: nobody is deposed for it, and nothing is lost."""

from __future__ import annotations

import errno
import os
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster.disks import BadDisk, exit_status, start_until_it_stays
from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.stream import Stream, check_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

TOPIC = "values"
SLOW_MS = (200, 2_000)
SLOW_SECONDS = 60.0 if int(os.environ.get("CLUSTER_ROUNDS", "3")) >= 10 else 6.0
TERMS_PER_SECOND_MAX = 1.0
SLOW_SYNCS_MIN = 3


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    with FaultCluster(tmp_path) as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


def with_bad_disk(cluster: FaultCluster, directory: Path, role: str) -> tuple[int, BadDisk]:
    """Let the leader or a follower have a disk that can go bad; return its broker id too."""
    leader = cluster.leader_id(TOPIC)
    victim = leader if role == "leader" else min(set(cluster.brokers) - {leader})
    disk = BadDisk(directory)
    broker = cluster.brokers[victim]
    disk.put_under(broker)
    broker.stop()
    broker.start()
    if role == "leader":
        cluster.lead(victim, TOPIC)
    return victim, disk


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_slow_disk_causes_no_elections_and_holds_up_no_quorum(
    cluster: FaultCluster, tmp_path: Path, role: str, say: Callable[[str], None]
) -> None:
    victim, disk = with_bad_disk(cluster, tmp_path, role)
    with Stream(cluster, TOPIC) as stream:
        stream.wait_for_more(50)
        terms = {one: cluster.term(one, TOPIC) for one in cluster.brokers}
        disk.slow(*SLOW_MS)
        started, before = time.monotonic(), stream.count
        time.sleep(SLOW_SECONDS)
        syncs, written = disk.syncs, stream.count - before
        seconds = time.monotonic() - started
        grown = max(cluster.term(one, TOPIC) - term for one, term in terms.items())
        disk.heal()
        stream.wait_for_more(20)
    found = check_history(cluster, stream)
    gaps = stream.gaps(started, started + SLOW_SECONDS)
    say(
        f"{role} whose syncs take {SLOW_MS[0]} to {SLOW_MS[1]} ms, {syncs} of them in"
        f" {seconds:.0f} s: {grown / seconds:.2f} terms/s, {written} acknowledged meanwhile, from"
        f" one to the next median {statistics.median(gaps) * 1000:.0f} ms, worst"
        f" {max(gaps) * 1000:.0f} ms; {found['unknown']} unknown; lost, doubled, invented,"
        " reordered: 0"
    )
    assert syncs >= SLOW_SYNCS_MIN
    assert grown / seconds < TERMS_PER_SECOND_MAX
    assert written > 0


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_sync_that_fails_ends_a_broker_whose_replicas_are_refilled_under_new_ids(
    cluster: FaultCluster, tmp_path: Path, role: str, say: Callable[[str], None]
) -> None:
    victim, disk = with_bad_disk(cluster, tmp_path, role)
    broker = cluster.brokers[victim]
    with Stream(cluster, TOPIC) as stream:
        stream.wait_for_more(50)
        old = cluster.replica(victim, TOPIC)["replica_id"]
        disk.fail(errno.EIO)
        status = exit_status(broker)
        assert status == 1
        stream.wait_for_more(50)
        disk.heal()
        start_until_it_stays(broker)
        assert (broker.directory / "damaged-1").exists(), "what was stored is kept aside"
        began = time.monotonic()
        new = cluster.wait_refilled(victim, TOPIC, old)
        seconds = time.monotonic() - began
        stream.wait_for_more(20)
    found = check_history(cluster, stream)
    say(
        f"sync of the {role} fails: exit status {status}; replica {old} refilled as {new}"
        f" {seconds:.1f} s after the restart; {found['acknowledged']} acknowledged,"
        f" {found['unknown']} unknown; lost, doubled, invented, reordered: 0"
    )
