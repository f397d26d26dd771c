"""The command `myqueue status`: brokers and partitions, live on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import myqueue
from myqueue.cli import values
from myqueue.cli.brokers import BROKERS, broker_row
from myqueue.cli.connection import connect
from myqueue.cli.output import Column, on_terminal, show_object, table_lines
from myqueue.cli.topics import partition_row
from myqueue.contract.errors import QueueError, TopicDoesNotExist

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands
PARTITIONS = (
    Column("topic"),
    Column("partition", "number"),
    Column("condition", "state"),
    Column("leader"),
    Column("term", "number"),
    Column("messages", "number"),
    Column("per_second", "number", "MSG/S"),
    Column("replicas"),
    Column("down"),
)
CLEAR = "\033[H\033[J"


class ClusterStatus(NamedTuple):
    """What is shown; the rows have the fields of the columns."""

    brokers: list[dict[str, Any]]
    partitions: list[dict[str, Any]]
    ends: dict[tuple[str, int], int]
    """(topic, partition) -> high watermark."""


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "status",
        show_status,
        "Show brokers and partitions; live on a terminal.",
        examples="""
        myqueue status
        myqueue status --once
        """,
    )
    parser.add_argument("--once", action="store_true", help="print once and end")
    parser.add_argument("--interval", type=values.duration_s, default=1.0, metavar="DURATION")


def show_status(options: argparse.Namespace) -> None:
    """Print once when not on a terminal or asked to; else a table that is kept up to date."""
    with connect(options) as client:
        if options.once or options.json or not on_terminal():
            seen = look(client)
            fields = {"brokers": seen.brokers, "partitions": seen.partitions}
            tables = ((BROKERS, seen.brokers), (PARTITIONS, seen.partitions))
            show_object(options, fields, *tables)
        else:
            _live(client, options.interval)


def look(
    client: myqueue.Client, before: ClusterStatus | None = None, seconds: float = 0.0
) -> ClusterStatus:
    """Ask for everything that is shown.

    Args:
        client: whom to ask.
        before: what was seen before, for the speed.
        seconds: how long ago that was.
    """
    partitions: list[dict[str, Any]] = []
    ends: dict[tuple[str, int], int] = {}
    for topic in client.list_topics():
        try:
            rows = client.describe_topic(topic)["partitions"]
        except TopicDoesNotExist:
            continue  # deleted since it was listed
        for row in rows:
            where = (topic, int(row["partition"]))
            begin, end = (row.get(of) or 0 for of in ("log_start_offset", "high_watermark"))
            ends[where] = end
            earlier = before.ends.get(where) if before is not None else None
            speed = (
                round(max(0, end - earlier) / seconds) if seconds and earlier is not None else None
            )
            told = {"topic": topic, "messages": end - begin, "per_second": speed}
            partitions.append({**partition_row(row), **told})
    return ClusterStatus(list(map(broker_row, client.describe_brokers())), partitions, ends)


def _live(client: myqueue.Client, interval_s: float) -> None:
    """Draw until Ctrl-C."""
    status, seen_s, trouble = look(client), time.monotonic(), ""
    while True:
        lines = [
            *table_lines(BROKERS, status.brokers),
            "",
            *table_lines(PARTITIONS, status.partitions),
            trouble,
        ]
        sys.stdout.write(CLEAR + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        time.sleep(interval_s)
        try:
            now_s = time.monotonic()
            status, seen_s, trouble = look(client, status, now_s - seen_s), now_s, ""
        except QueueError as error:
            trouble = f"{error.code}: {error.message}"
