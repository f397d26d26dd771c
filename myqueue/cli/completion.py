"""The command `myqueue completion`: what shells ask when the tab key is pressed.

The script for a shell is short: it asks `myqueue complete`, which looks at the tree of commands
and, where a topic or a group is to be named, at the cluster. So it is never out of date.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from myqueue.cli.commands import DEFAULT_ADDRESS, SHORT, common
from myqueue.cli.connection import connect
from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from myqueue.cli.commands import Commands

SCRIPTS = {
    "bash": r"""_myqueue() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _myqueue myqueue
""",
    "zsh": r"""#compdef myqueue
_myqueue() {
    local -a found
    found=(${(f)"$(${words[1]} complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
compdef _myqueue myqueue
""",
    "fish": r"""function __myqueue_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($typed[1] complete -- $typed[2..-1] "$current" 2>/dev/null)
    and test (count $found) -gt 0
    and printf '%s\n' $found
    or __fish_complete_path "$current"
end
complete -c myqueue -f -a '(__myqueue_complete)'
""",
}


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    completion = commands.add(
        "completion",
        print_script,
        "Print a script that has a shell complete commands, options, topics and groups.",
        examples="""
        myqueue completion bash
        myqueue completion zsh
        myqueue completion fish
        """,
    )
    completion.add_argument("shell", choices=tuple(SCRIPTS))
    complete = commands.add(
        "complete",
        lambda options: print_candidates(commands, options.words),
        "",
        examples="myqueue complete -- topics cre",
    )
    complete.add_argument("words", nargs="*", metavar="WORD")


def print_script(options: argparse.Namespace) -> None:
    """Print the script of a shell."""
    sys.stdout.write(SCRIPTS[options.shell])


def print_candidates(commands: Commands, words: list[str]) -> None:
    """Print what the last word can become, one a line."""
    for word in candidates(commands, words or [""]):
        sys.stdout.write(f"{word}\n")


def candidates(commands: Commands, words: list[str]) -> list[str]:
    """Return what the last word can become; nothing where it is a file or free text."""
    *typed, last = words
    parser, rest = _parser_of(commands, typed)
    options = {text: one for one in _shown(parser) for text in one.option_strings}
    before = options.get(typed[-1]) if typed else None
    if before is not None and before.nargs != 0:
        found: Iterable[str] = _values(before, typed)
    elif last.startswith("-"):
        found = options
    else:
        found = _values(_positional(parser, rest, options), typed)
    return sorted(word for word in found if word.startswith(last))


def _parser_of(commands: Commands, typed: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """Return the parser of the command that was typed, and the words after it."""
    parser, rest = commands.root, list(typed)
    while rest and (subparsers := _subparsers(parser)) is not None:
        names = [one for one in rest if one in subparsers.choices or one in SHORT]
        if not names:
            break
        rest = rest[rest.index(names[0]) + 1 :]
        for name in SHORT.get(names[0], names[0]).split():
            below = _subparsers(parser)
            assert below is not None, "a short spelling is that of a command"
            parser = below.choices[name]
    return parser, rest


def _subparsers(
    parser: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    found = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return next(found, None)


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of a parser, with those of every command."""
    actions = [*parser._actions, *common()._actions]
    return [one for one in actions if one.option_strings and one.help != argparse.SUPPRESS]


def _positional(
    parser: argparse.ArgumentParser, rest: list[str], options: dict[str, argparse.Action]
) -> argparse.Action | None:
    """Return the argument without a name that comes next."""
    places = [one for one in parser._actions if not one.option_strings]
    filled = 0
    for before, word in zip(["", *rest], rest, strict=False):
        option = options.get(before)
        is_value = option is not None and option.nargs != 0
        filled += not (word.startswith("-") or is_value)
    if not places:
        return None
    if filled < len(places):
        return places[filled]
    return places[-1] if places[-1].nargs in ("+", "*") else None


def _values(action: argparse.Action | None, typed: list[str]) -> list[str]:
    """Return what an argument can be."""
    if action is None:
        return []
    if action.choices is not None:
        return [str(one) for one in action.choices if one != "complete"]
    return _names(str(action.metavar), typed) if action.metavar in ("TOPIC", "GROUP") else []


def _names(kind: str, typed: list[str]) -> list[str]:
    """Return the names of topics or groups; nothing where no manager tells them soon."""
    given, _ = common().parse_known_args(typed, argparse.Namespace(address=None))
    address = given.address or os.environ.get("MYQUEUE_ADDRESS", DEFAULT_ADDRESS)
    try:
        with connect(argparse.Namespace(address=address)) as client:
            return client.list_topics() if kind == "TOPIC" else client.list_groups()
    except QueueError:
        return []
