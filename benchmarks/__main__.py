"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cluster import ClusterFailed
from benchmarks.comparison import markdown
from benchmarks.harness import Options, WorkloadFailed, measure_side_by_side, measure_workload
from benchmarks.peers.catalogue import (
    FLOORS,
    OURS,
    PEERS,
    PeerMissing,
    UnknownPeer,
    make_system,
    peers_of,
)
from benchmarks.peers.system import SystemFailed
from benchmarks.plot import BATCH_SIZES, CLIENT_COUNTS, Series, batch_names, client_names, draw
from benchmarks.registry import (
    SHARED,
    STANDARD,
    UnknownWorkload,
    family_of,
    is_shared,
    make_workload,
    names_of,
)
from benchmarks.report import Row, floor_lines, notes_of, render, rows_of
from benchmarks.results import DIRECTORY, append_results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from benchmarks.outcome import Outcome
    from benchmarks.peers.system import System

PLOT = "plot"
DRAWING = DIRECTORY / "scaling.svg"
SIDE_BY_SIDE = DIRECTORY / "side_by_side.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and return the exit status: 0, 1 when a workload failed, 2 for a wrong name.

    A peer that is not installed counts as a wrong name.
    """
    chosen = _parser().parse_args(arguments)
    options = Options(
        seconds=chosen.seconds,
        warmup_seconds=min(1.0, chosen.seconds),
        runs=chosen.runs,
        directory=chosen.directory,
    )
    if chosen.list:
        for name in STANDARD:
            print(f"{name:24} {make_workload(name).summary}")
        return 0
    try:
        peers = [make_system(name) for name in peers_of(chosen.peers)]
        plots = chosen.workloads == PLOT
        standard = SHARED if peers else STANDARD
        names = [] if plots else names_of(chosen.workloads, standard)
    except (UnknownWorkload, UnknownPeer, PeerMissing) as error:
        print(error, file=sys.stderr)
        return 2
    floors = FLOORS[:1] if plots else FLOORS  # a drawing has the harder one alone
    measured = _Measured(options, [*peers, *map(make_system, floors)] if peers else [])
    if plots:
        return _plot(measured, chosen.output)
    measured.measure(names)
    measured.show()
    return 0 if len(measured.outcomes) == len(names) else 1


class _Measured:
    """What was measured; what failed is told and left out."""

    def __init__(self, options: Options, peers: Sequence[System]) -> None:
        self.outcomes: dict[str, list[Outcome]] = {}
        """By workload: one for each system that took part, this one first."""
        self._options = options
        self._peers = peers

    @property
    def is_side_by_side(self) -> bool:
        """Whether others take part."""
        return bool(self._peers)

    def measure(self, names: Sequence[str]) -> None:
        """Measure one after the other, keep each result."""
        for name in names:
            _tell(f"{name} ...")
            try:
                outcomes = self._measure(name)
            except (ClusterFailed, SystemFailed, WorkloadFailed) as error:
                _tell(f"{name} FAILED\n{error}")
            else:
                append_results(outcomes)
                self.outcomes[name] = outcomes

    def of(self, names: Sequence[str]) -> dict[str, list[Outcome]]:
        """Return by system the outcomes of those workloads, where it took part in all."""
        taken: dict[str, list[Outcome]] = {}
        for name in names:
            for outcome in self.outcomes.get(name, []):
                taken.setdefault(outcome.system, []).append(outcome)
        return {system: them for system, them in taken.items() if len(them) == len(names)}

    def show(self) -> None:
        """Print tables."""
        if not self.outcomes:
            return
        if self._peers:
            text = markdown(list(self.outcomes.values()))
            SIDE_BY_SIDE.parent.mkdir(parents=True, exist_ok=True)
            SIDE_BY_SIDE.write_text(text)
            print(f"{text}\nkept in {SIDE_BY_SIDE}")
        else:
            _show([outcome for (outcome,) in self.outcomes.values()])

    def _measure(self, name: str) -> list[Outcome]:
        if not self._peers:
            return [measure_workload(name, self._options)]
        taking_part = [
            one for one in self._peers if is_shared(name) and family_of(name) in one.families
        ]
        return measure_side_by_side(name, taking_part, self._options, _tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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
    parser.add_argument(
        "--peers",
        default="",
        help=f"other systems to measure in turn with this one, and with bare Python processes:"
        f" some of {', '.join(PEERS)}, separated by commas",
    )
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run (default 3)")
    parser.add_argument(
        "--runs",
        type=int,
        default=0,
        help="runs that count, or rounds with peers (default: what the workload says, mostly 3)",
    )
    parser.add_argument(
        "--directory", type=Path, help="where the brokers' temporary directory is made"
    )
    parser.add_argument("--output", type=Path, default=DRAWING, help="file of the drawing")
    return parser


def _show(outcomes: Sequence[Outcome]) -> None:
    rows: list[Row] = []
    notes: list[str] = []
    for outcome in outcomes:
        rows += rows_of(outcome)
        notes += notes_of(outcome)
    notes += ["", "the bare disk before the last workload:"]
    notes += [f"  {line}" for line in floor_lines(outcomes[-1].floor)]
    render(rows, notes, colours=sys.stdout.isatty())


def _plot(measured: _Measured, path: Path) -> int:
    batches, clients = batch_names(), client_names(side_by_side=measured.is_side_by_side)
    measured.measure([*batches, *clients])
    measured.show()
    drawn = [
        Series("messages in a batch, one producer", BATCH_SIZES, measured.of(batches)),
        Series("clients, one message at a time each", CLIENT_COUNTS, measured.of(clients)),
    ]
    if not all(OURS in one.lines for one in drawn):
        return 1
    draw(drawn, path)
    print(f"\ndrawn in {path}")
    return 0


def end_as_interrupted(number: int, _frame: FrameType | None) -> None:
    """End as an interrupt does, so that all servers are stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end_as_interrupted)
    sys.exit(main())
