"""Messages one at a time, by one or several callers that share a producer."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.target import Target, at_least, at_most

if TYPE_CHECKING:
    from benchmarks.peers.session import Sender, Session

_TARGETS: dict[int, tuple[Target, ...]] = {
    1: (at_least(Figure.PER_SECOND, 1_000), at_most(Figure.P50_MS, 0.9)),
    16: (at_least(Figure.PER_SECOND, 10_000),),
}

Timed = tuple[int | None, bytes, float]
"""Offset, value, seconds until it was acknowledged."""


class Sync:
    """Each caller sends a message, waits until it is durable, and sends the next."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, callers: int) -> None:
        """Use `callers` threads, or tasks with a client for asyncio; at least 1."""
        self.name = f"sync_{callers}"
        self.summary = f"one at a time, straight to the leader, {callers} caller(s)"
        self.targets = _TARGETS.get(callers, ())
        self._callers = callers

    def prepare(self, session: Session) -> None:
        """Remember the system; each run has a topic of its own."""
        self._session = session

    def run(self, seconds: float) -> Measurement:
        """Send for some seconds."""
        self._topic = self._session.new_topic(self.name)
        self._acknowledged = Acknowledged()
        with closing(self._session.sender(self._topic)) as sender:
            self._session.run(self._send_first(sender))
            started = time.perf_counter()
            timed = self._session.run(
                *(self._send(sender, one, started + seconds) for one in range(self._callers))
            )
            ended = time.perf_counter()
        for lane, caller in enumerate(timed):
            for offset, value, _ in caller:
                self._acknowledged.add(offset, [value], lane=lane)
        latencies_s = [latency_s for caller in timed for _, _, latency_s in caller]
        return measure(messages=len(latencies_s), seconds=ended - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._session.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""

    async def _send_first(self, sender: Sender) -> None:
        value = message(0, self._callers)
        self._acknowledged.add(await sender.send(value), [value], lane=self._callers)

    async def _send(self, sender: Sender, caller: int, deadline: float) -> list[Timed]:
        """Send until the deadline, one message at least."""
        timed: list[Timed] = []
        now = time.perf_counter()
        while not timed or now < deadline:
            value = message(len(timed), caller)
            offset = await sender.send(value)
            before, now = now, time.perf_counter()
            timed.append((offset, value, now - before))
        return timed


class Tasks(Sync):
    """The same with tasks and the client for asyncio, where a system has one."""

    def __init__(self, callers: int) -> None:
        """Use `callers` tasks; at least 1."""
        super().__init__(callers)
        self.name = f"tasks_{callers}"
        self.summary = f"one at a time by {callers} task(s) with the client for asyncio"
        self.targets = ()

    def prepare(self, session: Session) -> None:
        """Remember the system's session for tasks, with a loop of its own."""
        super().prepare(session.for_tasks())
        self._is_own = self._session is not session

    def close(self) -> None:
        """Close it, unless whoever gave it does."""
        if self._is_own:
            self._session.close()
