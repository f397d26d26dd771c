"""What the model says beside what is measured, where this machine is large enough."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.scale.cluster_costs import BROKERS, running, watch
from benchmarks.scale.cluster_size import ClusterSize
from benchmarks.scale.model import frames, recovery, signs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.peers.queuesite import Site
    from benchmarks.scale.costs import UnitCosts

TOPIC_PARTITIONS = 100
"""Of each topic: few enough to be made in time on a machine that does other work."""
LOOK_S = 0.2
LED_LIMIT_S = 60.0
AT_MOST = ", at the most"
"""Ends the name of a figure that is a bound."""


class Compared(NamedTuple):
    """One figure."""

    what: str
    predicted: float
    measured: float
    unit: str

    @property
    def difference(self) -> str:
        """How far the prediction is above what is measured; of a bound, whether it holds."""
        if self.what.endswith(AT_MOST):
            return "holds" if self.measured <= self.predicted else "DOES NOT HOLD"
        return f"{100 * (self.predicted / self.measured - 1):+.0f} %" if self.measured else ""


def compare_manager(
    costs: UnitCosts, sizes: dict[str, float], measured: dict[str, float]
) -> Iterator[Compared]:
    """Yield each cost of a manager at a larger size than those that the lines go through.

    Args:
        costs: with the lines.
        sizes: what each cost depends on, by name.
        measured: costs at that size, by name.
    """
    for name, cost in measured.items():
        unit = "bytes" if name.endswith("bytes") else "s"
        predicted = getattr(costs.manager, name).at(sizes[name])
        yield Compared(name, predicted, cost, unit)


def compare_cluster(partitions: int, costs: UnitCosts, directory: Path) -> Iterator[Compared]:
    """Start three brokers with so many idle partitions and yield the figures of one broker."""
    shape = _three(partitions)
    cluster = costs.cluster
    with running(directory) as site:
        _make(site, partitions)
        seen = watch(site)
        yield Compared("idle", cluster.broker_idle.at(partitions), seen.processor, "cores")
        yield Compared("memory", cluster.broker_bytes.at(partitions), seen.memory, "bytes")
        yield Compared("files", cluster.broker_file_bytes.at(partitions), seen.files, "bytes")
        yield Compared(f"frames{AT_MOST}", frames(shape), seen.frames, "frames/s")
        frame_bytes = cluster.frame_bytes.at(partitions)
        yield Compared("frame bytes", frame_bytes, seen.frame_bytes, "bytes/s")
        _, most_s = recovery(shape, costs, 1).led_again_s
        yield Compared(f"led again{AT_MOST}", most_s, _led_again_s(site, partitions), "s")


def compare_asleep(partitions: int, costs: UnitCosts, directory: Path) -> Iterator[Compared]:
    """Start three brokers whose partitions sleep and yield the figures of one broker."""
    shape = _three(partitions)
    asleep = (("QUEUE_QUIESCE_AFTER_TICKS", str(shape.config.election_timeout_ticks)),)
    with running(directory, asleep) as site:
        _make(site, partitions)
        seen = watch(site)
        yield Compared("idle", costs.cluster.broker_idle.fixed, seen.processor, "cores")
        yield Compared("memory", costs.cluster.broker_bytes.at(partitions), seen.memory, "bytes")
        yield Compared("frames", signs(shape), seen.frames, "frames/s")
        _, most_s = recovery(shape, costs, 1).led_again_s
        yield Compared(f"led again{AT_MOST}", most_s, _led_again_s(site, partitions), "s")


def _three(partitions: int) -> ClusterSize:
    return ClusterSize(brokers=BROKERS, partitions=partitions, racks=BROKERS, clients=0, members=0)


def _make(site: Site, partitions: int) -> None:
    for start in range(0, partitions, TOPIC_PARTITIONS):
        site.new_wide_topic("check", min(TOPIC_PARTITIONS, partitions - start))


def _led_again_s(site: Site, partitions: int) -> float:
    """Kill a broker, which its supervisor starts again; return the seconds until all are led."""
    killed = site.brokers()[0]
    os.kill(killed.pid, signal.SIGKILL)
    began_s = time.monotonic()
    while time.monotonic() < began_s + LED_LIMIT_S:
        led = {
            replica["group_id"]
            for place in site.brokers()
            for replica in site.replicas(place.address)
            if replica["serves"]
        }
        if len(led) >= partitions:
            return time.monotonic() - began_s
        time.sleep(LOOK_S)
    raise TimeoutError(f"not all of {partitions} partitions are led after {LED_LIMIT_S:g} s")
