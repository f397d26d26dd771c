"""The command `myqueue events`: what happened in the cluster."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from myqueue.cli import values
from myqueue.cli.connection import connect
from myqueue.cli.ending import GLANCE_S, orderly_end
from myqueue.cli.output import Column, show_rows

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

EVENTS = (
    Column("id", "hidden"),
    Column("at", "time"),
    Column("kind"),
    Column("action", "hidden"),
    Column("text"),
    Column("about", "hidden"),
    Column("person"),
    Column("origin"),
    Column("outcome", "state"),
    Column("details", "hidden"),
)
KINDS = ("election", "broker", "move", "lease", "configuration", "action", "access", "login")
OVERLAP = timedelta(minutes=1)
"""So far back it is asked for what is new: managers' clocks differ."""
PAUSE_S = GLANCE_S
NEWEST = 20
"""How many are printed when neither a number nor a time is given."""


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "events",
        show_events,
        "Print what happened: elections, brokers dead and back, moves, and what people changed.",
        columns=EVENTS,
        examples="""
        myqueue events
        myqueue events --follow
        myqueue events --since 1d --kind election --about topic:orders
        myqueue events --person ada -n 5 --json
        """,
    )
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument(
        "--about", metavar="KIND:NAME", help="what it happened to: topic:orders, broker:3"
    )
    parser.add_argument("--person", metavar="TEXT", help="part of the name of who wanted it")
    parser.add_argument(
        "--since",
        type=values.moment,
        metavar="TIME",
        help="not before: 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00",
    )
    parser.add_argument("--until", type=values.moment, metavar="TIME", help="before")
    parser.add_argument(
        "-n",
        "--max-events",
        type=values.at_least_one,
        metavar="N",
        help=f"the newest so many (default: {NEWEST}, with --since all)",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="then go on with new ones")


def show_events(options: argparse.Namespace) -> None:
    """Print events, the oldest first; with `follow`, go on until SIGTERM."""
    if options.follow and options.until is not None:
        options.refuse("--follow and --until: what happened before a time has an end")
    most = options.max_events or (NEWEST if options.since is None else None)
    chosen = {
        "kind": options.kind,
        "about": options.about,
        "person": options.person,
        "until": options.until,
    }
    with orderly_end() as is_over, connect(options) as client:
        begun = datetime.now(UTC)
        found = client.list_events(**chosen, since=options.since, limit=most)[::-1]
        show_rows(options, EVENTS, found)
        while options.follow and not is_over():
            sys.stdout.flush()
            time.sleep(PAUSE_S)
            last_id = found[-1].id if found else 0
            heard = datetime.fromtimestamp(found[-1].at / 1000, UTC) if found else begun
            new = client.list_events(**chosen, since=heard - OVERLAP, newer_than=last_id)[::-1]
            show_rows(options, EVENTS, new, more=True)
            found = new or found
