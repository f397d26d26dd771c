"""From sending a message to having received it by a long poll."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged, CheckFailed, Value, compare_in_order
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.site import message
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.site import Site
    from myqueue import Consumer, Message

WAIT_MS = 1_000
PATIENCE_S = 10.0
LAST = b"the last message of this run"

Arrival = tuple[float, Value]
"""When, and what."""


class EndToEnd:
    """A producer sends the next message when the consumer, in another thread, has the last."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = (at_most(Figure.P50_MS, 1.5),)
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, *, pops: bool) -> None:
        """Receive by `fetch`, or by popping, which is a second durable write."""
        self.name = "end_to_end_pop" if pops else "end_to_end"
        self.summary = f"send to receive by long poll ({'pop' if pops else 'fetch'})"
        self._pops = pops

    def prepare(self, site: Site) -> None:
        """Remember the cluster; each run has a topic of its own."""
        self._site = site

    def run(self, seconds: float) -> Measurement:
        """Send and receive for some seconds."""
        topic = self._topic = self._site.new_topic(self.name)
        self._acknowledged = Acknowledged()
        self._sent: list[Value] = []
        self._received: list[Value] = []
        arrivals: SimpleQueue[Arrival] = SimpleQueue()
        latencies_s: list[float] = []
        with self._site.producer(topic) as producer, self._site.consumer(topic) as consumer:
            receive = self._popping(consumer) if self._pops else self._fetching(consumer)
            receiver = threading.Thread(target=_receive, args=(receive, arrivals), daemon=True)
            receiver.start()

            def send(value: bytes) -> float:
                """Return the seconds until it arrived."""
                sent = time.perf_counter()
                offset = producer.enqueue(topic, value, partition=0).offset
                arrived, received = arrivals.get(timeout=PATIENCE_S)
                self._acknowledged.add(offset, [value])
                self._sent.append(value)
                self._received.append(received)
                return arrived - sent

            send(message(0))
            started = now = time.perf_counter()
            while now < started + seconds:
                latencies_s.append(send(message(len(self._sent))))
                now = time.perf_counter()
            send(LAST)
            receiver.join(PATIENCE_S)
        return measure(messages=len(latencies_s), seconds=now - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Compare what was received with what was sent, and with what is stored."""
        if len(self._received) != len(self._sent):
            raise CheckFailed(f"{len(self._received)} of {len(self._sent)} messages arrived")
        compare_in_order(self._sent, self._received)
        return self._acknowledged.compare(self._site.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""

    def _popping(self, consumer: Consumer) -> Callable[[], list[Message]]:
        return lambda: consumer.poll(1, WAIT_MS / 1000)

    def _fetching(self, consumer: Consumer) -> Callable[[], list[Message]]:
        topic = self._topic
        offset = 0

        def fetch() -> list[Message]:
            nonlocal offset
            fetched = consumer.fetch(topic, 0, offset, wait_ms=WAIT_MS)
            offset = fetched.next_offset
            return fetched.messages

        return fetch


def _receive(receive: Callable[[], list[Message]], arrivals: SimpleQueue[Arrival]) -> None:
    """Put what arrives into the queue, up to the last message."""
    while True:
        messages = receive()
        now = time.perf_counter()
        for one in messages:
            arrivals.put((now, one.value))
            if one.value == LAST:
                return
