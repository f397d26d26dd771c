"""The command `myqueue perf`: how fast messages go in or out."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import myqueue
from myqueue.cli import values
from myqueue.cli.connection import patience
from myqueue.cli.output import Column, show_object

if TYPE_CHECKING:
    import argparse
    from concurrent.futures import Future

    from myqueue.cli.commands import Commands
    from myqueue.results import Delivered

SAMPLE_EVERY = 64
"""Of so many messages, the latency of one is measured."""
FETCH_BYTES = 1 << 20
POP_MESSAGES = 1_000
FIGURES = (
    Column("messages", "number"),
    Column("seconds", "number"),
    Column("messages_per_s", "number", "MESSAGES/S"),
    Column("megabytes_per_s", "number", "MB/S"),
    Column("p50_ms", "number"),
    Column("p99_ms", "number"),
)


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group("perf", "Measure how fast messages go in or out.", bare="")
    produce = commands.add(
        "perf produce",
        measure_producing,
        "Measure how fast messages go in.",
        columns=FIGURES,
        examples="""
        myqueue perf produce logs --messages 1000000 --size 100
        myqueue perf produce logs --threads 64 --messages 20000
        """,
    )
    consume = commands.add(
        "perf consume",
        measure_consuming,
        "Measure how fast messages come out.",
        columns=FIGURES,
        examples="""
        myqueue perf consume logs --messages 1000000 --json
        """,
    )
    for parser in (produce, consume):
        parser.add_argument("topic", metavar="TOPIC")
        parser.add_argument(
            "-n", "--messages", type=values.at_least_one, default=100_000, metavar="N"
        )
        parser.add_argument(
            "--size", type=values.size, default=100, metavar="SIZE", help="of a message"
        )
    produce.add_argument(
        "--threads", type=values.at_least_one, metavar="N", help="send one at a time in each"
    )
    produce.add_argument("--compression", choices=("none", "zstd"), default="none")
    consume.add_argument("--pop", action="store_true", help="by popping, not by fetching")


def measure_producing(options: argparse.Namespace) -> None:
    """Send as many messages as asked for, and print the figures."""
    _show(options, *_produce(options))


def measure_consuming(options: argparse.Namespace) -> None:
    """Read as many messages as asked for, and print the figures."""
    _show(options, *_consume(options))


def _show(
    options: argparse.Namespace, latencies_s: list[float], seconds: float, messages: int
) -> None:
    show_object(options, _figures(latencies_s, seconds, messages, options.size), facts=FIGURES)


def _produce(options: argparse.Namespace) -> tuple[list[float], float, int]:
    config = patience(compression=options.compression)
    with myqueue.Producer(options.topic, options.address, config=config) as producer:
        producer.enqueue(options.topic, b"x" * options.size)
        started = time.perf_counter()
        if options.threads is None:
            latencies_s = _send(producer, options)
        else:
            latencies_s = _enqueue(producer, options)
        return latencies_s, time.perf_counter() - started, options.messages


def _send(producer: myqueue.Producer, options: argparse.Namespace) -> list[float]:
    """Queue everything as fast as it goes, then wait."""
    latencies_s: list[float] = []
    value = b"x" * options.size

    def note(future: Future[Delivered], begun: float) -> None:
        future.result()
        latencies_s.append(time.perf_counter() - begun)

    for number in range(options.messages):
        future = producer.send(options.topic, value)
        if not number % SAMPLE_EVERY:
            begun = time.perf_counter()
            future.add_done_callback(lambda done, begun=begun: note(done, begun))  # type: ignore[misc]
    producer.flush()
    return latencies_s


def _enqueue(producer: myqueue.Producer, options: argparse.Namespace) -> list[float]:
    """Send one at a time in each thread."""
    latencies_s: list[float] = []
    errors: list[BaseException] = []
    value = b"x" * options.size

    def run(count: int) -> None:
        try:
            for _ in range(count):
                begun = time.perf_counter()
                producer.enqueue(options.topic, value)
                latencies_s.append(time.perf_counter() - begun)
        except BaseException as error:  # noqa: BLE001 - told to the thread that joins
            errors.append(error)

    share, rest = divmod(options.messages, options.threads)
    threads = [
        threading.Thread(target=run, args=(share + (number < rest),))
        for number in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return latencies_s


def _consume(options: argparse.Namespace) -> tuple[list[float], float, int]:
    latencies_s: list[float] = []
    consumer = myqueue.Consumer(options.topic, options.address, config=patience())
    try:
        started = time.perf_counter()
        read = _pop if options.pop else _fetch
        messages = read(consumer, options, latencies_s)
        seconds = time.perf_counter() - started
    finally:
        consumer.forget()
    if messages < options.messages:
        sys.stderr.write(f"only {messages} messages are stored\n")
    return latencies_s, seconds, messages


def _pop(consumer: myqueue.Consumer, options: argparse.Namespace, latencies_s: list[float]) -> int:
    messages = 0
    while messages < options.messages:
        begun = time.perf_counter()
        found = consumer.poll(min(POP_MESSAGES, options.messages - messages))
        latencies_s.append(time.perf_counter() - begun)
        if not found:
            break
        messages += len(found)
    return messages


def _fetch(
    consumer: myqueue.Consumer, options: argparse.Namespace, latencies_s: list[float]
) -> int:
    messages = 0
    for partition in range(consumer.partition_count(options.topic)):
        offset = 0
        while messages < options.messages:
            begun = time.perf_counter()
            fetched = consumer.fetch(options.topic, partition, offset, max_bytes=FETCH_BYTES)
            latencies_s.append(time.perf_counter() - begun)
            if fetched.next_offset <= offset:
                break
            messages += len(fetched.messages)
            offset = fetched.next_offset
    return messages


def _figures(
    latencies_s: list[float], seconds: float, messages: int, size_bytes: int
) -> dict[str, Any]:
    ordered = sorted(latencies_s) or [0.0]
    per_second = messages / seconds if seconds else 0.0
    return {
        "messages": messages,
        "seconds": round(seconds, 3),
        "messages_per_s": int(per_second),
        "megabytes_per_s": round(per_second * size_bytes / 1e6, 3),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 3),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 3),
    }
