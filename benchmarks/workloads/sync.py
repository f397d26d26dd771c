"""Messages one at a time, by one or several threads that share a producer."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.site import message
from benchmarks.target import Target, at_least, at_most

if TYPE_CHECKING:
    from benchmarks.site import Site
    from myqueue import Producer

_TARGETS: dict[int, tuple[Target, ...]] = {
    1: (at_least(Figure.PER_SECOND, 1_000), at_most(Figure.P50_MS, 0.9)),
    16: (at_least(Figure.PER_SECOND, 10_000),),
}

Timed = tuple[int, bytes, float]
"""Offset, value, seconds until it was acknowledged."""


class Sync:
    """Each thread sends a message, waits until it is durable, and sends the next."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, threads: int) -> None:
        """Use `threads` threads, at least 1."""
        self.name = f"sync_{threads}"
        self.summary = f"one at a time, straight to the leader, {threads} thread(s)"
        self.targets = _TARGETS.get(threads, ())
        self._threads = threads

    def prepare(self, site: Site) -> None:
        """Remember the cluster; each run has a topic of its own."""
        self._site = site

    def run(self, seconds: float) -> Measurement:
        """Send for some seconds."""
        self._topic = self._site.new_topic(self.name)
        self._acknowledged = Acknowledged()
        with (
            self._site.producer(self._topic) as producer,
            ThreadPoolExecutor(self._threads) as pool,
        ):
            first = message(0, self._threads)
            self._acknowledged.add(producer.enqueue(self._topic, first).offset, [first])
            started = time.perf_counter()
            running = [
                pool.submit(self._send, producer, thread, started + seconds)
                for thread in range(self._threads)
            ]
            timed = [one for future in running for one in future.result()]
            ended = time.perf_counter()
        for offset, value, _ in timed:
            self._acknowledged.add(offset, [value])
        latencies_s = [latency_s for _, _, latency_s in timed]
        return measure(messages=len(timed), seconds=ended - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._site.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""

    def _send(self, producer: Producer, thread: int, deadline: float) -> list[Timed]:
        """Send until the deadline."""
        timed: list[Timed] = []
        now = time.perf_counter()
        while now < deadline:
            value = message(len(timed), thread)
            delivered = producer.enqueue(self._topic, value, partition=0)
            before, now = now, time.perf_counter()
            timed.append((delivered.offset, value, now - before))
        return timed
