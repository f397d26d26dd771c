"""The command `myqueue lag`: how far the consumers of a topic, or a group, are behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import myqueue
from myqueue.cli.connection import connect, patience
from myqueue.cli.groups import show_group_lag
from myqueue.cli.output import Column, show_rows
from myqueue.contract.errors import ClientExpired, UnauthorizedException

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

EXPIRED = "expired"
LAG = (
    Column("consumer_id", "number", "CONSUMER"),
    Column("state", "state"),
    Column("partition", "number"),
    Column("lag", "number"),
    Column("age_ms", "duration", "OLDEST"),
)


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "lag",
        show_lag,
        "Show how far the consumers of a topic, or a group, are behind.",
        columns=LAG,
        examples="""
        myqueue lag logs
        myqueue lag --group billing
        myqueue lag orders --group billing --json
        """,
    )
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="needed without --group")
    parser.add_argument(
        "--group", metavar="GROUP", help="the group, in all of its topics or in one"
    )


def show_lag(options: argparse.Namespace) -> None:
    """Print a line per consumer and partition; one without figures for a consumer that expired.

    With `--group` it is a line per partition of the group.
    """
    if options.group is not None:
        show_group_lag(options)
        return
    if options.topic is None:
        options.refuse("give a topic, or a group with --group")
    with connect(options) as client:
        consumers = list(_consumers(client, options.topic))
        ends = {
            int(row["partition"]): int(row.get("high_watermark") or 0)
            for row in client.describe_topic(options.topic)["partitions"]
        }
    behind = [(p, ends[p] - n) for *_, of in consumers for p, n in of.items() if n]
    ages = _ages(options, set(behind))
    rows: list[dict[str, Any]] = []
    for consumer_id, state, sizes in consumers:
        one = {"consumer_id": consumer_id, "state": state}
        rows += [one] if not sizes else []
        for partition, size in sorted(sizes.items()):
            age_ms = ages.get((partition, ends[partition] - size), 0)
            rows.append({**one, "partition": partition, "lag": size, "age_ms": age_ms})
    show_rows(options, LAG, rows)


def _consumers(client: myqueue.Client, topic: str) -> Iterator[tuple[int, str, dict[int, int]]]:
    """Yield id, state and messages left by partition of each consumer; none when it expired.

    A manager answers for living consumers alone, and what a list says is over when it is read.
    """
    for one in client.list_clients("consumers", topic):
        consumer_id = int(one["consumer_id"])
        state = str(one.get("state", "-"))
        try:
            sizes = client.consumer_sizes(topic, consumer_id) if state != EXPIRED else {}
        except ClientExpired:
            state, sizes = EXPIRED, {}
        except UnauthorizedException:
            continue  # forgotten meanwhile
        yield consumer_id, state, sizes


def _ages(options: argparse.Namespace, places: set[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return the age in milliseconds of the messages at (partition, offset)."""
    if not places:
        return {}
    ages: dict[tuple[int, int], int] = {}
    consumer = myqueue.Consumer(options.topic, options.address, start="latest", config=patience())
    try:
        for partition, offset in places:
            fetched = consumer.fetch(options.topic, partition, max(0, offset), max_bytes=1)
            while fetched.corrupt and not fetched.messages:
                fetched = consumer.fetch(options.topic, partition, fetched.next_offset, max_bytes=1)
            if fetched.messages:
                age_ms = round(time.time() * 1000) - fetched.messages[0].timestamp
                ages[partition, offset] = max(0, age_ms)
    finally:
        consumer.forget()
    return ages
