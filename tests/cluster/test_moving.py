"""Export and import with real processes that are killed: nothing twice in a file, none missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from myqueue import Client, ClientConfig, Consumer, Producer, Record
from myqueue.moving.importing import BATCH_MESSAGES
from tests.cluster.processes import MANAGER_BACK_MS, ROOT, inherited, popen, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

TOPIC, AGAIN, GROUP = "moved", "moved-again", "moved-readers"
PARTITIONS, COUNT = 3, 30_000
PATIENT = ClientConfig(manager_timeout_ms=MANAGER_BACK_MS)


def start(cluster: Cluster, *arguments: str) -> subprocess.Popen[bytes]:
    return popen(
        [sys.executable, "-m", "myqueue.cli.main", *arguments, "--address", cluster.manager],
        cwd=ROOT,
        env=inherited(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(cluster: Cluster, *arguments: str) -> None:
    process = start(cluster, *arguments)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()


def interrupt(
    process: subprocess.Popen[bytes], number: signal.Signals, *, once: Callable[[], bool]
) -> int:
    """Send a signal once something holds; return the status with which it ended."""
    wait_until(lambda: process.poll() is not None or once(), what="it began", seconds=60)
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


def stored(cluster: Cluster, topic: str) -> dict[int, list[tuple[int, str, int]]]:
    """Return offset, value and time of all messages by partition."""
    found: dict[int, list[tuple[int, str, int]]] = {}
    with Consumer(topic, cluster.manager, config=PATIENT) as consumer:
        while messages := consumer.poll(5_000):
            for one in messages:
                row = one.offset, str(one.value), one.timestamp
                found.setdefault(one.partition, []).append(row)
        consumer.forget()
    return found


def exported(folder: Path) -> dict[int, list[tuple[int, str, int]]]:
    found = {}
    for index in range(PARTITIONS):
        lines = (folder / TOPIC / f"{index:05}.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        found[index] = [(row["offset"], row["value"], row["timestamp"]) for row in rows]
    return found


def test_what_is_killed_goes_on(
    shared_cluster: Cluster, tmp_path: Path, say: Callable[[str], None]
) -> None:
    cluster, folder = shared_cluster, tmp_path / "saved"
    with Client(cluster.manager, config=PATIENT) as client:
        client.create_topic(TOPIC, PARTITIONS)
        with Producer(TOPIC, cluster.manager, config=PATIENT) as producer:
            records = [Record(str(one), str(one % 97)) for one in range(COUNT)]
            producer.produce_many(TOPIC, records)
        with Consumer(TOPIC, cluster.manager, group=GROUP, config=PATIENT) as consumer:
            consumer.poll(500, 30.0)
            consumer.commit()
        before = stored(cluster, TOPIC)

        command = ("export", str(folder), "--topic", TOPIC)
        begun = partial(has_begun, folder)
        interrupt(start(cluster, *command), signal.SIGKILL, once=begun)
        interrupt(start(cluster, *command), signal.SIGTERM, once=begun)
        finish(cluster, *command)
        assert exported(folder) == before

        command = ("import", str(folder), "--topic", TOPIC, "--into", AGAIN)
        interrupt(start(cluster, *command), signal.SIGKILL, once=lambda: has_some(client))
        finish(cluster, *command)
        after = stored(cluster, AGAIN)
        repeats = sum(map(len, after.values())) - COUNT
        assert 0 <= repeats <= BATCH_MESSAGES
        for index, rows in before.items():
            values = list(dict.fromkeys(row[1:] for row in after[index]))
            assert values == [row[1:] for row in rows]
        group = client.describe_group(GROUP).partitions
        read = {one.topic: 0 for one in group}
        for one in group:
            read[one.topic] += one.offset or 0
        assert read[TOPIC] <= read[AGAIN] <= read[TOPIC] + repeats
        finish(cluster, *command)
        assert stored(cluster, AGAIN) == after
    say(f"export and import killed in between: {COUNT} messages, {repeats} twice")


def has_begun(folder: Path) -> bool:
    return any(folder.glob("*/*.state"))


def has_some(client: Client) -> bool:
    if AGAIN not in client.list_topics():
        return False
    return any(one.high_watermark for one in client.describe_topic(AGAIN).partitions)
