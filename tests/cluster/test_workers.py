"""Queue workers under fire: more processes than partitions, brokers and workers killed with -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from myqueue import Client, Consumer, Producer
from tests.cluster.processes import ROOT, popen, wait_until
from tests.cluster.rounds import MANY, ROUNDS
from tests.cluster.worker_process import DELIVERY_LIMIT, POISON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from myqueue.results import Message
    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

SEED = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
TOPIC, GROUP = "jobs", "mailers"
PARTITIONS = 2
WORKERS = 6 if MANY else 4
KILL_EVERY_SECONDS = 2.0
POISON_EVERY = 50
"""One message in so many is handled by nobody."""
DRAIN_SECONDS = 120


@pytest.fixture
def cluster(fault_cluster: FaultCluster) -> FaultCluster:
    fault_cluster.create_topic(TOPIC, partitions=PARTITIONS)
    return fault_cluster


class Workers:
    """Worker processes, each with a file of what it did; one that is killed gets a successor."""

    def __init__(self, address: str, directory: Path) -> None:
        self.directory = directory
        self.killed = 0
        self._address = address
        self._made = 0
        self._running = [self._start() for _ in range(WORKERS)]

    def _start(self) -> tuple[subprocess.Popen[bytes], Path]:
        self._made += 1
        notes = self.directory / f"worker-{self._made}.notes"
        command = [sys.executable, "-m", "tests.cluster.worker_process"]
        return popen([*command, self._address, TOPIC, GROUP, str(notes)], cwd=ROOT), notes

    @staticmethod
    def _wait_runs(process: subprocess.Popen[bytes], notes: Path) -> None:
        """Wait until one has begun to work; from then on it takes signals."""

        def begun() -> bool:
            assert process.poll() is None, "a worker has ended"
            return notes.exists()

        wait_until(begun, what="a worker runs")

    def kill_one(self, chance: random.Random) -> None:
        """Kill one with -9 and start another."""
        index = chance.randrange(WORKERS)
        process, notes = self._running[index]
        self._wait_runs(process, notes)
        process.kill()
        process.wait()
        self.killed += 1
        self._running[index] = self._start()

    def end(self) -> None:
        """Ask all to stop."""
        for process, notes in self._running:
            self._wait_runs(process, notes)
            process.send_signal(signal.SIGTERM)
        for process, _ in self._running:
            assert process.wait(60) == 0

    def close(self) -> None:
        """Kill what still runs."""
        for process, _ in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()

    def notes(self) -> list[list[str]]:
        """Return what all of them noted: (what, partition, offset, delivery, text)."""
        return [
            line.split(" ")
            for path in self.directory.glob("*.notes")
            for line in path.read_text().splitlines()
        ]


class Source(threading.Thread):
    """Sends numbered messages, some of which are poison, until it is told to end."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._ended = threading.Event()
        self.sent: list[str] = []
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            with Producer(TOPIC, self._address) as producer:
                while not self._ended.wait(0.01):
                    number = len(self.sent)
                    kind = "job" if number % POISON_EVERY else POISON
                    producer.enqueue(TOPIC, f"{kind}-{number}")
                    self.sent.append(f"{kind}-{number}")
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.errors.append(error)

    def end(self) -> None:
        self._ended.set()
        self.join(130)
        assert not self.is_alive()
        if self.errors:
            raise self.errors[0]


def standing(cluster: FaultCluster, token: str, partition: int) -> dict[str, Any]:
    """Return where the group is in a partition, as its leader confirms it."""
    leader = cluster.brokers[cluster.leader_id(TOPIC, partition)]
    answer = cluster.http.get(
        f"{leader.address}/offsets",
        params={"topic": TOPIC, "partition": partition, "group": GROUP},
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    body: dict[str, Any] = answer.json()
    return body


def wait_settled(cluster: FaultCluster, token: str) -> float:
    """Return how many seconds it took until no message was out, dead or undelivered."""

    def settled() -> bool:
        standings = [standing(cluster, token, index) for index in range(PARTITIONS)]
        return all(
            one.get("lag") == one.get("unsettled") == one.get("dead") == 0 for one in standings
        )

    began = time.monotonic()
    wait_until(settled, what="every message is settled", seconds=DRAIN_SECONDS)
    return time.monotonic() - began


def read_all(address: str, topic: str) -> list[Message]:
    """Return everything that a topic has."""
    found: list[Message] = []
    with Consumer(topic, address) as consumer:
        while messages := consumer.poll(1_000):
            found += messages
        consumer.forget()
    return found


def kill_and_start(cluster: FaultCluster, chance: random.Random) -> None:
    broker = cluster.brokers[chance.choice(sorted(cluster.brokers))]
    broker.kill()
    broker.launch()
    broker.wait_healthy()


def test_every_message_is_handled_and_poison_is_buried_once(
    cluster: FaultCluster, tmp_path: Path, say: Callable[[str], None]
) -> None:
    chance, address = random.Random(SEED), cluster.manager.address
    directory = tmp_path / "notes"
    directory.mkdir()
    workers, source = Workers(address, directory), Source(address)
    try:
        source.start()
        for _ in range(ROUNDS):
            time.sleep(KILL_EVERY_SECONDS)
            kill_and_start(cluster, chance)
            workers.kill_one(chance)
        time.sleep(1)
        source.end()
        with Consumer(TOPIC, address) as consumer:
            drained = wait_settled(cluster, consumer.registration(TOPIC).token)
        workers.end()
    finally:
        workers.close()
    stored = {(one.partition, one.offset): one.text for one in read_all(address, TOPIC)}
    assert sorted(stored.values()) == sorted(source.sent)
    letters = read_all(address, f"{TOPIC}.dead")
    handled = check_handled(workers.notes(), stored, letters)
    poison = sorted(text for text in source.sent if text.startswith(POISON))
    assert sorted(one.text for one in letters) == poison, "not each once in the dead-letter topic"
    for letter in letters:
        headers = letter.headers or {}
        place = (int(headers["dead-letter-partition"]), int(headers["dead-letter-offset"]))
        assert stored[place] == letter.text
        assert int(headers["dead-letter-deliveries"]) >= DELIVERY_LIMIT
    say(
        f"{WORKERS} workers at {PARTITIONS} partitions, {ROUNDS} times a broker and"
        f" {workers.killed} times a worker killed with -9: {len(stored)} messages handled"
        f" {handled} times, {len(poison)} of them poison; settled {drained:.1f} s after the last"
        f" was sent; lost: 0; seed {SEED}"
    )
    check_redrive(cluster, chance, poison)
    say(f"{len(poison)} dead letters came back once, with a broker killed meanwhile")


def check_handled(
    notes: list[list[str]], stored: dict[tuple[int, int], str], letters: list[Message]
) -> int:
    """Check what the workers noted; return how often a message was handled."""
    handled: Counter[tuple[int, int]] = Counter()
    acknowledged: Counter[tuple[int, int]] = Counter()
    for what, *more in notes:
        *_, partition, offset, _, text = more
        place = (int(partition), int(offset))
        assert stored[place] == text
        handled[place] += what == "handled"
        acknowledged[place] += what == "acked"
    missing = [text for place, text in stored.items() if place not in handled]
    buried = [(one.text, one.headers) for one in letters]
    assert not missing, f"handled by nobody: {missing}; in the dead-letter topic: {buried}"
    for place, text in stored.items():
        if text.startswith(POISON):
            assert handled[place] <= DELIVERY_LIMIT
    return handled.total()


def check_redrive(cluster: FaultCluster, chance: random.Random, poison: list[str]) -> None:
    """Check that dead letters come back once, whatever happens meanwhile."""
    address = cluster.manager.address
    done = 0
    with Client(address) as client:
        killing = threading.Thread(target=kill_and_start, args=(cluster, chance))
        killing.start()
        while done < len(poison):
            done += client.redrive(TOPIC, max_messages=3)
        killing.join()
        assert client.redrive(TOPIC) == 0
    again = Counter(one.text for one in read_all(address, TOPIC) if one.text.startswith(POISON))
    assert again == dict.fromkeys(poison, 2)
