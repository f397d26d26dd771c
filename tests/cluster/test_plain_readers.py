"""Plain HTTP readers that name no partition, while managers and brokers are killed.

They use no library: a `request_id` for each call, and the same call again until it is answered.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests

from myqueue import Producer
from tests.cluster.rounds import MANY, ROUNDS
from tests.cluster.workload import log_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

SEED = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
LINES = 5_000 if MANY else 1_500
TOPIC = "lines"
PARTITIONS = 4
READERS = 3
MESSAGES_MAX = 24 if MANY else 10
"""Most messages that a reader asks for at once."""
ANSWER_SECONDS = 2
"""Less than a manager waits for an election: some calls are repeated while the first is alive."""
READ_SECONDS = 240
KILLS = ("manager", "broker", "manager", "broker")


class Reader:
    """One consumer in a thread of its own."""

    def __init__(self, manager: str, seed: int) -> None:
        self._manager = manager
        self._chance = random.Random(seed)
        answer = requests.post(f"{manager}/consumer/register", json={"topic": TOPIC}, timeout=10)
        self._consumer_id = answer.json()["consumer_id"]
        self.found: list[tuple[int, int, str]] = []
        """(partition, offset, text), in the order of reading."""
        self.repeated = 0
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with requests.Session() as http:
                number = 0
                while messages := self._pop(http, f"call-{number}"):
                    self.found += [(m["partition"], m["offset"], m["message"]) for m in messages]
                    number += 1
        except BaseException as error:  # noqa: BLE001 - told to the test that joins
            self.error = error

    def _pop(self, http: requests.Session, request_id: str) -> list[dict[str, Any]]:
        """Make one call until it is answered."""
        call = {
            "topic": TOPIC,
            "consumer_id": self._consumer_id,
            "request_id": request_id,
            "max_messages": self._chance.randint(1, MESSAGES_MAX),
        }
        url = f"{self._manager}/consumer/consume"
        while True:
            try:
                answer = http.post(url, json=call, timeout=ANSWER_SECONDS)
            except requests.RequestException:
                self.repeated += 1
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                messages: list[dict[str, Any]] = answer.json()["messages"]
                return messages
            assert answer.status_code >= 500, answer.text
            self.repeated += 1
            time.sleep(0.02)


def produce(manager: str) -> list[str]:
    """Fill the topic with real lines; return them as they are stored."""
    logs = log_lines(["a", "b", "c"])
    lines = [line for lines in logs.values() for line in lines][:LINES]
    stored = [f"{number}|{line}" for number, line in enumerate(lines)]
    with Producer(TOPIC, manager) as producer:
        for partition in range(PARTITIONS):
            producer.produce_many(TOPIC, stored[partition::PARTITIONS], partition=partition)
    return stored


def wait_for_share(readers: list[Reader], share: float, total: int) -> None:
    """Return when the readers have read about this share of everything, or are done."""
    deadline = time.monotonic() + READ_SECONDS
    while sum(len(one.found) for one in readers) < share * total * len(readers):
        assert time.monotonic() < deadline, [len(one.found) for one in readers]
        if not any(one.thread.is_alive() for one in readers):
            return
        time.sleep(0.005)


def kill(cluster: FaultCluster, what: str, chance: random.Random) -> None:
    """Kill -9 the manager, or a broker that leads a partition, and start it again."""
    server = cluster.manager
    if what == "broker":
        server = cluster.brokers[cluster.leader_id(TOPIC, chance.randrange(PARTITIONS))]
    time.sleep(chance.random() * 0.05)
    server.kill()
    server.start()


def check(readers: list[Reader], stored: list[str]) -> None:
    """Every reader has every line once, each partition in order."""
    for number, reader in enumerate(readers):
        count = Counter(text for _, _, text in reader.found)
        lost = [text for text in stored if not count[text]]
        twice = [text for text, times in count.items() if times > 1]
        assert not lost, f"reader {number} lost {len(lost)} of {len(stored)}: {lost[:5]}"
        assert not twice, f"reader {number} read {len(twice)} twice: {twice[:5]}"
        assert len(count) == len(stored), "a line was invented"
        for partition in range(PARTITIONS):
            offsets = [offset for index, offset, _ in reader.found if index == partition]
            assert offsets == list(range(len(offsets)))


@pytest.mark.parametrize("number", range(1, 1 + max(1, ROUNDS // 4)))
def test_readers_by_request_id_lose_nothing_when_managers_and_brokers_are_killed(
    fault_cluster: FaultCluster, say: Callable[[str], None], number: int
) -> None:
    chance = random.Random(SEED + number)
    manager = fault_cluster.manager.address
    fault_cluster.create_topic(TOPIC, partitions=PARTITIONS)
    stored = produce(manager)
    readers = [Reader(manager, chance.randrange(1 << 32)) for _ in range(READERS)]
    started = time.monotonic()
    for reader in readers:
        reader.thread.start()
    for step, what in enumerate(KILLS, 1):
        wait_for_share(readers, step / (len(KILLS) + 1), len(stored))
        kill(fault_cluster, what, chance)
    for reader in readers:
        reader.thread.join(READ_SECONDS)
        assert not reader.thread.is_alive(), "a reader still reads"
        assert reader.error is None, reader.error
    check(readers, stored)
    say(
        f"plain readers by request_id, round {number}: {READERS} readers, {len(stored)} lines each,"
        f" lost and doubled: 0; {sum(one.repeated for one in readers)} calls repeated,"
        f" {time.monotonic() - started:.0f} s; seed {SEED}"
    )
