from __future__ import annotations

import argparse
import io
from typing import Any

import pytest

from myqueue.cli import connection
from myqueue.cli.connection import add_yes, confirm, patience
from myqueue.cli.main import main
from tests.myqueue.http_twin import HttpCluster


class Input(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def topic(http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch) -> HttpCluster:
    monkeypatch.setenv("MYQUEUE_ADDRESS", http_cluster.address)
    http_cluster.twin.create("logs", 1)
    return http_cluster


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yess\n"])
def test_whoever_does_not_say_yes_destroys_nothing(
    topic: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
) -> None:
    monkeypatch.setattr("sys.stdin", Input(answer))
    with pytest.raises(SystemExit, match="1"):
        main(["delete", "logs"])
    said = capsys.readouterr()
    assert "Delete the topic logs with all its messages? [y/N] " in said.err
    assert said.out == ""
    assert "logs" in topic.twin.topics


@pytest.mark.parametrize("answer", ["y\n", "Yes\n"])
def test_yes_is_enough(topic: HttpCluster, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", Input(answer))
    assert main(["delete", "logs"]) == 0
    assert "logs" not in topic.twin.topics


def test_in_a_pipe_it_has_to_be_said_before(
    topic: HttpCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(SystemExit, match="2"):
        main(["delete", "logs"])
    assert "say --yes" in capsys.readouterr().err
    assert "logs" in topic.twin.topics
    assert main(["delete", "logs", "--yes"]) == 0


def test_yes_is_an_option_of_its_own() -> None:
    parser = argparse.ArgumentParser()
    add_yes(parser)
    asked: Any = None
    for arguments in (["-y"], ["--yes"]):
        asked = parser.parse_args(arguments)
        confirm(asked, "Sure?")
    assert asked.yes


def test_an_address_without_a_manager_is_named_soon_and_with_advice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = patience(compression="none")
    assert config.manager_timeout_ms + config.connect_timeout_ms <= 2_000
    monkeypatch.setattr(connection, "MANAGER_TIMEOUT_MS", 10)
    for command in (["topics"], ["consume", "logs"], ["produce", "logs"], ["tail", "logs"]):
        assert main([*command, "--address", "http://127.0.0.1:1"]) == 1
        said = capsys.readouterr().err
        assert said.startswith("myqueue: MANAGER_NOT_FOUND: no manager answered at http://127.0.0")
        assert "is a manager running there?" in said
