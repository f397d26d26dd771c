"""Real faults, and the alerts that they set off in a Prometheus: soon, and over soon after."""

from __future__ import annotations

import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from myqueue import Consumer, Producer, Worker
from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.processes import wait_until
from tests.cluster.prometheus import Prometheus
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Alerts = Callable[[set[str]], None]
    """Waits for something of alerts with these names."""

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not MANY, reason="with CLUSTER_ROUNDS; as promtool computes it in deploy/test_alerts.py"
    ),
]
TOPIC = "orders"
FIRES_SECONDS = 60
ONE_BROKER = {"QueueServerDown", "QueueBrokerSilent", "QueuePartitionsUnderReplicated"}
PAUSE_S = 0.25
"""Some ticks long, and shorter than an election."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """Give a cluster of its own, whose disks have little more than their reserve."""
    directory = tmp_path_factory.mktemp("alarms")
    reserve = str(shutil.disk_usage(directory).free // 3)
    with FaultCluster(directory, disk_reserve_bytes=reserve) as cluster:
        cluster.create_topic(TOPIC, partitions=3)
        with Producer(TOPIC, cluster.manager.address) as producer:
            producer.produce_many(TOPIC, [b"x" * 100] * 60)
        yield cluster


@pytest.fixture(scope="module")
def prometheus(
    faulty: FaultCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    targets = [faulty.manager.address, *faulty.broker_addresses()]
    with Prometheus(tmp_path_factory.mktemp("prometheus"), targets) as running:
        wait_until(
            lambda: running.query("queue_broker_messages_produced_total"),
            what="the cluster is scraped",
        )
        yield running


@pytest.fixture
def fires(prometheus: Prometheus) -> Alerts:
    """Return what waits until alerts fire, all of them at once."""

    def wait(alerts: set[str]) -> None:
        wait_until(
            lambda: alerts <= prometheus.firing(),
            what=f"{sorted(alerts)} fire",
            seconds=FIRES_SECONDS,
            pause_s=0.2,
        )

    return wait


@pytest.fixture
def ends(prometheus: Prometheus) -> Alerts:
    """Return what waits until none of some alerts fires."""

    def wait(alerts: set[str]) -> None:
        wait_until(
            lambda: not alerts & prometheus.firing(),
            what=f"{sorted(alerts)} are over",
            seconds=FIRES_SECONDS,
            pause_s=0.2,
        )

    return wait


def test_a_disk_with_little_room(fires: Alerts) -> None:
    fires({"QueueDiskLow"})


def test_a_group_that_reads_no_more(faulty: FaultCluster, fires: Alerts) -> None:
    with Consumer(TOPIC, faulty.manager.address, group="billing") as member:
        assert member.poll(timeout=20) is not None
        member.commit()
    fires({"QueueGroupLags"})


def test_a_message_that_is_given_up(faulty: FaultCluster, fires: Alerts, ends: Alerts) -> None:
    with Worker(TOPIC, faulty.manager.address, group="mailers", delivery_limit=1) as worker:
        worker.nack(*worker.receive(1, timeout=20))
    fires({"QueueDeadLetters"})
    ends({"QueueDeadLetters"})


def test_one_broker_that_hangs_and_then_a_second(
    faulty: FaultCluster, prometheus: Prometheus, fires: Alerts, ends: Alerts
) -> None:
    ends(ONE_BROKER | {"QueuePartitionsLeaderless"})
    first, second, _ = faulty.brokers.values()
    first.signal(signal.SIGSTOP)
    try:
        fires(ONE_BROKER)
        ends({"QueuePartitionsLeaderless"})
        second.signal(signal.SIGSTOP)
        fires({"QueuePartitionsLeaderless"})
    finally:
        for broker in (first, second):
            broker.signal(signal.SIGCONT)
    ends(ONE_BROKER | {"QueuePartitionsLeaderless"})


def test_a_manager_that_is_killed(faulty: FaultCluster, fires: Alerts, ends: Alerts) -> None:
    faulty.manager.kill()
    try:
        fires({"QueueNoPrimary", "QueueServerDown"})
    finally:
        faulty.manager.start()
    ends({"QueueNoPrimary", "QueueServerDown"})


def test_a_broker_that_gets_too_little_time(faulty: FaultCluster, prometheus: Prometheus) -> None:
    _, _, last = faulty.brokers.values()

    def pause_and_look() -> bool:
        for _ in range(3):
            last.signal(signal.SIGSTOP)
            time.sleep(PAUSE_S)
            last.signal(signal.SIGCONT)
            time.sleep(PAUSE_S)
        name = last.address.removeprefix("http://")
        labels = f'alertname="QueueTicksLate",alertstate="firing",instance="{name}"'
        return bool(prometheus.query(f"ALERTS{{{labels}}}"))

    wait_until(pause_and_look, what="late ticks fire", seconds=FIRES_SECONDS)
