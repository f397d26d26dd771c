"""What a manager's own work takes, on a database of many partitions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec

from benchmarks.acknowledged import CheckFailed
from benchmarks.cluster import ROOT
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.queuesite import Site

PARTITIONS = 10_000


class ControlPlane:
    """Lists, changes, rounds, reports and pages, in a process of its own that uses no broker."""

    runs = 3
    warms_up = False
    figures = (
        Figure.LIST_MS,
        Figure.BROKERS_MS,
        Figure.TOPIC_MS,
        Figure.CREATE_MS,
        Figure.RECONCILE_MS,
        Figure.LEADERS_MS,
        Figure.LOAD_MS,
        Figure.REPORT_MS,
        Figure.REPORT_KB,
        Figure.FULL_REPORT_MS,
        Figure.FULL_REPORT_KB,
        Figure.REGISTER_MS,
        Figure.CLIENTS_MS,
        Figure.PAGE_MS,
        Figure.CONSOLE_MS,
    )
    targets: tuple[Target, ...] = (
        at_most(Figure.LIST_MS, 20),
        at_most(Figure.BROKERS_MS, 20),
        at_most(Figure.TOPIC_MS, 5),
        at_most(Figure.CREATE_MS, 1_000),
        at_most(Figure.RECONCILE_MS, 2_000),
        at_most(Figure.LEADERS_MS, 2_000),
        at_most(Figure.LOAD_MS, 1_000),
        at_most(Figure.REPORT_MS, 50),
        at_most(Figure.REGISTER_MS, 20),
        at_most(Figure.CLIENTS_MS, 2_000),
        at_most(Figure.PAGE_MS, 300),
        at_most(Figure.CONSOLE_MS, 300),
    )
    floor: FloorKind | None = None

    def __init__(self, partitions: int = PARTITIONS) -> None:
        """Have so many partitions, three times as many replicas, twice as many clients."""
        self.name = "control_plane"
        if partitions != PARTITIONS:
            self.name += f"_{partitions}"
        self.summary = f"processor time of a manager's work on {partitions:,} partitions,"
        self.summary += f" {3 * partitions:,} replicas and {2 * partitions:,} clients"
        self._partitions = partitions

    def prepare(self, site: Site) -> None:
        """Remember where there is room for a database."""
        self._directory = site.directory

    def run(self, seconds: float) -> Measurement:
        """Make the database and measure each once; it takes as long as it takes.

        Raises:
            CheckFailed: something was not answered as it has to be.
        """
        began_s = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="control-", dir=self._directory) as made:
            program = "benchmarks.control_plane_process"
            command = [sys.executable, "-m", program, made, str(self._partitions)]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        if ended.returncode:
            raise CheckFailed(ended.stderr.decode(errors="replace"))
        found = msgspec.json.decode(ended.stdout, type=dict[Figure, float])
        self._compared = len(found)
        measurement = measure(
            messages=len(found), seconds=time.perf_counter() - began_s, latencies_s=[]
        )
        measurement.others.update(found)
        return measurement

    def check(self) -> int:
        """Return how many figures there are; what they are of was compared where it was done."""
        return self._compared

    def close(self) -> None:
        """Keep nothing."""
