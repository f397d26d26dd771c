"""How long a program waits for the client library to be imported."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import myqueue
from benchmarks.acknowledged import CheckFailed
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.peers.queuesite import Site

_PROGRAM = """
import time
started = time.perf_counter()
import myqueue
print(time.perf_counter() - started, myqueue.__version__)
"""


class ImportClient:
    """New interpreters, one after the other, each import the library once."""

    name = "import"
    summary = "import of the client library in a new interpreter"
    runs = 3
    warms_up = True
    figures = (Figure.P50_MS, Figure.P99_MS)
    targets: tuple[Target, ...] = (at_most(Figure.P50_MS, 20),)
    floor: FloorKind | None = None

    def prepare(self, site: Site) -> None:
        """Need nothing of it: the import asks nobody."""

    def run(self, seconds: float) -> Measurement:
        """Import for some seconds."""
        self._versions: list[str] = []
        latencies_s: list[float] = []
        started = now = time.perf_counter()
        while not latencies_s or now < started + seconds:
            command = [sys.executable, "-c", _PROGRAM]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            took_s, version = printed.split()
            latencies_s.append(float(took_s))
            self._versions.append(version)
            now = time.perf_counter()
        return measure(messages=len(latencies_s), seconds=now - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Compare the library that was imported with this one."""
        others = [one for one in self._versions if one != myqueue.__version__]
        if others:
            raise CheckFailed(f"version {others[0]} was imported, not {myqueue.__version__}")
        return len(self._versions)

    def close(self) -> None:
        """Keep nothing."""
