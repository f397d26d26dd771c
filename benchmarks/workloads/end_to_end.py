"""From sending a message to having received it by a long poll."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged, CheckFailed, Value, compare_in_order
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.peers.session import Reading
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from benchmarks.peers.session import Mailbox, Receiver, Sender, Session

PATIENCE_S = 10.0
LAST = b"the last message of this run"

Arrival = tuple[float, Value]
"""When, and what; put into the mailbox by the receiver."""


class EndToEnd:
    """A producer sends the next message when the consumer, running beside it, has the last."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = (at_most(Figure.P50_MS, 1.5),)
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, reading: Reading) -> None:
        """Receive in a certain way; popping is a second durable write."""
        self.name = "end_to_end" if reading is Reading.FETCH else f"end_to_end_{reading}"
        self.summary = f"send to receive by long poll ({reading})"
        self._reading = reading

    def prepare(self, session: Session) -> None:
        """Remember the system; each run has a topic of its own."""
        self._session = session

    def run(self, seconds: float) -> Measurement:
        """Send and receive for some seconds."""
        session = self._session
        topic = self._topic = session.new_topic(self.name)
        self._acknowledged = Acknowledged()
        self._sent: list[Value] = []
        self._received: list[Value] = []
        arrivals = session.mailbox()
        with (
            closing(session.sender(topic)) as sender,
            closing(session.receiver(topic, self._reading)) as receiver,
        ):
            measurements = session.run(
                self._send_all(sender, arrivals, seconds), _receive(receiver, arrivals)
            )
        (measurement,) = filter(None, measurements)
        return measurement

    def check(self) -> int:
        """Compare what was received with what was sent, and with what is stored, or left."""
        if len(self._received) != len(self._sent):
            raise CheckFailed(f"{len(self._received)} of {len(self._sent)} messages arrived")
        compared = compare_in_order(self._sent, self._received)
        stored = self._session.stored(self._topic)
        if self._session.keeps_read:
            return self._acknowledged.compare(stored)
        Acknowledged().compare(stored)  # Nothing is left of what was received.
        return compared

    def close(self) -> None:
        """Keep nothing."""

    async def _send_all(self, sender: Sender, arrivals: Mailbox, seconds: float) -> Measurement:
        latencies_s: list[float] = []
        await self._send(sender, arrivals, message(0))
        started = now = time.perf_counter()
        while now < started + seconds:
            value = message(len(self._sent))
            latencies_s.append(await self._send(sender, arrivals, value))
            now = time.perf_counter()
        await self._send(sender, arrivals, LAST)
        return measure(messages=len(latencies_s), seconds=now - started, latencies_s=latencies_s)

    async def _send(self, sender: Sender, arrivals: Mailbox, value: bytes) -> float:
        """Return the seconds until it arrived."""
        sent = time.perf_counter()
        offset = await sender.send(value)
        arrived, received = await arrivals.get(PATIENCE_S)
        self._acknowledged.add(offset, [value])
        self._sent.append(value)
        self._received.append(received)
        return float(arrived) - sent


async def _receive(receiver: Receiver, arrivals: Mailbox) -> None:
    """Put what arrives into the mailbox, up to the last message."""
    heard = time.perf_counter()
    while True:
        values = await receiver.receive(1)
        now = time.perf_counter()
        for value in values:
            heard = now
            arrivals.put((now, value))
            if value == LAST:
                return
        if now > heard + PATIENCE_S:
            raise CheckFailed(f"no message came for {PATIENCE_S:g} s")
