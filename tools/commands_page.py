"""Write the commands into docs/reference/command-line.md: `python -m tools.commands_page`.

What stands above the mark is written by hand, and stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from myqueue.cli.commands import SHORT, Command
from myqueue.cli.main import all_commands

PAGE = Path(__file__).resolve().parent.parent / "docs/reference/command-line.md"
MARK = "<!-- Made from myqueue/cli by `python -m tools.commands_page`. -->\n"
EVERYWHERE = ("help", "address", "ca", "token_file", "json")
"""Arguments that every command has."""


def page(current: str) -> str:
    """Return the text of the page, whose part that is written by hand is in its current text."""
    commands = [one for one in all_commands().all.values() if one.text]
    by_hand = current.partition(MARK)[0]
    rows = "".join(f"| [`{one.path}`](#{_anchor(one)}) | {one.text} |\n" for one in commands)
    return (
        f"{by_hand}{MARK}\n## Commands\n\n| command | what it does |\n| ------- | ------------ |\n"
        + rows
        + "".join(map(_section, commands))
    )


def _anchor(command: Command) -> str:
    return command.path.replace(" ", "-")


def own_arguments(command: Command) -> list[argparse.Action]:
    """Return what a command alone has of arguments."""
    actions = [one for one in command.parser._actions if one.help != argparse.SUPPRESS]
    return [one for one in actions if one.dest not in EVERYWHERE]


def _section(command: Command) -> str:
    """Return what the page says of one command."""
    own = own_arguments(command)
    lines = [f"\n### {command.path}\n", f"{command.text}\n"]
    lines.append(f"```text\nmyqueue {command.path}{''.join(_typed(own))}\n```\n")
    shorts = [f"`myqueue {short}`" for short, path in SHORT.items() if path == command.path]
    lines += [f"Shorter: {shorts[0]}.\n"] if shorts else []
    told = [(_names(one), _help(one)) for one in own if _help(one)]
    if told:
        lines.append("| argument | meaning |\n| -------- | ------- |")
        lines += [f"| {name} | {text} |" for name, text in told]
        lines.append("")
    if command.keys:
        lines.append(f"`--json`: {', '.join(f'`{key}`' for key in command.keys)}.\n")
    return "\n".join(lines)


def _typed(actions: list[argparse.Action]) -> Iterator[str]:
    """Yield arguments as they are typed: those without a name first, in brackets if not needed."""
    for action in sorted(actions, key=lambda one: bool(one.option_strings)):
        if action.option_strings:
            value = f" {_value(action)}" if action.nargs != 0 else ""
            text = f"{action.option_strings[-1]}{value}"
            yield f" {text}" if action.required else f" [{text}]"
        else:
            form = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]"}.get(
                str(action.nargs), "{0}"
            )
            yield f" {form.format(_value(action))}"


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_value(action)}`"
    value = f" {_value(action)}" if action.nargs != 0 else ""
    names = ", ".join(f"`{one}{value}`" for one in action.option_strings)
    return names.replace("|", "\\|")


def _help(action: argparse.Action) -> str:
    text = str(action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
