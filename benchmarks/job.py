"""What goes between the harness and the client's process: a job in, runs out, as JSON lines."""

from __future__ import annotations

import msgspec

from benchmarks.measurement import Measurement
from benchmarks.peers.system import Address


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the client's process has to do."""

    workload: str
    system: str
    """Name in `peers.catalogue`."""
    where: Address
    seconds: float
    """Length of a run."""
    warmup_seconds: float
    runs: int


class CheckedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run that was checked."""

    measurement: Measurement
    compared: int
    """Messages that were read back and compared."""
