"""The command `myqueue`: topics, brokers, messages, lag, speed and status.

Exit status: 0 done, 1 the queue refused or did not answer, 2 wrong arguments, 130 Ctrl-C, 141 the
reader of the output went away. SIGTERM is the orderly end of `consume`, `tail` and `work`, with 0.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from myqueue import __version__
from myqueue.cli.text import parse_since
from myqueue.contract.errors import InvalidRequest, QueueError
from myqueue.contract.http1 import CA_VARIABLE

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
INTERRUPTED = 130
BROKEN_PIPE = 141
HANDLERS = {
    "produce": "myqueue.cli.messages:produce_lines",
    "consume": "myqueue.cli.messages:consume_lines",
    "tail": "myqueue.cli.tail:tail",
    "perf": "myqueue.cli.perf:measure",
    "status": "myqueue.cli.status:show_status",
    "topics": "myqueue.cli.topics:list_topics",
    "create": "myqueue.cli.topics:create_topic",
    "describe": "myqueue.cli.topics:describe_topic",
    "delete": "myqueue.cli.topics:delete_topic",
    "brokers": "myqueue.cli.topics:list_brokers",
    "groups": "myqueue.cli.groups:show_groups",
    "groups reset": "myqueue.cli.groups:reset_group",
    "lag": "myqueue.cli.lag:show_lag",
    "work": "myqueue.cli.work:work",
    "redrive": "myqueue.cli.work:redrive",
    "demo": "myqueue.cli.demo:demo",
}
"""What runs each command; imported when it is typed, so that `--help` and others import nothing."""
EXAMPLES = """examples:
  myqueue create logs --partitions 3
  myqueue topics
  tail -F /var/log/syslog | myqueue produce logs
  myqueue produce logs *.log --key-regex 'user=(\\w+)'
  myqueue consume logs --from-beginning --json
  myqueue consume logs --follow
  myqueue consume logs --since 10m
  myqueue tail logs -n 20 -f
  myqueue consume orders --group billing --follow
  myqueue groups billing
  myqueue groups reset billing orders --to earliest --dry-run
  myqueue lag logs
  myqueue work jobs --group mailers -- sendmail -t
  myqueue redrive jobs
  myqueue lag --group billing
  myqueue perf produce logs --messages 1000000
  myqueue status
  myqueue demo

The manager's address comes from --address, else from MYQUEUE_ADDRESS, else it is
http://127.0.0.1:8000. Several are separated by commas. Addresses with https:// are checked with
the authorities of --ca, else of MYQUEUE_CA, else of the system. An API token comes from
--token-file, else from MYQUEUE_TOKEN: an argument would be seen by everybody on the machine.
"""
COMMAND_EXAMPLES = {
    "topics": """
  myqueue topics
  myqueue topics --address http://queue-1:8000,http://queue-2:8000
""",
    "create": """
  myqueue create logs --partitions 3
  myqueue create metrics --partitions 12 --replication-factor 3 --retention-ms 86400000
""",
    "describe": """
  myqueue describe logs
  myqueue describe logs --json
""",
    "delete": """
  myqueue delete logs
""",
    "brokers": """
  myqueue brokers
""",
    "produce": """
  tail -F /var/log/syslog | myqueue produce logs
  echo 'order 1' | myqueue produce orders --key user-1
  myqueue produce logs *.log --key-regex 'user=(\\w+)'
  zcat old.log.gz | myqueue produce logs - --partition 0 --quiet
""",
    "consume": """
  myqueue consume logs --from-beginning --json
  myqueue consume logs --since 10m --follow
  myqueue consume orders invoices --group billing --follow
  myqueue consume logs --from-beginning --max-messages 10
""",
    "tail": """
  myqueue tail logs
  myqueue tail logs -n 20 -f --json
""",
    "groups": """
  myqueue groups
  myqueue groups --long
  myqueue groups billing --json
  myqueue groups billing --delete
""",
    "groups reset": """
  myqueue groups reset billing orders --to earliest --dry-run
  myqueue groups reset billing orders --to-time 2h
  myqueue groups reset billing orders --to-offset 1200 --partitions 0,2
  myqueue groups reset billing orders --shift -100 --force
""",
    "lag": """
  myqueue lag logs
  myqueue lag --group billing
  myqueue lag orders --group billing --json
""",
    "work": """
  myqueue work jobs --group mailers -- sendmail -t
  myqueue work jobs --group mailers --visibility 120 --delay 30 -- ./handle.sh
  myqueue work jobs --group once --until-empty --delivery-limit 5 -- python handle.py
""",
    "redrive": """
  myqueue redrive jobs
  myqueue redrive jobs --dead-letter-topic broken-jobs --max 100
""",
    "demo": """
  myqueue demo
  myqueue demo --rate 500 --seconds 60
  myqueue demo --remove
""",
    "perf": """
  myqueue perf produce logs --messages 1000000 --size 100
  myqueue perf produce logs --threads 64 --messages 20000
  myqueue perf consume logs --messages 1000000 --json
""",
    "status": """
  myqueue status
  myqueue status --once
""",
}
"""What people type first, command by command; shown by `myqueue COMMAND --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: without the program's name; those of the process when left out.
    """
    options = read_arguments(sys.argv[1:] if arguments is None else arguments)
    if options.ca is not None:
        os.environ[CA_VARIABLE] = options.ca
    try:
        if options.token_file is not None:
            os.environ["MYQUEUE_TOKEN"] = Path(options.token_file).read_text("ascii").strip()
        run: Callable[[argparse.Namespace], None] = pkgutil.resolve_name(options.run)
        run(options)
        sys.stdout.flush()
    except QueueError as error:
        sys.stderr.write(f"myqueue: {error.code}: {error.message}\n")
        return 1
    except BrokenPipeError:
        # What is still buffered must not fail again when the interpreter closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"myqueue: {error}\n")
        return 1
    return 0


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says; `groups reset` alone shows the group of this name."""
    two = " ".join(arguments[:2])
    if two in HANDLERS and arguments[2:]:
        arguments = [two, *arguments[2:]]
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="myqueue",
        description="Talk to a replicated message queue.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    common = _common_options()
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> Any:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"examples:{COMMAND_EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
            allow_abbrev=False,
        )
        made.set_defaults(run=HANDLERS[name], refuse=made.error)
        return made

    _add_topics(command)
    _add_produce(command("produce", "Send lines of files or of the standard input."))
    _add_consume(command("consume", "Print messages, one a line."))
    _add_tail(command("tail", "Print the last messages of a topic, by their timestamps."))
    _add_groups(command)
    _add_workers(command)
    _add_perf(command("perf", "Measure how fast messages go in or out."))
    _add_demo(command("demo", "Publish, read and work, with some trouble, until Ctrl-C."))
    status = command("status", "Show brokers and partitions; live on a terminal.")
    status.add_argument("--once", action="store_true", help="print once and end")
    status.add_argument("--interval", type=_positive, default=1, metavar="SECONDS")
    return parser


def _common_options() -> argparse.ArgumentParser:
    """Return the options that every command has: how to reach the managers."""
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument(
        "--address",
        type=_address,
        default=os.environ.get("MYQUEUE_ADDRESS", DEFAULT_ADDRESS),
        help="manager, or several separated by commas (default: %(default)s)",
    )
    common.add_argument(
        "--ca",
        metavar="FILE",
        help="authorities that https:// addresses are checked with (default: MYQUEUE_CA, else the"
        " system's)",
    )
    common.add_argument(
        "--token-file",
        metavar="FILE",
        help="has the API token, where a cluster asks for one (default: what MYQUEUE_TOKEN says)",
    )
    return common


def _add_topics(command: Callable[..., Any]) -> None:
    command("topics", "List the topics.")
    create = command("create", "Create a topic.")
    create.add_argument("topic")
    create.add_argument("--partitions", type=_positive, default=3, metavar="N")
    create.add_argument("--replication-factor", type=_positive, default=3, metavar="N")
    create.add_argument("--retention-ms", type=_positive, metavar="N")
    create.add_argument("--retention-bytes", type=_positive, metavar="N")
    describe = command("describe", "Show a topic's partitions, leaders and offsets.")
    describe.add_argument("topic")
    describe.add_argument("--json", action="store_true", help="print the manager's answer")
    delete = command("delete", "Delete a topic with its messages.")
    delete.add_argument("topic")
    command("brokers", "List the brokers.")


def _add_produce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic")
    parser.add_argument("files", nargs="*", metavar="FILE", help="- is the standard input")
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--key", metavar="KEY", help="key of every message; they stay in order")
    keys.add_argument(
        "--key-regex",
        type=_pattern,
        metavar="REGEX",
        help="the first group (else the whole match) becomes the key; equal keys stay in order",
    )
    parser.add_argument("--partition", type=int, metavar="N", help="send everything there")
    parser.add_argument("--batch", type=_positive, default=1_000, metavar="N", help="lines a batch")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def _add_consume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topics", nargs="+", metavar="TOPIC")
    parser.add_argument(
        "--from-beginning",
        action="store_true",
        help="begin with the oldest message; without --follow, end with the newest",
    )
    parser.add_argument(
        "--since",
        type=parse_since,
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
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--max-messages", type=_positive, metavar="N", help="stop after so many")


def _add_tail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic")
    parser.add_argument("-n", "--messages", type=_positive, default=10, metavar="N")
    parser.add_argument("-f", "--follow", action="store_true", help="then go on with new messages")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_groups(command: Callable[..., Any]) -> None:
    groups = command("groups", "List the consumer groups, or show one.")
    groups.add_argument("group", nargs="?", metavar="GROUP")
    groups.add_argument("--long", action="store_true", help="print how far each group is")
    groups.add_argument("--delete", action="store_true", help="forget the group and its offsets")
    groups.add_argument("--json", action="store_true", help="print the manager's answer")
    _add_reset(command("groups reset", "Move a group's offsets in a topic, while nobody reads."))
    lag = command("lag", "Show how far the consumers of a topic, or a group, are behind.")
    lag.add_argument("topic", nargs="?", help="needed without --group")
    lag.add_argument("--group", metavar="GROUP", help="the group, in all of its topics or in one")
    lag.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_reset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("group")
    parser.add_argument("topic")
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--to", choices=("earliest", "latest"))
    ways.add_argument(
        "--to-time",
        type=parse_since,
        metavar="TIME",
        help="to what was stored then: 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00",
    )
    ways.add_argument("--to-offset", type=_from_zero, metavar="N")
    ways.add_argument("--shift", type=int, metavar="N", help="so many messages on; -N: back")
    parser.add_argument("--partitions", type=_numbers, metavar="N,N", help="only these")
    parser.add_argument("--dry-run", action="store_true", help="move nothing, show what would be")
    parser.add_argument(
        "--force",
        action="store_true",
        help="send the members away; they join again and go on at the new offsets",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_workers(command: Callable[..., Any]) -> None:
    _add_work(command("work", "Run a command for each message, with a group of workers."))
    _add_redrive(command("redrive", "Send dead letters back to where they came from."))


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic")
    parser.add_argument("--group", required=True, metavar="NAME", help="workers that share")
    parser.add_argument(
        "--visibility",
        type=_positive,
        default=30,
        metavar="SECONDS",
        help="how long a message stays out of others' hands when this worker dies",
    )
    parser.add_argument(
        "--delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="after a failure, before the message comes again",
    )
    parser.add_argument("--delivery-limit", type=_positive, metavar="N")
    parser.add_argument("--dead-letter-topic", metavar="NAME", help="TOPIC.dead when left out")
    parser.add_argument("--max-messages", type=_positive, metavar="N", help="stop after so many")
    parser.add_argument("--until-empty", action="store_true", help="stop when there is no more")
    parser.add_argument(
        "command",
        nargs="+",
        metavar="COMMAND",
        help="gets the message on its standard input, and MYQUEUE_TOPIC, MYQUEUE_KEY, ... in its"
        " environment; exit status 0 acknowledges it, any other gives it back",
    )


def _add_redrive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic")
    parser.add_argument("--dead-letter-topic", metavar="NAME", help="TOPIC.dead when left out")
    parser.add_argument("--group", default="redrive", metavar="NAME", help="runs that share")
    parser.add_argument("--max", type=_positive, metavar="N", help="stop after so many")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def _add_perf(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("direction", choices=("produce", "consume"))
    parser.add_argument("topic")
    parser.add_argument("--messages", type=_positive, default=100_000, metavar="N")
    parser.add_argument("--size", type=_positive, default=100, metavar="BYTES", help="of a message")
    parser.add_argument("--threads", type=_positive, metavar="N", help="send one at a time in each")
    parser.add_argument("--compression", choices=("none", "zstd"), default="none")
    parser.add_argument("--pop", action="store_true", help="consume by popping, not by fetching")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=_positive, default=60, metavar="N", help="messages a second, up to 1,000"
    )
    parser.add_argument("--seconds", type=_positive, metavar="N", help="end after so long")
    parser.add_argument(
        "--remove", action="store_true", help="delete the topics and groups that it made"
    )


def _address(text: str) -> str:
    from myqueue.transport.managers import parse_addresses

    try:
        parse_addresses(text)
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return text


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a number of at least 1, not {text!r}")
    return value


def _from_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number of at least 0, not {text!r}")
    return int(text)


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"numbers separated by commas, not {text!r}")
    return [int(part) for part in parts]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
