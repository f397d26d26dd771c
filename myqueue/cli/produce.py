"""The command `myqueue produce`: send lines as messages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

import myqueue
from myqueue.cli import values
from myqueue.cli.connection import patience
from myqueue.cli.formats import from_json
from myqueue.cli.output import count_of, show_json
from myqueue.cli.progress import progress_bar
from myqueue.contract.errors import InvalidRequest, QueueError, TopicDoesNotExist
from myqueue.contract.records import Record

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

READ_BYTES = 512 << 10
BATCH_BYTES_MAX = 900 << 10
"""A batch is sent when it reaches this, so that a manager can pass it on."""


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "produce",
        produce,
        "Send lines of files or of the standard input.",
        keys="topic messages",
        examples=r"""
        tail -F /var/log/syslog | myqueue produce logs --create
        echo 'order 1' | myqueue produce orders --key user-1 --header source=shop
        myqueue produce logs *.log --key-regex 'user=(\w+)'
        zcat old.log.gz | myqueue produce logs - --partition 0 --quiet
        find . -type f -print0 | myqueue produce paths -0
        myqueue consume orders --offset -10 --json | myqueue produce copies --json
        """,
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("files", nargs="*", metavar="FILE", help="- is the standard input")
    _add_content(parser)
    parser.add_argument(
        "--partition", type=values.from_zero, metavar="N", help="send everything there"
    )
    parser.add_argument(
        "--create", action="store_true", help="create the topic where it is missing"
    )
    parser.add_argument(
        "--batch", type=values.at_least_one, default=1_000, metavar="N", help="lines a batch"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def _add_content(parser: argparse.ArgumentParser) -> None:
    """Add what messages consist of."""
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--key", metavar="KEY", help="key of every message; they stay in order")
    keys.add_argument(
        "--key-regex",
        type=values.pattern,
        metavar="REGEX",
        help="the first group (else the whole match) becomes the key; equal keys stay in order",
    )
    parser.add_argument(
        "--header",
        dest="headers",
        action="append",
        type=values.pair,
        default=[],
        metavar="NAME=VALUE",
        help="of every message; may be given several times",
    )
    parser.add_argument(
        "-0",
        "--null",
        dest="end",
        action="store_const",
        const=b"\0",
        default=b"\n",
        help="messages end with NUL, not with the line",
    )


def produce(options: argparse.Namespace) -> None:
    """Send every line as a message; return when all are durable.

    With `--json` a line is an object as `consume --json` prints it. A missing topic is created if
    that was asked for, with the first line.
    """
    sent = read_bytes = 0
    with ExitStack() as stack:
        files = [_open(stack, name) for name in options.files or ["-"]]
        total = _total_bytes(options.files)
        show = stack.enter_context(progress_bar(quiet=options.quiet, total=total, in_bytes=True))
        producer = None if options.create else _producer(stack, options)
        for lines, size_bytes in _batches(files, options.batch, options.end):
            producer = producer or _producer(stack, options)
            try:
                for partition, records in _parted(lines, sent, options).items():
                    producer.produce_many(options.topic, records, partition=partition)
                    sent += len(records)
            except QueueError:
                sys.stderr.write(f"myqueue: {count_of(sent, 'message')} or more sent before this\n")
                raise
            read_bytes += size_bytes
            show(messages=sent, completed=read_bytes)
    if options.json and not options.quiet:
        show_json({"topic": options.topic, "messages": sent})
    elif not options.quiet and sys.stderr.isatty():
        sys.stderr.write(f"{count_of(sent, 'message')} sent\n")


def _producer(stack: ExitStack, options: argparse.Namespace) -> myqueue.Producer:
    try:
        made = myqueue.Producer(
            options.topic, options.address, create=options.create, config=patience()
        )
    except TopicDoesNotExist as error:
        raise TopicDoesNotExist(f"{error.message}; --create makes it") from error
    return stack.enter_context(made)


def _parted(
    lines: list[bytes], sent: int, options: argparse.Namespace
) -> dict[int | None, list[Record]]:
    """Return messages by the partition that was named for them.

    Raises:
        InvalidRequest: a line describes no message.
    """
    parts: dict[int | None, list[Record]] = {}
    for number, line in enumerate(lines, sent + 1):
        record, partition = _record(line, options), options.partition
        if options.json:
            try:
                record, partition = _from_json(line, options)
            except ValueError as error:
                raise InvalidRequest(f"message {number}: {error}") from error
        parts.setdefault(partition, []).append(record)
    return parts


def _from_json(line: bytes, options: argparse.Namespace) -> tuple[Record, int | None]:
    """Return the message that a line describes, with what the options say instead or besides."""
    record, partition = from_json(json.loads(line))
    record = record._replace(
        key=record.key if options.key is None else options.key,
        headers={**(record.headers or {}), **dict(options.headers)} or None,
    )
    return record, partition if options.partition is None else options.partition


def _open(stack: ExitStack, name: str) -> BinaryIO:
    return sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))


def _batches(files: list[BinaryIO], limit: int, end: bytes) -> Iterator[tuple[list[bytes], int]]:
    """Yield lines without their ends, and the bytes read, whenever enough are there.

    What a slow input has written is sent when its writer pauses, not when a batch is full.
    """
    for file in files:
        rest = b""
        while data := _read(file):
            *lines, rest = (rest + data).split(end)
            yield from _cut(lines, limit)
        if rest:
            yield [rest], len(rest)


def _read(file: BinaryIO) -> bytes:
    """Read what is there, at least a byte; nothing at the end."""
    read1 = getattr(file, "read1", file.read)
    data: bytes = read1(READ_BYTES)
    return data


def _cut(lines: list[bytes], limit: int) -> Iterator[tuple[list[bytes], int]]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (len(batch) >= limit or size + len(line) > BATCH_BYTES_MAX):
            yield batch, size
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch, size


def _record(line: bytes, options: argparse.Namespace) -> Record:
    """Return a line, without its end, as a message: text when it is UTF-8, else as its bytes."""
    if options.end == b"\n":
        line = line.removesuffix(b"\r")
    try:
        value: str | bytes = line.decode()
    except UnicodeDecodeError:
        value = line
    key = options.key
    if options.key_regex is not None:
        found = options.key_regex.search(line.decode(errors="replace"))
        if found is not None:
            key = found.group(1) if options.key_regex.groups else found.group()
    return Record(value, key, dict(options.headers) or None)


def _total_bytes(names: list[str]) -> int | None:
    """Return the size of all files; None when one has no size, such as the standard input."""
    try:
        return sum(os.path.getsize(name) for name in names) if names else None
    except OSError:
        return None
