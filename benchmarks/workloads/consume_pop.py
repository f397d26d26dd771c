"""Reading a partition by popping: each request moves the consumer's cursor durably."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed, Value, compare_in_order
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.workloads.loaded_topic import LoadedTopic

if TYPE_CHECKING:
    from benchmarks.site import Site
    from benchmarks.target import Target

MESSAGES = 1_000_000
"""More than a run pops in its seconds; one that pops all ends sooner."""
POP_MESSAGES = 500
"""What iteration over a consumer takes at once."""


class ConsumePop:
    """A new consumer in each run pops from the beginning."""

    name = "consume_pop"
    summary = f"pop of {POP_MESSAGES} messages a request, by one consumer"
    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = ()
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, messages: int = MESSAGES) -> None:
        """Have `messages` messages to pop."""
        self._messages = messages

    def prepare(self, site: Site) -> None:
        """Fill a topic."""
        self._site = site
        self._topic = LoadedTopic(site, self.name, self._messages)

    def run(self, seconds: float) -> Measurement:
        """Pop for some seconds, or until nothing is left."""
        latencies_s: list[float] = []
        self._read: list[Value] = []
        with self._site.consumer(self._topic.name) as consumer:
            self._read += [one.value for one in consumer.poll(1)]
            started = now = time.perf_counter()
            while now < started + seconds:
                popped = consumer.poll(POP_MESSAGES)
                before, now = now, time.perf_counter()
                if not popped:
                    break
                latencies_s.append(now - before)
                self._read += [one.value for one in popped]
        return measure(messages=len(self._read) - 1, seconds=now - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Compare what was popped with what was stored, in order."""
        if not self._read:
            raise CheckFailed("nothing was popped")
        return compare_in_order(self._topic.values, self._read)

    def close(self) -> None:
        """Keep nothing."""
