"""Brokers whose disk is full, or may not grow: refused in time, handed over, back by themselves."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Producer
from myqueue.contract.errors import DiskFull
from tests.cluster.disks import MIB, SmallDisk, exit_status, start_until_it_stays
from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.processes import wait_until
from tests.cluster.rounds import MANY
from tests.cluster.stream import Stream, check_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cluster

RESERVE_BYTES = 16 * MIB
LEFT_BYTES = 15 * MIB
"""Followers store on with it."""
DISK_BYTES = 96 * MIB
ROLES = ["leader", "follower"] if MANY else ["leader"]
NOTICED_SECONDS = 5.0
FILE_BYTES = 200_000
"""Less than a WAL under load takes: one of its full length is overwritten, and grows no more."""


@dataclass
class DiskCluster:
    """A cluster each of whose brokers has a small disk of its own."""

    cluster: FaultCluster
    disks: dict[int, SmallDisk]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskCluster]:
    directory = tmp_path_factory.mktemp("disks")
    cluster = FaultCluster(directory, disk_reserve_bytes=str(RESERVE_BYTES), broker_heartbeat_s="2")
    with ExitStack() as stack:
        disk_of = {}
        for broker in cluster.brokers.values():
            disk = disk_of[broker.port] = SmallDisk(broker.directory, DISK_BYTES)
            stack.enter_context(disk)
            disk.hold(broker)
        stack.enter_context(cluster)
        disks = {one: disk_of[broker.port] for one, broker in cluster.brokers.items()}
        yield DiskCluster(cluster, disks)


def is_ready(cluster: FaultCluster, broker_id: int) -> bool:
    answer = requests.get(f"{cluster.brokers[broker_id].address}/readyz", timeout=5)
    return answer.status_code == 200


def test_full_disk_refuses_writes_hands_over_and_recovers_by_itself(
    small: DiskCluster, say: Callable[[str], None]
) -> None:
    cluster, disks, topic = small.cluster, small.disks, "reserve"
    cluster.create_topic(topic)
    with Stream(cluster, topic) as stream:
        stream.wait_for_more()
        first = cluster.leader_id(topic)
        others = set(cluster.brokers) - {first}
        disks[first].fill(LEFT_BYTES)
        waited, started = cluster.waited(), time.monotonic()
        cluster.leader_id(topic, among=others)
        handed_over = time.monotonic() - started
        assert handed_over - waited.seconds < NOTICED_SECONDS
        assert not is_ready(cluster, first)
        stream.wait_for_more()  # two of three have room

        for broker_id in others:
            disks[broker_id].fill(LEFT_BYTES)
        wait_until(
            lambda: not any(is_ready(cluster, one) for one in cluster.brokers),
            what="all disks are full",
        )
        with Producer(topic, cluster.manager.address) as producer, pytest.raises(DiskFull):
            producer.enqueue(topic, "p9|0")
        terms = [cluster.term(one, topic) for one in cluster.brokers]
        since = time.monotonic()
        time.sleep(2)
        assert stream.acknowledged_within(since, time.monotonic()) == 0

        waited, freed = cluster.waited(), time.monotonic()
        for disk in disks.values():
            disk.make_room()
        stream.wait_for_more()
        back = time.monotonic() - freed
        assert back - waited.seconds < NOTICED_SECONDS
        grown = max(cluster.term(one, topic) for one in cluster.brokers) - max(terms)
    found = check_history(cluster, stream)
    assert not any((disk.directory / "damaged-1").exists() for disk in disks.values())
    say(
        f"disk of the leader full: another led after {handed_over:.1f} s; all disks full:"
        f" {found['refused']} refused with DISK_FULL, {grown} terms; space back: written to after"
        f" {back:.1f} s; {found['acknowledged']} acknowledged; lost, doubled, invented,"
        " reordered: 0"
    )


@pytest.mark.parametrize("role", ROLES)
def test_disk_full_to_the_last_byte_ends_a_broker_which_comes_back_with_space(
    small: DiskCluster, role: str, say: Callable[[str], None]
) -> None:
    """A write fails in the middle, before anybody looked at the free space."""
    cluster, disks, topic = small.cluster, small.disks, f"full-{role}"
    cluster.create_topic(topic)
    with Stream(cluster, topic) as stream:
        stream.wait_for_more()
        leader = cluster.leader_id(topic)
        victim = leader if role == "leader" else min(set(cluster.brokers) - {leader})
        broker = cluster.brokers[victim]
        old = cluster.replica(victim, topic)["replica_id"]
        disks[victim].fill(0)
        status = exit_status(broker)
        assert status == 1
        stream.wait_for_more()
        broker.launch()
        on_full_disk = exit_status(broker)
        assert on_full_disk != 0
        disks[victim].make_room()
        start_until_it_stays(broker)
        stream.wait_for_more()
    found = check_history(cluster, stream)
    replica = cluster.replica(victim, topic)
    assert replica["replica_id"] == old
    assert not replica["faulty"]
    assert not (disks[victim].directory / "damaged-1").exists()
    say(
        f"disk of the {role} full to the last byte: exit status {status}, {on_full_disk} when"
        f" started on the full disk, back as replica {old} with space; {found['acknowledged']}"
        f" acknowledged, {found['unknown']} unknown; lost, doubled, invented, reordered: 0"
    )


@pytest.mark.parametrize("role", ROLES)
def test_limit_on_the_size_of_a_file_ends_a_broker_which_comes_back_without_it(
    small: DiskCluster, role: str, say: Callable[[str], None]
) -> None:
    """Nothing that was stored is in doubt: SQLite rolls back what there was no room for."""
    cluster, topic = small.cluster, f"limit-{role}"
    cluster.create_topic(topic)
    with Stream(cluster, topic) as stream:
        stream.wait_for_more()
        leader = cluster.leader_id(topic)
        victim = leader if role == "leader" else min(set(cluster.brokers) - {leader})
        broker = cluster.brokers[victim]
        old = cluster.replica(victim, topic)["replica_id"]
        assert broker.process is not None
        resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        status = exit_status(broker)
        assert status == 1
        stream.wait_for_more()
        start_until_it_stays(broker)
        stream.wait_for_more()
    found = check_history(cluster, stream)
    replica = cluster.replica(victim, topic)
    assert replica["replica_id"] == old
    assert not replica["faulty"]
    say(
        f"file-size limit on the {role}: exit status {status}, back as replica {old};"
        f" {found['acknowledged']} acknowledged, {found['unknown']} unknown; lost, doubled,"
        " invented, reordered: 0"
    )
