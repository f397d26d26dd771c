"""A topic mirrored between two clusters, while the mirror and brokers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from myqueue import Client, ClientConfig, Consumer, Producer, Record
from myqueue.moving.marks import COPIED_FROM
from myqueue.moving.mirroring import BATCH_MESSAGES
from tests.cluster.processes import MANAGER_BACK_MS, ROOT, Cluster, inherited, popen, wait_until
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from myqueue import Message

pytestmark = pytest.mark.cluster

TOPIC, GROUP = "orders", "billing"
PARTITIONS = 2
PATIENT = ClientConfig(manager_timeout_ms=MANAGER_BACK_MS)
ALL_COPIED_SECONDS = 120.0


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[tuple[Cluster, Cluster]]:
    """Give two clusters of one broker each: a killed one is away, and started again."""
    folders = [tmp_path / name for name in ("source", "target")]
    for folder in folders:
        folder.mkdir()
    source, target = (Cluster(folder / "data", brokers=1) for folder in folders)
    with source, target:
        yield source, target


class Traffic:
    """A producer that goes on until it is told to end."""

    def __init__(self, address: str) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(address,))
        self.acknowledged = 0

    def _run(self, address: str) -> None:
        with Producer(TOPIC, address, config=PATIENT) as producer:
            while not self._over.is_set():
                numbers = range(self.acknowledged, self.acknowledged + 50)
                producer.produce_many(TOPIC, [Record(str(one), str(one % 17)) for one in numbers])
                self.acknowledged += 50
                self._over.wait(0.02)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def start(source: Cluster, target: Cluster, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "manage.py", "mirror", source.manager, target.manager, TOPIC]
    with log.open("ab") as output:
        return popen(
            [*command, "--groups", GROUP],
            cwd=ROOT,
            env=inherited(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def everything(cluster: Cluster) -> list[Message]:
    found: list[Message] = []
    with Consumer(TOPIC, cluster.manager, config=PATIENT) as consumer:
        while messages := consumer.poll(5_000):
            found += messages
        consumer.forget()
    return found


def count(cluster: Cluster) -> int:
    with Client(cluster.manager, config=PATIENT) as client:
        if TOPIC not in client.list_topics():
            return 0
        partitions = client.describe_topic(TOPIC).partitions
    return sum(one.high_watermark or 0 for one in partitions)


def grows(cluster: Cluster, before: int) -> bool:
    return count(cluster) > before


def kill_broker(cluster: Cluster) -> None:
    os.kill(cluster.pid_of(cluster.broker_addresses()[0]), signal.SIGKILL)


@pytest.mark.skipif(not MANY, reason="with CLUSTER_ROUNDS; in small in test_mirroring.py")
def test_nothing_is_missing_and_repeats_are_few(
    clusters: tuple[Cluster, Cluster], tmp_path: Path, say: Callable[[str], None]
) -> None:
    source, target = clusters
    log = tmp_path / "mirror.log"
    with Client(source.manager, config=PATIENT) as client:
        client.create_topic(TOPIC, PARTITIONS, 1)
    mirror = start(source, target, log)
    kills = 0
    try:
        with Traffic(source.manager) as traffic:
            for kill in (mirror_dies, source_dies, mirror_dies, target_dies):
                wait_until(partial(grows, target, count(target)), what="it copies", seconds=60)
                mirror = kill(source, target, mirror, log)
                kills += 1
        with Consumer(TOPIC, source.manager, group=GROUP, config=PATIENT) as consumer:
            consumer.poll(500, 30.0)
            consumer.commit()
        wanted = everything(source)
        assert len(wanted) >= traffic.acknowledged
        places = {f"mirror/{one.topic}/{one.partition}/{one.offset}" for one in wanted}

        def copied() -> bool:
            assert mirror.poll() is None, log.read_text()
            return count(target) >= len(wanted)

        wait_until(copied, what="all is copied", seconds=ALL_COPIED_SECONDS)
        group_arrives(source, target)
        mirror.send_signal(signal.SIGTERM)
        assert mirror.wait(30) == 0, log.read_text()
    finally:
        mirror.kill()
        mirror.wait()
    found = everything(target)
    marks = Counter(str((one.headers or {})[COPIED_FROM]) for one in found)
    assert set(marks) == places
    repeats = len(found) - len(wanted)
    assert repeats <= kills * PARTITIONS * BATCH_MESSAGES
    for partition in range(PARTITIONS):
        own = [one for one in found if one.partition == partition]
        firsts = list(dict.fromkeys(one.value for one in own))
        assert firsts == [one.value for one in wanted if one.partition == partition]
    say(f"a mirror through {kills} kills: {len(wanted)} messages, {repeats} of them twice")


def mirror_dies(
    source: Cluster, target: Cluster, mirror: subprocess.Popen[bytes], log: Path
) -> subprocess.Popen[bytes]:
    mirror.kill()
    mirror.wait()
    return start(source, target, log)


def source_dies(
    source: Cluster, _: Cluster, mirror: subprocess.Popen[bytes], __: Path
) -> subprocess.Popen[bytes]:
    kill_broker(source)
    return mirror


def target_dies(
    _: Cluster, target: Cluster, mirror: subprocess.Popen[bytes], __: Path
) -> subprocess.Popen[bytes]:
    kill_broker(target)
    return mirror


def group_arrives(source: Cluster, target: Cluster) -> None:
    """Wait until the group is where it is at the source: at the same message."""

    def place(cluster: Cluster) -> set[tuple[int, str]]:
        with Client(cluster.manager, config=PATIENT) as client:
            if GROUP not in client.list_groups():
                return set()
            partitions = client.describe_group(GROUP).partitions
        by_place = {(one.partition, one.offset): str(one.value) for one in everything(cluster)}
        return {
            (one.partition, by_place.get((one.partition, one.offset or 0), "end"))
            for one in partitions
        }

    wanted = place(source)
    wait_until(lambda: place(target) == wanted, what="the group is there", seconds=60, pause_s=1)
