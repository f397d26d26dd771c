"""The figures as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.scale.check import Compared
    from benchmarks.scale.costs import Growth
    from benchmarks.scale.model import Demand, Recovery

GROWS_BADLY = 1.15
"""An exponent above this is worth a look: noise of a loaded machine is below."""
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float) -> str:
    """Return three digits that count, with a letter for thousands, millions and billions."""
    for size, letter in _STEPS:
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table with aligned columns."""
    widths = [max(len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]
    for row in (headings, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"


def demand_lines(demands: Sequence[Demand]) -> Iterator[str]:
    """Yield what is needed of everything, in the order given."""
    rows = [
        (
            demand.process,
            demand.what,
            f"{number(demand.needed)} {demand.unit}",
            number(demand.capacity) if demand.capacity else "",
            f"{100 * demand.ratio:.3g} %" if demand.capacity else "",
        )
        for demand in demands
    ]
    yield from table(("process", "what", "needed", "there is", "of it"), rows)


def recovery_lines(recoveries: Sequence[tuple[str, Recovery]]) -> Iterator[str]:
    """Yield what the loss of some brokers leads to."""
    rows = [
        (
            name,
            str(one.brokers),
            f"{100 * one.without_quorum:.3g} %",
            " to ".join(f"{seconds:.2g} s" for seconds in one.led_again_s),
            f"{one.shown_s:g} / {one.dead_s:g} s",
            f"{one.begins_s / 60:.3g} min",
            f"{one.steps_s / 60:.3g} min",
            f"{one.copied_s / 60:.3g} min",
        )
        for name, one in recoveries
    ]
    headings = ("lost", "brokers", "no quorum", "led again", "suspect / dead", "repair begins")
    yield from table((*headings, "its rounds", "its copies"), rows)


def growth_lines(growths: Sequence[Growth]) -> Iterator[str]:
    """Yield how each cost grew between two sizes."""
    rows = [
        (
            growth.name,
            number(growth.small),
            number(growth.large),
            f"{growth.small_s:.3g}",
            f"{growth.large_s:.3g}",
            f"{growth.exponent:.2f}{' !' if growth.exponent > GROWS_BADLY else ''}",
        )
        for growth in growths
    ]
    yield from table(("cost", "size", "size", "at the first", "at the second", "exponent"), rows)


def compared_lines(figures: Sequence[Compared]) -> Iterator[str]:
    """Yield predictions beside measurements."""
    rows = [
        (
            one.what,
            f"{number(one.predicted)} {one.unit}",
            f"{number(one.measured)} {one.unit}",
            one.difference,
        )
        for one in figures
    ]
    yield from table(("what", "model", "measured", "difference"), rows)
