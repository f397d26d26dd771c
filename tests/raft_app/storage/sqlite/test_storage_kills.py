"""Processes that are killed while they install snapshots, move logs up and release space."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.storage.snapshot_writes import WRITES_PER_CYCLE, models, told

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
WAIT_SECONDS = 120
ROUNDS = 6


@pytest.fixture(autouse=True)
def _with_databases(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.raft_app.storage.snapshot_child", *map(str, arguments)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    watchdog = threading.Timer(WAIT_SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.stdout.close()
        process.wait(WAIT_SECONDS)


def test_killed_at_some_moment_each_write_is_there_or_absent_as_a_whole(tmp_path: Path) -> None:
    done = 0
    for killed_after in range(20, 20 + ROUNDS * 7, 7):
        with child("loop", tmp_path, done) as process:
            lines = [process.stdout.readline() for _ in range(killed_after)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
            assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
        acknowledged = int(lines[-1])
        storage = SqliteStorage(tmp_path)
        storage.open()
        found = told(storage)
        storage.close()
        absent, there = models(acknowledged, acknowledged + 2)
        assert found in (absent, there)
        done = acknowledged + (found != absent)


def test_killed_before_any_statement_a_write_is_there_or_absent_as_a_whole(tmp_path: Path) -> None:
    with child("each", tmp_path) as process:
        output = process.stdout.read()
        assert process.wait(WAIT_SECONDS) == 0
    assert int(output) > 4 * WRITES_PER_CYCLE
