"""A broker that is added under load gets its share, and a rack that is lost stops no partition."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests

from myqueue import Consumer, Producer
from tests.cluster.processes import wait_until
from tests.cluster.rounds import MANY
from tests.cluster.terminals import BROKERS, Terminals, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

PARTITIONS = 48 if MANY else 8
RACKS = ["a", "b", "c"]
SHARE_SECONDS = 120
SECRET = "a secret that only this test knows"


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    try:
        yield terminals
    finally:
        terminals.stop()


class Load:
    """Writes from a thread until it is stopped, and keeps what was acknowledged."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._failure: BaseException | None = None
        self.acknowledged: list[str] = []

    def _write(self) -> None:
        try:
            while not self._stop.is_set():
                value = f"message {len(self.acknowledged)}"
                self._producer.enqueue("logs", value)
                self.acknowledged.append(value)
        except BaseException as error:  # noqa: BLE001 - raised at the end
            self._failure = error

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


def call(address: str, path: str, **fields: object) -> dict[str, Any]:
    answer = requests.request("POST" if fields else "GET", address + path, json=fields, timeout=40)
    body: dict[str, Any] = answer.json()
    assert body["status"] == "success", body
    return body


def partitions_of(manager: str) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = call(manager, "/topics/logs")["partitions"]
    return described


def has_its_share(manager: str) -> bool:
    """Tell whether every partition is well and in all racks, and all brokers lead as many."""
    brokers = call(manager, "/brokers?detail=1")["brokers"]
    rack_of = {broker["broker_id"]: broker["rack"] for broker in brokers}
    led = Counter(dict.fromkeys(rack_of, 0))
    for one in partitions_of(manager):
        racks = [rack_of[replica["broker_id"]] for replica in one["replicas"]]
        if one["condition"] != "healthy" or sorted(racks) != RACKS or one["leader"] is None:
            return False
        led[one["leader"]["broker_id"]] += 1
    return max(led.values()) - min(led.values()) <= 1


def test_added_broker_gets_its_share_under_load_and_a_lost_rack_stops_nothing(
    terminals: Terminals, say: Callable[[str], None]
) -> None:
    quick = {
        "QUEUE_CLUSTER_SECRET": SECRET,
        "QUEUE_BROKER_HEARTBEAT_S": "2",
        "QUEUE_BROKER_SIGN_S": "1",
    }
    base, manager = terminals.base, terminals.manager
    numbers = [terminals.start("manager", QUEUE_PORT=str(base), **quick)]
    for number, rack in zip(range(1, 1 + BROKERS), ("a", "a", "b"), strict=True):
        numbers.append(
            terminals.start("broker", QUEUE_PORT=str(base + number), QUEUE_RACK=rack, **quick)
        )
    for number in numbers:
        terminals.wait_ready(number)
    call(manager, "/topics", topic="logs", number_of_partitions=PARTITIONS)
    with Producer("logs", manager) as producer, Consumer("logs", manager) as consumer:
        with Load(producer) as load:
            started = time.monotonic()
            added = terminals.start("broker", QUEUE_PORT=free_port(), QUEUE_RACK="c", **quick)
            terminals.wait_ready(added)

            wait_until(
                lambda: has_its_share(manager),
                what="the new broker has its share",
                seconds=SHARE_SECONDS,
                pause_s=0.5,
            )
            say(f"a fourth broker had its share after {time.monotonic() - started:.0f} s")
            for number in numbers[1:3]:
                terminals.kill(number)
            before = len(load.acknowledged)
            wait_until(
                lambda: len(load.acknowledged) >= before + 10 * PARTITIONS,
                what="every partition takes messages without rack a",
                seconds=60,
            )
        read: list[str] = []
        while len(read) < len(load.acknowledged):
            read += [str(message.value) for message in consumer.poll(timeout=10)]
    assert sorted(read) == sorted(load.acknowledged)
