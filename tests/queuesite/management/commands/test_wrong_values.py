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
        ("broker", {"QUEUE_PORT": "abc"}, "QUEUE_PORT"),
        ("broker", {"QUEUE_PORT": "70000"}, "QUEUE_PORT"),
        ("broker", {"QUEUE_MANAGER_ADDRESS": "nowhere"}, "QUEUE_MANAGER_ADDRESS"),
        ("broker", {"QUEUE_CURRENT_ADDRESS": "me"}, "QUEUE_CURRENT_ADDRESS"),
        ("broker", {"QUEUE_CLUSTER_SECRET": "short"}, "QUEUE_CLUSTER_SECRET"),
        ("broker", {"QUEUE_DATA_DIR": "/proc/nothing"}, "/proc/nothing"),
        ("manager", {"QUEUE_READ_ONLY": "perhaps"}, "QUEUE_READ_ONLY"),
        ("manager", {"QUEUE_DATABASE_URL": "sqlite:///no/such/place"}, "no/such/place"),
        ("manager", {"QUEUE_DATABASE_URL": "mysql://h/d"}, "QUEUE_DATABASE_URL"),
        (
            "manager",
            {"QUEUE_BIND_HOST": "0.0.0.0"},
            "needs QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET; QUEUE_TLS_CERT and",
        ),
        (
            "broker",
            {"QUEUE_BIND_HOST": "::"},
            "needs QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET; QUEUE_TLS_CERT and",
        ),
        (
            "manager",
            {"QUEUE_TLS_CERT": "none.pem", "QUEUE_TLS_KEY": "none.key"},
            "QUEUE_TLS_CERT: none.pem cannot",
        ),
        ("manager", {"QUEUE_ROLE": "broker"}, "QUEUE_ROLE"),
        ("broker", {"QUEUE_ROLE": "manager"}, "QUEUE_ROLE"),
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
        result = manage(command, directory=tmp_path, QUEUE_DATA_DIR="data", QUEUE_PORT="28999")
    finally:
        lock.release()
    assert_refused(result, "in use by process")


def test_unreachable_database_is_said_in_one_line(tmp_path):
    url = "postgres://nobody@127.0.0.1:1/nothing"
    assert_refused(manage("manager", directory=tmp_path, QUEUE_DATABASE_URL=url), "database")


def test_secret_of_a_lone_process_is_kept(tmp_path):
    manage(
        "manager", directory=tmp_path, QUEUE_DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing"
    )
    assert len((tmp_path / "data" / SECRET_FILE).read_text()) > 30


def test_open_laboratory_is_warned_of_in_one_line(tmp_path):
    result = manage(
        "manager",
        directory=tmp_path,
        QUEUE_BIND_HOST="0.0.0.0",
        QUEUE_ALLOW_INSECURE="1",
        QUEUE_CURRENT_ADDRESS="http://127.0.0.1:1",
        QUEUE_DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing",
    )
    warning, failure = result.stderr.strip().splitlines()
    assert (
        "lets other machines connect without QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET;" in warning
    )
    assert "the database cannot be used" in failure


def test_production_configuration_passes_the_deployment_checks(tmp_path):
    result = manage(
        *("check", "--deploy", "--fail-level", "WARNING"),
        directory=tmp_path,
        QUEUE_BIND_HOST="0.0.0.0",
        QUEUE_AUTH="required",
        QUEUE_CURRENT_ADDRESS="https://queue-1.example.org:8000",
        QUEUE_CLUSTER_SECRET="a secret of this length, chosen",
        QUEUE_BEHIND_PROXY="1",
    )
    assert result.returncode == 0, result.stderr


def test_help_needs_no_directory(tmp_path):
    result = manage("cluster", "--help", directory=tmp_path)
    assert result.returncode == 0
    assert "--data-dir" in result.stdout
    assert not list(tmp_path.iterdir())


def test_variable_that_is_almost_right_is_told_in_one_line(tmp_path):
    address = "http://127.0.0.1:1"
    result = manage("broker", directory=tmp_path, MANAGER_ADDRESSES=address, QUEUE_PORT="abc")
    told, refused = result.stderr.strip().splitlines()
    assert told == "MANAGER_ADDRESSES is not read; is QUEUE_MANAGER_ADDRESS meant?"
    assert "QUEUE_PORT" in refused
