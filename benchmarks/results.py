"""The file of all results: a JSON line for each workload of each invocation."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.cluster import ROOT
from benchmarks.measurement import Measurement
from benchmarks.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

DIRECTORY = Path(__file__).resolve().parent / "results"
FILE_NAME = "results.jsonl"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    name: str
    system: str
    processor: str
    cores: int
    python: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file."""

    date: str
    """UTC, ISO 8601."""
    commit: str
    """Of the measured tree, with `+` when files differ from it; empty outside of git."""
    machine: Machine
    outcome: Outcome
    medians: Measurement
    """Each field is the median of the runs."""


def append_results(outcomes: Sequence[Outcome], directory: Path = DIRECTORY) -> Path:
    """Append one line for each outcome and return the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    commit, machine = read_commit(), read_machine()
    with path.open("ab") as file:
        for outcome in outcomes:
            result = Result(
                date=now,
                commit=commit,
                machine=machine,
                outcome=outcome,
                medians=outcome.medians(),
            )
            file.write(msgspec.json.encode(result) + b"\n")
    return path


def read_machine() -> Machine:
    """Describe this machine."""
    return Machine(
        name=platform.node(),
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
    )


def read_commit() -> str:
    """Return the commit of the tree; empty when git does not say."""
    head = _git("rev-parse", "HEAD")
    return f"{head}+" if head and _git("status", "--porcelain") else head


def _git(*arguments: str) -> str:
    try:
        finished = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return finished.stdout.strip()


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()
