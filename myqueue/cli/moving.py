"""The commands that move data in and out: `export`, `import` and `mirror`."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from myqueue.cli import values
from myqueue.cli.ending import orderly_end
from myqueue.cli.output import count_of, say
from myqueue.cli.progress import progress_bar
from myqueue.contract.errors import InvalidRequest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from myqueue.cli.commands import Commands
    from myqueue.moving.exporting import Step
    from myqueue.moving.mirroring import Mirrored

TELL_SECONDS = 5.0
"""How often a line tells how far it is, where no bar can be drawn."""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    out = commands.add(
        "export",
        export_topics,
        "Write topics and the offsets of groups into a folder, or go on with it.",
        keys="topics messages groups bytes corrupt missed",
        examples="""
        myqueue export saved
        myqueue export saved --topic orders --topic invoices --gzip
        myqueue export yesterday --topic orders --since 2d --until 1d
        """,
    )
    out.add_argument("folder", metavar="FOLDER", help="made when it is missing")
    out.add_argument(
        "--since", type=_moment, metavar="TIME", help="only what was stored then or later"
    )
    out.add_argument("--until", type=_moment, metavar="TIME", help="only what was stored before")
    out.add_argument("--gzip", action="store_true", help="compress the files")
    _add_common(out)
    _add_import(commands)
    _add_mirror(commands)


def _add_import(commands: Commands) -> None:
    back = commands.add(
        "import",
        import_topics,
        "Send what was exported, with its keys, headers and times, or go on with it.",
        keys="messages there bad groups",
        examples="""
        myqueue import saved
        myqueue import saved --topic orders --into orders-again
        myqueue import saved --address http://queue-1:8000 --replication-factor 1
        """,
    )
    back.add_argument("folder", metavar="FOLDER", help="of a complete export")
    back.add_argument(
        "--into", metavar="TOPIC", help="where the one topic goes; it may have other messages"
    )
    back.add_argument(
        "--replication-factor", type=values.at_least_one, metavar="N", help="of topics it makes"
    )
    back.add_argument("--no-groups", action="store_true", help="leave offsets of groups alone")
    back.add_argument(
        "--skip-bad", action="store_true", help="count lines that are no messages and go on"
    )
    _add_common(back)


def _add_mirror(commands: Commands) -> None:
    mirror = commands.add(
        "mirror",
        mirror_topics,
        "Copy topics to another cluster as messages come, until SIGTERM or Ctrl-C.",
        keys="messages dropped refused lag groups trouble",
        examples="""
        myqueue mirror http://queue-1:8000 http://other-1:8000 orders invoices
        myqueue mirror http://queue-1:8000 http://other-1:8000 orders --groups billing,audit
        myqueue mirror http://queue-1:8000 http://other-1:8000 orders --all-groups --name west
        """,
    )
    mirror.add_argument("source", type=values.address, metavar="SOURCE", help="manager, or several")
    mirror.add_argument("target", type=values.address, metavar="TARGET", help="the same, elsewhere")
    mirror.add_argument("topics", nargs="+", metavar="TOPIC")
    groups = mirror.add_mutually_exclusive_group()
    groups.add_argument(
        "--groups", default="", metavar="GROUP,...", help="bring their offsets along"
    )
    groups.add_argument("--all-groups", action="store_true", help="bring those of all along")
    mirror.add_argument(
        "--name", default="mirror", metavar="NAME", help="its group at the source (mirror)"
    )
    mirror.add_argument(
        "--replication-factor", type=values.at_least_one, metavar="N", help="of topics it makes"
    )
    mirror.add_argument(
        "--target-token-file", metavar="FILE", help="API token there (that of the source)"
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topic", action="append", default=[], metavar="TOPIC", help="repeatable; else all"
    )
    parser.add_argument(
        "--partition",
        action="append",
        type=values.from_zero,
        default=[],
        metavar="N",
        help="repeatable; else all",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def export_topics(options: argparse.Namespace) -> None:
    """Export into a folder, or go on with it."""
    from myqueue.moving.exporting import ExportOptions, export, summary_of

    folder = Path(options.folder)
    wanted = ExportOptions(
        topics=options.topic,
        partitions=options.partition,
        since_ms=_milliseconds(options.since),
        until_ms=_milliseconds(options.until),
        compressed=options.gzip,
        said=_said(options),
    )
    with _telling(quiet=options.quiet) as tell, orderly_end() as is_over:
        for step in export(folder, options.address, wanted, is_over=is_over):
            tell(step)
        if is_over():
            raise InvalidRequest(f"stopped; the same command goes on with {folder}")
    done = summary_of(folder)
    say(
        options,
        f"{folder}: {count_of(done.topics, 'topic')}, {count_of(done.messages, 'message')},"
        f" {count_of(done.groups, 'group')}, {done.bytes:,} bytes",
        **vars(done),
    )
    if done.missed:
        _warn(f"{done.missed:,} messages were deleted by retention before they were read")
    if done.corrupt:
        _warn(f"{done.corrupt:,} messages are left out: nobody can decode them")


def import_topics(options: argparse.Namespace) -> None:
    """Import a folder, or go on with it."""
    from myqueue.moving.importing import Imported, ImportOptions, import_folder

    imported = Imported()
    wanted = ImportOptions(
        topics=options.topic,
        partitions=options.partition,
        into=options.into,
        replication_factor=options.replication_factor,
        groups=not options.no_groups,
        skip_bad=options.skip_bad,
    )
    folder = Path(options.folder)
    with _telling(quiet=options.quiet) as tell, orderly_end() as is_over:
        for step in import_folder(folder, options.address, wanted, imported, is_over=is_over):
            tell(step)
        if is_over():
            raise InvalidRequest(f"stopped; the same command goes on with {folder}")
    there = f", {imported.there:,} were there" if imported.there else ""
    lines = [f"{count_of(imported.messages, 'message')} sent{there}"]
    lines += [f"group {told}" for told in imported.groups]
    say(options, "\n".join(lines), **vars(imported))
    if imported.bad:
        _warn(f"{count_of(imported.bad, 'line')} left out: no messages")


def mirror_topics(options: argparse.Namespace) -> None:
    """Mirror until SIGTERM."""
    from myqueue.config import ClientConfig
    from myqueue.moving.mirroring import PATIENCE_MS, Mirror, MirrorOptions

    token = options.target_token_file
    there = None
    if token is not None:
        text = Path(token).read_text("ascii").strip()
        there = ClientConfig(token=text, delivery_timeout_ms=PATIENCE_MS)
    groups = [name for name in options.groups.split(",") if name]
    mirror = Mirror(
        options.source,
        options.target,
        MirrorOptions(
            topics=options.topics,
            name=options.name,
            groups=None if options.all_groups else groups,
            replication_factor=options.replication_factor,
        ),
        target_config=there,
    )
    told = ""
    with orderly_end() as is_over:
        for done in mirror.run(is_over):
            if done.trouble and done.trouble != told:
                _warn(f"waits: {done.trouble}")
            told = done.trouble
            if not told:
                _tell_mirrored(options, done)
            sys.stdout.flush()
    _tell_mirrored(options, mirror.mirrored)


def _tell_mirrored(options: argparse.Namespace, done: Mirrored) -> None:
    refused = f", {done.refused:,} refused" if done.refused else ""
    sentence = (
        f"{done.messages:,} copied, {done.lag:,} behind, {done.dropped:,} were there{refused}"
    )
    say(options, sentence, **vars(done))


def _said(options: argparse.Namespace) -> list[str]:
    """Return what an export is asked for, as it was typed: `2h` stays two hours before."""
    words = []
    for name in ("topic", "partition"):
        for one in getattr(options, name):
            words += [f"--{name}", str(one)]
    for name in ("since", "until"):
        if getattr(options, name) is not None:
            words += [f"--{name}", getattr(options, name)]
    return [*words, "--gzip"] if options.gzip else words


def _moment(text: str) -> str:
    """Return a time as it was typed: an export goes on under the same words."""
    values.moment(text)
    return text


def _milliseconds(text: str | None) -> int | None:
    return None if text is None else int(values.moment(text).timestamp() * 1000)


@contextmanager
def _telling(*, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Give what shows how far it is: a bar on a terminal, else a line now and then."""
    told_at = time.monotonic()
    with progress_bar(quiet=quiet) as show:

        def tell(step: Step) -> None:
            nonlocal told_at
            show(messages=step.done, completed=step.done, total=step.total)
            now = time.monotonic()
            if not quiet and not sys.stderr.isatty() and now - told_at >= TELL_SECONDS:
                told_at = now
                where = f"{step.topic}/{step.partition}"
                _warn(f"{where}: {step.done:,} of {step.total:,} messages")

        yield tell


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")
