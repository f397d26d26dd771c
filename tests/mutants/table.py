"""The faults as the table of docs/explanation/testing.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.mutants.mutant import Mutant

BEGIN = "<!-- mutants: written by python -m tests.mutants --table -->"
END = "<!-- end of mutants -->"
_HEADINGS = ("name", "fault", "where", "found by")


def table_of(mutants: Sequence[Mutant]) -> str:
    """Return a Markdown table, one mutant a line."""
    rows = [
        (
            mutant.name,
            mutant.fault.replace("|", "\\|"),
            f"`{mutant.path}`",
            f"`{mutant.test_name}` in `{mutant.test_path}`",
        )
        for mutant in mutants
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    lines = [_HEADINGS, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def table_in(document: str) -> str:
    """Return the table between the two marks of a document.

    Raises:
        ValueError: there are no such marks.
    """
    _, begin, rest = document.partition(BEGIN)
    table, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError("the document has no place for the table")
    return table.strip()
