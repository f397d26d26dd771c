"""The command `myqueue consume`: print messages."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING

import myqueue
from myqueue.cli import values
from myqueue.cli.connection import patience
from myqueue.cli.ending import GLANCE_S, orderly_end
from myqueue.cli.formats import FIELDS, formatted, parse_format, to_json

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from myqueue.cli.commands import Commands
    from myqueue.contract.inputs import Start
    from myqueue.results import Message

POLL_MESSAGES = 500
FUTURE_MS = 86_400_000
"""So long after now nothing was stored: the end of a partition."""
Place = tuple[str, int]
"""(topic, partition)."""


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "consume",
        consume,
        "Print messages, one a line.",
        keys="topic partition offset timestamp message key headers",
        examples="""
        myqueue consume logs --from-beginning --json
        myqueue consume logs --since 10m --follow
        myqueue consume logs --since 2h --until 1h
        myqueue consume orders --partition 0 --offset -10
        myqueue consume orders invoices --group billing --follow
        myqueue consume logs --offset earliest -n 10 --format '%T %k %v\\n'
        """,
    )
    parser.add_argument("topics", nargs="+", metavar="TOPIC")
    _add_range(parser)
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go on waiting for new messages (always so without another begin than latest)",
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
    add_looks(parser)


def _add_range(parser: argparse.ArgumentParser) -> None:
    """Add where reading begins and ends."""
    parser.add_argument(
        "--partition", type=values.from_zero, metavar="N", help="of each topic, this one alone"
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--offset",
        type=_offset,
        metavar="WHERE",
        help="begin in each partition at earliest, latest, a number, or -10 for the last ten;"
        " with --group, where a new group begins (default: latest, with --group earliest)",
    )
    begin.add_argument(
        "--from-beginning",
        dest="offset",
        action="store_const",
        const="earliest",
        help="the same as --offset earliest",
    )
    begin.add_argument(
        "--since",
        type=values.moment,
        metavar="TIME",
        help="begin with what was stored then: 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00",
    )
    parser.add_argument(
        "--until", type=values.moment, metavar="TIME", help="end with what was stored before"
    )


def add_looks(parser: argparse.ArgumentParser) -> None:
    """Add what messages look like: for `print_messages`."""
    look = parser.add_mutually_exclusive_group()
    look.add_argument(
        "--format",
        type=parse_format,
        metavar="FORMAT",
        help=FIELDS.replace("%", "%%") + r"; \n, \t, \0: a message has no other end",
    )
    look.add_argument(
        "--keys",
        dest="format",
        action="store_const",
        const=parse_format(r"%k\t%v\n"),
        help="the key, a tab, and the value",
    )
    look.add_argument(
        "--headers",
        dest="format",
        action="store_const",
        const=parse_format(r"%h\t%k\t%v\n"),
        help="headers, key and value, with tabs between",
    )
    parser.set_defaults(format=parse_format(r"%v\n"))


def _offset(text: str) -> str | int:
    if text in ("earliest", "latest"):
        return text
    if text.removeprefix("-").isdecimal() and text.isascii():
        return int(text)
    raise ArgumentTypeError(f"earliest, latest, a number, or -N for the last N, not {text!r}")


def consume(options: argparse.Namespace) -> None:
    """Print messages until there are no more, or until SIGTERM."""
    _refuse_what_a_group_decides(options)
    stored = options.since is not None or options.offset not in (None, "latest")
    follow = options.follow or not (stored or options.until)
    start: Start = "earliest" if stored or (options.group and not options.offset) else "latest"
    with orderly_end() as is_over:
        consumer = myqueue.Consumer(
            options.topics,
            options.address,
            group=options.group,
            start=start,
            config=patience(),
        )
        try:
            ends = _move(consumer, options)
            _print_all(consumer, options, is_over, follow=follow, ends=ends)
        finally:
            consumer.forget()


def _refuse_what_a_group_decides(options: argparse.Namespace) -> None:
    own = {
        "--partition": options.partition is not None,
        "--since": options.since is not None,
        "--until": options.until is not None,
        "--offset N": isinstance(options.offset, int),
    }
    if options.until is not None and (options.follow or options.offset == "latest"):
        options.refuse("--until: what was stored before a time has an end; no --follow, no latest")
    given = [name for name, is_given in own.items() if is_given]
    if options.group is not None and given:
        options.refuse(
            f"{given[0]} and --group: a group goes on where it was; `myqueue groups reset` moves it"
        )


def _move(consumer: myqueue.Consumer, options: argparse.Namespace) -> dict[Place, int] | None:
    """Put the cursors where reading begins; return where `--until` ends it."""
    ends: dict[Place, int] | None = None
    if options.until is not None:
        ends = _offsets(consumer, options, options.until)
    if options.since is not None:
        _offsets(consumer, options, options.since)
    elif isinstance(options.offset, int):
        newest = _offsets(consumer, options, round(time.time() * 1000) + FUTURE_MS)
        for (topic, partition), oldest in _offsets(consumer, options, 0).items():
            end = newest[topic, partition]
            wanted = options.offset if options.offset >= 0 else end + options.offset
            consumer.seek(topic, partition, min(max(wanted, oldest), end))
    elif options.until is not None:
        _offsets(consumer, options, 0)
    return ends


def _offsets(
    consumer: myqueue.Consumer, options: argparse.Namespace, at: int | datetime
) -> dict[Place, int]:
    """Move the cursors to a time, and return the offset of each partition that is read."""
    return {
        (topic, partition): offset
        for topic in consumer.topics
        for partition, offset in consumer.seek_to_time(
            topic, at, partition=options.partition
        ).items()
    }


def _print_all(
    consumer: myqueue.Consumer,
    options: argparse.Namespace,
    is_over: Callable[[], bool],
    *,
    follow: bool,
    ends: dict[Place, int] | None,
) -> None:
    left = options.max_messages
    unread = set(ends or ())
    while not is_over() and (left is None or left > 0):
        wanted = POLL_MESSAGES if left is None else min(left, POLL_MESSAGES)
        timeout_s = GLANCE_S if follow else 0.0
        messages = consumer.poll(wanted, timeout=timeout_s, partition=options.partition)
        if not messages and not follow:
            return
        if messages and ends is not None:
            place = (messages[0].topic, messages[0].partition)
            if messages[-1].offset + 1 >= ends.get(place, 0):
                unread.discard(place)
            messages = [message for message in messages if message.offset < ends.get(place, 0)]
        print_messages(messages, options)
        if options.group is not None and messages:
            consumer.commit()
        left = None if left is None else left - len(messages)
        if ends is not None and not unread:
            return


def print_messages(messages: list[Message], options: argparse.Namespace) -> None:
    """Print messages: in their format, or an object of JSON a line."""
    out = sys.stdout.buffer
    for message in messages:
        if options.json:
            out.write(json.dumps(to_json(message), ensure_ascii=False).encode() + b"\n")
        else:
            out.write(formatted(message, options.format))
    out.flush()
