"""What servers take while nobody wants anything of them."""

from __future__ import annotations

import time
from contextlib import closing
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.process_figures import processor_seconds, resident_mb
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.session import Sender, Session

SETTLE_S = 3.0
"""After partitions were made, before the first run."""

_TARGETS: dict[int, tuple[Target, ...]] = {
    0: (at_most(Figure.PROCESSOR_PERCENT, 2),),
    1_000: (at_most(Figure.PROCESSOR_PERCENT, 4),),
    10_000: (at_most(Figure.PROCESSOR_PERCENT, 8), at_most(Figure.RESIDENT_MB, 600)),
}


class Idle:
    """Nothing is asked for some seconds. Then a message is sent: the servers have to be there."""

    runs = 3
    warms_up = True
    figures = (Figure.PROCESSOR_PERCENT, Figure.RESIDENT_MB)
    floor: FloorKind | None = None

    def __init__(self, partitions: int) -> None:
        """Have so many partitions, which hold nothing."""
        self.name = f"idle_{partitions}"
        self.summary = (
            f"servers with {partitions:,} partitions that nobody uses, mean of the servers"
        )
        self.targets = _TARGETS.get(partitions, ())
        self._partitions = partitions

    def prepare(self, session: Session) -> None:
        """Create the partitions."""
        self._session = session
        session.new_partitions(self.name, self._partitions)
        time.sleep(SETTLE_S)

    def run(self, seconds: float) -> Measurement:
        """Watch for some seconds."""
        pids = [place.pid for place in self._session.servers()]
        before = [processor_seconds(pid) for pid in pids]
        started = time.perf_counter()
        time.sleep(seconds)
        took_s = time.perf_counter() - started
        used_s = mean(map(processor_seconds, pids)) - mean(before)
        measurement = measure(messages=1, seconds=took_s, latencies_s=[])
        measurement.others[Figure.PROCESSOR_PERCENT] = 100 * used_s / took_s
        measurement.others[Figure.RESIDENT_MB] = mean(map(resident_mb, pids))
        return measurement

    def check(self) -> int:
        """Send a message and read it back."""
        topic = self._session.new_topic(self.name)
        with closing(self._session.sender(topic)) as sender:
            (acknowledged,) = self._session.run(_send(sender))
        return acknowledged.compare(self._session.stored(topic))

    def close(self) -> None:
        """Keep nothing."""


async def _send(sender: Sender) -> Acknowledged:
    acknowledged = Acknowledged()
    acknowledged.add(await sender.send(message(0)), [message(0)])
    return acknowledged
