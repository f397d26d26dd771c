"""The client's process: does one job and says what each run showed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.job import CheckedRun, Job
from benchmarks.registry import make_workload
from benchmarks.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workload import Workload


def carry_out(workload: Workload, site: Site, job: Job) -> Iterator[CheckedRun]:
    """Yield each run that counts, after the warm-up; each is checked.

    Raises:
        CheckFailed: the cluster broke a promise.
    """
    workload.prepare(site)
    try:
        if workload.warms_up:
            workload.run(job.warmup_seconds)
            workload.check()
        for _ in range(job.runs):
            measurement = workload.run(job.seconds)
            yield CheckedRun(measurement=measurement, compared=workload.check())
    finally:
        workload.close()


def main() -> None:
    """Read a job from the standard input, write a line for each run."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    site = Site(job.manager, Path(job.state_path))
    for run in carry_out(make_workload(job.workload), site, job):
        sys.stdout.buffer.write(msgspec.json.encode(run) + b"\n")
        sys.stdout.buffer.flush()
    site.close()


if __name__ == "__main__":
    main()
