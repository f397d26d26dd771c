"""The commands about topics: `myqueue topics list|create|describe|delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.cli import values
from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.output import Column, count_of, say, show_object, show_rows

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

TOPICS = (Column("topic"),)
PARTITIONS = (
    Column("partition", "number"),
    Column("condition", "state"),
    Column("leader"),
    Column("term", "number"),
    Column("log_start_offset", "number", "OLDEST"),
    Column("high_watermark", "number", "END"),
    Column("replicas"),
    Column("down"),
)
FAULTS = ("suspect", "dead", "faulty", "missing")
"""States of brokers and replicas in which a copy does not count."""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group("topics", "List, create, describe, alter, purge and delete topics.")
    commands.add(
        "topics list",
        list_topics,
        "List the topics.",
        columns=TOPICS,
        examples="""
        myqueue topics
        myqueue topics --address http://queue-1:8000,http://queue-2:8000
        """,
    )
    create = commands.add(
        "topics create",
        create_topic,
        "Create a topic.",
        keys="topic partitions replication_factor",
        examples="""
        myqueue create logs --partitions 3
        myqueue create metrics --partitions 12 --replication-factor 3 --retention 7d
        """,
    )
    create.add_argument("topic", metavar="TOPIC")
    create.add_argument("--partitions", type=values.at_least_one, default=3, metavar="N")
    create.add_argument("--replication-factor", type=values.at_least_one, default=3, metavar="N")
    add_retention(create, default=None)
    describe = commands.add(
        "topics describe",
        describe_topic,
        "Show a topic's partitions, leaders, replicas and offsets.",
        keys="topic number_of_partitions settings partitions",
        examples="""
        myqueue describe logs
        myqueue describe logs --json
        """,
    )
    describe.add_argument("topic", metavar="TOPIC")
    delete = commands.add(
        "topics delete",
        delete_topic,
        "Delete a topic with its messages.",
        keys="topic deleted",
        examples="""
        myqueue delete logs
        myqueue delete logs --yes
        """,
    )
    delete.add_argument("topic", metavar="TOPIC")
    add_yes(delete)


def add_retention(parser: argparse.ArgumentParser, *, default: Any) -> None:
    """Add what limits how long and how much a topic keeps: `retention_ms`, `retention_bytes`.

    Args:
        parser: of the command.
        default: of both; None means without limit, `argparse.SUPPRESS` leaves them out.
    """
    age = parser.add_mutually_exclusive_group()
    age.add_argument(
        "--retention",
        dest="retention_ms",
        type=values.retention,
        default=default,
        metavar="DURATION",
        help="messages older than this, like 7d, may be deleted; or unlimited",
    )
    age.add_argument(
        "--retention-ms",
        type=values.retention_ms,
        default=default,
        metavar="MS",
        help="the same; a number without a unit is in milliseconds",
    )
    parser.add_argument(
        "--retention-bytes",
        type=values.size_or_unlimited,
        default=default,
        metavar="SIZE",
        help="of a partition, like 10GiB; above it the oldest may be deleted; or unlimited",
    )


def list_topics(options: argparse.Namespace) -> None:
    """Print all topics."""
    with connect(options) as client:
        show_rows(options, TOPICS, [{"topic": topic} for topic in client.list_topics()])


def create_topic(options: argparse.Namespace) -> None:
    """Create a topic."""
    with connect(options) as client:
        client.create_topic(
            options.topic,
            options.partitions,
            options.replication_factor,
            retention_ms=options.retention_ms,
            retention_bytes=options.retention_bytes,
        )
    say(
        options,
        f"topic {options.topic} created with {count_of(options.partitions, 'partition')}",
        topic=options.topic,
        partitions=options.partitions,
        replication_factor=options.replication_factor,
    )


def describe_topic(options: argparse.Namespace) -> None:
    """Print a topic's partitions, each with its leader, term, offsets and replicas."""
    with connect(options) as client:
        answer = client.describe_topic(options.topic)
    show_object(options, answer, (PARTITIONS, map(partition_row, answer["partitions"])))


def partition_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a partition as a row of a table: replicas by address, and what is wrong with them."""
    replicas = row.get("replicas") or ()
    faults = [(replica.get("address"), _fault(replica)) for replica in replicas]
    return {
        **row,
        "leader": (row.get("leader") or {}).get("address"),
        "replicas": [replica.get("address") for replica in replicas],
        "down": [f"{address} ({fault})" for address, fault in faults if fault],
    }


def _fault(replica: dict[str, Any]) -> str | None:
    """Return what is wrong with a replica, in a word; None when nothing is."""
    words = (replica.get("broker_state"), replica.get("state"))
    return next((word for word in words if word in FAULTS), None)


def delete_topic(options: argparse.Namespace) -> None:
    """Delete a topic with its messages."""
    confirm(options, f"Delete the topic {options.topic} with all its messages?")
    with connect(options) as client:
        client.delete_topic(options.topic)
    say(options, f"topic {options.topic} deleted", topic=options.topic, deleted=True)
