"""Popping one at a time through the manager with plain HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed, Value, compare_in_order
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.target import Target, at_least
from benchmarks.workloads.loaded_topic import LoadedTopic
from benchmarks.workloads.plain_http import PlainHttp

if TYPE_CHECKING:
    from benchmarks.peers.queuesite import Site

MESSAGES = 20_000
"""More than a run pops in its seconds."""


class PopManager:
    """A new consumer in each run pops through the manager, which knows where to."""

    name = "pop_manager"
    summary = "pop one at a time through the manager, plain HTTP and JSON"
    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = (at_least(Figure.PER_SECOND, 600),)
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, messages: int = MESSAGES) -> None:
        """Have `messages` messages to pop."""
        self._messages = messages

    def prepare(self, site: Site) -> None:
        """Fill a topic."""
        self._topic = LoadedTopic(site, self.name, self._messages)
        self._http = PlainHttp(site.manager)

    def run(self, seconds: float) -> Measurement:
        """Pop for some seconds, or until nothing is left."""
        registered = self._http.post("/consumer/register", {"topic": self._topic.name})
        call = {"topic": self._topic.name, "consumer_id": registered["consumer_id"]}
        self._read: list[Value] = []
        latencies_s: list[float] = []
        started = now = time.perf_counter()
        while now < started + seconds:
            answer = self._http.post("/consumer/consume", call, empty_code="QUEUE_EMPTY")
            before, now = now, time.perf_counter()
            if not answer:
                break
            latencies_s.append(now - before)
            self._read.append(answer["message"])
        return measure(messages=len(self._read), seconds=now - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Compare what was popped with what was stored, in order."""
        if not self._read:
            raise CheckFailed("nothing was popped")
        return compare_in_order(self._topic.values, self._read)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
