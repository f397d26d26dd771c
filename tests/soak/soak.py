"""The soak itself: a cluster, its clients, two brokers killed, samples, and a judgement."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.processes import Cluster
from tests.soak.samples import MIB, Sample, growing, take
from tests.soak.traffic import JOBS, LOG, RETAINED, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITIONS = 3
KEPT_BYTES = {LOG: 4 * MIB, JOBS: MIB // 4, RETAINED: 4 * MIB}
"""Of each partition by retention, by topic: filled within minutes, so that what is stored grows no
more."""
RETENTION_INTERVAL_S = 5
KILLS = (0.35, 0.6)
"""When a broker is killed, as a share of the whole time."""
DRAIN_S = 240
"""For readers to read what is left, at most."""
SAMPLES = 400
DISK_ALLOWANCE_MIB = PARTITIONS * sum(KEPT_BYTES.values()) / MIB
"""What lies in three topics may be there twice: retention deletes in steps, files shrink late."""
SLOW_WINDOW_S = 6
VARIABLES = {
    "QUEUE_RETENTION_INTERVAL_S": str(RETENTION_INTERVAL_S),
    "QUEUE_SLOW_WINDOW_S": str(SLOW_WINDOW_S),
}


@dataclass
class Outcome:
    """What came of a soak."""

    seconds: float
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """By process."""
    events: dict[float, str] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    missed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    slow_client_cut_off: int = 0
    drained_s: float = 0.0
    """How long readers needed for what was left when nobody sent any more."""

    def problems(self) -> list[str]:
        """Return one line per broken promise; empty when all is well."""
        lines = [
            f"{count} acknowledged messages lost ({name})"
            for name, count in self.lost.items()
            if count
        ]
        if self.missed:
            lines.append(f"{self.missed} messages were deleted before they were read")
        if not self.slow_client_cut_off:
            lines.append("the slow client was not cut off")
        return lines + growing(self.samples, disk_allowance_mib=DISK_ALLOWANCE_MIB)

    def figures(self) -> dict[str, Any]:
        """Return what was counted, for JSON and for the eye."""
        last = {
            name: taken[-1]._asdict() | {"peak_memory_mib": max(one.memory_mib for one in taken)}
            for name, taken in self.samples.items()
        }
        return {
            "seconds": round(self.seconds),
            "drained_seconds": round(self.drained_s, 1),
            "acknowledged": self.acknowledged,
            "read": self.read,
            "lost": self.lost,
            "missed": self.missed,
            "errors": self.errors,
            "slow_client_cut_off": self.slow_client_cut_off,
            "at_the_end": last,
            "problems": self.problems(),
        }


def run(directory: Path, *, seconds: float, tell: Callable[[str], None]) -> Outcome:
    """Run a cluster under traffic and return what came of it.

    Args:
        directory: empty, for its data.
        seconds: how long.
        tell: is given a line now and then.
    """
    outcome = Outcome(seconds)
    with Cluster(directory / "data", variables=VARIABLES) as cluster:
        for topic, kept in KEPT_BYTES.items():
            made = cluster.post(
                "/topics", topic=topic, number_of_partitions=PARTITIONS, retention_bytes=kept
            )
            assert made["http_status"] == 201, made
        traffic = Traffic(cluster.manager)
        traffic.start()
        _watch(cluster, traffic, outcome, tell=tell)
        outcome.drained_s = traffic.end(drain_s=DRAIN_S)
        outcome.acknowledged = {name: one.count for name, one in traffic.acknowledged.items()}
        outcome.read = {name: one.count for name, one in traffic.read.items()}
        outcome.lost, outcome.missed = traffic.lost(), traffic.missed
        outcome.errors, outcome.slow_client_cut_off = dict(traffic.errors), traffic.cut_off
        if traffic.failures:
            raise traffic.failures[0]
    return outcome


def _watch(
    cluster: Cluster, traffic: Traffic, outcome: Outcome, *, tell: Callable[[str], None]
) -> None:
    """Take samples until the time is over, and kill two brokers meanwhile."""
    folders = {place["address"]: Path(place["data_dir"]) for place in cluster.places()}
    names = dict(zip(folders, ("manager", "broker 1", "broker 2", "broker 3"), strict=True))
    kills = list(zip(KILLS, cluster.broker_addresses()[1:], strict=True))
    begun = time.monotonic()
    pause_s = max(0.5, outcome.seconds / SAMPLES)
    while (now := time.monotonic() - begun) < outcome.seconds and not traffic.failures:
        if kills and now >= kills[0][0] * outcome.seconds:
            _, address = kills.pop(0)
            cluster.kill(address)
            outcome.events[now] = "broker killed"
            tell(f"{now:.0f} s: {names[address]} killed")
        for place in cluster.places():
            sample = place["pid"] and take(now, place["pid"], folders[place["address"]])
            if sample:
                outcome.samples.setdefault(names[place["address"]], []).append(sample)
        time.sleep(pause_s)
