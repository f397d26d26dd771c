"""Command line: run many seeds, or one seed with its trace when it fails."""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from multiprocessing import Pool
from typing import TYPE_CHECKING, NamedTuple

from tests.raft_app.core.simulation.__main__ import Failure, shown, write
from tests.simulation.large import GROUPS, LargeRun
from tests.simulation.simulation import SECONDS, Outcome, Simulation, SimulationFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Job(NamedTuple):
    """What one process is asked to run."""

    seed: int
    seconds: float
    groups: int = 0
    """Of a large run; 0: an ordinary one."""


def run_job(job: Job) -> Outcome | Failure:
    """Run one seed."""
    logging.disable(logging.CRITICAL)
    try:
        if job.groups:
            return LargeRun(job.seed, groups=job.groups).run()
        return Simulation(job.seed, seconds=job.seconds).run()
    except SimulationFailure as failure:
        return Failure(failure.seed, str(failure), failure.trace)
    finally:
        logging.disable(logging.NOTSET)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; exits with status 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    which.add_argument("--seed", type=int, help="the one seed to run")
    parser.add_argument("--first", type=int, default=1, help="the first of --seeds")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of virtual time until all is healed"
    )
    parser.add_argument(
        "--large", action="store_true", help="many brokers and groups, which lose a rack, instead"
    )
    parser.add_argument("--groups", type=int, default=GROUPS, help="of --large")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="do not end at a failure")
    return parser.parse_args(arguments)


def results(jobs: Sequence[Job], processes: int) -> Iterator[Outcome | Failure]:
    """Yield the results, in order."""
    if processes <= 1:
        yield from map(run_job, jobs)
        return
    with Pool(processes) as pool:
        yield from pool.imap(run_job, jobs)


def summarize(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Write what the runs did, so that nobody takes idle runs for clean ones."""

    def total(name: str) -> int:
        return sum(getattr(outcome, name) for outcome in outcomes)

    write(
        f"{len(outcomes)} seeds clean in {seconds:.1f} s: {total('events'):,} events,"
        f" {total('elections'):,} elections, {total('crashes'):,} crashes,"
        f" {total('sleeps'):,} times a replica fell asleep,"
        f" {total('changes'):,} changes of replicas, {total('snapshots'):,} snapshots installed"
    )
    write(
        f"{total('entries'):,} entries applied, {total('acknowledged'):,} messages acknowledged,"
        f" {total('popped'):,} popped, {total('reads'):,} reads answered,"
        f" {total('disk_errors'):,} transactions failed, {total('rollbacks'):,} folders rolled back"
    )
    write(
        f"{total('commits'):,} commits of groups, {total('fenced'):,} fenced,"
        f" {total('deliveries'):,} deliveries to workers, {total('deaths'):,} messages dead"
    )
    settled = [outcome.settle_seconds for outcome in outcomes]
    write(
        f"healed to caught up: median {statistics.median(settled):.1f},"
        f" worst {max(settled):.1f} virtual seconds"
    )


def main(arguments: Sequence[str]) -> int:
    """Run the seeds that the command line asks for; return the exit status."""
    options = parse_arguments(arguments)
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    groups = options.groups if options.large else 0
    jobs = [Job(seed, options.seconds, groups) for seed in range(first, first + count)]
    started = time.monotonic()
    outcomes: list[Outcome] = []
    failures = 0
    for result in shown(results(jobs, options.jobs), len(jobs)):
        if isinstance(result, Outcome):
            outcomes.append(result)
            continue
        failures += 1
        for line in () if options.keep_going else result.trace:
            write(line)
        write(result.text)
        kind = f"--large --groups {groups}" if groups else f"--seconds {options.seconds}"
        write(f"again: python -m tests.simulation --seed {result.seed} {kind}")
        if not options.keep_going:
            return 1
    if outcomes:
        summarize(outcomes, time.monotonic() - started)
    if options.seed is not None and outcomes:
        write(f"seed {options.seed}: trace hash {outcomes[0].trace_hash:08x}")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
