"""The command line chooses the role of the process before anything reads the settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import queuesite
from queuesite.command_line import COMMANDS, become_client, main, prepare_environment, told_at_once
from queuesite.conf import BROKER, MANAGER, ROLE_VARIABLE, ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in (
        ROLE_VARIABLE,
        "QUEUE_READ_ONLY",
        "QUEUE_DATA_DIR",
        "QUEUE_PORT",
        "QUEUE_CLUSTER_SECRET",
    ):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "role"),
    [(["broker"], BROKER), (["manager"], MANAGER), (["token", "list"], MANAGER), ([], MANAGER)],
)
def test_role_is_that_of_the_subcommand(arguments, role):
    assert prepare_environment(arguments).role == role
    assert os.environ[ROLE_VARIABLE] == role


@pytest.mark.parametrize("option", ["-r", "--read-only"])
def test_manager_that_only_reads_is_told_by_its_option(option, monkeypatch):
    monkeypatch.setenv("READ_ONLY", "0")
    assert prepare_environment(["manager", option]).read_only


def test_server_makes_the_secret_and_help_does_not(tmp_path):
    prepare_environment(["broker", "--help"])
    assert not list(tmp_path.rglob("cluster.secret"))
    prepare_environment(["broker"])
    assert list(tmp_path.rglob("cluster.secret"))


def test_wrong_value_is_refused(monkeypatch):
    monkeypatch.setenv("QUEUE_PORT", "abc")
    with pytest.raises(ConfigError, match="QUEUE_PORT"):
        prepare_environment(["manager"])


def test_command_that_finds_no_database_says_where_it_looked(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", "createsuperuser"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    said = "the managers' database of QUEUE_DATA_DIR=data/manager cannot be used: unable to open"
    assert (done.returncode, done.stderr) == (2, f"{said} database file\n")


@pytest.mark.parametrize("arguments", [[], ["help"], ["-h"], ["--help"]])
def test_our_own_commands_are_listed_with_what_they_do(arguments):
    listed = told_at_once(arguments)
    for path in COMMANDS.glob("[a-z]*.py"):
        assert re.search(rf"^  {path.stem.replace('_', '-')} +\S.+\.$", listed, re.MULTILINE)
    assert "runserver" not in listed
    assert told_at_once(["manager", "--help"]) == ""


def test_version_is_said_without_settings(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["queuesite", "--version"])
    monkeypatch.setenv("QUEUE_PORT", "abc")
    main()
    assert capsys.readouterr().out == f"queuesite {queuesite.__version__}\n"


def test_what_moves_data_is_the_clients_command(monkeypatch):
    became = []
    monkeypatch.setattr(os, "execv", lambda program, command: became.append(command))
    monkeypatch.setenv("MYQUEUE_ADDRESS", "")
    monkeypatch.delenv("MYQUEUE_ADDRESS")
    monkeypatch.setenv("QUEUE_PORT", "8123")
    become_client(prepare_environment(["export", "saved"]))
    assert os.environ["MYQUEUE_ADDRESS"] == "http://127.0.0.1:8123"
    monkeypatch.setattr(sys, "argv", ["queuesite", "export", "saved"])
    become_client(prepare_environment(["export", "saved"]))
    assert became[-1] == [sys.executable, "-m", "myqueue.cli.main", "export", "saved"]
