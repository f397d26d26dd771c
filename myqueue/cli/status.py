"""The command `myqueue status`: brokers and partitions, live on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from myqueue.cli.text import broker_state, print_line
from myqueue.client import Client
from myqueue.contract.errors import QueueError, TopicDoesNotExist

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

BROKER_COLUMNS = ("BROKER", "STATE", "LEADS", "REPLICAS")
PARTITION_COLUMNS = ("TOPIC", "PARTITION", "LEADER", "TERM", "MESSAGES", "PER_SECOND", "REPLICAS")


class ClusterStatus(NamedTuple):
    """What is shown; the rows have the fields of the columns."""

    brokers: list[tuple[str, ...]]
    partitions: list[tuple[str, ...]]
    ends: dict[tuple[str, int], int]
    """(topic, partition) -> high watermark."""


def show_status(options: argparse.Namespace) -> None:
    """Print once when not on a terminal or asked to; else a table that is kept up to date."""
    with Client(options.address) as client:
        if options.once or not sys.stdout.isatty():
            _print(look(client))
            return
        try:
            _live(client, options.interval)
        except ImportError:
            _print(look(client))


def look(
    client: Client, before: ClusterStatus | None = None, seconds: float = 0.0
) -> ClusterStatus:
    """Ask for everything that is shown.

    Args:
        client: whom to ask.
        before: what was seen before, for the speed.
        seconds: how long ago that was.
    """
    brokers: list[tuple[str, ...]] = [
        (
            str(row.get("address", "-")),
            broker_state(row),
            str(row.get("leader_count", row.get("leaders", "-"))),
            str(row.get("replica_count", row.get("replicas", "-"))),
        )
        for row in client.describe_brokers()
    ]
    partitions: list[tuple[str, ...]] = []
    ends: dict[tuple[str, int], int] = {}
    for topic in client.list_topics():
        try:
            rows = client.describe_topic(topic)["partitions"]
        except TopicDoesNotExist:
            continue  # deleted since it was listed
        for row in rows:
            where = (topic, int(row["partition"]))
            ends[where] = int(row.get("high_watermark") or 0)
            earlier = before.ends.get(where) if before is not None else None
            speed = "-" if not seconds or earlier is None else _speed(ends[where], earlier, seconds)
            partitions.append(_partition(topic, row, speed))
    return ClusterStatus(brokers, partitions, ends)


def _speed(end: int, earlier: int, seconds: float) -> str:
    return f"{max(0, end - earlier) / seconds:.0f}"


def _partition(topic: str, row: dict[str, Any], speed: str) -> tuple[str, ...]:
    leader = row.get("leader") or {}
    stored = int(row.get("high_watermark") or 0) - int(row.get("log_start_offset") or 0)
    replicas = row.get("replicas") or ()
    return (
        topic,
        str(row["partition"]),
        str(leader.get("address", "-")),
        str(row.get("term", "-")),
        str(stored),
        speed,
        ",".join(str(replica.get("address", "-")) for replica in replicas),
    )


def _print(status: ClusterStatus) -> None:
    print_line(*BROKER_COLUMNS)
    for row in status.brokers:
        print_line(*row)
    print_line()
    print_line(*PARTITION_COLUMNS)
    for row in status.partitions:
        print_line(*row)


def _live(client: Client, interval_s: int) -> None:
    """Draw until Ctrl-C; needs the package `rich`."""
    from rich.console import Group
    from rich.live import Live

    status = look(client)
    seen_s = time.monotonic()
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            tables = (
                _table(BROKER_COLUMNS, status.brokers),
                _table(PARTITION_COLUMNS, status.partitions),
            )
            live.update(Group(*tables), refresh=True)
            time.sleep(interval_s)
            try:
                now_s = time.monotonic()
                status, seen_s = look(client, status, now_s - seen_s), now_s
            except QueueError as error:
                live.update(Group(*tables, f"{error.code}: {error.message}"), refresh=True)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    return table
