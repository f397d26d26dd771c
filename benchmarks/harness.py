"""Runs one workload: a fresh cluster, the bare disk, a client in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.cluster import ROOT, Cluster
from benchmarks.floor import measure_floor
from benchmarks.job import CheckedRun, Job
from benchmarks.outcome import Outcome
from benchmarks.registry import make_workload

CLIENT_TIMEOUT_S = 900.0
OUTPUT_LINES = 40
"""Of a failed client, the last ones."""


class Options(NamedTuple):
    """How thoroughly to measure."""

    seconds: float = 3.0
    """Length of a run."""
    warmup_seconds: float = 1.0
    runs: int = 0
    """Runs that count; 0 for what the workload says."""
    directory: Path | None = None
    """Where the temporary directory is made; the system's usual place when None."""


class WorkloadFailed(RuntimeError):
    """A workload could not be run, or a check of it failed; the message is the client's output."""


def measure_workload(name: str, options: Options) -> Outcome:
    """Run one workload on a cluster of its own.

    Raises:
        ClusterFailed: the cluster did not start.
        WorkloadFailed: the client ended with an error, for instance that a check failed.
    """
    workload = make_workload(name)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.directory) as made:
        directory = Path(made)
        floor = measure_floor(directory)
        with Cluster(directory) as cluster:
            job = Job(
                workload=name,
                manager=cluster.manager,
                state_path=str(cluster.state_path),
                seconds=options.seconds,
                warmup_seconds=options.warmup_seconds,
                runs=options.runs or workload.runs,
            )
            runs = run_client(job)
    return Outcome(workload=name, runs=runs, floor=floor)


def run_client(job: Job) -> list[CheckedRun]:
    """Do a job in a process of its own and return its runs.

    Raises:
        WorkloadFailed: it ended with an error.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.client_process"],
        cwd=ROOT,
        input=msgspec.json.encode(job),
        capture_output=True,
        timeout=CLIENT_TIMEOUT_S,
        check=False,
    )
    runs = [
        msgspec.json.decode(line, type=CheckedRun) for line in finished.stdout.splitlines() if line
    ]
    if finished.returncode or len(runs) != job.runs:
        lines = finished.stderr.decode(errors="replace").splitlines()
        raise WorkloadFailed("\n".join(lines[-OUTPUT_LINES:]))
    return runs
