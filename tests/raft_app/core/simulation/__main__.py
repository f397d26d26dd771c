"""Command line: run many seeds, or one seed with its trace when it fails."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from multiprocessing import Pool
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.raft_app.core.simulation.simulation import (
    STEPS,
    Outcome,
    Simulation,
    SimulationFailure,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

REPORT_EVERY = 100
"""Seeds between two lines of progress where there is no terminal."""


class Job(NamedTuple):
    """What one process is asked to run."""

    seed: int
    node_count: int
    steps: int
    changing: bool


class Failure(NamedTuple):
    """A failed run, as text that travels between processes."""

    seed: int
    text: str
    trace: list[str]


def run_job(job: Job) -> Outcome | Failure:
    """Run one seed."""
    try:
        return Simulation(
            job.seed, node_count=job.node_count, steps=job.steps, changing=job.changing
        ).run()
    except SimulationFailure as failure:
        return Failure(failure.seed, str(failure), failure.trace)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; exits with status 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.raft_app.core.simulation")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run")
    which.add_argument("--seed", type=int, help="the one seed to run")
    parser.add_argument("--first", type=int, default=1, help="the first of --seeds")
    parser.add_argument("--steps", type=int, default=STEPS, help="events until all is healed")
    parser.add_argument("--nodes", type=int, default=0, help="nodes; 0: 3 or 5 by the seed")
    parser.add_argument(
        "--changing", action="store_true", help="members change and snapshots travel in every seed"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args(arguments)


def results(jobs: Sequence[Job], processes: int) -> Iterator[Outcome | Failure]:
    """Yield the results, in order."""
    if processes <= 1:
        yield from map(run_job, jobs)
        return
    with Pool(processes) as pool:
        yield from pool.imap(run_job, jobs, chunksize=4)


def shown(found: Iterable[Outcome | Failure], total: int) -> Iterator[Outcome | Failure]:
    """Pass results on and show progress: a bar on a terminal, else a line now and then."""
    console = Console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    live = console.is_terminal and total > 1
    with bar if live else nullcontext():
        task = bar.add_task("seeds", total=total)
        for count, result in enumerate(found, start=1):
            bar.advance(task)
            if not live and (count % REPORT_EVERY == 0 or count == total):
                write(f"{count}/{total} seeds")
            yield result


def write(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def summarize(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Write what the runs did, so that nobody takes idle runs for clean ones."""

    def total(name: str) -> int:
        return sum(getattr(outcome, name) for outcome in outcomes)

    write(
        f"{len(outcomes)} seeds clean in {seconds:.1f} s: {total('events'):,} events,"
        f" {total('elections'):,} elections, {total('crashes'):,} crashes,"
        f" {total('committed'):,} entries committed, {total('acknowledged'):,} values"
        f" acknowledged, {total('reads'):,} reads answered"
    )
    write(
        f"{total('sleeps'):,} times a node fell asleep,"
        f" {total('changes'):,} changes of membership committed,"
        f" {total('snapshots'):,} snapshots installed"
    )
    for name, what in (
        ("settle_ticks", "healed to caught up"),
        ("failover_ticks", "leader killed to successor serving"),
    ):
        ticks = [getattr(outcome, name) for outcome in outcomes]
        write(f"{what}: median {statistics.median(ticks):.1f}, worst {max(ticks):.1f} ticks")


def main(arguments: Sequence[str]) -> int:
    """Run the seeds that the command line asks for; return the exit status."""
    options = parse_arguments(arguments)
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    jobs = [
        Job(seed, options.nodes, options.steps, options.changing)
        for seed in range(first, first + count)
    ]
    started = time.monotonic()
    outcomes: list[Outcome] = []
    for result in shown(results(jobs, options.jobs), len(jobs)):
        if isinstance(result, Failure):
            for line in result.trace:
                write(line)
            write(result.text)
            write(
                f"again: python -m tests.raft_app.core.simulation --seed {result.seed}"
                f" --steps {options.steps} --nodes {options.nodes}"
                + (" --changing" if options.changing else "")
            )
            return 1
        outcomes.append(result)
    if outcomes:
        summarize(outcomes, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
