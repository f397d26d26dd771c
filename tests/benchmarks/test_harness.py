from __future__ import annotations

from contextlib import contextmanager

import pytest

from benchmarks import harness
from benchmarks.harness import Options, WorkloadFailed, measure_side_by_side
from benchmarks.job import CheckedRun, Job
from benchmarks.peers.system import Address
from tests.benchmarks.samples import floor, measured


class SystemTwin:
    """Notes when it runs."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self._calls = calls

    @contextmanager
    def running(self, directory):
        assert list(directory.iterdir()) == []
        self._calls.append(f"start {self.name}")
        yield Address(self.name, "")
        self._calls.append(f"stop {self.name}")


def test_systems_take_turns_and_each_is_alone(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(harness, "Queuesite", lambda: SystemTwin("queuesite", calls))
    monkeypatch.setattr(harness, "measure_floor", lambda _directory: floor())

    def run(job):
        calls.append(f"{job.workload} on {job.system} at {job.where.address}")
        return [CheckedRun(measurement=measured(len(calls)), compared=1)] * job.runs

    monkeypatch.setattr(harness, "run_client", run)
    peers = [SystemTwin("nats", calls)]
    told: list[str] = []
    ours, other = measure_side_by_side("sync_1", peers, Options(runs=2), told.append)
    turns = [
        [f"start {name}", f"sync_1 on {name} at {name}", f"stop {name}"]
        for name in ("queuesite", "nats")
    ]
    assert calls == [*turns[0], *turns[1]] * 2
    assert [run.measurement.messages for run in ours.runs] == [2, 8]
    assert [run.measurement.messages for run in other.runs] == [5, 11]
    assert (ours.system, other.system) == ("queuesite", "nats")
    assert ours.floor == floor()
    assert told[-1].strip() == "round 2 of 2: nats"


def test_a_client_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(harness, "CLIENT_TIMEOUT_S", 0.0)
    job = Job(
        workload="sync_1",
        system="nats",
        where=Address("", ""),
        seconds=1.0,
        warmup_seconds=1.0,
        runs=1,
    )
    with pytest.raises(WorkloadFailed, match="sync_1 on nats: no end in 0 s"):
        harness.run_client(job)
