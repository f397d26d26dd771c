from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.measurement import Figure
from benchmarks.workloads import idle
from benchmarks.workloads.idle import Idle

WORK_S = 0.2


@pytest.fixture
def workload(site, twin, monkeypatch):
    """With brokers that are all this process."""
    monkeypatch.setattr(idle, "SETTLE_S", 0.0)
    monkeypatch.setattr(site, "new_partitions", lambda _workload, _count: None)
    places = [{"address": address, "pid": os.getpid()} for address in twin.brokers]
    Path(site.directory / "cluster.json").write_text(json.dumps({"brokers": places}))
    made = Idle(3)
    made.prepare(site)
    return made


def used_s(measurement) -> float:
    """Return the processor time of each server, in seconds."""
    return measurement.value(Figure.PROCESSOR_PERCENT) / 100 * measurement.seconds


def work(_seconds: float) -> None:
    """Take a certain processor time, however long that is on a busy machine."""
    until = time.process_time() + WORK_S
    while time.process_time() < until:
        pass


def test_who_does_nothing_takes_nothing_and_who_works_takes_what_it_takes(workload, monkeypatch):
    assert used_s(workload.run(0.1)) < WORK_S / 2
    monkeypatch.setattr(idle.time, "sleep", work)
    assert used_s(workload.run(0.1)) == pytest.approx(WORK_S, abs=0.05)


def test_memory_is_told(workload):
    assert workload.run(0.01).value(Figure.RESIDENT_MB) > 1


def test_the_servers_have_to_be_there_after_it(workload, site, monkeypatch):
    workload.run(0.01)
    assert workload.check() == 1
    monkeypatch.setattr(site, "stored", lambda _topic: iter(()))
    with pytest.raises(CheckFailed, match="1 acknowledged messages are lost"):
        workload.check()
