"""Every failpoint: killed there, a step is wholly there or absent, and there if acknowledged."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from raft_app import failpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 300
LIVES = ("FirstStart", "Doubt", "Upgrade", "Adoption", "Writes", "Group")
PRODUCT = ("raft_app", "broker_app", "manager_app", "queuesite", "http_base", "myqueue")


def calls() -> list[tuple[str, str]]:
    """Return (file, name) of every point in the code."""
    return [
        (str(path.relative_to(ROOT)), ast.literal_eval(node.args[0]))
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reach"
    ]


@cache
def killed(life: str, directory: Path) -> dict[str, int]:
    """Return how often a life was killed, by point; raise with its output when a check failed."""
    command = [sys.executable, "-m", "tests.raft_app.failpoints", str(directory / life), life]
    process = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-4_000:]
    found: dict[str, int] = json.loads(process.stdout)
    return found


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """In memory where there is such a place: what is not synced outlives a process, too."""
    memory = Path("/dev", "shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place)


def test_point_does_nothing_unless_a_test_armed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []
    failpoints.reach("here")
    monkeypatch.setitem(failpoints.ACTIONS, "here", lambda: reached.append("here"))
    failpoints.reach("here")
    failpoints.reach("elsewhere")
    assert reached == ["here"]


def test_nothing_in_the_product_arms_a_point() -> None:
    naming = {
        line
        for package in PRODUCT
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text().splitlines()
        if "failpoints" in line
    }
    assert naming == {"from raft_app.failpoints import reach"}
    assert failpoints.ACTIONS == {}


def test_each_point_has_a_name_of_its_own() -> None:
    names = [name for _, name in calls()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("life", LIVES)
def test_killed_at_its_points_a_life_keeps_what_was_acknowledged(
    life: str, directory: Path
) -> None:
    kills = killed(life, directory)
    assert kills
    assert all(kills.values()), kills


def test_every_point_in_the_code_is_reached_and_killed_at(directory: Path) -> None:
    found = {name for life in LIVES for name in killed(life, directory)}
    assert found == {name for _, name in calls()}


def test_vote_that_was_durable_and_had_not_left_is_remembered(directory: Path) -> None:
    assert killed("vote", directory) == {"engine.replying": 3}


def test_process_killed_at_a_point_dies_of_the_signal() -> None:
    code = (
        "import os, signal; from raft_app import failpoints;"
        " failpoints.ACTIONS['x'] = lambda: os.kill(os.getpid(), signal.SIGKILL);"
        " failpoints.reach('y'); print('before', flush=True); failpoints.reach('x'); print('after')"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout) == (-signal.SIGKILL, "before\n")
