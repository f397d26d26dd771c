"""The client's process: does one job and says what each run showed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import msgspec

from benchmarks.job import CheckedRun, Job
from benchmarks.peers.catalogue import OURS, make_system
from benchmarks.peers.queuesite import Queuesite
from benchmarks.peers.session import Session
from benchmarks.registry import make_shared_workload, make_workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workload import Workload

S = TypeVar("S", bound=Session)


def carry_out(workload: Workload[S], session: S, job: Job) -> Iterator[CheckedRun]:
    """Yield each run that counts, after the warm-up; each is checked.

    Raises:
        CheckFailed: the system broke a promise.
    """
    workload.prepare(session)
    try:
        if workload.warms_up:
            workload.run(job.warmup_seconds)
            workload.check()
        for _ in range(job.runs):
            measurement = workload.run(job.seconds)
            yield CheckedRun(measurement=measurement, compared=workload.check())
    finally:
        workload.close()
        session.close()


def main() -> None:
    """Read a job from the standard input, write a line for each run."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.system == OURS:
        runs = carry_out(make_workload(job.workload), Queuesite().session(job.where), job)
    else:
        session = make_system(job.system).session(job.where)
        runs = carry_out(make_shared_workload(job.workload), session, job)
    for run in runs:
        sys.stdout.buffer.write(msgspec.json.encode(run) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
