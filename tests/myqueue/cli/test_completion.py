from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from myqueue.cli import connection
from myqueue.cli.completion import SCRIPTS, candidates
from myqueue.cli.main import all_commands, main
from tests.myqueue.http_twin import HttpCluster

ROOT = Path(__file__).parents[3]
TREE = all_commands()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("topi", ["topics"]),
        ("topics cre", ["create"]),
        ("--json topics d", ["delete", "describe"]),
        ("groups re", ["reset"]),
        ("groups reset g t --to ", ["earliest", "latest"]),
        ("groups reset g t --to-t", ["--to-time"]),
        ("create t --retention-", ["--retention-bytes", "--retention-ms"]),
        ("create t --part", ["--partitions"]),
        ("events --kind le", ["lease"]),
        ("status --sort m", ["messages"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("--addr", ["--address"]),
        ("consume t --addr", ["--address"]),
        ("create t --partitions ", []),
        ("produce t fi", []),
        ("nothing of this", []),
    ],
)
def test_what_a_word_can_become(typed: str, expected: list[str]) -> None:
    assert candidates(TREE, typed.split(" ")) == expected


def test_commands_for_programs_are_not_offered() -> None:
    offered = candidates(TREE, [""])
    assert {"topics", "consume", "events"} < set(offered)
    assert "complete" not in offered


def test_topics_and_groups_are_those_of_the_cluster(
    http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in ("orders", "orders.dead", "logs"):
        http_cluster.twin.create(topic, 1)
    at = ["--address", http_cluster.address]
    assert candidates(TREE, [*at, "consume", "or"]) == ["orders", "orders.dead"]
    assert candidates(TREE, ["consume", "logs", "--offset", "1", *at, "l"]) == ["logs"]
    assert candidates(TREE, [*at, "delete", "logs", ""]) == []
    monkeypatch.setenv("MYQUEUE_ADDRESS", http_cluster.address)
    assert candidates(TREE, ["tail", "l"]) == ["logs"]


def test_a_cluster_that_does_not_answer_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MANAGER_TIMEOUT_MS", 10)
    assert candidates(TREE, ["--address", "http://127.0.0.1:1", "tail", ""]) == []


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "complete -- " in capsys.readouterr().out


def test_a_real_bash_completes(tmp_path: Path) -> None:
    command = tmp_path / "myqueue"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m myqueue.cli "$@"\n')
    command.chmod(0o755)
    script = """
    eval "$(myqueue completion bash)"
    complete -p myqueue >/dev/null || exit 3
    COMP_WORDS=(myqueue groups reset g t --to ""); COMP_CWORD=6
    _myqueue
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["earliest", "latest"]
