"""The command `myqueue produce`: send lines as messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

import myqueue
from myqueue.cli import values
from myqueue.cli.output import count_of
from myqueue.cli.progress import progress_bar
from myqueue.contract.records import Record

if TYPE_CHECKING:
    import argparse
    import re

    from myqueue.cli.commands import Commands

READ_BYTES = 512 << 10
BATCH_BYTES_MAX = 900 << 10
"""A batch is sent when it reaches this, so that a manager can pass it on."""


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "produce",
        produce_lines,
        "Send lines of files or of the standard input.",
        examples="""
        tail -F /var/log/syslog | myqueue produce logs
        echo 'order 1' | myqueue produce orders --key user-1
        myqueue produce logs *.log --key-regex 'user=(\\w+)'
        zcat old.log.gz | myqueue produce logs - --partition 0 --quiet
        """,
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("files", nargs="*", metavar="FILE", help="- is the standard input")
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--key", metavar="KEY", help="key of every message; they stay in order")
    keys.add_argument(
        "--key-regex",
        type=values.pattern,
        metavar="REGEX",
        help="the first group (else the whole match) becomes the key; equal keys stay in order",
    )
    parser.add_argument(
        "--partition", type=values.from_zero, metavar="N", help="send everything there"
    )
    parser.add_argument(
        "--batch", type=values.at_least_one, default=1_000, metavar="N", help="lines a batch"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def produce_lines(options: argparse.Namespace) -> None:
    """Send every line as a message; return when all are durable.

    The producer, which creates a missing topic, is made when there is a line to send.
    """
    sent = read_bytes = 0
    producer: myqueue.Producer | None = None
    with ExitStack() as stack:
        files = [_open(stack, name) for name in options.files or ["-"]]
        total = _total_bytes(options.files)
        show = stack.enter_context(progress_bar(quiet=options.quiet, total=total, in_bytes=True))
        for lines, size_bytes in _batches(files, options.batch):
            producer = producer or stack.enter_context(
                myqueue.Producer(options.topic, options.address)
            )
            records = [_record(line, options.key, options.key_regex) for line in lines]
            producer.produce_many(options.topic, records, partition=options.partition)
            sent += len(records)
            read_bytes += size_bytes
            show(messages=sent, completed=read_bytes)
    if not options.quiet and sys.stderr.isatty():
        sys.stderr.write(f"{count_of(sent, 'message')} sent\n")


def _open(stack: ExitStack, name: str) -> BinaryIO:
    return sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))


def _batches(files: list[BinaryIO], limit: int) -> Iterator[tuple[list[bytes], int]]:
    """Yield lines without their ends, and the bytes read, whenever enough are there.

    What a slow input has written is sent when its writer pauses, not when a batch is full.
    """
    for file in files:
        rest = b""
        while data := _read(file):
            *lines, rest = (rest + data).split(b"\n")
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


def _record(line: bytes, key: str | None, key_regex: re.Pattern[str] | None) -> Record:
    """Return a line as a message: text when it is UTF-8, else as its bytes.

    Args:
        line: without its end.
        key: of every message.
        key_regex: finds the key in the line instead.
    """
    line = line.removesuffix(b"\r")
    try:
        value: str | bytes = line.decode()
    except UnicodeDecodeError:
        value = line
    if key_regex is not None:
        found = key_regex.search(line.decode(errors="replace"))
        if found is not None:
            key = found.group(1) if key_regex.groups else found.group()
    return Record(value, key)


def _total_bytes(names: list[str]) -> int | None:
    """Return the size of all files; None when one has no size, such as the standard input."""
    try:
        return sum(os.path.getsize(name) for name in names) if names else None
    except OSError:
        return None
