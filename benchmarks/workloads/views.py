"""What a manager takes to say what there is, among many partitions."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.acknowledged import CheckFailed
from benchmarks.measurement import Figure, Measurement, measure, percentile
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.floor import FloorKind
    from benchmarks.peers.queuesite import Site

TOPIC_PARTITIONS = 50
BROKERS = 3
TIMEOUT_S = 60.0


class Views:
    """A topic and the brokers are asked for in turn, on one connection."""

    runs = 3
    warms_up = True
    figures = (Figure.TOPIC_MS, Figure.BROKERS_MS)
    targets: tuple[Target, ...] = (at_most(Figure.TOPIC_MS, 5), at_most(Figure.BROKERS_MS, 20))
    floor: FloorKind | None = None

    def __init__(self, partitions: int) -> None:
        """Have so many partitions, of which those of a topic of 50 are asked for."""
        self.name = f"views_{partitions}"
        self.summary = f"GET /topics/T of {TOPIC_PARTITIONS} partitions and GET /brokers among"
        self.summary += f" {partitions:,} partitions, p50"
        self._partitions = partitions

    def prepare(self, site: Site) -> None:
        """Create the partitions."""
        site.new_partitions(self.name, max(0, self._partitions - TOPIC_PARTITIONS))
        self._topic = site.new_wide_topic(self.name, TOPIC_PARTITIONS)
        parts = urlsplit(site.manager)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)

    def run(self, seconds: float) -> Measurement:
        """Ask for some seconds."""
        topic_s: list[float] = []
        brokers_s: list[float] = []
        self._compared = 0
        started = now = time.perf_counter()
        while not topic_s or now < started + seconds:
            topic_s.append(self._timed(f"/topics/{self._topic}", self._check_topic))
            brokers_s.append(self._timed("/brokers", self._check_brokers))
            now = time.perf_counter()
        latencies_s = [*topic_s, *brokers_s]
        measurement = measure(
            messages=len(latencies_s), seconds=now - started, latencies_s=latencies_s
        )
        measurement.others[Figure.TOPIC_MS] = percentile(sorted(topic_s), 50) * 1000
        measurement.others[Figure.BROKERS_MS] = percentile(sorted(brokers_s), 50) * 1000
        return measurement

    def check(self) -> int:
        """Return how many partitions and brokers `run` found in the answers, as they have to be."""
        return self._compared

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _timed(self, path: str, check: Callable[[dict[str, Any]], int]) -> float:
        started = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept": "application/json"})
        body = self._connection.getresponse().read()
        took_s = time.perf_counter() - started
        self._compared += check(json.loads(body))
        return took_s

    def _check_topic(self, answer: dict[str, Any]) -> int:
        led = [one for one in answer.get("partitions", []) if one["leader"]]
        if len(led) != TOPIC_PARTITIONS:
            raise CheckFailed(f"{len(led)} of {TOPIC_PARTITIONS} partitions have a leader")
        return len(led)

    def _check_brokers(self, answer: dict[str, Any]) -> int:
        brokers = answer.get("brokers", [])
        if len(brokers) != BROKERS:
            raise CheckFailed(f"there are {BROKERS} brokers, not {brokers}")
        return BROKERS
