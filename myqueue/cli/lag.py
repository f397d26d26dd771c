"""The command `myqueue lag`: how far the consumers of a topic, or a group, are behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from myqueue.cli.groups import show_group_lag
from myqueue.cli.text import print_line, print_row
from myqueue.client import Client
from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import ClientExpired, UnauthorizedException

if TYPE_CHECKING:
    import argparse

EXPIRED = "expired"
COLUMNS = ("CONSUMER", "STATE", "PARTITION", "MESSAGES", "SECONDS")


def show_lag(options: argparse.Namespace) -> None:
    """Print a line per consumer and partition; one without figures for a consumer that expired.

    With `--group` it is a line per partition of the group.
    """
    if options.group is not None:
        show_group_lag(options)
        return
    if options.topic is None:
        options.refuse("give a topic, or a group with --group")
    with Client(options.address) as client:
        consumers = list(_consumers(client, options.topic))
        ends = {
            int(row["partition"]): int(row.get("high_watermark") or 0)
            for row in client.describe_topic(options.topic)["partitions"]
        }
    behind = [(p, ends[p] - n) for *_, of in consumers for p, n in of.items() if n]
    ages = _ages(options, set(behind))
    if not options.json:
        print_line(*COLUMNS)
    for consumer_id, state, sizes in consumers:
        if not sizes:
            print_row(COLUMNS, (consumer_id, state, None, None, None), as_json=options.json)
        for partition, size in sorted(sizes.items()):
            age_s = ages.get((partition, ends[partition] - size), 0.0) if size else 0.0
            fields = (consumer_id, state, partition, size, round(age_s, 3))
            print_row(COLUMNS, fields, as_json=options.json)


def _consumers(client: Client, topic: str) -> Iterator[tuple[int, str, dict[int, int]]]:
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


def _ages(
    options: argparse.Namespace, places: set[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """Return the age in seconds of the messages at (partition, offset)."""
    if not places:
        return {}
    ages: dict[tuple[int, int], float] = {}
    consumer = Consumer(options.topic, options.address, start="latest")
    try:
        for partition, offset in places:
            fetched = consumer.fetch(options.topic, partition, max(0, offset), max_bytes=1)
            while fetched.corrupt and not fetched.messages:
                fetched = consumer.fetch(options.topic, partition, fetched.next_offset, max_bytes=1)
            if fetched.messages:
                age_s = time.time() - fetched.messages[0].timestamp / 1000
                ages[partition, offset] = max(0.0, age_s)
    finally:
        consumer.forget()
    return ages
