"""The commands about topics, `myqueue topics`, `create`, `describe`, `delete`, and `brokers`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from myqueue.cli.text import broker_state, print_line
from myqueue.client import Client

if TYPE_CHECKING:
    import argparse

PARTITION_COLUMNS = ("PARTITION", "LEADER", "TERM", "LOG_START", "HIGH_WATERMARK", "REPLICAS")


def list_topics(options: argparse.Namespace) -> None:
    """Print the names of all topics, one a line."""
    with Client(options.address) as client:
        for topic in client.list_topics():
            print_line(topic)


def create_topic(options: argparse.Namespace) -> None:
    """Create a topic."""
    with Client(options.address) as client:
        client.create_topic(
            options.topic,
            options.partitions,
            options.replication_factor,
            retention_ms=options.retention_ms,
            retention_bytes=options.retention_bytes,
        )


def describe_topic(options: argparse.Namespace) -> None:
    """Print a line per partition with its leader, term and offsets."""
    with Client(options.address) as client:
        answer = client.describe_topic(options.topic)
    if options.json:
        print_line(json.dumps(answer))
        return
    print_line(*PARTITION_COLUMNS)
    for row in answer["partitions"]:
        leader = row.get("leader") or {}
        replicas = ",".join(str(replica.get("address")) for replica in row.get("replicas", ()))
        print_line(
            row["partition"],
            leader.get("address", "-"),
            row.get("term", "-"),
            row.get("log_start_offset", "-"),
            row.get("high_watermark", "-"),
            replicas,
        )


def delete_topic(options: argparse.Namespace) -> None:
    """Delete a topic with its messages."""
    with Client(options.address) as client:
        client.delete_topic(options.topic)


def list_brokers(options: argparse.Namespace) -> None:
    """Print the address and the state of each broker."""
    with Client(options.address) as client:
        for broker in client.describe_brokers():
            print_line(broker.get("address", "-"), broker_state(broker))
