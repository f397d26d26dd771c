"""What one entry takes of a broker's storage thread, beside bare SQLite on the same disk."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import msgspec

from benchmarks.acknowledged import CheckFailed
from benchmarks.cluster import ROOT
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.queuesite import Site


class EntryCost(msgspec.Struct, frozen=True, kw_only=True):
    """What `benchmarks.storage_process` says that a transaction of one row takes."""

    seconds: float
    """How long everything took."""
    latencies_s: list[float]
    """Of each entry, from handing it over to hearing that it is durable."""
    ours_us: float
    """Processor time of the storage thread for one entry: the median of the turns' means."""
    bare_us: float
    """The same of bare SQLite."""
    ratio: float
    """Of the two in one turn, the median of the turns."""


class StorageEntry:
    """Entries one at a time, in a process of its own that uses no broker."""

    name = "storage_entry"
    summary = "a broker's storage alone, one entry at a time, in turn with bare SQLite"
    runs = 3
    warms_up = False
    figures = (Figure.ENTRY_US, Figure.BARE_ENTRY_US, Figure.ENTRY_RATIO, Figure.P50_MS)
    targets: tuple[Target, ...] = (at_most(Figure.ENTRY_RATIO, 2),)
    floor: FloorKind | None = None

    def prepare(self, site: Site) -> None:
        """Remember where the brokers' data is: the same disk is measured."""
        self._directory = site.directory

    def run(self, seconds: float) -> Measurement:
        """Store for some seconds.

        Raises:
            CheckFailed: an entry could not be read back, or not be stored.
        """
        with tempfile.TemporaryDirectory(prefix="storage-", dir=self._directory) as made:
            command = [sys.executable, "-m", "benchmarks.storage_process", made, str(seconds)]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        if ended.returncode:
            raise CheckFailed(ended.stderr.decode(errors="replace"))
        cost = msgspec.json.decode(ended.stdout, type=EntryCost)
        self._compared = len(cost.latencies_s)
        measurement = measure(
            messages=self._compared, seconds=cost.seconds, latencies_s=cost.latencies_s
        )
        measurement.others[Figure.ENTRY_US] = cost.ours_us
        measurement.others[Figure.BARE_ENTRY_US] = cost.bare_us
        measurement.others[Figure.ENTRY_RATIO] = cost.ratio
        return measurement

    def check(self) -> int:
        """Return how many entries the process has read back and compared."""
        return self._compared

    def close(self) -> None:
        """Keep nothing."""
