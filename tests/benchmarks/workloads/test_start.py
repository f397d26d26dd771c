"""The measuring of starts, with a cluster in memory in place of the one that is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.measurement import Figure
from benchmarks.workloads import start
from benchmarks.workloads.start import Start, paused


class StartedAtOnce:
    """A cluster whose processes are all this one, and ready one after the other."""

    def __init__(self, directory, *, poll_s, look):
        self.manager = "unused"
        self.state_path = directory
        self._look = look
        self._names = ["manager", *(f"broker-{number}" for number in range(1, start.BROKERS + 1))]
        self._ready = 0

    def places(self):
        return [
            {"name": name, "pid": os.getpid(), "ready": number < self._ready}
            for number, name in enumerate(self._names)
        ]

    def __enter__(self):
        for _ in self._names:
            self._look()
            time.sleep(0.01)
            self._ready += 1
        self._look()
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def workload(site, monkeypatch):
    (site.directory / "cluster.json").write_text(json.dumps({"brokers": []}))
    monkeypatch.setattr(start, "Cluster", StartedAtOnce)
    monkeypatch.setattr(start, "Site", lambda _manager, _state_path: site)
    made = Start()
    made.prepare(site)
    return made


def test_both_starts_are_measured_and_the_message_survives(workload):
    measurement = workload.run(0.1)
    assert workload.check() == 1
    values = [measurement.value(figure) for figure in workload.figures]
    assert all(value > 0 for value in values)
    ready_s = measurement.value(Figure.FIRST_READY_S) + measurement.value(Figure.AGAIN_READY_S)
    assert ready_s == pytest.approx(measurement.seconds)
    assert measurement.value(Figure.FIRST_READY_S) >= 0.04


def test_lost_message_is_found(workload):
    workload.run(0.1)
    workload._stored.clear()
    with pytest.raises(CheckFailed, match="1 acknowledged messages are lost"):
        workload.check()


def test_processes_are_paused_and_go_on():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with paused([process.pid]):
            assert state_of(process.pid, "T")
        assert state_of(process.pid, "RSD")
    finally:
        process.communicate(b"\n")
    assert process.returncode == 0


def state_of(pid: int, wanted: str) -> bool:
    """Wait until the kernel says that a process is in one of these states."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in wanted:
            return True
        time.sleep(0.005)
    return False
