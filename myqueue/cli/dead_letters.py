"""The commands about what workers gave up: `myqueue dead-letters list|peek|redrive|purge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.cli import output, values
from myqueue.cli.alter import PURGED, add_which, show_purged, which_messages
from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.formats import to_json
from myqueue.cli.output import Column, show_json, show_rows
from myqueue.cli.work import add_redrive_arguments, redrive
from myqueue.contract.errors import Forbidden, InvalidRequest

if TYPE_CHECKING:
    import argparse

    from myqueue import Client, DeadLetter
    from myqueue.cli.commands import Commands

PLACES = (
    Column("group"),
    Column("topic"),
    Column("dead_letter_topic"),
    Column("left", "number"),
)
LETTERS = (
    Column("partition", "number"),
    Column("offset", "number"),
    Column("died", title="DIED AT"),
    Column("died_group", title="GROUP"),
    Column("deliveries", "number"),
    Column("timestamp", "time", "SENT"),
    Column("key"),
    Column("message"),
)
DIED = ("died_topic", "died_partition", "died_offset", "died_group", "deliveries")
SHOWN_LENGTH = 60
"""Characters of a message on a terminal."""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group("dead-letters", "What workers gave up: list, peek, redrive, purge.")
    listing = commands.add(
        "dead-letters list",
        list_dead_letters,
        "List which groups of workers have dead letters, where, and how many are left.",
        columns=PLACES,
        examples="""
        myqueue dead-letters
        myqueue dead-letters list --group mailers --json
        """,
    )
    listing.add_argument("--group", metavar="GROUP", help="only those of one group")
    listing.add_argument("--topic", metavar="TOPIC", help="only what died in one topic")
    _add_peek(commands)
    back = commands.add(
        "dead-letters redrive",
        redrive_dead_letters,
        "Send dead letters back to where they came from, as `myqueue redrive` does.",
        keys="topic messages",
        examples="""
        myqueue dead-letters redrive jobs
        myqueue dead-letters redrive jobs --max 100
        """,
    )
    add_redrive_arguments(back)
    _add_purge(commands)


def _add_peek(commands: Commands) -> None:
    peek = commands.add(
        "dead-letters peek",
        peek_dead_letters,
        "Show the oldest dead letters of a topic, and where each died; nothing moves by it.",
        columns=LETTERS,
        keys="topic partition offset timestamp message key headers died_topic died_partition"
        " died_offset died_group deliveries",
        examples="""
        myqueue dead-letters peek jobs
        myqueue dead-letters peek jobs -n 1 --json
        """,
    )
    _add_place(peek)
    peek.add_argument("-n", "--messages", type=values.at_least_one, default=10, metavar="N")


def _add_purge(commands: Commands) -> None:
    purge = commands.add(
        "dead-letters purge",
        purge_dead_letters,
        "Delete the dead letters of a topic for good.",
        columns=PURGED,
        examples="""
        myqueue dead-letters purge jobs
        myqueue dead-letters purge jobs --before 30d --yes
        """,
    )
    _add_place(purge)
    add_which(purge)
    add_yes(purge)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "--dead-letter-topic",
        metavar="NAME",
        help="where they are, when the topic's groups do not agree",
    )


def list_dead_letters(options: argparse.Namespace) -> None:
    """Print where dead letters are."""
    with connect(options) as client:
        show_rows(
            options, PLACES, client.list_dead_letters(group=options.group, topic=options.topic)
        )


def letters_of(client: Client, topic: str, named: str | None) -> str:
    """Return the topic with the dead letters of a topic.

    Raises:
        InvalidRequest: its groups have several.
    """
    if named is not None:
        return named
    try:
        known = {one.dead_letter_topic for one in client.list_dead_letters(topic=topic)}
    except Forbidden:  # to look at messages one need not see groups
        known = set()
    if len(known) > 1:
        raise InvalidRequest(
            f"groups have dead letters of {topic} in {', '.join(sorted(known))}: say which with"
            " --dead-letter-topic"
        )
    return known.pop() if known else f"{topic}.dead"


def peek_dead_letters(options: argparse.Namespace) -> None:
    """Print the oldest dead letters; with `--json` whole, as `consume` prints messages."""
    with connect(options) as client:
        name = letters_of(client, options.topic, options.dead_letter_topic)
        letters = client.peek_dead_letters(
            options.topic, dead_letter_topic=name, max_messages=options.messages
        )
    if options.json:
        for letter in letters:
            show_json({**to_json(letter), **{name: getattr(letter, name) for name in DIED}})
    else:
        show_rows(options, LETTERS, map(_row, letters))


def _row(letter: DeadLetter) -> dict[str, Any]:
    places = (letter.died_topic, letter.died_partition, letter.died_offset)
    key = letter.key.decode(errors="replace") if isinstance(letter.key, bytes) else letter.key
    text = letter.text
    if output.on_terminal() and len(text) > SHOWN_LENGTH:
        text = f"{text[:SHOWN_LENGTH]}..."
    return {
        **{name: getattr(letter, name) for name in ("partition", "offset", "timestamp")},
        "died": None if None in places else "/".join(str(one) for one in places),
        "died_group": letter.died_group,
        "deliveries": letter.deliveries,
        "key": key,
        "message": text,
    }


def redrive_dead_letters(options: argparse.Namespace) -> None:
    """Send dead letters back, from where the topic's groups have them."""
    with connect(options) as client:
        options.dead_letter_topic = letters_of(client, options.topic, options.dead_letter_topic)
    redrive(options)


def purge_dead_letters(options: argparse.Namespace) -> None:
    """Delete dead letters, and print a line per partition."""
    with connect(options) as client:
        name = letters_of(client, options.topic, options.dead_letter_topic)
        confirm(options, f"Delete {which_messages(options)} of topic {name} for good?")
        purged = client.purge_topic(
            name, before=options.before, offset=options.offset, partitions=options.partitions
        )
    show_purged(options, purged)
