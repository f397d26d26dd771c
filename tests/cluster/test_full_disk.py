"""Brokers whose disk is full, or may not grow: refused in time, handed over, back by themselves."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Producer
from myqueue.errors import DiskFull
from tests.cluster.disks import MIB, SmallDisk, exit_status, start_until_it_stays
from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.processes import wait_until
from tests.cluster.stream import Stream, check_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

TOPIC = "values"
RESERVE_BYTES = 8 * MIB
LARGE_ENOUGH_BYTES = 48 * MIB
NOTICED_SECONDS = 5.0


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[int, SmallDisk]]:
    with ExitStack() as stack:
        yield {
            number: stack.enter_context(
                SmallDisk(tmp_path / f"broker-{number}", LARGE_ENOUGH_BYTES)
            )
            for number in (1, 2, 3)
        }


def cluster_on(tmp_path: Path, disks: dict[int, SmallDisk], reserve_bytes: int) -> FaultCluster:
    cluster = FaultCluster(tmp_path, disk_reserve_bytes=str(reserve_bytes))
    for broker_id, disk in disks.items():
        disk.hold(cluster.brokers[broker_id])
    return cluster


def is_ready(cluster: FaultCluster, broker_id: int) -> bool:
    answer = requests.get(f"{cluster.brokers[broker_id].address}/readyz", timeout=5)
    return answer.status_code == 200


def test_full_disk_refuses_writes_hands_over_and_recovers_by_itself(
    tmp_path: Path, disks: dict[int, SmallDisk], say: Callable[[str], None]
) -> None:
    with cluster_on(tmp_path, disks, RESERVE_BYTES) as cluster:
        cluster.create_topic(TOPIC)
        with Stream(cluster, TOPIC) as stream:
            stream.wait_for_more(50)
            first = cluster.leader_id(TOPIC)
            disks[first].fill(RESERVE_BYTES // 2)
            started = time.monotonic()
            others = set(cluster.brokers) - {first}
            cluster.leader_id(TOPIC, among=others)
            handed_over = time.monotonic() - started
            assert handed_over < NOTICED_SECONDS
            assert not is_ready(cluster, first)
            stream.wait_for_more(50)  # two of three have room

            for broker_id in others:
                disks[broker_id].fill(RESERVE_BYTES // 2)
            wait_until(
                lambda: not any(is_ready(cluster, one) for one in cluster.brokers),
                what="all disks are full",
            )
            with Producer(TOPIC, cluster.manager.address) as producer, pytest.raises(DiskFull):
                producer.enqueue(TOPIC, "p9|0")
            before = stream.count
            terms = [cluster.term(one, TOPIC) for one in cluster.brokers]
            time.sleep(2)
            assert stream.count == before

            freed = time.monotonic()
            for disk in disks.values():
                disk.make_room()
            stream.wait_for_more(20)
            back = time.monotonic() - freed
            assert back < NOTICED_SECONDS
            grown = max(cluster.term(one, TOPIC) for one in cluster.brokers) - max(terms)
        found = check_history(cluster, stream)
        assert not any((disk.directory / "damaged-1").exists() for disk in disks.values())
    say(
        f"disk of the leader full: another led after {handed_over:.1f} s; all disks full:"
        f" {found['refused']} refused with DISK_FULL, {grown} terms; space back: written to after"
        f" {back:.1f} s; {found['acknowledged']} acknowledged; lost, doubled, invented,"
        " reordered: 0"
    )


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_disk_full_to_the_last_byte_ends_a_broker_which_comes_back_with_space(
    tmp_path: Path, disks: dict[int, SmallDisk], role: str, say: Callable[[str], None]
) -> None:
    """Without a reserve: a write fails in the middle."""
    with cluster_on(tmp_path, disks, 0) as cluster:
        cluster.create_topic(TOPIC)
        with Stream(cluster, TOPIC) as stream:
            stream.wait_for_more(50)
            leader = cluster.leader_id(TOPIC)
            victim = leader if role == "leader" else min(set(cluster.brokers) - {leader})
            old = cluster.replica(victim, TOPIC)["replica_id"]
            disks[victim].fill(0)
            status = exit_status(cluster.brokers[victim])
            assert status == 1
            stream.wait_for_more(50)
            cluster.brokers[victim].launch()
            on_full_disk = exit_status(cluster.brokers[victim])
            assert on_full_disk != 0
            disks[victim].make_room()
            start_until_it_stays(cluster.brokers[victim])
            stream.wait_for_more(20)
        found = check_history(cluster, stream)
        replica = cluster.replica(victim, TOPIC)
        assert replica["replica_id"] == old
        assert not replica["faulty"]
        assert not (disks[victim].directory / "damaged-1").exists()
    say(
        f"disk of the {role} full to the last byte: exit status {status}, {on_full_disk} when"
        f" started on the full disk, back as replica {old} with space; {found['acknowledged']}"
        " acknowledged; lost, doubled, invented, reordered: 0"
    )


def test_limit_on_the_size_of_a_file_ends_a_broker_which_comes_back_without_it(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Nothing that was stored is in doubt: SQLite rolls back what there was no room for."""
    with FaultCluster(tmp_path) as cluster:
        cluster.create_topic(TOPIC)
        with Stream(cluster, TOPIC) as stream:
            stream.wait_for_more(50)
            victim = cluster.leader_id(TOPIC)
            broker = cluster.brokers[victim]
            old = cluster.replica(victim, TOPIC)["replica_id"]
            assert broker.process is not None
            limit = (broker.directory / "broker.sqlite3-wal").stat().st_size + 10_000
            resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
            status = exit_status(broker)
            assert status == 1
            stream.wait_for_more(50)
            start_until_it_stays(broker)
            stream.wait_for_more(20)
        found = check_history(cluster, stream)
        replica = cluster.replica(victim, TOPIC)
        assert replica["replica_id"] == old
        assert not replica["faulty"]
    say(
        f"file-size limit on the leader: exit status {status}, back as replica {old};"
        f" {found['acknowledged']} acknowledged, {found['unknown']} unknown; lost, doubled,"
        " invented, reordered: 0"
    )
