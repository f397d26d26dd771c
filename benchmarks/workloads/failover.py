"""How long nothing can be written after the leader is gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged, CheckFailed
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.peers.session import Refused
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.session import Place, Sender, Session

BEFORE_S = 0.5
"""Writing before the blow."""
SENDER_PATIENCE_S = 0.5
"""Of clients that wait for an answer that will not come; less than elections take."""
PATIENCE_S = 60.0
"""Longest wait for the next acknowledgement."""

_KILL_TARGETS = (
    at_most(Figure.LONGEST_MS, 100),
    at_most(Figure.LONGEST_MS, 300, worst=True),
)
_STOP_TARGETS = (at_most(Figure.LONGEST_MS, 1_200, worst=True),)


class Failover:
    """One caller writes all the time; the leader's process is hit; the longest pause counts."""

    warms_up = False
    figures = (Figure.LONGEST_MS,)
    floor: FloorKind | None = None

    def __init__(self, *, stops: bool) -> None:
        """Kill the leader (connections break), or stop it (they do not)."""
        self.name = "failover_stop" if stops else "failover"
        self.summary = f"longest write gap after {'SIGSTOP' if stops else 'kill -9'} of the leader"
        self.runs = 3 if stops else 10
        self.targets: tuple[Target, ...] = _STOP_TARGETS if stops else _KILL_TARGETS
        self._stops = stops

    def prepare(self, session: Session) -> None:
        """Remember the system; each round has a topic of its own."""
        self._session = session

    def run(self, seconds: float) -> Measurement:
        """Write, hit the leader, go on writing for some seconds, mend what was broken."""
        topic = self._topic = self._session.new_topic(self.name)
        self._acknowledged = Acknowledged()
        with closing(self._session.sender(topic, patience_s=SENDER_PATIENCE_S)) as sender:
            writing = _Writing(sender, self._acknowledged)
            blow = _Blow(self._session.leader_of(topic), writing, seconds, stops=self._stops)
            blow.start()
            try:
                self._session.run(writing.write())
            finally:
                writing.stopped.set()
                blow.join()
        if not blow.seen:
            raise CheckFailed(f"nothing was acknowledged for {PATIENCE_S:g} s")
        self._session.mend(topic, None if self._stops else blow.victim)
        return writing.measurement()

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._session.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""


class _Writing:
    """Sends messages one at a time until it is stopped."""

    def __init__(self, sender: Sender, acknowledged: Acknowledged) -> None:
        self.stopped = threading.Event()
        self.times_s = [time.perf_counter()]
        self._sender = sender
        self._acknowledged = acknowledged

    async def write(self) -> None:
        """Send until `stopped` is set. What a client gives up is sent no more; the next one is."""
        number = 0
        while not self.stopped.is_set():
            value = message(number)
            number += 1
            try:
                offset = await self._sender.send(value)
            except Refused:
                self._acknowledged.add_unknown(value)
            else:
                self._acknowledged.add(offset, [value])
                self.times_s.append(time.perf_counter())

    def measurement(self) -> Measurement:
        """Return how long it was from each acknowledgement to the next."""
        times_s = self.times_s
        gaps_s = [later - earlier for earlier, later in pairwise(times_s)]
        return measure(messages=len(gaps_s), seconds=times_s[-1] - times_s[0], latencies_s=gaps_s)


class _Blow(threading.Thread):
    """Hits a server while somebody writes, and ends the writing some seconds after it goes on."""

    def __init__(self, victim: Place, writing: _Writing, seconds: float, *, stops: bool) -> None:
        super().__init__(name="blow", daemon=True)
        assert victim.pid > 0, f"{victim} is no single process"
        self.victim = victim
        self.seen = False
        """Whether something was acknowledged that was sent after the blow."""
        self._writing = writing
        self._seconds = seconds
        self._stops = stops

    def run(self) -> None:
        time.sleep(BEFORE_S)
        os.kill(self.victim.pid, signal.SIGSTOP if self._stops else signal.SIGKILL)
        try:
            self._wait_for_next()
            time.sleep(self._seconds)
            self._writing.stopped.set()
        finally:
            if self._stops:
                os.kill(self.victim.pid, signal.SIGCONT)

    def _wait_for_next(self) -> None:
        """Wait for an acknowledgement of a message that was sent after this call."""
        before = len(self._writing.times_s)
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline and not self._writing.stopped.is_set():
            if len(self._writing.times_s) >= before + 2:
                self.seen = True
                return
            time.sleep(0.01)
