"""The command `myqueue tail`: the last messages of a topic, then perhaps the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import myqueue
from myqueue.cli import values
from myqueue.cli.connection import connect, patience
from myqueue.cli.consume import POLL_MESSAGES, add_looks, print_messages
from myqueue.cli.ending import GLANCE_S, orderly_end

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands
    from myqueue.results import Message


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "tail",
        tail,
        "Print the last messages of a topic, by their timestamps.",
        keys="topic partition offset timestamp message key headers",
        examples="""
        myqueue tail logs
        myqueue tail logs -n 20 -f --json
        myqueue tail logs --keys
        """,
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("-n", "--messages", type=values.at_least_one, default=10, metavar="N")
    parser.add_argument("-f", "--follow", action="store_true", help="then go on with new messages")
    add_looks(parser)


def tail(options: argparse.Namespace) -> None:
    """Print the last messages over all partitions; with `follow`, go on until SIGTERM."""
    with orderly_end() as is_over:
        consumer = myqueue.Consumer(options.topic, options.address, config=patience())
        try:
            last = last_messages(options, consumer)
            print_messages(last, options)
            while options.follow and not is_over():
                messages = consumer.poll(POLL_MESSAGES, timeout=GLANCE_S)
                print_messages(messages, options)
        finally:
            consumer.forget()


def last_messages(options: argparse.Namespace, consumer: myqueue.Consumer) -> list[Message]:
    """Return the last `options.messages` messages, and leave the cursors behind them."""
    with connect(options) as client:
        rows = client.describe_topic(options.topic)["partitions"]
    found: list[Message] = []
    for row in rows:
        partition = int(row["partition"])
        end = int(row.get("high_watermark") or 0)
        begin = max(int(row.get("log_start_offset") or 0), end - options.messages)
        offset = consumer.seek(options.topic, partition, begin)
        while offset < end:
            messages = consumer.poll(end - offset, topics=options.topic, partition=partition)
            if not messages:
                break
            found += messages
            offset = messages[-1].offset + 1
    found.sort(key=lambda message: message.timestamp)
    return found[-options.messages :]
