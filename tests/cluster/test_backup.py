"""Backups of a cluster at work, restored with real processes: nothing is forgotten silently."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Client, ClientConfig, Consumer, Producer
from tests.cluster.processes import (
    MANAGER_BACK_MS,
    ROOT,
    Cluster,
    inherited,
    wait_until,
)
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

BEFORE, AFTER = 3_000, 200
HEALED_SECONDS = 90.0
PATIENT = ClientConfig(manager_timeout_ms=MANAGER_BACK_MS)


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster whose folders are replaced."""
    with Cluster(tmp_path_factory.mktemp("backup") / "data") as cluster:
        yield cluster


def manage(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *map(str, arguments)],
        check=False,
        cwd=ROOT,
        env={**inherited(), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def done(*arguments: object, **variables: str) -> str:
    finished = manage(*arguments, **variables)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def conditions(cluster: Cluster, topic: str) -> set[str]:
    told = requests.get(f"{cluster.manager}/topics/{topic}", timeout=10).json()
    return {str(one["condition"]) for one in told["partitions"]}


def produce(cluster: Cluster, topic: str, first: int, end: int) -> None:
    with Producer(topic, cluster.manager, config=PATIENT) as producer:
        producer.produce_many(topic, [str(number) for number in range(first, end)])


class Traffic:
    """A producer that goes on meanwhile."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(cluster.manager, topic))
        self.acknowledged = 0

    def _run(self, manager: str, topic: str) -> None:
        with Producer(topic, manager, config=PATIENT) as producer:
            while not self._over.is_set():
                producer.produce_many(topic, ["traffic"] * 20)
                self.acknowledged += 20

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def read_all(cluster: Cluster, topic: str) -> tuple[list[str], int]:
    """Return the values but those of the traffic, and how many messages nobody can read."""
    values = []
    with Consumer(topic, cluster.manager, config=PATIENT) as consumer:
        while found := consumer.poll(1_000):
            values += [one.text for one in found if one.text != "traffic"]
        return values, sum(consumer.corrupt().values())


def lose_and_restore(cluster: Cluster, backup: Path, tmp_path: Path) -> None:
    """Stop a cluster, delete its folders, and make new ones of a backup; only the secret stays."""
    cluster.stop()
    secret = cluster.data_dir / "cluster.secret"
    shutil.copy(secret, tmp_path)
    shutil.rmtree(cluster.data_dir)
    cluster.data_dir.mkdir()
    shutil.copy(tmp_path / secret.name, secret)
    for one in sorted(backup.iterdir()):
        done("restore", one, cluster.data_dir / one.name)
    refused = manage("restore", backup / "broker-1", cluster.data_dir / "broker-1")
    assert refused.returncode == 1
    assert "nothing is overwritten" in refused.stderr


def test_a_cluster_that_was_lost_comes_back_as_far_as_its_backup_goes(
    own_cluster: Cluster, tmp_path: Path, say: Callable[[str], None]
) -> None:
    cluster, backup = own_cluster, tmp_path / "backup"
    produce(cluster, "lost", 0, BEFORE)
    with Consumer("lost", cluster.manager, group="readers", config=PATIENT) as consumer:
        read = len(consumer.poll(100, 10.0))
        consumer.commit()
    with Traffic(cluster, "lost") as traffic:
        wait_until(lambda: traffic.acknowledged, what="traffic flows")
        done("backup", backup, "--folder", cluster.data_dir)
        before = traffic.acknowledged
        wait_until(lambda: traffic.acknowledged > before, what="traffic flows on")
    assert done("backup", backup, "--verify").count("is whole") == 4
    produce(cluster, "lost", BEFORE, BEFORE + AFTER)

    lose_and_restore(cluster, backup, tmp_path)
    cluster.start()
    wait_until(
        lambda: conditions(cluster, "lost") == {"no healthy replica"},
        what="nobody leads",
        seconds=60,
    )
    folder = str(cluster.data_dir / "manager")
    accept = ("accept-loss", "--all", "--yes", "--manager", cluster.manager)
    accepted = done(*accept, QUEUE_DATA_DIR=folder)
    assert [f"lost/{index}:" in accepted for index in range(3)] == [True] * 3
    wait_until(
        lambda: conditions(cluster, "lost") == {"healthy"},
        what="all healthy",
        seconds=HEALED_SECONDS,
    )
    values, corrupt = read_all(cluster, "lost")
    numbers = [int(value) for value in values]
    assert sorted(numbers) == list(range(BEFORE))
    with Client(cluster.manager, config=PATIENT) as client:
        group = client.describe_group("readers")
    assert sum(one.offset or 0 for one in group.partitions) == read
    produce(cluster, "lost", BEFORE, BEFORE + 1)
    values, corrupt = read_all(cluster, "lost")
    assert str(BEFORE) in values
    assert corrupt >= 1_000_000
    say(f"a whole cluster restored: {len(numbers)} of {BEFORE + AFTER}, the rest told as lost")


@pytest.mark.skipif(not MANY, reason="with CLUSTER_ROUNDS; in small in test_backups.py")
def test_a_restored_broker_is_filled_by_the_others(own_cluster: Cluster, tmp_path: Path) -> None:
    cluster, backup = own_cluster, tmp_path / "backup"
    produce(cluster, "filled", 0, 100)
    wait_until(
        lambda: conditions(cluster, "filled") == {"healthy"}, what="healthy", seconds=HEALED_SECONDS
    )
    done("backup", backup, "--folder", cluster.data_dir / "broker-2")
    before, _ = read_all(cluster, "filled")
    produce(cluster, "filled", 10_000, 10_100)
    cluster.stop()
    shutil.rmtree(cluster.data_dir / "broker-2")
    done("restore", backup / "broker-2", cluster.data_dir / "broker-2")
    cluster.start()

    def refilled() -> bool:
        address = cluster.broker_addresses()[1]
        answer = cluster.http.get(f"{address}/partitions", params={"topic": "filled"}, timeout=10)
        found = answer.json().get("partitions", ())  # none from a broker that has just started
        return len(found) == 3 and not any(one["faulty"] for one in found)

    wait_until(refilled, what="new replicas on the restored broker", seconds=HEALED_SECONDS)
    values, _ = read_all(cluster, "filled")
    assert sorted(values) == sorted([*before, *map(str, range(10_000, 10_100))])
