"""Reading a partition from its beginning by offset."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed, Value, compare_in_order
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.peers.session import Reading
from benchmarks.target import Target, at_least
from benchmarks.workloads.loaded_topic import LoadedTopic

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.session import Receiver, Session

MESSAGES = 200_000
"""More than one pass reads in its seconds, where there is but one."""
MOST = 1_000
"""Messages asked for at once where that is told in messages."""


class ConsumeFetch:
    """One consumer reads from the beginning, again and again; what it got is compared after."""

    name = "consume_fetch"
    summary = "fetch of 100-byte messages, decoded, by one consumer"
    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = (at_least(Figure.PER_SECOND, 1_000_000),)
    floor: FloorKind | None = None

    def __init__(self, messages: int = MESSAGES) -> None:
        """Read at most `messages` messages in one pass."""
        self._messages = messages
        self._compared = 0

    def prepare(self, session: Session) -> None:
        """Fill a topic."""
        self._session = session
        if session.keeps_read:
            self._topic = LoadedTopic(session, self.name, self._messages)

    def run(self, seconds: float) -> Measurement:
        """Read from the beginning until the passes took so long together.

        There is but one pass where what was read is gone.
        """
        latencies_s: list[float] = []
        self._compared = 0
        keeps_read = self._session.keeps_read
        if not keeps_read:
            self._topic = LoadedTopic(self._session, self.name, self._messages)
        while not latencies_s or (keeps_read and sum(latencies_s) < seconds):
            with closing(self._session.receiver(self._topic.name, Reading.FETCH)) as receiver:
                left_s = seconds - sum(latencies_s)
                (values,) = self._session.run(self._read(receiver, latencies_s, left_s))
            self._compared += compare_in_order(self._topic.values, values)
        return measure(messages=self._compared, seconds=sum(latencies_s), latencies_s=latencies_s)

    def check(self) -> int:
        """Return how many messages `run` compared after its passes."""
        return self._compared

    def close(self) -> None:
        """Keep nothing."""

    async def _read(
        self, receiver: Receiver, latencies_s: list[float], seconds: float
    ) -> list[Value]:
        """Read to the end, or for so long."""
        values: list[Value] = []
        started = now = time.perf_counter()
        while now < started + seconds and len(values) < self._messages:
            received = await receiver.receive(MOST)
            before, now = now, time.perf_counter()
            latencies_s.append(now - before)
            values += received
            if not received:
                raise CheckFailed(f"nothing is stored at offset {len(values)}")
        return values
