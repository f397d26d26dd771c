"""The commands about groups: `myqueue groups list|describe|reset|delete`, `myqueue lag --group`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from myqueue.cli import values
from myqueue.cli.commands import Commands
from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.output import Column, say, show_object, show_rows
from myqueue.contract.errors import UnmovedOffsets

if TYPE_CHECKING:
    from myqueue import Client
    from myqueue.descriptions import OffsetMove

GROUPS = (
    Column("group"),
    Column("kind"),
    Column("members", "number"),
    Column("topics"),
    Column("lag", "number"),
    Column("age_ms", "duration", "OLDEST"),
    Column("visible", "number"),
    Column("in_flight", "number"),
    Column("delayed", "number"),
    Column("dead", "number"),
)
FACTS = (Column("group"), Column("kind"), Column("generation", "number"))
MEMBERS = (Column("member_id", title="MEMBER"), Column("partitions"))
PARTITIONS = (
    Column("topic"),
    Column("partition", "number"),
    Column("member_id", title="MEMBER"),
    Column("offset", "number"),
    Column("high_watermark", "number", "END"),
    Column("lag", "number"),
    Column("unsettled", "number"),
)
MOVES = (
    Column("partition", "number"),
    Column("before", "number"),
    Column("after", "number"),
    Column("moved"),
    Column("reason"),
)
LAG = (
    Column("topic"),
    Column("partition", "number"),
    Column("offset", "number"),
    Column("high_watermark", "number", "END"),
    Column("lag", "number"),
    Column("age_ms", "duration", "OLDEST"),
)


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group(
        "groups", "List, show, reset and delete groups of consumers and workers.", named="describe"
    )
    groups = commands.add(
        "groups list",
        list_groups,
        "List the groups, and how far each is.",
        columns=GROUPS,
        examples="""
        myqueue groups
        myqueue groups --json
        """,
    )
    # The list was short in earlier versions.
    groups.add_argument("--long", action="store_true", help=argparse.SUPPRESS)
    describe = commands.add(
        "groups describe",
        describe_group,
        "Show the members of a group, and where it is in each partition.",
        keys="group kind generation member_count members partitions",
        examples="""
        myqueue groups billing
        myqueue groups describe billing --json
        """,
    )
    describe.add_argument("group", metavar="GROUP")
    _add_reset(commands)
    delete = commands.add(
        "groups delete",
        delete_group,
        "Forget a group that has no members, and its offsets.",
        keys="group deleted",
        examples="""
        myqueue groups delete billing
        myqueue groups delete billing --yes
        """,
    )
    delete.add_argument("group", metavar="GROUP")
    add_yes(delete)
    # An earlier spelling: `groups billing --delete`.
    describe.add_argument("--delete", action="store_true", help=argparse.SUPPRESS)
    describe.add_argument("-y", "--yes", action="store_true", help=argparse.SUPPRESS)


def _add_reset(commands: Commands) -> None:
    parser = commands.add(
        "groups reset",
        reset_group,
        "Move a group's offsets in a topic, while nobody reads.",
        columns=MOVES,
        examples="""
        myqueue groups reset billing orders --to earliest --dry-run
        myqueue groups reset billing orders --to-time 2h
        myqueue groups reset billing orders --to-offset 1200 --partitions 0,2
        myqueue groups reset billing orders --shift -100 --force
        """,
    )
    parser.add_argument("group", metavar="GROUP")
    parser.add_argument("topic", metavar="TOPIC")
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--to", choices=("earliest", "latest"))
    ways.add_argument(
        "--to-time",
        type=values.moment,
        metavar="TIME",
        help="to what was stored then: 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00",
    )
    ways.add_argument("--to-offset", type=values.from_zero, metavar="N")
    ways.add_argument("--shift", type=int, metavar="N", help="so many messages on; -N: back")
    parser.add_argument("--partitions", type=values.numbers, metavar="N,N", help="only these")
    parser.add_argument("--dry-run", action="store_true", help="move nothing, show what would be")
    parser.add_argument(
        "--force",
        action="store_true",
        help="send the members away; they join again and go on at the new offsets",
    )
    add_yes(parser)


def list_groups(options: argparse.Namespace) -> None:
    """Print all groups."""
    with connect(options) as client:
        show_rows(options, GROUPS, client.describe_groups())


def describe_group(options: argparse.Namespace) -> None:
    """Print the members of a group, and where it is."""
    if options.delete:
        delete_group(options)
        return
    with connect(options) as client:
        described = client.describe_group(options.group)
    show_object(
        options,
        described,
        (MEMBERS, map(_member, described["members"])),
        (PARTITIONS, described["partitions"]),
        facts=FACTS,
    )


def _member(member: dict[str, Any]) -> dict[str, Any]:
    """Return a member as a row: the partitions that it reads in one field."""
    assigned = sorted(member["assignment"].items())
    return {**member, "partitions": [f"{topic}/{n}" for topic, of in assigned for n in of]}


def delete_group(options: argparse.Namespace) -> None:
    """Have the cluster forget a group."""
    confirm(options, f"Forget the group {options.group} and where it is?")
    with connect(options) as client:
        client.delete_group(options.group)
    say(options, f"group {options.group} deleted", group=options.group, deleted=True)


def reset_group(options: argparse.Namespace) -> None:
    """Move a group's offsets and print a line per partition, also when some were not moved.

    On a terminal it is shown first, and asked for.
    """
    with connect(options) as client:
        if sys.stdin.isatty() and not (options.dry_run or options.yes):
            show_rows(options, MOVES, _move(client, options, dry_run=True))
            sys.stdout.flush()
            confirm(options, f"Move group {options.group} in topic {options.topic} so?")
        try:
            moved = _move(client, options, dry_run=options.dry_run)
        except UnmovedOffsets as error:
            show_rows(options, MOVES, error.details["partitions"])
            raise
    show_rows(options, MOVES, moved)


def _move(client: Client, options: argparse.Namespace, *, dry_run: bool) -> list[OffsetMove]:
    ways = (options.to, options.to_time, options.to_offset)
    return client.reset_group(
        options.group,
        options.topic,
        to=next((way for way in ways if way is not None), None),
        shift=options.shift,
        partitions=options.partitions,
        dry_run=dry_run,
        force=options.force,
    ).partitions


def show_group_lag(options: argparse.Namespace) -> None:
    """Print a line per partition: where the group is, and how far behind, in messages and time."""
    with connect(options) as client:
        rows = client.describe_group(options.group)["partitions"]
    show_rows(options, LAG, [row for row in rows if options.topic in (None, row["topic"])])
