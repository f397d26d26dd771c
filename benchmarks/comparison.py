"""Several systems side by side: their figures, and how many times better this one is."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Summary, summarize
from benchmarks.peers.catalogue import FLOORS, make_system
from benchmarks.registry import make_workload
from benchmarks.report import number
from benchmarks.results import read_commit, read_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.outcome import Outcome


class ComparisonRow(NamedTuple):
    """One line of the table, as text."""

    workload: str
    figure: str
    system: str
    median: str
    least: str
    greatest: str
    ratio: str
    """How many times better this system is, the median of the rounds; empty in its own line."""
    ratio_least: str
    ratio_greatest: str
    aim: str
    """What the ratio has to be at least, and whether it is."""


HEADINGS = ComparisonRow(
    "workload", "figure", "system", "median", "min", "max", "ours x better", "min", "max", "aim"
)

BARE_DISK = "bare disk"
_NUMBERS = range(3, 9)
"""Positions of the columns of numbers."""


class Aim(NamedTuple):
    """How many times better this system has to be; below 1 it may be worse."""

    than_peers: float
    """Than each peer that replicates before it answers."""
    than_floor: float = 0.0
    """Than bare Python; 0 when that is not compared."""


_AIMS = {
    ("sync_1", Figure.PER_SECOND): Aim(1, 0.5),
    ("sync_1", Figure.P50_MS): Aim(1, 0.5),
    ("sync_16", Figure.PER_SECOND): Aim(1.2, 0.5),
    ("tasks_16", Figure.PER_SECOND): Aim(1.2, 0.5),
    ("produce_batch", Figure.PER_SECOND): Aim(15),
    ("end_to_end", Figure.P50_MS): Aim(1),
    ("end_to_end_group", Figure.P50_MS): Aim(1),
}
_REPLICATING = ("nats", "rabbitmq")


def ratio_of(ours: Outcome, other: Outcome, figure: Figure) -> Summary | None:
    """Return how many times better ours is, round by round; None when a figure is 0 somewhere.

    Above 1 ours is better: it does more a second, or takes less.
    """
    pairs = [
        (mine.measurement.value(figure), its.measurement.value(figure))
        for mine, its in zip(ours.runs, other.runs, strict=True)
    ]
    if not all(mine and its for mine, its in pairs):
        return None
    if figure.greater_is_better:
        return summarize([mine / its for mine, its in pairs])
    return summarize([its / mine for mine, its in pairs])


def comparison_rows(outcomes: Sequence[Outcome]) -> list[ComparisonRow]:
    """Return the lines of one workload: of each figure those of the systems and the bare disk's.

    Args:
        outcomes: of all systems, this one's first; the runs of all have the same order.
    """
    ours = outcomes[0]
    workload = make_workload(ours.workload)
    rows: list[ComparisonRow] = []
    for figure in workload.figures:
        of_figure = [_row_of(ours, outcome, figure) for outcome in outcomes]
        if workload.floor is not None:
            of_figure.append(_disk_row(ours, workload.floor, figure))
        of_figure[0] = of_figure[0]._replace(figure=figure.label)
        rows += of_figure
    rows[0] = rows[0]._replace(workload=ours.workload)
    return rows


def _row_of(ours: Outcome, outcome: Outcome, figure: Figure) -> ComparisonRow:
    summary = outcome.summary(figure)
    ratio = None if outcome is ours else ratio_of(ours, outcome, figure)
    return ComparisonRow(
        workload="",
        figure="",
        system=outcome.system,
        median=number(summary.median),
        least=number(summary.least),
        greatest=number(summary.greatest),
        ratio=number(ratio.median) if ratio else "",
        ratio_least=number(ratio.least) if ratio else "",
        ratio_greatest=number(ratio.greatest) if ratio else "",
        aim=_aim(outcome, figure, ratio),
    )


def _disk_row(ours: Outcome, kind: FloorKind, figure: Figure) -> ComparisonRow:
    """Return the line of the bare disk, of which there is but the median before our turns."""
    bare, median = ours.floor.value(kind, figure), ours.summary(figure).median
    ratio = median / bare if figure.greater_is_better else bare / median
    return ComparisonRow(
        *("", "", BARE_DISK, number(bare), "", "", number(ratio), "", "", ""),
    )


def _aim(other: Outcome, figure: Figure, ratio: Summary | None) -> str:
    """Return what the ratio to another system has to be, and whether its median is."""
    aim = _AIMS.get((other.workload, figure))
    if aim is None or ratio is None:
        return ""
    least = aim.than_floor if other.system in FLOORS else aim.than_peers
    if not least or other.system not in {*_REPLICATING, *FLOORS}:
        return ""
    return f">= {least:g}: {'met' if ratio.median >= least else 'missed'}"


def comparison_notes(comparisons: Sequence[Sequence[Outcome]]) -> list[str]:
    """Return what belongs under the table: the workloads, the systems, the disk."""
    lines = []
    for outcomes in comparisons:
        ours = outcomes[0]
        compared = ", ".join(f"{one.system} {one.compared:,}" for one in outcomes)
        lines.append(
            f"{ours.workload}: {make_workload(ours.workload).summary}; {len(ours.runs)} round(s);"
            f" messages compared: {compared}"
        )
    names = dict.fromkeys(one.system for outcomes in comparisons for one in outcomes)
    lines += [f"{name}: {make_system(name).summary}" for name in names]
    kind = FloorKind.APPEND_4K
    for outcomes in comparisons:
        bare = ", ".join(
            f"{one.system} {number(one.floor.value(kind, Figure.P50_MS))}" for one in outcomes
        )
        lines.append(
            f"bare disk before the turns of {outcomes[0].workload}, {kind.label}, p50 ms: {bare}"
        )
    return lines


def markdown(comparisons: Sequence[Sequence[Outcome]]) -> str:
    """Return heading, table and notes of a comparison as Markdown."""
    machine = read_machine()
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    rows = [row for outcomes in comparisons for row in comparison_rows(outcomes)]
    notes = comparison_notes(comparisons)
    commit = read_commit()
    measured = (
        f"Measured on {date}, commit {commit[:12] or 'unknown'}"
        f"{' with changes' if commit.endswith('+') else ''}, on {machine.cores} cores of"
        f" {machine.processor or 'an unknown processor'}, {machine.system}, Python"
        f" {machine.python}. All systems in turn, each alone on the machine in its turn."
    )
    lines = [
        measured,
        "",
        *_table([HEADINGS, *rows]),
        "",
        *(f"- {note}" for note in notes),
    ]
    return "\n".join(lines) + "\n"


def _table(lines: Sequence[ComparisonRow]) -> list[str]:
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(HEADINGS))]
    cells = [
        [
            text.rjust(width) if column in _NUMBERS and line is not HEADINGS else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    rule = [
        f"{'-' * (width - 1)}{':' if column in _NUMBERS else '-'}"
        for column, width in enumerate(widths)
    ]
    return [f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])]
