"""The commands that change a topic or what is in it: `myqueue topics alter|purge`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from myqueue.cli import values
from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.output import Column, count_of, duration_of, say, show_rows, size_of
from myqueue.cli.topics import add_retention

if TYPE_CHECKING:
    from myqueue.cli.commands import Commands
    from myqueue.descriptions import TopicDescription, TopicPurge

PURGED = (
    Column("partition", "number"),
    Column("removed", "number"),
    Column("log_start_offset", "number", "OLDEST"),
    Column("reason"),
)
RETENTIONS = ("retention_ms", "retention_bytes")


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    alter = commands.add(
        "topics alter",
        alter_topic,
        "Change how long and how much a topic keeps, or add partitions.",
        keys="topic partitions retention_ms retention_bytes",
        examples="""
        myqueue alter logs --retention 7d --retention-bytes 10GiB
        myqueue alter logs --retention unlimited
        myqueue alter logs --partitions 12
        """,
    )
    alter.add_argument("topic", metavar="TOPIC")
    alter.add_argument(
        "--partitions",
        dest="number_of_partitions",
        type=values.at_least_one,
        default=argparse.SUPPRESS,
        metavar="N",
        help="so many in all; a topic never gets fewer, and keys go to other partitions",
    )
    add_retention(alter, default=argparse.SUPPRESS)
    add_yes(alter)
    purge = commands.add(
        "topics purge",
        purge_topic,
        "Delete messages of a topic for good; the topic and its offsets stay.",
        columns=PURGED,
        examples="""
        myqueue purge logs
        myqueue purge logs --before 7d
        myqueue purge logs --partition 0 --offset 1200 --yes
        """,
    )
    purge.add_argument("topic", metavar="TOPIC")
    add_which(purge)
    add_yes(purge)


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add what tells which messages are deleted: `before`, `offset`, `partitions`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--before",
        type=values.moment,
        metavar="TIME",
        help="those stored before: 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00",
    )
    which.add_argument("--offset", type=values.from_zero, metavar="N", help="those below it")
    parser.add_argument(
        "--partition",
        "--partitions",
        dest="partitions",
        type=values.numbers,
        metavar="N,N",
        help="only of these",
    )


def alter_topic(options: argparse.Namespace) -> None:
    """Change a topic; what makes it keep less is asked for first."""
    names = ("number_of_partitions", *RETENTIONS)
    changes: dict[str, Any] = {name: getattr(options, name) for name in names if name in options}
    if not changes:
        options.refuse("say what is to change: --partitions, --retention or --retention-bytes")
    with connect(options) as client:
        if losses := _keeps_less(client.describe_topic(options.topic), changes):
            confirm(
                options, f"Topic {options.topic} will keep {' and '.join(losses)}; more is deleted."
            )
        changed = client.update_topic(options.topic, **changes)
    settings = changed.settings
    say(
        options,
        f"topic {options.topic} has {count_of(changed.number_of_partitions, 'partition')} and"
        f" keeps {_kept(settings)}",
        topic=options.topic,
        partitions=changed.number_of_partitions,
        retention_ms=settings.get("retention_ms"),
        retention_bytes=settings.get("retention_bytes"),
    )


def _keeps_less(present: TopicDescription, changes: dict[str, Any]) -> list[str]:
    """Return what a topic keeps after changes that let it keep less than now."""
    now = present.get("settings") or {}
    less = []
    for name in RETENTIONS:
        wanted, before = changes.get(name), now.get(name)
        if wanted is not None and (before is None or wanted < before):
            less.append(_kept({name: wanted}))
    return less


def _kept(settings: dict[str, Any]) -> str:
    parts = []
    if (age_ms := settings.get("retention_ms")) is not None:
        parts.append(f"messages for {duration_of(age_ms / 1000)}")
    if (size_bytes := settings.get("retention_bytes")) is not None:
        parts.append(f"{size_of(size_bytes)} of each partition")
    return ", ".join(parts) or "all messages"


def purge_topic(options: argparse.Namespace) -> None:
    """Delete messages, and print a line per partition."""
    confirm(options, f"Delete {which_messages(options)} of topic {options.topic} for good?")
    with connect(options) as client:
        purged = client.purge_topic(
            options.topic,
            before=options.before,
            offset=options.offset,
            partitions=options.partitions,
        )
    show_purged(options, purged)


def which_messages(options: argparse.Namespace) -> str:
    """Return which messages are deleted, in words."""
    words = "all messages"
    if options.before is not None:
        words = f"the messages stored before {options.before.astimezone():%Y-%m-%d %H:%M:%S}"
    elif options.offset is not None:
        words = f"the messages below offset {options.offset}"
    if options.partitions is None:
        return words
    return f"{words} in partition {', '.join(map(str, options.partitions))}"


def show_purged(options: argparse.Namespace, purged: TopicPurge) -> None:
    """Print what was deleted.

    Raises:
        SystemExit: not every partition did it (1).
    """
    show_rows(options, PURGED, purged.partitions)
    failed = [one.partition for one in purged.partitions if one.get("log_start_offset") is None]
    if failed:
        sys.stdout.flush()
        sys.stderr.write(
            f"myqueue: not purged for certain: partition {', '.join(map(str, failed))};"
            " to ask again deletes nothing twice\n"
        )
        raise SystemExit(1)
