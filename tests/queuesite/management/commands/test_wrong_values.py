"""Wrong values are refused by the real commands: one clear line and exit status 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuesite.conf import SECRET_FILE
from raft_app.storage.sqlite.directory import DirectoryLock

ROOT = Path(__file__).resolve().parents[4]


def manage(*arguments: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py in an empty directory and wait for its end."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**clean, **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(result: subprocess.CompletedProcess[str], named: str) -> None:
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert named in line
    assert not result.stdout


@pytest.mark.parametrize(
    ("command", "variables", "named"),
    [
        ("broker", {"PORT": "abc"}, "PORT"),
        ("broker", {"PORT": "70000"}, "PORT"),
        ("broker", {"MANAGER_ADDRESS": "nowhere"}, "MANAGER_ADDRESS"),
        ("broker", {"CURRENT_ADDRESS": "me"}, "CURRENT_ADDRESS"),
        ("broker", {"CLUSTER_SECRET": "short"}, "CLUSTER_SECRET"),
        ("broker", {"DATA_DIR": "/proc/nothing"}, "/proc/nothing"),
        ("manager", {"READ_ONLY": "perhaps"}, "READ_ONLY"),
        ("manager", {"DATABASE_URL": "sqlite:///no/such/place"}, "no/such/place"),
        ("manager", {"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL"),
        ("manager", {"BIND_HOST": "0.0.0.0"}, "needs AUTH=required; CLUSTER_SECRET; TLS_CERT and"),
        ("broker", {"BIND_HOST": "::"}, "needs AUTH=required; CLUSTER_SECRET; TLS_CERT and"),
        ("manager", {"TLS_CERT": "none.pem", "TLS_KEY": "none.key"}, "TLS_CERT: none.pem cannot"),
        ("manager", {"QUEUESITE_ROLE": "broker"}, "QUEUESITE_ROLE"),
        ("broker", {"QUEUESITE_ROLE": "manager"}, "QUEUESITE_ROLE"),
    ],
)
def test_wrong_environment_is_refused(tmp_path, command, variables, named):
    assert_refused(manage(command, directory=tmp_path, **variables), named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--brokers", "x"), "--brokers"),
        (("--brokers", "0"), "--brokers"),
        (("--port", "99999"), "--port"),
        (("--port", "65000"), "--port 65000 is too high"),
        (("--restart-delay-ms", "-1"), "--restart-delay-ms"),
        (("--data-dir", "/proc"), "no data directory"),
        (("--data-dir", "/proc", "--reset"), "no data directory"),
    ],
)
def test_wrong_option_of_the_cluster_is_refused(tmp_path, arguments, named):
    assert_refused(manage("cluster", *arguments, directory=tmp_path), named)


@pytest.mark.parametrize("command", ["broker", "manager"])
def test_directory_of_a_running_process_is_refused(tmp_path, command):
    lock = DirectoryLock(tmp_path / "data")
    lock.acquire()
    try:
        result = manage(command, directory=tmp_path, DATA_DIR="data", PORT="28999")
    finally:
        lock.release()
    assert_refused(result, "in use by process")


def test_unreachable_database_is_said_in_one_line(tmp_path):
    url = "postgres://nobody@127.0.0.1:1/nothing"
    assert_refused(manage("manager", directory=tmp_path, DATABASE_URL=url), "database")


def test_secret_of_a_lone_process_is_kept(tmp_path):
    manage("manager", directory=tmp_path, DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert len((tmp_path / "data" / SECRET_FILE).read_text()) > 30


def test_open_laboratory_is_warned_of_in_one_line(tmp_path):
    result = manage(
        "manager",
        directory=tmp_path,
        BIND_HOST="0.0.0.0",
        ALLOW_INSECURE="1",
        CURRENT_ADDRESS="http://127.0.0.1:1",
        DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing",
    )
    warning, failure = result.stderr.strip().splitlines()
    assert "lets other machines connect without AUTH=required; CLUSTER_SECRET; TLS_CERT" in warning
    assert "the database cannot be used" in failure


def test_production_configuration_passes_the_deployment_checks(tmp_path):
    result = manage(
        *("check", "--deploy", "--fail-level", "WARNING"),
        directory=tmp_path,
        BIND_HOST="0.0.0.0",
        AUTH="required",
        CURRENT_ADDRESS="https://queue-1.example.org:8000",
        CLUSTER_SECRET="a secret of this length, chosen",
        BEHIND_PROXY="1",
    )
    assert result.returncode == 0, result.stderr


def test_help_needs_no_directory(tmp_path):
    result = manage("cluster", "--help", directory=tmp_path)
    assert result.returncode == 0
    assert "--data-dir" in result.stdout
    assert not list(tmp_path.iterdir())


def test_variable_that_is_almost_right_is_told_in_one_line(tmp_path):
    address = "http://127.0.0.1:1"
    result = manage("broker", directory=tmp_path, MANAGER_ADDRESSES=address, PORT="abc")
    told, refused = result.stderr.strip().splitlines()
    assert told == "MANAGER_ADDRESSES is not read; is MANAGER_ADDRESS meant?"
    assert "PORT" in refused
