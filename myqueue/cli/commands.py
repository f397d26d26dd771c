"""The tree of commands: how a module adds its own, and how a command line is read.

    def add_commands(commands: Commands) -> None:
        commands.group("topics", "Topics: list, create, describe, delete.")
        add = commands.add("topics create", create_topic, "Create a topic.", examples="...")
        add.add_argument("topic")

A command is a function of the options. `options.address`, `options.json` and what else every
command has may be typed anywhere on the line.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from myqueue import __version__
from myqueue.cli import values
from myqueue.cli.output import Column

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
SHORT = {
    "create": "topics create",
    "describe": "topics describe",
    "delete": "topics delete",
    "alter": "topics alter",
    "purge": "topics purge",
}
"""Further spellings: the short one of what is typed most."""
EXAMPLES = """
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
  myqueue dead-letters peek jobs
  myqueue brokers drain 3 --wait
  myqueue lag --group billing
  myqueue export saved --topic orders
  myqueue import saved --topic orders --into orders-again
  myqueue perf produce logs --messages 1000000
  myqueue status
  myqueue demo
"""
EPILOG = """
create, describe, alter, purge and delete are short for topics create, topics describe and so on.
`myqueue COMMAND --help` and `myqueue help COMMAND` tell more. The manager's address comes from
--address, else from MYQUEUE_ADDRESS, else it is http://127.0.0.1:8000. Several are separated by
commas. Addresses with https:// are checked with the authorities of --ca, else of MYQUEUE_CA, else
of the system. An API token comes from --token-file, else from MYQUEUE_TOKEN: an argument would be
seen by everybody on the machine.
"""

_LOOK: dict[str, Any] = {
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "allow_abbrev": False,
}
Run = Callable[[argparse.Namespace], None]


class Command(NamedTuple):
    """A command that can be typed."""

    path: str
    """Its words, as in `groups reset`."""
    text: str
    parser: argparse.ArgumentParser
    keys: tuple[str, ...]
    """Of an object that it prints with `--json`."""


class Group(NamedTuple):
    """A first word that has commands of its own."""

    subparsers: Any
    bare: str
    named: str | None


class Commands:
    """All commands."""

    def __init__(self) -> None:
        text = "Talk to a replicated message queue."
        self.root = argparse.ArgumentParser(
            "myqueue", description=text, epilog=f"{_epilog(EXAMPLES)}\n{EPILOG}", **_LOOK
        )
        self.root.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
        self._top = self.root.add_subparsers(title="commands", metavar="COMMAND", required=True)
        self.groups: dict[str, Group] = {}
        self.all: dict[str, Command] = {}

    def group(self, name: str, text: str, *, bare: str = "list", named: str | None = None) -> None:
        """Add a first word that has commands of its own.

        Args:
            name: the word.
            text: what they are about.
            bare: the command that the word alone means; none when empty.
            named: the command that the word and a name mean, as in `groups billing`.
        """
        parser = self._top.add_parser(name, help=text, description=text, **_LOOK)
        subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        self.groups[name] = Group(subparsers, bare, named)

    def add(
        self,
        path: str,
        run: Run,
        text: str,
        *,
        examples: str,
        columns: Sequence[Column] = (),
        keys: str = "",
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser, for its own arguments.

        Args:
            path: one word, or that of a group and another.
            run: does it.
            text: a sentence.
            examples: lines as they are typed, each can be.
            columns: of the rows that it prints, if it prints a table.
            keys: of the object that it prints with `--json`, if those are not of the columns.
        """
        *group, name = path.split()
        subparsers = self.groups[group[0]].subparsers if group else self._top
        # What has no text is for programs: `--help` does not list it.
        listed: dict[str, Any] = {"help": text} if text else {}
        parser: argparse.ArgumentParser = subparsers.add_parser(
            name, **listed, description=text, epilog=_epilog(examples), parents=[common()], **_LOOK
        )
        told = tuple(keys.split()) or tuple(column.key for column in columns)
        parser.set_defaults(run=run, refuse=parser.error, keys=told)
        self.all[path] = Command(path, text, parser, told)
        return parser

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return what a command line says.

        Raises:
            SystemExit: it is wrong (2), or was answered with a help text (0).
        """
        head, tail = _at_double_dash(arguments)
        told = os.environ.get("MYQUEUE_ADDRESS")
        defaults = argparse.Namespace(address=DEFAULT_ADDRESS, ca=None, token_file=None, json=False)
        anywhere = common()
        anywhere.error = self.root.error  # type: ignore[method-assign]
        told_first = ["--address", told, *head] if told else head
        given, words = anywhere.parse_known_args(told_first, defaults)
        return self.root.parse_args([*self._spelt_out(words), *tail], given)

    def _spelt_out(self, words: list[str]) -> list[str]:
        """Return words with the full path of their command."""
        if words[:1] == ["help"]:
            words = [*words[1:], "--help"]
        if words and words[0] in SHORT:
            words = [*SHORT[words[0]].split(), *words[1:]]
        first, *rest = words or [""]
        if first.startswith("-") and first not in ("-h", "--help", "--version"):
            self.root.error(f"unrecognized arguments: {first}")
        group = self.groups.get(first)
        if group is None or (rest and rest[0] in ("-h", "--help", *group.subparsers.choices)):
            return words
        if any(not word.startswith("-") for word in rest):
            # Without a command that a name means, a first word is a misspelt one.
            implied = group.named or (group.bare if rest[0].startswith("-") else "")
        else:
            implied = group.bare
        return [first, *([implied] if implied else []), *rest]


def common() -> argparse.ArgumentParser:
    """Return the options that every command has."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    options = parser.add_argument_group("options of every command")
    options.add_argument(
        "--address",
        type=values.address,
        metavar="URL",
        help="manager, or several separated by commas (default: MYQUEUE_ADDRESS, else"
        f" {DEFAULT_ADDRESS})",
    )
    options.add_argument(
        "--ca",
        metavar="FILE",
        help="authorities that https:// addresses are checked with (default: MYQUEUE_CA, else the"
        " system's)",
    )
    options.add_argument(
        "--token-file",
        metavar="FILE",
        help="has the API token, where a cluster asks for one (default: what MYQUEUE_TOKEN says)",
    )
    options.add_argument(
        "--json", action="store_true", help="JSON: one object, or one a line for lists"
    )
    return parser


def _epilog(examples: str) -> str:
    return "examples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())


def _at_double_dash(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what stands before `--`, and the rest with it."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place:]
