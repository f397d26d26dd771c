"""Runs one workload: a fresh system, the bare disk, a client in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from benchmarks.cluster import ROOT
from benchmarks.floor import measure_floor
from benchmarks.job import CheckedRun, Job
from benchmarks.outcome import Outcome, median_floor
from benchmarks.peers.queuesite import Queuesite
from benchmarks.registry import make_workload, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.floor import Floor
    from benchmarks.peers.system import System

CLIENT_TIMEOUT_S = 3_600.0
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
    runs = options.runs or make_workload(name).runs
    turn = _measure_turn(name, Queuesite(shape_of(name)), options._replace(runs=runs))
    return Outcome(workload=name, runs=turn.runs, floor=turn.floor)


def measure_side_by_side(
    name: str, peers: Sequence[System], options: Options, tell: Callable[[str], None]
) -> list[Outcome]:
    """Run one workload on this system and on others in turn: ours, theirs, ours, theirs, ...

    Each turn is one run on servers that were started for it and are stopped after it, so that none
    takes processor time from another.

    Args:
        name: of a workload that all of them take part in.
        peers: the others.
        options: `runs` is the number of rounds.
        tell: is told what is done.

    Returns:
        One for each system, this one first; the runs of all have the same order.

    Raises:
        ClusterFailed, SystemFailed: servers did not start.
        WorkloadFailed: a client ended with an error, for instance that a check failed.
    """
    systems: list[System] = [Queuesite(), *peers]
    rounds = options.runs or make_workload(name).runs
    turns: dict[str, list[_Turn]] = {system.name: [] for system in systems}
    for number in range(rounds):
        for system in systems:
            tell(f"  round {number + 1} of {rounds}: {system.name}")
            turns[system.name].append(_measure_turn(name, system, options._replace(runs=1)))
    return [
        Outcome(
            workload=name,
            system=system,
            runs=[run for turn in taken for run in turn.runs],
            floor=median_floor([turn.floor for turn in taken]),
        )
        for system, taken in turns.items()
    ]


class _Turn(NamedTuple):
    runs: list[CheckedRun]
    floor: Floor


def _measure_turn(name: str, system: System, options: Options) -> _Turn:
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.directory) as made:
        directory = Path(made)
        floor = measure_floor(directory)
        with system.running(directory) as where:
            job = Job(
                workload=name,
                system=system.name,
                where=where,
                seconds=options.seconds,
                warmup_seconds=options.warmup_seconds,
                runs=options.runs,
            )
            runs = run_client(job)
    return _Turn(runs, floor)


def run_client(job: Job) -> list[CheckedRun]:
    """Do a job in a process of its own and return its runs.

    Raises:
        WorkloadFailed: it ended with an error, or not at all.
    """
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.client_process"],
            cwd=ROOT,
            input=msgspec.json.encode(job),
            capture_output=True,
            timeout=CLIENT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkloadFailed(
            f"{job.workload} on {job.system}: no end in {error.timeout:g} s"
        ) from error
    runs = [
        msgspec.json.decode(line, type=CheckedRun) for line in finished.stdout.splitlines() if line
    ]
    if finished.returncode or len(runs) != job.runs:
        lines = finished.stderr.decode(errors="replace").splitlines()
        told = "\n".join(lines[-OUTPUT_LINES:])
        raise WorkloadFailed(f"{job.workload} on {job.system}:\n{told}")
    return runs
