"""Reading a partition with a cursor, or acknowledgements, that the servers keep."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.acknowledged import CheckFailed, Value, compare_in_order
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.peers.session import Reading
from benchmarks.workloads.loaded_topic import LoadedTopic

if TYPE_CHECKING:
    from benchmarks.peers.session import Receiver, Session
    from benchmarks.target import Target


class _Kind(NamedTuple):
    name: str
    summary: str
    most: int
    """Messages a request."""
    messages: int
    """More than a run reads in its seconds; one that reads all ends sooner."""


_KINDS = {
    Reading.POP: _Kind("consume_pop", "pop of 500 messages a request", 500, 1_000_000),
    Reading.GROUP: _Kind("consume_group", "read as the member of a group", 500, 1_000_000),
    Reading.WORKER: _Kind("worker", "receive 100 messages, acknowledge each", 100, 100_000),
}


class Consume:
    """A new consumer in each run reads from the beginning."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = ()
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, reading: Reading, messages: int = 0) -> None:
        """Read in a certain way; have `messages` messages to read, 0 for enough."""
        kind = _KINDS[reading]
        self.name = kind.name
        self.summary = f"{kind.summary}, by one consumer"
        self._reading = reading
        self._most = kind.most
        self._messages = messages or kind.messages
        self._topic: LoadedTopic | None = None

    def prepare(self, session: Session) -> None:
        """Remember the system."""
        self._session = session

    def run(self, seconds: float) -> Measurement:
        """Read for some seconds, or until nothing is left."""
        topic = self._topic
        if topic is None or not self._session.keeps_read:
            topic = self._topic = LoadedTopic(self._session, self.name, self._messages)
        self._read: list[Value] = []
        with closing(self._session.receiver(topic.name, self._reading)) as receiver:
            (measurement,) = self._session.run(self._consume(receiver, seconds))
        return measurement

    def check(self) -> int:
        """Compare what was read with what was stored, in order."""
        if not self._read or self._topic is None:
            raise CheckFailed("nothing was read")
        return compare_in_order(self._topic.values, self._read)

    def close(self) -> None:
        """Keep nothing."""

    async def _consume(self, receiver: Receiver, seconds: float) -> Measurement:
        latencies_s: list[float] = []
        self._read += await self._receive(receiver, 1)
        before = len(self._read)
        started = now = time.perf_counter()
        while now < started + seconds and len(self._read) < self._messages:
            received = await self._receive(receiver, self._most)
            earlier, now = now, time.perf_counter()
            latencies_s.append(now - earlier)
            self._read += received
            if not received:
                raise CheckFailed(f"message {len(self._read)} does not come")
        return measure(
            messages=len(self._read) - before, seconds=now - started, latencies_s=latencies_s
        )

    async def _receive(self, receiver: Receiver, most: int) -> list[Value]:
        received = list(await receiver.receive(most))
        if self._reading is Reading.WORKER:
            await receiver.acknowledge()
        return received
