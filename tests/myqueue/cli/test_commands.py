from __future__ import annotations

import argparse

import pytest

from myqueue.cli.commands import DEFAULT_ADDRESS, Commands
from myqueue.cli.main import all_commands

TREE = all_commands()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MYQUEUE_ADDRESS", raising=False)


@pytest.mark.parametrize(
    "line",
    [
        "--address http://a:1 --json groups describe g",
        "groups --json describe --address=http://a:1 g",
        "groups describe g --address http://a:1 --json",
        "--json groups g --address http://a:1",
    ],
)
def test_what_every_command_has_stands_anywhere(line: str) -> None:
    options = TREE.read(line.split())
    assert (options.address, options.json, options.group) == ("http://a:1", True, "g")
    assert options.run is TREE.all["groups describe"].parser.get_default("run")


def test_what_was_not_said_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TREE.read(["topics"])
    assert (options.address, options.json) == (DEFAULT_ADDRESS, False)
    assert (options.ca, options.token_file) == (None, None)
    monkeypatch.setenv("MYQUEUE_ADDRESS", "http://b:2")
    assert TREE.read(["topics"]).address == "http://b:2"
    assert TREE.read(["topics", "--address", "http://a:1"]).address == "http://a:1"


def test_what_follows_two_dashes_is_the_commands() -> None:
    options = TREE.read(["work", "jobs", "--group", "g", "--", "run", "--json", "--address", "x"])
    assert (options.json, options.address) == (False, DEFAULT_ADDRESS)
    assert options.command == ["run", "--json", "--address", "x"]


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("topics", "topics list"),
        ("create t --partitions 2", "topics create t --partitions 2"),
        ("describe t", "topics describe t"),
        ("delete t", "topics delete t"),
        ("groups", "groups list"),
        ("groups --long", "groups list --long"),
        ("groups g", "groups describe g"),
        ("brokers", "brokers list"),
    ],
)
def test_short_spellings(short: str, full: str) -> None:
    assert vars(TREE.read(short.split())) == vars(TREE.read(full.split()))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("create t --part 3", "unrecognized arguments: --part"),
        ("--addr http://a:1 topics", "--addr"),
        ("topics --addr http://a:1", "--addr"),
        ("topics lists", "invalid choice: 'lists'"),
        ("perf", "the following arguments are required: COMMAND"),
        ("--address 8000 topics", "argument --address: '8000' is no address"),
        ("create t --retention 7", "argument --retention: a duration like"),
        ("create t --retention-bytes 7gig", "argument --retention-bytes: a size like"),
    ],
)
def test_what_is_wrong_is_named(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        TREE.read(line.split())
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("help", "myqueue [-h]"),
        ("help groups", "myqueue groups [-h]"),
        ("help groups reset", "myqueue groups reset [-h]"),
        ("help create", "myqueue topics create [-h]"),
        ("groups -h", "myqueue groups [-h]"),
    ],
)
def test_help_is_a_command_too(line: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        TREE.read(line.split())
    assert capsys.readouterr().out.startswith(f"usage: {usage}")


def test_nothing_is_abbreviated() -> None:
    def parsers(of: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
        inner = [a for a in of._actions if isinstance(a, argparse._SubParsersAction)]
        return [of, *(one for a in inner for sub in a.choices.values() for one in parsers(sub))]

    found = parsers(TREE.root)
    assert len(found) > len(TREE.all)
    assert not [one.prog for one in found if one.allow_abbrev]


def test_a_command_knows_its_own_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    commands = Commands()
    commands.add("one", print, "One.", examples="myqueue one")
    with pytest.raises(SystemExit, match="2"):
        commands.read(["one"]).refuse("no")
    assert "usage: myqueue one" in capsys.readouterr().err
