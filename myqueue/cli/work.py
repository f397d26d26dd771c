"""The commands of queue workers: `myqueue work` and `myqueue redrive`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import myqueue
from myqueue.cli import values
from myqueue.cli.connection import connect, patience
from myqueue.cli.ending import GLANCE_S, orderly_end
from myqueue.cli.output import count_of, say
from myqueue.cli.progress import progress_bar

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands
    from myqueue.contract.tracing import TraceContext
    from myqueue.results import Delivery

EXTENSIONS_PER_VISIBILITY = 3
"""How often a message is kept for longer while its command runs, in the time it is kept for."""
END_S = 5.0
"""How long a command may take to end when it is asked to, before it is killed."""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    _add_work(commands)
    _add_redrive(commands)


def _add_work(commands: Commands) -> None:
    parser = commands.add(
        "work",
        work,
        "Run a command for each message, with a group of workers.",
        examples="""
        myqueue work jobs --group mailers -- sendmail -t
        myqueue work jobs --group mailers --visibility 2m --delay 30s -- ./handle.sh
        myqueue work jobs --group once --until-empty --delivery-limit 5 -- python handle.py
        """,
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("--group", required=True, metavar="NAME", help="workers that share")
    parser.add_argument(
        "--visibility",
        type=values.duration_s,
        default=30.0,
        metavar="DURATION",
        help="how long a message stays out of others' hands when this worker dies (default: 30s)",
    )
    parser.add_argument(
        "--delay",
        type=values.duration_s,
        default=0.0,
        metavar="DURATION",
        help="after a failure, before the message comes again",
    )
    parser.add_argument("--delivery-limit", type=values.at_least_one, metavar="N")
    parser.add_argument("--dead-letter-topic", metavar="NAME", help="TOPIC.dead when left out")
    parser.add_argument(
        "-n", "--max-messages", type=values.at_least_one, metavar="N", help="stop after so many"
    )
    parser.add_argument("--until-empty", action="store_true", help="stop when there is no more")
    parser.add_argument(
        "command",
        nargs="+",
        metavar="COMMAND",
        help="gets the message on its standard input, and MYQUEUE_TOPIC, MYQUEUE_KEY, ... in its"
        " environment; exit status 0 acknowledges it, any other gives it back",
    )


def _add_redrive(commands: Commands) -> None:
    parser = commands.add(
        "redrive",
        redrive,
        "Send dead letters back to where they came from.",
        keys="topic messages",
        examples="""
        myqueue redrive jobs
        myqueue redrive jobs --dead-letter-topic broken-jobs --max 100
        """,
    )
    add_redrive_arguments(parser)


def add_redrive_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a redrive takes."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("--dead-letter-topic", metavar="NAME", help="TOPIC.dead when left out")
    parser.add_argument(
        "--group",
        default="redrive",
        metavar="NAME",
        help="runs that share; what others sent back is not sent again",
    )
    parser.add_argument("--max", type=values.at_least_one, metavar="N", help="stop after so many")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def redrive(options: argparse.Namespace) -> None:
    """Send a topic's dead letters back, and print how many came back."""
    done = 0
    with connect(options) as client, progress_bar(quiet=options.quiet) as show:
        for step in client.redriving(
            options.topic,
            group=options.group,
            dead_letter_topic=options.dead_letter_topic,
            max_messages=options.max,
        ):
            done = step.done
            show(messages=done, completed=done, total=step.total)
    if not options.quiet:
        say(options, f"{count_of(done, 'message')} came back", topic=options.topic, messages=done)


def work(options: argparse.Namespace) -> None:
    """Run a command for each message, which it gets on its standard input.

    Exit status 0 acknowledges the message, any other gives it back.

    SIGTERM ends the command that runs and gives its message back at once, unless it ends in time
    with status 0.
    """
    left = options.max_messages
    timeout_s = 0.0 if options.until_empty else GLANCE_S
    limits = {} if options.delivery_limit is None else {"delivery_limit": options.delivery_limit}
    with (
        orderly_end() as is_over,
        myqueue.Worker(
            options.topic,
            options.address,
            options.group,
            config=patience(),
            visibility=options.visibility,
            dead_letter_topic=options.dead_letter_topic,
            **limits,
        ) as worker,
    ):
        while not is_over() and (left is None or left > 0):
            found = worker.receive(1, timeout=timeout_s)
            if not found and options.until_empty:
                return
            for delivery in found:
                _handle(worker, delivery, options, is_over)
                left = None if left is None else left - 1


def _handle(
    worker: myqueue.Worker,
    delivery: Delivery,
    options: argparse.Namespace,
    is_over: Callable[[], bool],
) -> None:
    try:
        status = _run(worker, delivery, options, is_over)
    except BaseException:
        # Not the message's fault: the command cannot be started, or Ctrl-C.
        worker.nack(delivery)
        raise
    if not status:
        worker.ack(delivery)
        return
    if is_over():
        worker.nack(delivery)
        return
    place = f"{delivery.topic}/{delivery.partition}/{delivery.offset}"
    sys.stderr.write(f"myqueue: {place}: exit status {status}\n")
    worker.nack(delivery, delay=options.delay)


def _run(
    worker: myqueue.Worker,
    delivery: Delivery,
    options: argparse.Namespace,
    is_over: Callable[[], bool],
) -> int:
    """Run the command to its end and return its exit status; keep the message meanwhile."""
    from myqueue.tracing import place_at, processing

    value = delivery.value
    with processing(delivery) as span, tempfile.TemporaryFile() as message:
        # A file, not a pipe: a command may read late, or nothing, and nobody waits for it to read.
        message.write(value.encode() if isinstance(value, str) else value)
        message.seek(0)
        with subprocess.Popen(  # noqa: S603 - the command that the caller named
            options.command,
            stdin=message,
            env={**_inherited(), **_environment(delivery, place_at(span, delivery))},
        ) as process:
            pause_s = options.visibility / EXTENSIONS_PER_VISIBILITY
            try:
                return _wait(process, lambda: worker.extend(delivery), pause_s, is_over)
            finally:
                _end(process)


def _wait(
    process: subprocess.Popen[bytes],
    extend: Callable[[], object],
    pause_s: float,
    is_over: Callable[[], bool],
) -> int:
    """Wait for a command, extend its message after each pause, and end it when all is over."""
    due_s = time.monotonic() + pause_s
    while not is_over():
        try:
            return process.wait(max(0.0, min(GLANCE_S, due_s - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= due_s:
                extend()
                due_s = time.monotonic() + pause_s
    return _end(process)


def _end(process: subprocess.Popen[bytes]) -> int:
    """End a command that may run still: ask it to, then make it; return its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _inherited() -> dict[str, str]:
    """Return this process's environment without the API token, which a command has no use for."""
    return {name: value for name, value in os.environ.items() if name != "MYQUEUE_TOKEN"}


def _environment(delivery: Delivery, place: TraceContext | None) -> dict[str, str]:
    """Return what a command may want to know of its message, as texts without NUL."""
    key = delivery.key.decode(errors="replace") if isinstance(delivery.key, bytes) else delivery.key
    return {
        "MYQUEUE_TOPIC": delivery.topic,
        "MYQUEUE_PARTITION": str(delivery.partition),
        "MYQUEUE_OFFSET": str(delivery.offset),
        "MYQUEUE_KEY": (key or "").replace("\0", ""),
        "MYQUEUE_TIMESTAMP": str(delivery.timestamp),
        "MYQUEUE_DELIVERY_COUNT": str(delivery.delivery_count),
        **({} if place is None else {name.upper(): text for name, text in place.headers.items()}),
    }
