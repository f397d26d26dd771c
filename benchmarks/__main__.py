"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cluster import ClusterFailed
from benchmarks.harness import Options, WorkloadFailed, measure_workload
from benchmarks.plot import BATCH_SIZES, CLIENT_COUNTS, Series, batch_names, client_names, draw
from benchmarks.registry import STANDARD, UnknownWorkload, make_workload, names_of
from benchmarks.report import Row, floor_lines, notes_of, render, rows_of
from benchmarks.results import DIRECTORY, append_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.outcome import Outcome

PLOT = "plot"
DRAWING = DIRECTORY / "scaling.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and return the exit status: 0, 1 when a workload failed, 2 for a wrong name."""
    chosen = _parser().parse_args(arguments)
    options = Options(
        seconds=chosen.seconds,
        warmup_seconds=min(1.0, chosen.seconds),
        runs=chosen.runs,
        directory=chosen.directory,
    )
    if chosen.list:
        for name in STANDARD:
            print(f"{name:16} {make_workload(name).summary}")
        return 0
    if chosen.workloads == PLOT:
        return _plot(options, chosen.output)
    try:
        names = names_of(chosen.workloads)
    except UnknownWorkload as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = _measure(names, options)
    if outcomes:
        _show(outcomes)
    return 0 if len(outcomes) == len(names) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure three brokers on this machine, each figure beside the bare disk's.",
    )
    parser.add_argument(
        "workloads",
        nargs="?",
        default="",
        help="names separated by commas; all when left out; `plot` draws throughput and latency"
        " against batch size and number of clients",
    )
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run (default 3)")
    parser.add_argument("--runs", type=int, default=0, help="runs that count (default 3)")
    parser.add_argument(
        "--directory", type=Path, help="where the brokers' temporary directory is made"
    )
    parser.add_argument("--output", type=Path, default=DRAWING, help="file of the drawing")
    return parser


def _measure(names: Sequence[str], options: Options) -> list[Outcome]:
    """Measure one after the other, keep each result; what fails is told and left out."""
    outcomes: list[Outcome] = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            outcome = measure_workload(name, options)
        except (ClusterFailed, WorkloadFailed) as error:
            print(f"{name} FAILED\n{error}", file=sys.stderr, flush=True)
        else:
            append_results([outcome])
            outcomes.append(outcome)
    return outcomes


def _show(outcomes: Sequence[Outcome]) -> None:
    rows: list[Row] = []
    notes: list[str] = []
    for outcome in outcomes:
        rows += rows_of(outcome)
        notes += notes_of(outcome)
    notes += ["", "the bare disk before the last workload:"]
    notes += [f"  {line}" for line in floor_lines(outcomes[-1].floor)]
    render(rows, notes, colours=sys.stdout.isatty())


def _plot(options: Options, path: Path) -> int:
    batches = _measure(batch_names(), options)
    clients = _measure(client_names(), options)
    if len(batches) != len(BATCH_SIZES) or len(clients) != len(CLIENT_COUNTS):
        return 1
    _show([*batches, *clients])
    draw(
        [
            Series("messages in a batch, one producer", BATCH_SIZES, batches),
            Series("HTTP clients, one message at a time each", CLIENT_COUNTS, clients),
        ],
        path,
    )
    print(f"\ndrawn in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
