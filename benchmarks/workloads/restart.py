"""How long a killed broker takes to be back, and its partitions to be led by others."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.request import urlopen

from benchmarks.acknowledged import Acknowledged, CheckFailed
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.process_figures import seconds_since_start
from benchmarks.target import Target, at_most
from benchmarks.workloads.loaded_topic import LoadedTopic

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.queuesite import Site
    from benchmarks.peers.session import Place

LOOK_S = 0.01
"""How often it is looked whether the broker serves again."""
LOOK_LED_S = 0.1
"""How often brokers of a thousand partitions are asked what they lead, which keeps them busy, too;
those of more less often."""
PATIENCE_S = 60.0
"""Longest wait for a broker and its partitions."""


class Restart:
    """A broker is killed; the others take over what it led, and it is started again."""

    runs = 5
    warms_up = False
    figures = (Figure.SERVING_S, Figure.LED_S)
    floor: FloorKind | None = None

    def __init__(self, *, messages: int = 0, partitions: int = 0) -> None:
        """Have so many messages in one partition, or so many partitions that hold nothing."""
        size = f"messages_{messages}" if messages else f"partitions_{partitions}"
        self.name = f"restart_{size}"
        what = f"{messages:,} messages" if messages else f"{partitions:,} partitions"
        self.summary = f"kill -9 of a broker that leads, with {what}"
        self.targets: tuple[Target, ...] = (
            at_most(Figure.SERVING_S, 2),
            at_most(Figure.LED_S, 3),
        )
        self._messages = messages
        self._partitions = partitions

    def prepare(self, site: Site) -> None:
        """Fill a topic and create the partitions."""
        self._site = site
        site.new_partitions(self.name, self._partitions)
        self._topic = LoadedTopic(site, self.name, self._messages or 1)
        self._acknowledged = Acknowledged()
        self._acknowledged.add(0, tuple(self._topic.values))
        self._led = self._partitions + 1
        self._more = 0
        """Messages sent after restarts."""

    def run(self, seconds: float) -> Measurement:
        """Kill the broker that leads the topic, however long it takes until all is well again."""
        site, topic = self._site, self._topic.name
        victim = site.leader_of(topic)
        began = time.perf_counter()
        os.kill(victim.pid, signal.SIGKILL)
        led_s = serving_s = 0.0
        next_look = began
        new = victim
        while not (led_s and serving_s):
            if not led_s and time.perf_counter() >= next_look:
                if site.leaders() >= self._led:
                    led_s = time.perf_counter() - began
                next_look = time.perf_counter() + LOOK_LED_S * max(1, self._partitions / 1_000)
            if new == victim:
                new = next((one for one in site.brokers() if _is_again(one, victim)), victim)
            elif not serving_s and _serves(new):
                serving_s = seconds_since_start(new.pid)
            if time.perf_counter() > began + PATIENCE_S:
                raise CheckFailed(f"not all is well {PATIENCE_S:g} s after {victim} was killed")
            time.sleep(LOOK_S)
        site.wait_until_whole(topic)
        took_s = time.perf_counter() - began
        measurement = measure(messages=1, seconds=took_s, latencies_s=[])
        measurement.others[Figure.SERVING_S] = serving_s
        measurement.others[Figure.LED_S] = led_s
        return measurement

    def check(self) -> int:
        """Send one more message and read everything back."""
        self._site.wait_for(
            lambda: self._site.serving() >= self._led, what=f"leaders of {self._led} partitions"
        )
        with closing(self._site.producer(self._topic.name)) as producer:
            value = message(self._more, 1)
            self._more += 1
            delivered = producer.enqueue(self._topic.name, value, partition=0)
            self._acknowledged.add(delivered.offset, [value])
        return self._acknowledged.compare(self._site.stored(self._topic.name))

    def close(self) -> None:
        """Keep nothing."""


def _is_again(place: Place, victim: Place) -> bool:
    """Tell whether this is the process that was started in a killed one's place."""
    return place.address == victim.address and place.pid not in {victim.pid, 0}


def _serves(place: Place) -> bool:
    try:
        with urlopen(f"{place.address}/readyz", timeout=1) as answer:  # noqa: S310 - http, our own cluster
            return bool(answer.status == 200)
    except OSError:
        return False
