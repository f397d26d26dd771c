"""The command `myqueue lag`: how far the consumers of a topic are behind."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from myqueue.cli_text import print_line
from myqueue.client import Client
from myqueue.consumer import Consumer

if TYPE_CHECKING:
    import argparse

COLUMNS = ("CONSUMER", "STATE", "PARTITION", "MESSAGES", "SECONDS")


def show_lag(options: argparse.Namespace) -> None:
    """Print a line per consumer and partition."""
    with Client(options.address) as client:
        clients = client.list_clients("consumers", options.topic)
        sizes = {
            int(one["consumer_id"]): client.consumer_sizes(options.topic, int(one["consumer_id"]))
            for one in clients
        }
        ends = {
            int(row["partition"]): int(row.get("high_watermark") or 0)
            for row in client.describe_topic(options.topic)["partitions"]
        }
    ages = _ages(options, {(p, ends[p] - n) for of in sizes.values() for p, n in of.items() if n})
    if not options.json:
        print_line(*COLUMNS)
    for one in clients:
        for partition, size in sorted(sizes[int(one["consumer_id"])].items()):
            age_s = ages.get((partition, ends[partition] - size), 0.0) if size else 0.0
            fields = (one["consumer_id"], one.get("state", "-"), partition, size, round(age_s, 3))
            _print(fields, as_json=options.json)


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
            if fetched.messages:
                age_s = time.time() - fetched.messages[0].timestamp / 1000
                ages[partition, offset] = max(0.0, age_s)
    finally:
        consumer.forget()
    return ages


def _print(fields: tuple[Any, ...], *, as_json: bool) -> None:
    if as_json:
        names = (column.lower() for column in COLUMNS)
        print_line(json.dumps(dict(zip(names, fields, strict=True))))
    else:
        print_line(*fields)
