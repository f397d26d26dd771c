"""How long nothing can be written after the leader is gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.acknowledged import Acknowledged
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.site import message
from benchmarks.target import Target, at_most
from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.site import Place, Site

BEFORE_S = 0.5
"""Writing before the blow."""

_KILL_TARGETS = (
    at_most(Figure.LONGEST_MS, 300),
    at_most(Figure.LONGEST_MS, 1_000, worst=True),
)
_STOP_TARGETS = (at_most(Figure.LONGEST_MS, 2_500, worst=True),)


class Failover:
    """One thread writes all the time; the leader's process is hit; the longest pause counts."""

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

    def prepare(self, site: Site) -> None:
        """Remember the cluster; each round has a topic of its own."""
        self._site = site

    def run(self, seconds: float) -> Measurement:
        """Write, hit the leader, go on writing for some seconds, mend what was broken."""
        topic = self._topic = self._site.new_topic(self.name)
        self._acknowledged = Acknowledged()
        self._site.wait_until_whole(topic)
        writer = _Writer(self._site, topic, self._acknowledged)
        writer.start()
        time.sleep(BEFORE_S)
        address = self._site.leader(topic)
        victim = next(place for place in self._site.brokers() if place.address == address)
        os.kill(victim.pid, signal.SIGSTOP if self._stops else signal.SIGKILL)
        try:
            writer.wait_for_next()
            time.sleep(seconds)
            measurement = writer.stop()
        finally:
            if self._stops:
                os.kill(victim.pid, signal.SIGCONT)
        self._mend(topic, victim)
        return measurement

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._site.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""

    def _mend(self, topic: str, victim: Place) -> None:
        """Wait until the broker is back and has what it missed."""
        if not self._stops:
            self._site.wait_for(
                lambda: victim not in self._site.brokers(), what=f"{victim.address} restarted"
            )
        self._site.wait_until_whole(topic)


class _Writer(threading.Thread):
    """Sends messages one at a time until it is stopped."""

    def __init__(self, site: Site, topic: str, acknowledged: Acknowledged) -> None:
        super().__init__(name="writer", daemon=True)
        self._producer = site.producer(topic)
        self._topic = topic
        self._acknowledged = acknowledged
        self._times_s = [time.perf_counter()]
        self._stopped = threading.Event()
        self._errors: list[QueueError] = []

    def run(self) -> None:
        number = 0
        while not self._stopped.is_set():
            value = message(number)
            number += 1
            try:
                delivered = self._producer.enqueue(self._topic, value, partition=0)
            except QueueError as error:
                self._errors.append(error)
                if not error.outcome_known:
                    self._acknowledged.add_unknown(value)
            else:
                self._acknowledged.add(delivered.offset, [value])
                self._times_s.append(time.perf_counter())

    def wait_for_next(self) -> None:
        """Wait for an acknowledgement of a message that was sent after this call."""
        seen = len(self._times_s)
        while len(self._times_s) < seen + 2 and self.is_alive():
            time.sleep(0.01)

    def stop(self) -> Measurement:
        """End the thread and return what it saw.

        Raises:
            QueueError: a message was refused; a failover may delay them, no more.
        """
        self._stopped.set()
        self.join()
        self._producer.close()
        if self._errors:
            raise self._errors[0]
        times_s = self._times_s
        gaps_s = [later - earlier for earlier, later in pairwise(times_s)]
        return measure(messages=len(gaps_s), seconds=times_s[-1] - times_s[0], latencies_s=gaps_s)
