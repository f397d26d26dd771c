"""Tests of tests that hang: `tests/bound.py` ends them, and says which it was."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.test_tidy import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SUITE_TIMEOUT_S = 200
CONFTEST = """
from tests.bound import Bound

def pytest_configure(config):
    config.pluginmanager.register(Bound(exit_after_s={exit_after_s}))
"""
HEAD = """
import pytest

pytestmark = pytest.mark.timeout(1)
"""
"""Of a file whose tests hang; the others have as long as a busy machine needs."""
JOINS_AFTER_A_FAILURE = f"""{HEAD}
import threading

@pytest.fixture
def joining():
    yield
    hanging = threading.Thread(target=threading.Event().wait, daemon=True)
    hanging.start()
    hanging.join()

def test_joins(joining): assert not "well"
"""
SWALLOWS_AFTER_A_FAILURE = f"""{HEAD}
import threading

def wait_and_swallow():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass

@pytest.fixture
def swallowing():
    yield
    wait_and_swallow()

def test_swallows(swallowing): assert not "well"
"""
HANGS_IN_UVLOOP = f"""{HEAD}
import asyncio, uvloop

async def waits_for_ever():
    await asyncio.Event().wait()

def test_swallows():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(waits_for_ever())
"""


def run(
    folder: Path, *options: str, exit_after_s: float = 100.0
) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder."""
    (folder / "conftest.py").write_text(CONFTEST.format(exit_after_s=exit_after_s))
    (folder / "test_well.py").write_text("def test_is_well(): pass\n")
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder)),
            *("-p", "pytest_timeout", "-p", "no:cacheprovider", "-o", "timeout=100"),
            *(*options, str(folder)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=SUITE_TIMEOUT_S,
        check=False,
    )


def test_what_hangs_after_a_failure_is_an_error_of_the_test(tmp_path):
    (tmp_path / "test_hang.py").write_text(JOINS_AFTER_A_FAILURE)
    done = run(tmp_path)
    assert "1 failed, 1 passed, 1 error" in done.stdout, done.stdout
    assert "in joining" in done.stdout or "hanging.join()" in done.stdout
    assert "Timeout (>1.0s)" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("text", "where"),
    [(SWALLOWS_AFTER_A_FAILURE, "in wait_and_swallow"), (HANGS_IN_UVLOOP, "in test_swallows")],
    ids=["after a failure", "in uvloop"],
)
def test_what_swallows_that_in_a_worker_is_named_with_the_stacks_of_all_threads(
    tmp_path, text, where
):
    (tmp_path / "test_hang.py").write_text(text)
    workers = ("-p", "xdist", "-n", "2", "--dist", "loadfile", "--max-worker-restart=0")
    done = run(tmp_path, *workers, exit_after_s=0.5)
    assert done.returncode == 1, done.stdout
    assert "crashed while running 'test_hang.py::test_swallows'" in done.stdout
    assert "1 passed" in done.stdout
    assert "Timeout (0:00:01.500000)!" in done.stderr
    assert where in done.stderr


def test_a_test_that_fails_and_ends_is_only_a_failure(tmp_path):
    (tmp_path / "test_fails.py").write_text("def test_fails(): assert not 'well'\n")
    done = run(tmp_path)
    assert "1 failed, 1 passed" in done.stdout
    assert (done.returncode, done.stderr) == (1, "")
