"""The measuring itself against a real cluster; its figures are nobody's business here."""

from __future__ import annotations

import pytest

from benchmarks.harness import Options, WorkloadFailed, measure_workload, run_client
from benchmarks.job import Job
from benchmarks.peers.system import Address
from tests.cluster.rounds import MANY

pytestmark = pytest.mark.cluster


WORKLOADS = [
    "sync_2",
    "tasks_2",
    "failover",
    "http_4",
    "produce_batch_10",
    "pop_manager",
    "end_to_end_pop",
    "consume_group",
    "worker",
    "start",
    "tail",
    "idle_3",
    "views_60",
    "restart_messages_2000",
    "restart_partitions_10",
]


@pytest.mark.parametrize("name", WORKLOADS if MANY else WORKLOADS[:1])
def test_a_workload_runs_and_checks_what_it_did(name, tmp_path):
    outcome = measure_workload(name, Options(0.3, 0.1, runs=1, directory=tmp_path))
    assert outcome.runs[0].measurement.messages > 0
    assert outcome.compared > 0
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_fails_is_told_with_its_output(tmp_path):
    job = Job(
        workload="sync_1",
        system="queuesite",
        where=Address("http://127.0.0.1:1", str(tmp_path / "cluster.json")),
        seconds=0.1,
        warmup_seconds=0.1,
        runs=1,
    )
    with pytest.raises(WorkloadFailed, match="ManagerNotFound"):
        run_client(job)
