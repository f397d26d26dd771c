"""The figures as a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure
from benchmarks.registry import make_workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.floor import Floor
    from benchmarks.outcome import Outcome
    from benchmarks.peers.queuesite import Site
    from benchmarks.workload import Workload


class Row(NamedTuple):
    """One line of the table, as text."""

    workload: str
    figure: str
    median: str
    least: str
    greatest: str
    ratio: str
    """To the bare disk; empty when there is nothing to compare with."""
    target: str
    verdict: str
    """`met`, `missed` or nothing."""


HEADINGS = Row("workload", "figure", "median", "min", "max", "x floor", "target", "")


def rows_of(outcome: Outcome) -> list[Row]:
    """Return the lines of one workload: each figure beside its targets."""
    workload = make_workload(outcome.workload)
    rows: list[Row] = []
    for figure in workload.figures:
        summary = outcome.summary(figure)
        targets = [target for target in workload.targets if target.figure is figure]
        verdicts = ["met" if target.is_met(summary) else "missed" for target in targets]
        rows.append(
            Row(
                workload="" if rows else workload.name,
                figure=figure.label,
                median=number(summary.median),
                least=number(summary.least),
                greatest=number(summary.greatest),
                ratio=_ratio(workload, outcome, figure),
                target=", ".join(str(target) for target in targets),
                verdict=", ".join(verdicts),
            )
        )
    return rows


def notes_of(outcome: Outcome) -> list[str]:
    """Return what belongs under a workload's figures.

    What it is, its floor, its check, and what its last run said besides.
    """
    workload = make_workload(outcome.workload)
    lines = [f"{workload.name}: {workload.summary}; {outcome.compared:,} messages compared"]
    if workload.floor is not None:
        lines.append(f"  floor: {_floor_line(outcome.floor, workload.floor)}")
    return [*lines, *(f"  {note}" for note in outcome.runs[-1].measurement.notes)]


def floor_lines(floor: Floor) -> list[str]:
    """Return one line for each kind of bare write."""
    return [_floor_line(floor, kind) for kind in FloorKind]


def render(rows: Sequence[Row], notes: Sequence[str], *, colours: bool) -> None:
    """Print the table, with lines and colours on a terminal, else as plain text."""
    if colours:
        _render_rich(rows)
    else:
        _render_plain(rows)
    print()
    for note in notes:
        print(note)
    sys.stdout.flush()


def number(value: float) -> str:
    """Return a figure with about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(workload: Workload[Site], outcome: Outcome, figure: Figure) -> str:
    if workload.floor is None or figure is Figure.LONGEST_MS:
        return ""
    bare = outcome.floor.value(workload.floor, figure)
    return number(outcome.summary(figure).median / bare)


def _floor_line(floor: Floor, kind: FloorKind) -> str:
    per_second = floor.value(kind, Figure.PER_SECOND)
    unit = "messages" if kind is FloorKind.SQLITE_BLOB else "writes"
    p50_ms = floor.value(kind, Figure.P50_MS)
    return f"{kind.label}: {number(per_second)} {unit}/s, p50 {number(p50_ms)} ms"


def _render_rich(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for position, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if 2 <= position <= 5 else "left")
    for row in rows:
        style = "red" if "missed" in row.verdict else "green" if row.verdict else None
        table.add_row(*row, style=style, end_section=False)
    Console().print(table)


def _render_plain(rows: Sequence[Row]) -> None:
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        cells = [
            text.rjust(width) if 2 <= column <= 5 else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
