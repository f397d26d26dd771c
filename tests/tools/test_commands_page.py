"""The reference of the command line is what the parser says."""

from __future__ import annotations

import pytest

from myqueue.cli.main import all_commands
from tools import commands_page

PAGE = commands_page.page("by hand\n")
SHOWN = [one for one in all_commands().all.values() if one.text]


def test_the_page_is_current() -> None:
    current = commands_page.PAGE.read_text()
    assert current == commands_page.page(current), "run python -m tools.commands_page"


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: command.path)
def test_each_command_has_its_arguments_and_keys(command: commands_page.Command) -> None:
    assert PAGE.startswith("by hand\n")
    section = PAGE.partition(f"\n### {command.path}\n")[2].partition("\n### ")[0]
    assert command.text in section
    for action in commands_page.own_arguments(command):
        assert (action.option_strings[-1:] or [commands_page._value(action)])[0] in section
    for key in command.keys:
        assert f"`{key}`" in section
