from __future__ import annotations

import os
import shutil
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


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment in whose path `myqueue` is this one."""
    command = tmp_path / "myqueue"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m myqueue.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "HOME": str(tmp_path), "TERM": "dumb"}


def said(environ: dict[str, str], *command: str) -> str:
    """Return what a shell prints."""
    return subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_real_bash_completes(environ: dict[str, str]) -> None:
    script = """
    eval "$(myqueue completion bash)"
    complete -p myqueue >/dev/null || exit 3
    COMP_WORDS=(myqueue groups reset g t --to ""); COMP_CWORD=6
    _myqueue
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    assert said(environ, "bash", "--norc", "-c", script).split() == ["earliest", "latest"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs Debian's package fish")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("myqueue topi", ["topics"]),
        ("myqueue groups reset g t --to ", ["earliest", "latest"]),
        ("myqueue groups reset g t --to-t", ["--to-time"]),
        ("myqueue produce t --file READ", ["README.md"]),
    ],
)
def test_a_real_fish_completes(environ: dict[str, str], typed: str, expected: list[str]) -> None:
    script = f"myqueue completion fish | source; complete -C '{typed}'"
    assert said(environ, "fish", "--no-config", "-c", script).split() == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs Debian's package zsh")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("myqueue topi", "myqueue topics"),
        ("myqueue completion f", "myqueue completion fish"),
        ("myqueue groups reset g t --to-t", "myqueue groups reset g t --to-time"),
    ],
)
def test_a_real_zsh_completes(environ: dict[str, str], typed: str, expected: str) -> None:
    """A line is typed at a terminal, where completing is a matter of its line editor alone."""
    script = f"""
    zmodload zsh/zpty
    zpty shell zsh -f
    zpty -w shell 'autoload -U compinit && compinit -D -u; eval "$(myqueue completion zsh)"'
    zpty -w shell 'show() {{ zle -I; print -r -- "now: <$BUFFER>" }}; zle -N show'
    zpty -w shell 'bindkey "^X" show; print is ready'
    zpty -r shell line '*is ready'
    zpty -r shell line '*is ready'
    zpty -w -n shell $'{typed}\t\x18'
    zpty -r shell line '*now: <*>'
    print -r -- "$line"
    """
    assert f"now: <{expected}" in said(environ, "zsh", "-f", "-c", script)
