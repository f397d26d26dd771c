"""The commands that move messages: `myqueue produce` and `myqueue consume`."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO

from myqueue.cli.ending import GLANCE_S, orderly_end
from myqueue.cli.progress import progress_bar
from myqueue.cli.text import count_of
from myqueue.consumer.consumer import Consumer
from myqueue.contract.records import Record
from myqueue.producer.producer import Producer

if TYPE_CHECKING:
    import argparse
    import re

    from myqueue.contract.inputs import Start
    from myqueue.results import Message

READ_BYTES = 512 << 10
BATCH_BYTES_MAX = 900 << 10
"""A batch is sent when it reaches this, so that a manager can pass it on."""
POLL_MESSAGES = 500


def produce_lines(options: argparse.Namespace) -> None:
    """Send every line as a message; return when all are durable.

    The producer, which creates a missing topic, is made when there is a line to send.
    """
    sent = read_bytes = 0
    producer: Producer | None = None
    with ExitStack() as stack:
        files = [_open(stack, name) for name in options.files or ["-"]]
        total = _total_bytes(options.files)
        show = stack.enter_context(progress_bar(quiet=options.quiet, total=total, in_bytes=True))
        for lines, size_bytes in _batches(files, options.batch):
            producer = producer or stack.enter_context(Producer(options.topic, options.address))
            records = [_record(line, options.key, options.key_regex) for line in lines]
            producer.produce_many(options.topic, records, partition=options.partition)
            sent += len(records)
            read_bytes += size_bytes
            show(messages=sent, completed=read_bytes)
    if not options.quiet and sys.stderr.isatty():
        sys.stderr.write(f"{count_of(sent, 'message')} sent\n")


def consume_lines(options: argparse.Namespace) -> None:
    """Print messages until there are no more, or until SIGTERM."""
    stored = options.from_beginning or options.since is not None
    follow = options.follow or not stored
    left = options.max_messages
    start: Start = "earliest" if stored else "latest"
    with orderly_end() as is_over:
        consumer = Consumer(options.topics, options.address, group=options.group, start=start)
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
