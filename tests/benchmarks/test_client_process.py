from __future__ import annotations

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.client_process import carry_out
from benchmarks.job import Job
from benchmarks.peers.system import Address
from tests.benchmarks.samples import measured

JOB = Job(
    workload="twin",
    system="twin",
    where=Address("", ""),
    seconds=3.0,
    warmup_seconds=1.0,
    runs=2,
)


class SessionTwin:
    """Notes whether it was closed."""

    closed = False

    def close(self):
        self.closed = True


class WorkloadTwin:
    """Writes down what is asked of it."""

    name = summary = "twin"
    runs = 3
    figures = targets = ()
    floor = None

    def __init__(self, *, warms_up: bool = True, broken: bool = False) -> None:
        self.warms_up = warms_up
        self.calls: list[object] = []
        self._broken = broken

    def prepare(self, session):
        self.calls.append("prepare")

    def run(self, seconds):
        self.calls.append(seconds)
        return measured(7)

    def check(self):
        self.calls.append("check")
        if self._broken:
            raise CheckFailed("lost")
        return 7

    def close(self):
        self.calls.append("close")


def test_a_job_warms_up_and_checks_every_run():
    twin = WorkloadTwin()
    runs = list(carry_out(twin, SessionTwin(), JOB))
    assert [run.compared for run in runs] == [7, 7]
    assert twin.calls == ["prepare", 1.0, "check", 3.0, "check", 3.0, "check", "close"]


def test_a_workload_that_does_not_warm_up_starts_at_once():
    twin = WorkloadTwin(warms_up=False)
    assert len(list(carry_out(twin, SessionTwin(), JOB))) == 2
    assert twin.calls[:2] == ["prepare", 3.0]


def test_a_failed_check_ends_the_job_and_closes_everything():
    twin, session = WorkloadTwin(broken=True), SessionTwin()
    with pytest.raises(CheckFailed, match="lost"):
        list(carry_out(twin, session, JOB))
    assert twin.calls[-1] == "close"
    assert session.closed
