"""Runs the tests of the manager that use the database once more, on a private PostgreSQL."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manager_app.postgres import required_postgres

ROOT = Path(__file__).resolve().parents[2]
RUN_TIMEOUT_S = 900
FROM_MEMORY = (
    *("proxy/test_consume.py", "proxy/test_several.py", "proxy/test_partition_calls.py"),
    *("proxy/test_partition_calls_in_time.py", "proxy/test_produce.py", "apis/test_messages.py"),
    *("apis/test_passing.py", "apis/test_bad_input.py", "apis/test_door.py"),
)
"""What only passes calls on, or refuses them, from the metadata in memory: no other database shows
anything new there."""


@pytest.mark.postgres
@pytest.mark.timeout(RUN_TIMEOUT_S + 120)
def test_the_manager_suite_passes_on_postgresql(capsys):
    missing = [one for one in FROM_MEMORY if not (ROOT / "tests/manager_app" / one).exists()]
    assert missing == []
    with required_postgres() as url:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "tests/manager_app", "-m", "not postgres"),
                *("-q", "-p", "no:cacheprovider", "--create-db", "--reuse-db", "-n", "2"),
                *(f"--ignore=tests/manager_app/{name}" for name in FROM_MEMORY),
            ],
            cwd=ROOT,
            env={**os.environ, "QUEUE_DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    with capsys.disabled():
        print(f"\n  manager suite on PostgreSQL: {summary}")  # noqa: T201 - the figure is asked for
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    passed = re.search(r"(\d+) passed", summary)
    assert passed is not None
    assert int(passed[1]) > 0
