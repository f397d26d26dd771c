"""One run of pytest in a copy of the repository."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.mutants.tree import Tree

TRIAL_TIMEOUT_S = 180.0
"""For one test; what takes longer decides nothing."""


class Ending(Enum):
    """How a run ended."""

    PASSED = auto()
    FAILED = auto()
    UNDECIDED = auto()
    """The tests were not found, could not be imported, or did not end in time."""


class Trial(NamedTuple):
    """What a run showed."""

    ending: Ending
    seconds: float
    output: str


def run_tests(tree: Tree, tests: Sequence[str], *, timeout_s: float = TRIAL_TIMEOUT_S) -> Trial:
    """Run tests by their ids in a process of its own, and end all that it started.

    A fault may make a test hang; that is no verdict, for a slow machine does the same.
    """
    started = time.monotonic()
    command = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=short")
    process = subprocess.Popen(
        [*command, "-p", "no:randomly", *tests],
        cwd=tree.root,
        env={**os.environ, "PYTHONPATH": str(tree.root), "QUEUE_ROLE": "test"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
        ending = _ending(process.returncode)
    except subprocess.TimeoutExpired:
        _kill(process)
        output, _ = process.communicate()
        output += f"\nnot over after {timeout_s:.0f} s"
        ending = Ending.UNDECIDED
    finally:
        _kill(process)
    return Trial(ending, time.monotonic() - started, output)


def _ending(status: int) -> Ending:
    match status:
        case 0:
            return Ending.PASSED
        case 1:
            return Ending.FAILED
        case _:
            return Ending.UNDECIDED


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the process's own session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
