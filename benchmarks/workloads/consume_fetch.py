"""Reading a partition from its beginning by offset."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed, Value, compare_in_order
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.target import Target, at_least
from benchmarks.workloads.loaded_topic import LoadedTopic

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.site import Site
    from myqueue import Message

MESSAGES = 400_000
FETCH_BYTES = 1 << 20


class ConsumeFetch:
    """One consumer reads everything, again and again; what it got is compared in between."""

    name = "consume_fetch"
    summary = "fetch of 100-byte messages, decoded, by one consumer"
    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = (at_least(Figure.PER_SECOND, 1_000_000),)
    floor: FloorKind | None = None

    def __init__(self, messages: int = MESSAGES) -> None:
        """Read `messages` messages in one pass."""
        self._messages = messages
        self._compared = 0

    def prepare(self, site: Site) -> None:
        """Fill a topic."""
        self._topic = LoadedTopic(site, self.name, self._messages)
        self._consumer = site.consumer(self._topic.name)

    def run(self, seconds: float) -> Measurement:
        """Read from the beginning to the end until the passes took so long together."""
        latencies_s: list[float] = []
        self._compared = 0
        while sum(latencies_s) < seconds:
            messages = self._read_all(latencies_s)
            if len(messages) != self._messages:
                raise CheckFailed(f"{len(messages)} of {self._messages} messages were read")
            self._compared += compare_in_order(self._topic.values, _values(messages))
        return measure(messages=self._compared, seconds=sum(latencies_s), latencies_s=latencies_s)

    def check(self) -> int:
        """Return how many messages `run` compared after its passes."""
        return self._compared

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _read_all(self, latencies_s: list[float]) -> list[Message]:
        messages: list[Message] = []
        offset = 0
        while offset < self._messages:
            started = time.perf_counter()
            fetched = self._consumer.fetch(self._topic.name, 0, offset, max_bytes=FETCH_BYTES)
            messages += fetched.messages
            latencies_s.append(time.perf_counter() - started)
            if fetched.next_offset == offset:
                raise CheckFailed(f"nothing is stored at offset {offset}")
            offset = fetched.next_offset
        return messages


def _values(messages: list[Message]) -> list[Value]:
    return [message.value for message in messages]
