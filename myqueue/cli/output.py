"""How results are printed: for people on a terminal, for programs in a pipe, or as JSON.

On a terminal a table is aligned, numbers have separators and units, and states have colours unless
NO_COLOR is set. In a pipe it is a head line and fields separated by tabs, in base units. With
`--json` it is an object a row, with the columns' names; what is a single thing is one object.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import argparse

Kind = Literal["text", "number", "size", "duration", "time", "state", "hidden"]
Row = Mapping[str, Any]
NOTHING = "-"
"""What stands where nothing is known."""
_RIGHT = ("number", "size", "duration")
CLEAR_LINE = "\r\033[K"
_RESET = "\033[0m"
_COLOURS = {"good": "\033[32m", "odd": "\033[33m", "bad": "\033[31m", "head": "\033[1m"}
_JUDGED = {
    "good": {"alive", "healthy", "done", "yes", "active"},
    "odd": {
        *("suspect", "degraded", "changing", "under-replicated", "draining", "slow disk"),
        *("disk low", "expired", "paused", "refused"),
    },
    "bad": {"dead", "no leader", "no healthy replica", "failed", "revoked", "unknown"},
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


class Column(NamedTuple):
    """A column of a table.

    `size` is in bytes, `duration` in milliseconds, `time` in milliseconds since 1970; a `state` is
    one word or several, separated by commas. What is `hidden` is in JSON alone.
    """

    key: str
    """The name in rows and in JSON; the heading is the same in capitals."""
    kind: Kind = "text"
    title: str = ""
    """Another heading on a terminal."""


def on_terminal() -> bool:
    """Return whether people read the standard output."""
    return sys.stdout.isatty()


def show_rows(
    options: argparse.Namespace,
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    more: bool = False,
) -> None:
    """Print a list: a table, or with `--json` an object a line that has the columns' keys.

    Args:
        options: of the command.
        columns: of the table.
        rows: have the columns' keys, or some of them.
        more: these are further rows of a table whose head was printed.
    """
    if options.json:
        for row in rows:
            show_json({column.key: row.get(column.key) for column in columns})
    else:
        _write(table_lines(columns, rows)[more:])


def show_object(
    options: argparse.Namespace,
    fields: Row,
    *tables: tuple[Sequence[Column], Iterable[Row]],
    facts: Sequence[Column] = (),
) -> None:
    """Print one thing: with `--json` the command's keys of it, else some facts and its tables.

    Args:
        options: of the command.
        fields: everything; what has no key of the command is not printed with `--json`.
        tables: columns and rows of each.
        facts: fields that are shown a line each, above the tables.
    """
    if options.json:
        show_json({key: fields.get(key) for key in options.keys})
        return
    blocks = [table_lines(columns, rows) for columns, rows in tables]
    if facts:
        is_terminal = on_terminal()
        names = [_heading(fact, is_terminal=is_terminal) for fact in facts]
        width = max(map(len, names)) if is_terminal else 0
        told = [cell(fact, fields.get(fact.key), is_terminal=is_terminal) for fact in facts]
        between = "  " if is_terminal else "\t"
        pairs = zip(names, told, strict=True)
        blocks.insert(0, [f"{name:<{width}}{between}{one}" for name, one in pairs])
    for number, block in enumerate(blocks):
        _write(["", *block] if number else block)


def say(options: argparse.Namespace, sentence: str, **facts: Any) -> None:
    """Tell what was done: a sentence, or with `--json` the facts as one object."""
    if options.json:
        show_json(facts)
    else:
        _write([sentence])


def show_json(fields: Any) -> None:
    """Print a value as a line of JSON."""
    _write([json.dumps(fields, ensure_ascii=False)])


def table_lines(
    columns: Sequence[Column], rows: Iterable[Row], *, is_terminal: bool | None = None
) -> list[str]:
    """Return a table: aligned for a terminal, else its fields separated by tabs.

    Args:
        columns: of the table.
        rows: have the columns' keys, or some of them.
        is_terminal: what the standard output is, when left out.
    """
    is_terminal = on_terminal() if is_terminal is None else is_terminal
    columns = [column for column in columns if column.kind != "hidden"]
    heads = [_heading(column, is_terminal=is_terminal) for column in columns]
    cells = [
        [cell(column, row.get(column.key), is_terminal=is_terminal) for column in columns]
        for row in rows
    ]
    if not is_terminal:
        return ["\t".join(line) for line in (heads, *cells)]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    places = list(zip(columns, widths, strict=True))

    def aligned(texts: Sequence[str], colour: str | None = None) -> str:
        padded = []
        for text, (column, width) in zip(texts, places, strict=True):
            placed = text.rjust(width) if column.kind in _RIGHT else text.ljust(width)
            how = colour or (judged(text) if column.kind == "state" else None)
            padded.append(coloured(placed, how))
        return "  ".join(padded).rstrip()

    return [aligned(heads, "head"), *map(aligned, cells)]


def cell(column: Column, value: Any, *, is_terminal: bool) -> str:
    """Return a field of a table, without anything that a terminal obeys."""
    if value is None or value == [] or value == "":
        return NOTHING
    if isinstance(value, list | tuple):
        return ",".join(cell(Column(column.key), one, is_terminal=is_terminal) for one in value)
    if isinstance(value, bool):
        return ("yes" if value else "no") if is_terminal else str(value).lower()
    if is_terminal and not isinstance(value, str):
        return _for_people(column.kind, value)
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))


def _for_people(kind: Kind, value: float) -> str:
    if kind == "size":
        return size_of(value)
    if kind == "duration":
        return duration_of(value / 1000)
    if kind == "time":
        return datetime.fromtimestamp(value / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,}" if kind == "number" else str(value)


def size_of(size_bytes: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in _UNITS[:-1]:
        if abs(size_bytes) < 1024:
            return f"{size_bytes:,.0f} B" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:,.1f} {_UNITS[-1]}"


def duration_of(seconds: float) -> str:
    """Return a duration in its largest unit."""
    for span_s, unit in _SPANS:
        if seconds >= span_s:
            return f"{seconds / span_s:,.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds * 1000:.0f} ms"


def count_of(number: int, noun: str) -> str:
    """Return a number of things as people say it."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def judged(state: str) -> str | None:
    """Return what the worst word of a state is: bad, odd, good, or None for no judgement."""
    words = set(state.strip().split(", "))
    return next((kind for kind in ("bad", "odd", "good") if words & _JUDGED[kind]), None)


def coloured(text: str, kind: str | None) -> str:
    """Return a text for a terminal in the colour of bad, odd, good or head, where it is allowed."""
    if kind is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"{_COLOURS[kind]}{text}{_RESET}"


def _heading(column: Column, *, is_terminal: bool) -> str:
    if is_terminal:
        return column.title or column.key.upper().replace("_", " ")
    return column.key.upper()


def _write(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
