"""The command `myqueue consume`: print messages."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING, Any

import myqueue
from myqueue.cli import values
from myqueue.cli.ending import GLANCE_S, orderly_end

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands
    from myqueue.contract.inputs import Start
    from myqueue.results import Message

POLL_MESSAGES = 500


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "consume",
        consume_lines,
        "Print messages, one a line.",
        examples="""
        myqueue consume logs --from-beginning --json
        myqueue consume logs --since 10m --follow
        myqueue consume orders invoices --group billing --follow
        myqueue consume logs --from-beginning -n 10
        """,
    )
    parser.add_argument("topics", nargs="+", metavar="TOPIC")
    parser.add_argument(
        "--from-beginning",
        action="store_true",
        help="begin with the oldest message; without --follow, end with the newest",
    )
    parser.add_argument(
        "--since",
        type=values.moment,
        metavar="TIME",
        help="begin with what was stored then: 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go on waiting for new messages (always so without --from-beginning and --since)",
    )
    parser.add_argument(
        "--group",
        metavar="GROUP",
        help="share the partitions with others of this name and go on where they were; what was"
        " printed is committed",
    )
    parser.add_argument(
        "-n", "--max-messages", type=values.at_least_one, metavar="N", help="stop after so many"
    )


def consume_lines(options: argparse.Namespace) -> None:
    """Print messages until there are no more, or until SIGTERM."""
    stored = options.from_beginning or options.since is not None
    follow = options.follow or not stored
    left = options.max_messages
    start: Start = "earliest" if stored else "latest"
    with orderly_end() as is_over:
        consumer = myqueue.Consumer(
            options.topics, options.address, group=options.group, start=start
        )
        try:
            if options.since is not None:
                for topic in consumer.topics:
                    consumer.seek_to_time(topic, options.since)
            while not is_over() and (left is None or left > 0):
                wanted = POLL_MESSAGES if left is None else min(left, POLL_MESSAGES)
                messages = consumer.poll(wanted, timeout=GLANCE_S if follow else 0.0)
                if not messages and not follow:
                    return
                print_messages(messages, as_json=options.json)
                if options.group is not None and messages:
                    consumer.commit()
                left = None if left is None else left - len(messages)
        finally:
            consumer.forget()


def print_messages(messages: list[Message], *, as_json: bool) -> None:
    """Print messages, one a line: their values as they are, or all of them as JSON."""
    out = sys.stdout.buffer
    for message in messages:
        if as_json:
            out.write(json.dumps(_fields(message), ensure_ascii=False).encode() + b"\n")
        else:
            value = message.value
            out.write((value.encode() if isinstance(value, str) else value) + b"\n")
    out.flush()


def _fields(message: Message) -> dict[str, Any]:
    """Return a message for JSON; what is not UTF-8 is base64 under its own name."""
    fields: dict[str, Any] = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
    }
    for name, content in (("message", message.value), ("key", message.key)):
        try:
            fields[name] = content.decode() if isinstance(content, bytes) else content
        except UnicodeDecodeError:
            fields[name] = None
            fields[f"{name}_base64"] = base64.b64encode(_bytes(content)).decode()
    if message.headers:
        fields["headers"] = {
            name: content if isinstance(content, str) else content.decode(errors="replace")
            for name, content in message.headers.items()
        }
    return fields


def _bytes(content: str | bytes | None) -> bytes:
    assert isinstance(content, bytes), "a text needs no base64"
    return content
