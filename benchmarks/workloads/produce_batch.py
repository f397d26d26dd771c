"""Batches of messages, one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.site import message
from benchmarks.target import Target, at_least

if TYPE_CHECKING:
    from benchmarks.site import Site

STANDARD_MESSAGES = 1_000
BATCHES = 16
"""Different batches; sent in turn, so that making them is not measured."""


class ProduceBatch:
    """One producer sends a batch, waits until it is durable, and sends the next."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    floor: FloorKind | None = FloorKind.SQLITE_BLOB

    def __init__(self, batch_messages: int = STANDARD_MESSAGES) -> None:
        """Send batches of `batch_messages` messages."""
        standard = batch_messages == STANDARD_MESSAGES
        self.name = "produce_batch" if standard else f"produce_batch_{batch_messages}"
        self.summary = f"batches of {batch_messages:,} through the client, one at a time"
        self.targets: tuple[Target, ...] = (
            (at_least(Figure.PER_SECOND, 300_000),) if standard else ()
        )
        self._batches = [
            [message(number, batch) for number in range(batch_messages)] for batch in range(BATCHES)
        ]

    def prepare(self, site: Site) -> None:
        """Remember the cluster; each run has a topic of its own."""
        self._site = site

    def run(self, seconds: float) -> Measurement:
        """Send for some seconds."""
        topic = self._topic = self._site.new_topic(self.name)
        self._acknowledged = Acknowledged()
        latencies_s: list[float] = []
        with self._site.producer(topic) as producer:
            first = self._batches[-1]
            self._acknowledged.add(
                producer.produce_many(topic, first, partition=0)[0].base_offset, first
            )
            started = now = time.perf_counter()
            while now < started + seconds:
                batch = self._batches[len(latencies_s) % BATCHES]
                delivered = producer.produce_many(topic, batch, partition=0)[0]
                before, now = now, time.perf_counter()
                latencies_s.append(now - before)
                self._acknowledged.add(delivered.base_offset, batch)
        return measure(
            messages=len(latencies_s) * len(first),
            seconds=now - started,
            latencies_s=latencies_s,
        )

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._site.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""
