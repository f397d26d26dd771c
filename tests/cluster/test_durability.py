"""Real processes lose, double, invent and reorder nothing, whatever is killed in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myqueue import Client
from tests.cluster.replicas import identical_replicas
from tests.cluster.rounds import MANY
from tests.cluster.workload import Workload, check_delivery, drain, log_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

TOPICS = ["apache", "hdfs", "openssh", "openstack"]
PARTITIONS = 3
LINES = 2_000 if MANY else 250
"""Of each topic."""


def nothing(cluster: Cluster) -> None:
    """Healthy all the time."""


def kill_a_leader(cluster: Cluster) -> None:
    """Kill -9 of a broker that leads."""
    address = cluster.leader_of(TOPICS[0], 0)
    pid = cluster.kill(address)
    cluster.wait_restarted(address, pid)


def kill_all_brokers(cluster: Cluster) -> None:
    """Kill -9 of all brokers at once, then restart."""
    addresses = cluster.broker_addresses()
    pids = cluster.kill_all_brokers()
    for address, pid in zip(addresses, pids, strict=True):
        cluster.wait_restarted(address, pid)


def restart_the_manager(cluster: Cluster) -> None:
    """Kill -9 and restart of the manager."""
    address = cluster.manager
    pid = cluster.kill(address)
    cluster.wait_restarted(address, pid)


FAULTS = [kill_a_leader, kill_all_brokers, restart_the_manager]


@pytest.mark.parametrize("fault", [nothing, *FAULTS] if MANY else FAULTS)
def test_every_acknowledged_line_is_read_once_by_each_consumer(
    cluster: Cluster, fault: Callable[[Cluster], None], say: Callable[[str], None]
) -> None:
    with Client(cluster.manager) as client:
        for topic in TOPICS:
            client.create_topic(topic, number_of_partitions=PARTITIONS)
    workload = Workload(cluster.manager, log_lines(TOPICS, LINES))
    workload.start()
    workload.wait_for_share(0.4)
    fault(cluster)
    workload.join()

    read = 0
    for topic in TOPICS:
        first, second = drain(cluster.manager, topic), drain(cluster.manager, topic)
        assert first == second
        read += check_delivery(workload.sent[topic], first)
        registered = cluster.post("/consumer/register", topic=topic)
        stored = identical_replicas(cluster, topic, PARTITIONS, registered["token"])
        assert {
            partition: [text for _, text in messages] for partition, messages in first.items()
        } == {
            partition: [str(record.value) for record in records]
            for partition, records in stored.items()
            if records
        }
    unknown = sum(len(sent.unknown) for sents in workload.sent.values() for sent in sents)
    say(
        f"{fault.__name__}: {workload.count} lines sent, {read} read by each of two consumers,"
        f" outcome unknown to the producer: {unknown}; lost, doubled, invented, reordered: 0"
    )
