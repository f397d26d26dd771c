"""The command `myqueue rebalance`: replicas moved so that brokers hold as many each."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from myqueue.cli import values
from myqueue.cli.connection import connect
from myqueue.cli.output import Column, count_of, duration_of, show_object, size_of
from myqueue.cli.progress import progress_bar

if TYPE_CHECKING:
    from myqueue import Client
    from myqueue.cli.commands import Commands
    from myqueue.descriptions import RebalanceDescription

LOOK_S = 1.0
"""Between two looks at what is moved."""
FACTS = (
    Column("state", "state"),
    Column("bytes_per_second", "size", "SPEED, A SECOND"),
    Column("repairs", "number", "REPAIRS FIRST"),
    Column("moves_left", "number"),
    Column("bytes_left", "size"),
    Column("seconds_left", "number"),
)
MOVES = (
    Column("topic"),
    Column("partition", "number"),
    Column("source", "number", "FROM"),
    Column("target", "number", "TO"),
    Column("size_bytes", "size", "SIZE"),
    Column("copied_bytes", "size", "COPIED"),
    Column("move", "state"),
)


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add(
        "rebalance",
        rebalance,
        "Move replicas until brokers hold as many each; say what is moved.",
        keys="state bytes_per_second repairs running moves_left bytes_left seconds_left plan",
        examples="""
        myqueue rebalance --dry-run
        myqueue rebalance --speed 100MiB
        myqueue rebalance --no-wait
        myqueue rebalance --pause
        """,
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--dry-run", action="store_true", help="move nothing, show what would be")
    ways.add_argument("--pause", action="store_true", help="begin no further move")
    ways.add_argument(
        "--cancel",
        action="store_true",
        help="begin none, and take back those whose new replica has not caught up yet",
    )
    parser.add_argument(
        "--speed",
        type=values.size,
        metavar="SIZE",
        help="a second, of all moves together, like 100MiB; it stays so",
    )
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        help="until all is moved; left out, where progress can be drawn. Ctrl-C ends the wait,"
        " not the moves",
    )


def rebalance(options: argparse.Namespace) -> None:
    """Start, pause or cancel moves, or look at the plan; print what is moved and what is left."""
    with connect(options) as client:
        detail = _asked_for(client, options)
        starts = not (options.dry_run or options.pause or options.cancel)
        waits = sys.stderr.isatty() if options.wait is None else options.wait
        if starts and waits:
            detail = _finished(client, detail)
    _show(options, detail)


def _asked_for(client: Client, options: argparse.Namespace) -> RebalanceDescription:
    if options.dry_run:
        return client.describe_rebalance()
    if options.pause:
        return client.pause_rebalance()
    if options.cancel:
        return client.cancel_rebalance()
    return client.start_rebalance(options.speed)


def _finished(client: Client, detail: RebalanceDescription) -> RebalanceDescription:
    """Wait until nothing is to be moved, or somebody pauses it; return what it is then."""
    total = _left(detail)
    with progress_bar(quiet=False, total=total, noun="replicas moved") as show:
        while _left(detail) and detail.state == "on":
            total = max(total, _left(detail))
            done = total - _left(detail)
            show(messages=done, completed=done, total=total)
            time.sleep(LOOK_S)
            detail = client.describe_rebalance()
    return detail


def _left(detail: RebalanceDescription) -> int:
    return detail.moves_left + len(detail.running)


def _show(options: argparse.Namespace, detail: RebalanceDescription) -> None:
    rows: list[dict[str, Any]] = [
        *({**one, "move": "moving"} for one in detail.running),
        *({**one, "move": "planned"} for one in detail.plan),
    ]
    tables = [(MOVES, rows)] if rows else []
    show_object(options, detail, *tables, facts=FACTS)
    if not options.json:
        sys.stderr.write(f"{_sentence(detail)}\n")


def _sentence(detail: RebalanceDescription) -> str:
    """Return what is going on, for people."""
    if not _left(detail):
        return "every broker holds its share of the replicas: there is nothing to move"
    left = f"{count_of(_left(detail), 'replica')} to move, {size_of(detail.bytes_left)}"
    if detail.state != "on":
        return f"{left}; no further move begins: myqueue rebalance starts them"
    if detail.repairs:
        return f"{left}; {count_of(detail.repairs, 'partition')} that need a repair come first"
    return f"{left}, about {duration_of(max(1.0, detail.seconds_left))}"
