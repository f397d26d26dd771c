"""Several systems side by side: their figures, and how many times better this one is."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Summary, summarize
from benchmarks.peers.catalogue import make_system
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


HEADINGS = ComparisonRow(
    "workload", "figure", "system", "median", "min", "max", "ours x better", "min", "max"
)

FIRST_NUMBER = 3
"""Position of the first column of numbers."""


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
    """Return the lines of one workload.

    Args:
        outcomes: of all systems, this one's first; the runs of all have the same order.
    """
    ours = outcomes[0]
    rows: list[ComparisonRow] = []
    for figure in make_workload(ours.workload).figures:
        for outcome in outcomes:
            ratio = None if outcome is ours else ratio_of(ours, outcome, figure)
            rows.append(
                ComparisonRow(
                    "" if rows else ours.workload,
                    figure.label if outcome is ours else "",
                    outcome.system,
                    *(number(value) for value in outcome.summary(figure)),
                    *(("", "", "") if ratio is None else (number(value) for value in ratio)),
                )
            )
    return rows


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
            text.rjust(width)
            if column >= FIRST_NUMBER and line is not HEADINGS
            else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    rule = [
        f"{'-' * (width - 1)}{':' if column >= FIRST_NUMBER else '-'}"
        for column, width in enumerate(widths)
    ]
    return [f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])]
