"""Values that several tests start from."""

from __future__ import annotations

from benchmarks.floor import Floor
from benchmarks.job import CheckedRun
from benchmarks.measurement import Measurement, measure
from benchmarks.outcome import Outcome


def measured(per_second: int, latency_ms: float = 1.0) -> Measurement:
    return measure(messages=per_second, seconds=1.0, latencies_s=[latency_ms / 1000])


def floor() -> Floor:
    return Floor(
        append_4k=measured(4_000, 0.25),
        append_64k=measured(2_000, 0.5),
        sqlite_row=measured(6_000, 0.15),
        sqlite_blob=measured(2_000_000, 0.5),
    )


def outcome(workload: str, *measurements: Measurement, system: str = "queuesite") -> Outcome:
    runs = [CheckedRun(measurement=one, compared=10) for one in measurements]
    return Outcome(workload=workload, system=system, runs=runs, floor=floor())
