"""Shows results while they come: a bar on a terminal, lines where there is none."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.mutants.examination import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.mutants.examination import Result

OUTPUT_LINES = 30
"""Shown of a test that did not find its fault."""


def write(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def line_of(result: Result) -> str:
    """Return a result as a line."""
    mutant = result.mutant
    return (
        f"{result.verdict:14} {mutant.name:36} {result.seconds:6.1f} s "
        f" {mutant.test_path}::{mutant.test_name}"
    )


def shown(results: Iterable[Result], total: int) -> Iterator[Result]:
    """Pass results on; write each, and the end of the output of what was not found."""
    console = Console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    live = console.is_terminal and total > 1
    say = (
        (lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
        if live
        else write
    )
    with bar if live else nullcontext():
        task = bar.add_task("faults", total=total)
        for result in results:
            bar.advance(task)
            say(line_of(result))
            if result.verdict is not Verdict.FOUND:
                for line in result.output.splitlines()[-OUTPUT_LINES:]:
                    say(f"    {line}")
            yield result
