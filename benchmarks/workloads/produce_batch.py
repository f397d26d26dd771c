"""Batches of messages, one after the other."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.target import Target, at_least

if TYPE_CHECKING:
    from benchmarks.peers.session import Sender, Session

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

    def prepare(self, session: Session) -> None:
        """Remember the system; each run has a topic of its own."""
        self._session = session

    def run(self, seconds: float) -> Measurement:
        """Send for some seconds."""
        self._topic = self._session.new_topic(self.name)
        self._acknowledged = Acknowledged()
        with closing(self._session.sender(self._topic)) as sender:
            (measurement,) = self._session.run(self._send(sender, seconds))
        return measurement

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._session.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""

    async def _send(self, sender: Sender, seconds: float) -> Measurement:
        first = self._batches[-1]
        self._acknowledged.add(await sender.send_batch(first), first)
        latencies_s: list[float] = []
        started = now = time.perf_counter()
        while now < started + seconds:
            batch = self._batches[len(latencies_s) % BATCHES]
            base_offset = await sender.send_batch(batch)
            before, now = now, time.perf_counter()
            latencies_s.append(now - before)
            self._acknowledged.add(base_offset, batch)
        return measure(
            messages=len(latencies_s) * len(first),
            seconds=now - started,
            latencies_s=latencies_s,
        )
