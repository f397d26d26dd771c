"""How long a manager and three brokers take until they are ready, and how much processor time."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from benchmarks.acknowledged import Acknowledged
from benchmarks.cluster import Cluster, Shape
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.peers.queuesite import Site
from benchmarks.process_figures import processor_seconds
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.acknowledged import Value
    from benchmarks.floor import FloorKind

LOOK_S = 0.01
"""How often it is looked who is ready."""
BROKERS = Shape().brokers


class Started(NamedTuple):
    """What one start took; all in seconds."""

    ready: float
    """From the command until it said that everything is ready."""
    manager_processor: float
    """Processor time of the manager's process, user and system, until it was ready."""
    broker_processor: float
    """The same of the brokers' processes, the median of the three."""


class Start:
    """A cluster of its own is started on an empty folder, stopped, and started on what is there.

    The brokers of the cluster at hand are paused meanwhile, so that they take no processor time.
    """

    name = "start"
    summary = "start of a manager and three brokers: on an empty folder, then on the same again"
    runs = 5
    warms_up = True
    figures = (
        Figure.FIRST_READY_S,
        Figure.FIRST_MANAGER_S,
        Figure.FIRST_BROKER_S,
        Figure.AGAIN_READY_S,
        Figure.AGAIN_MANAGER_S,
        Figure.AGAIN_BROKER_S,
    )
    targets: tuple[Target, ...] = (
        at_most(Figure.FIRST_READY_S, 3),
        at_most(Figure.FIRST_MANAGER_S, 0.9),
        at_most(Figure.FIRST_BROKER_S, 0.6),
        at_most(Figure.AGAIN_READY_S, 3),
        at_most(Figure.AGAIN_MANAGER_S, 0.9),
        at_most(Figure.AGAIN_BROKER_S, 0.6),
    )
    floor: FloorKind | None = None

    def prepare(self, site: Site) -> None:
        """Remember the cluster at hand, which has to be out of the way."""
        self._site = site

    def run(self, seconds: float) -> Measurement:
        """Start twice, however long that takes; a message has to survive the stop between."""
        self._acknowledged = Acknowledged()
        self._stored: list[tuple[int, Value]] = []
        with (
            TemporaryDirectory(prefix="start-", dir=self._site.directory) as made,
            paused([place.pid for place in self._site.brokers()]),
        ):
            watch = _Watch(Path(made))
            with watch.cluster as cluster:
                first = watch.started()
                self._write(cluster)
            watch = _Watch(Path(made))
            with watch.cluster as cluster:
                again = watch.started()
                self._read(cluster)
        took = measure(messages=1, seconds=first.ready + again.ready, latencies_s=[])
        return replace(took, others=dict(zip(self.figures, (*first, *again), strict=True)))

    def check(self) -> int:
        """Compare the message with what the second start gave back."""
        return self._acknowledged.compare(self._stored)

    def close(self) -> None:
        """Keep nothing."""

    def _write(self, cluster: Cluster) -> None:
        site = Site(cluster.manager, cluster.state_path)
        self._topic = site.new_topic(self.name)
        with site.producer(self._topic) as producer:
            value = message(0)
            offset = producer.enqueue(self._topic, value, partition=0).offset
        self._acknowledged.add(offset, [value])
        site.close()

    def _read(self, cluster: Cluster) -> None:
        site = Site(cluster.manager, cluster.state_path)
        self._stored = list(site.stored(self._topic))
        site.close()


class _Watch:
    """A cluster about to start, and when each of its processes was ready."""

    def __init__(self, directory: Path) -> None:
        self.cluster = Cluster(directory, poll_s=LOOK_S, look=self._look)
        self._processor_s: dict[str, float] = {}
        """By the name of the process."""
        self._began_s = time.perf_counter()

    def started(self) -> Started:
        """Return what the start took; call it at once when the cluster is ready."""
        ready_s = time.perf_counter() - self._began_s
        self._look()
        manager_s = self._processor_s.pop("manager")
        brokers_s = list(self._processor_s.values())
        assert len(brokers_s) == BROKERS, f"only {list(self._processor_s)} were seen"
        return Started(ready_s, manager_s, median(brokers_s))

    def _look(self) -> None:
        """Note the processor time of who got ready since the last look."""
        for place in self.cluster.places():
            if place["ready"] and place["name"] not in self._processor_s:
                self._processor_s[place["name"]] = processor_seconds(place["pid"])


@contextmanager
def paused(pids: list[int]) -> Iterator[None]:
    """Stop processes and let them go on in the end."""
    assert all(pid > 0 for pid in pids), "these are no single processes"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
