"""The command `myqueue status`: problems first, then brokers, groups and partitions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import myqueue
from myqueue.cli import values
from myqueue.cli.brokers import BROKERS, broker_row
from myqueue.cli.connection import connect
from myqueue.cli.ending import orderly_end
from myqueue.cli.groups import GROUPS
from myqueue.cli.output import Column, count_of, on_terminal, show_object, table_lines
from myqueue.cli.screen import Screen
from myqueue.cli.topics import partition_row
from myqueue.contract.errors import QueueError, TopicDoesNotExist

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

Row = dict[str, Any]
HEALTHY = "healthy"
PROBLEMS = (Column("state", "state"), Column("problem"))
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
SORTS = ("condition", "topic", "messages", "per_second")
DISK_FREE_BYTES_LOW = 1 << 30
"""A broker with less has a problem."""


class ClusterStatus(NamedTuple):
    """What is shown; the rows have the fields of the columns."""

    brokers: list[Row]
    groups: list[Row]
    partitions: list[Row]
    ends: dict[tuple[str, int], int]
    """(topic, partition) -> high watermark."""

    @property
    def problems(self) -> list[Row]:
        """What is not as it should be, the worst first."""
        return sorted(_problems(self), key=lambda row: row["state"] not in _WORST)


_WORST = ("dead", "no leader", "no healthy replica")


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "status",
        show_status,
        "Show problems, brokers, groups and partitions; live on a terminal.",
        keys="problems brokers groups partitions",
        examples="""
        myqueue status
        myqueue status --once
        myqueue status --topic 'orders*' --sort per_second
        myqueue status --problems --json
        """,
    )
    parser.add_argument("--once", action="store_true", help="print once and end")
    parser.add_argument(
        "--interval", type=values.duration_s, default=1.0, metavar="DURATION", help="(default: 1s)"
    )
    parser.add_argument("--topic", default="*", metavar="PATTERN", help="only such topics: 'a*'")
    parser.add_argument("--sort", choices=SORTS, default=SORTS[0], help="(default: %(default)s)")
    parser.add_argument(
        "--problems", action="store_true", help="of the partitions, those that are not healthy"
    )


def show_status(options: argparse.Namespace) -> None:
    """Print once when not on a terminal or asked to; else a table that is kept up to date."""
    with connect(options) as client:
        if not (options.once or options.json) and on_terminal():
            _live(client, options)
            return
        seen = look(client, options.topic)
        partitions = chosen(seen.partitions, options.sort, problems=options.problems)
        problems = seen.problems
        fields = {
            "problems": problems,
            "brokers": seen.brokers,
            "groups": seen.groups,
            "partitions": partitions,
        }
        tables = ((PROBLEMS, problems), (BROKERS, seen.brokers), (GROUPS, seen.groups))
        show_object(options, fields, *tables, (PARTITIONS, partitions))


def look(
    client: myqueue.Client,
    topics: str = "*",
    *,
    before: ClusterStatus | None = None,
    seconds: float = 0.0,
) -> ClusterStatus:
    """Ask for everything that is shown.

    Args:
        client: whom to ask.
        topics: pattern of those that are shown.
        before: what was seen before, for the speed.
        seconds: how long ago that was.
    """
    partitions: list[Row] = []
    ends: dict[tuple[str, int], int] = {}
    for topic in client.list_topics():
        if not fnmatchcase(topic, topics):
            continue
        try:
            rows = client.describe_topic(topic)["partitions"]
        except TopicDoesNotExist:
            continue  # deleted since it was listed
        for row in rows:
            where = (topic, int(row["partition"]))
            begin, end = (row.get(of) or 0 for of in ("log_start_offset", "high_watermark"))
            ends[where] = end
            earlier = before.ends.get(where) if before is not None else None
            speed = None
            if seconds and earlier is not None:
                speed = round(max(0, end - earlier) / seconds)
            told = {"topic": topic, "messages": end - begin, "per_second": speed}
            partitions.append({**partition_row(row), **told})
    brokers = list(map(broker_row, client.describe_brokers()))
    groups = sorted(client.describe_groups(), key=lambda row: -(row.get("lag") or 0))
    return ClusterStatus(brokers, list(groups), partitions, ends)


def _problems(status: ClusterStatus) -> list[Row]:
    found = []
    for broker in status.brokers:
        if broker["state"] != "alive":
            found.append(_problem(broker["state"], f"broker {broker.get('address')}"))
        free_bytes = broker.get("disk_free_bytes")
        if free_bytes is not None and free_bytes < DISK_FREE_BYTES_LOW:
            found.append(_problem("disk low", f"broker {broker.get('address')}"))
    versions = sorted({one["version"] for one in status.brokers if one.get("version")})
    if len(versions) > 1:
        found.append(_problem("mixed versions", f"brokers run {', '.join(versions)}"))
    sick: dict[str, list[Row]] = {}
    for row in status.partitions:
        if row.get("condition") not in (HEALTHY, None):
            sick.setdefault(row["condition"], []).append(row)
    for condition, rows in sick.items():
        first = f"{rows[0]['topic']}/{rows[0]['partition']}"
        found.append(_problem(condition, f"{count_of(len(rows), 'partition')}, first {first}"))
    return found


def _problem(state: str, text: str) -> Row:
    return {"state": state, "problem": text}


def chosen(partitions: Sequence[Row], sort: str, *, problems: bool = False) -> list[Row]:
    """Return partitions in an order: by condition, those that are not healthy come first."""

    def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
        by_name = (row["topic"], row["partition"])
        if sort == "condition":
            return (row.get("condition") in (HEALTHY, None), *by_name)
        return by_name if sort == "topic" else (-(row[sort] or 0), *by_name)

    rows = sorted(partitions, key=place)
    return [row for row in rows if row.get("condition") != HEALTHY] if problems else rows


def lines_of(status: ClusterStatus, sort: str, *, problems: bool) -> list[str]:
    """Return what is drawn on a terminal, before it is cut to its size."""
    partitions = chosen(status.partitions, sort, problems=problems)
    blocks = [table_lines(PROBLEMS, status.problems, is_terminal=True)] if status.problems else []
    blocks.append(table_lines(BROKERS, status.brokers, is_terminal=True))
    if status.groups:
        blocks.append(table_lines(GROUPS, status.groups, is_terminal=True))
    blocks.append(table_lines(PARTITIONS, partitions, is_terminal=True))
    return [line for block in blocks for line in (*block, "")]


def _live(client: myqueue.Client, options: argparse.Namespace) -> None:
    """Draw until Ctrl-C or q."""
    with orderly_end() as is_over, Screen() as screen:
        sort, problems, trouble = options.sort, options.problems, ""
        status, seen_s = look(client, options.topic), time.monotonic()
        due_s = seen_s
        while not is_over():
            help_text = f"sorted by {sort}: s changes it, p problems alone, arrows scroll, q ends"
            screen.draw(lines_of(status, sort, problems=problems), trouble or help_text)
            key = screen.key(max(0.0, due_s + options.interval - time.monotonic()))
            if key == "q":
                return
            if key == "s":
                sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
            elif key == "p":
                problems = not problems
            elif key:
                screen.scroll(key)
            else:
                due_s = time.monotonic()
                try:
                    since_s = due_s - seen_s
                    status = look(client, options.topic, before=status, seconds=since_s)
                    seen_s, trouble = due_s, ""
                except QueueError as error:
                    trouble = f"{error.code}: {error.message}"
